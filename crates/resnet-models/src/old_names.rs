//! Names of networks with weights that timm once had.

/// The old name and the one that timm has for it now: network and tag (`register_model_deprecations` in timm 1.0.31's
/// modules resnet and resnetv2, where three of Instagram's ResNeXts are mistaken for a smaller one; `ig_resnext101_32x48d`
/// is not on the hub).
#[rustfmt::skip] // a row a line
const OLD_NAMES: &[(&str, &str)] = &[
    ("gluon_resnet101_v1b", "resnet101.gluon_in1k"),
    ("gluon_resnet101_v1c", "resnet101c.gluon_in1k"),
    ("gluon_resnet101_v1d", "resnet101d.gluon_in1k"),
    ("gluon_resnet101_v1s", "resnet101s.gluon_in1k"),
    ("gluon_resnet152_v1b", "resnet152.gluon_in1k"),
    ("gluon_resnet152_v1c", "resnet152c.gluon_in1k"),
    ("gluon_resnet152_v1d", "resnet152d.gluon_in1k"),
    ("gluon_resnet152_v1s", "resnet152s.gluon_in1k"),
    ("gluon_resnet18_v1b", "resnet18.gluon_in1k"),
    ("gluon_resnet34_v1b", "resnet34.gluon_in1k"),
    ("gluon_resnet50_v1b", "resnet50.gluon_in1k"),
    ("gluon_resnet50_v1c", "resnet50c.gluon_in1k"),
    ("gluon_resnet50_v1d", "resnet50d.gluon_in1k"),
    ("gluon_resnet50_v1s", "resnet50s.gluon_in1k"),
    ("gluon_resnext101_32x4d", "resnext101_32x4d.gluon_in1k"),
    ("gluon_resnext101_64x4d", "resnext101_64x4d.gluon_in1k"),
    ("gluon_resnext50_32x4d", "resnext50_32x4d.gluon_in1k"),
    ("gluon_senet154", "senet154.gluon_in1k"),
    ("gluon_seresnext101_32x4d", "seresnext101_32x4d.gluon_in1k"),
    ("gluon_seresnext101_64x4d", "seresnext101_64x4d.gluon_in1k"),
    ("gluon_seresnext50_32x4d", "seresnext50_32x4d.gluon_in1k"),
    ("ig_resnext101_32x16d", "resnext101_32x16d.fb_wsl_ig1b_ft_in1k"),
    ("ig_resnext101_32x32d", "resnext101_32x32d.fb_wsl_ig1b_ft_in1k"),
    ("ig_resnext101_32x8d", "resnext101_32x8d.fb_wsl_ig1b_ft_in1k"),
    ("resnetv2_101x1_bitm", "resnetv2_101x1_bit.goog_in21k_ft_in1k"),
    ("resnetv2_101x1_bitm_in21k", "resnetv2_101x1_bit.goog_in21k"),
    ("resnetv2_101x3_bitm", "resnetv2_101x3_bit.goog_in21k_ft_in1k"),
    ("resnetv2_101x3_bitm_in21k", "resnetv2_101x3_bit.goog_in21k"),
    ("resnetv2_152x2_bit_teacher", "resnetv2_152x2_bit.goog_teacher_in21k_ft_in1k"),
    ("resnetv2_152x2_bit_teacher_384", "resnetv2_152x2_bit.goog_teacher_in21k_ft_in1k_384"),
    ("resnetv2_152x2_bitm", "resnetv2_152x2_bit.goog_in21k_ft_in1k"),
    ("resnetv2_152x2_bitm_in21k", "resnetv2_152x2_bit.goog_in21k"),
    ("resnetv2_152x4_bitm", "resnetv2_152x4_bit.goog_in21k_ft_in1k"),
    ("resnetv2_152x4_bitm_in21k", "resnetv2_152x4_bit.goog_in21k"),
    ("resnetv2_50x1_bit_distilled", "resnetv2_50x1_bit.goog_distilled_in1k"),
    ("resnetv2_50x1_bitm", "resnetv2_50x1_bit.goog_in21k_ft_in1k"),
    ("resnetv2_50x1_bitm_in21k", "resnetv2_50x1_bit.goog_in21k"),
    ("resnetv2_50x3_bitm", "resnetv2_50x3_bit.goog_in21k_ft_in1k"),
    ("resnetv2_50x3_bitm_in21k", "resnetv2_50x3_bit.goog_in21k"),
    ("seresnext26tn_32x4d", "seresnext26t_32x4d"),
    ("ssl_resnet18", "resnet18.fb_ssl_yfcc100m_ft_in1k"),
    ("ssl_resnet50", "resnet50.fb_ssl_yfcc100m_ft_in1k"),
    ("ssl_resnext101_32x16d", "resnext101_32x16d.fb_ssl_yfcc100m_ft_in1k"),
    ("ssl_resnext101_32x4d", "resnext101_32x4d.fb_ssl_yfcc100m_ft_in1k"),
    ("ssl_resnext101_32x8d", "resnext101_32x8d.fb_ssl_yfcc100m_ft_in1k"),
    ("ssl_resnext50_32x4d", "resnext50_32x4d.fb_ssl_yfcc100m_ft_in1k"),
    ("swsl_resnet18", "resnet18.fb_swsl_ig1b_ft_in1k"),
    ("swsl_resnet50", "resnet50.fb_swsl_ig1b_ft_in1k"),
    ("swsl_resnext101_32x16d", "resnext101_32x16d.fb_swsl_ig1b_ft_in1k"),
    ("swsl_resnext101_32x4d", "resnext101_32x4d.fb_swsl_ig1b_ft_in1k"),
    ("swsl_resnext101_32x8d", "resnext101_32x8d.fb_swsl_ig1b_ft_in1k"),
    ("swsl_resnext50_32x4d", "resnext50_32x4d.fb_swsl_ig1b_ft_in1k"),
    ("tv_resnet101", "resnet101.tv_in1k"),
    ("tv_resnet152", "resnet152.tv_in1k"),
    ("tv_resnet34", "resnet34.tv_in1k"),
    ("tv_resnet50", "resnet50.tv_in1k"),
    ("tv_resnext50_32x4d", "resnext50_32x4d.tv_in1k"),
];

/// What a name that timm gave up is called now.
pub(crate) fn renamed(name: &str) -> Option<&'static str> {
    OLD_NAMES.iter().find(|row| row.0 == name).map(|row| row.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_names_are_in_the_registry_and_old_ones_are_not() {
        for (old, new) in OLD_NAMES {
            assert_eq!(crate::config(old).unwrap(), crate::config(new).unwrap(), "{old}");
            assert!(crate::NETWORKS.iter().all(|entry| entry.name != *old), "{old}");
        }
    }
}

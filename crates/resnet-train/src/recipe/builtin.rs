//! The embedded recipes.

/// Name and text of each.
pub(super) const RECIPES: &[(&str, &str)] = &[
    ("quick", include_str!("quick.toml")),
    ("cifar-fast", include_str!("cifar-fast.toml")),
    ("he2015-cifar", include_str!("he2015-cifar.toml")),
    ("he2016-cifar", include_str!("he2016-cifar.toml")),
    ("he2015-imagenet", include_str!("he2015-imagenet.toml")),
    ("torchvision-v1", include_str!("torchvision-v1.toml")),
    ("a3", include_str!("a3.toml")),
    ("finetune", include_str!("finetune.toml")),
];

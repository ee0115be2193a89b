//! What the layers of a whole pickled module say of themselves beside their tensors: strides, paddings, ε. A state dict
//! has none of it.

use std::collections::BTreeMap;
use std::fmt;

use resnet_ops::graph::{Graph, Op};
use resnet_ops::{ConvConfig, NormConfig, PoolConfig};

use super::pickle::{Arena, Id, Value};
use crate::escape::show;

/// A layer with its settings. Those that are not told are those of torch's layers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Setting {
    /// And whether its border is of zeros.
    Conv(ConvConfig, bool),
    Norm {
        eps: f64,
    },
    MaxPool(PoolConfig),
    /// A layer that was taken out.
    Identity,
}

impl Setting {
    /// Of a pickled module, where it is a layer that has settings.
    pub fn of(arena: &Arena, module: Id) -> Option<Self> {
        let Value::Object { class, state: Some(state), .. } = arena.get(module) else { return None };
        // More attributes no layer has.
        if arena.entries(*state).is_none_or(|attributes| attributes.len() > 256) {
            return (class.ends_with(".Identity")).then_some(Self::Identity);
        }
        let class = class.rsplit('.').next()?;
        if !["Conv2d", "BatchNorm2d", "SyncBatchNorm", "FrozenBatchNorm2d", "MaxPool2d", "Identity"].contains(&class) {
            return None;
        }
        let value = |name: &str| arena.attribute(module, name);
        let pair = |name: &str| {
            let id = value(name)?;
            let numbers = match arena.int(id) {
                Some(number) => vec![number; 2],
                None => arena.ints(id, 2)?,
            };
            match numbers[..] {
                [rows, columns] => Some((usize::try_from(rows).ok()?, usize::try_from(columns).ok()?)),
                _ => None,
            }
        };
        Some(match class {
            "Conv2d" => {
                let config = ConvConfig {
                    stride: pair("stride")?,
                    padding: pair("padding")?,
                    dilation: pair("dilation")?,
                    groups: arena.int(value("groups")?)?.try_into().ok()?,
                };
                let mode = value("padding_mode").and_then(|mode| arena.string(mode));
                Self::Conv(config, mode.is_none_or(|mode| &**mode == "zeros"))
            }
            "MaxPool2d" => Self::MaxPool(PoolConfig {
                kernel: pair("kernel_size")?,
                stride: pair("stride")?,
                padding: pair("padding")?,
            }),
            "Identity" => Self::Identity,
            _ => match arena.get(value("eps")?) {
                Value::Float(eps) => Self::Norm { eps: *eps },
                _ => return None,
            },
        })
    }

    /// What differs, in words: this one's, then the other's.
    fn differs(&self, other: &Self) -> Option<[String; 2]> {
        let said = |what: &str, own: &dyn fmt::Display, other: &dyn fmt::Display| {
            Some([format!("{what} {own}"), format!("{what} {other}")])
        };
        let pairs = |pairs: &[Compared<'_>]| {
            let (what, own, other) = pairs.iter().find(|(_, own, other)| own != other)?;
            said(what, &Pair(*own), &Pair(*other))
        };
        match (self, other) {
            (Self::Conv(.., false), Self::Conv(.., true)) => {
                Some(["a border that is not of zeros".into(), "zeros".into()])
            }
            (Self::Conv(own, _), Self::Conv(other, _)) => pairs(&[
                ("stride", own.stride, other.stride),
                ("dilation", own.dilation, other.dilation),
                ("padding", own.padding, other.padding),
            ])
            .or_else(|| (own.groups != other.groups).then(|| said("groups", &own.groups, &other.groups)).flatten()),
            (Self::MaxPool(own), Self::MaxPool(other)) => pairs(&[
                ("kernel", own.kernel, other.kernel),
                ("stride", own.stride, other.stride),
                ("padding", own.padding, other.padding),
            ]),
            (Self::Norm { eps: own }, Self::Norm { eps: other }) => {
                ((own - other).abs() > 1e-3 * other).then(|| said("eps", own, other)).flatten()
            }
            (Self::Identity, Self::MaxPool(_)) => Some(["no pooling (Identity)".into(), "a max pooling".into()]),
            (Self::MaxPool(_), Self::Identity) => Some(["a max pooling".into(), "none".into()]),
            _ => None,
        }
    }
}

/// What is compared: its name, this one's and the other's.
type Compared<'a> = (&'a str, (usize, usize), (usize, usize));

/// Rows and columns, as one number where they are alike.
struct Pair((usize, usize));

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            (rows, columns) if rows == columns => write!(f, "{rows}"),
            (rows, columns) => write!(f, "({rows}, {columns})"),
        }
    }
}

/// Settings by the paths of layers.
pub(crate) type Settings = BTreeMap<String, Setting>;

/// In words how the layers of a file differ from those of a network of the same names, called `name`.
pub(crate) fn compare(file: &Settings, graph: &Graph, name: &str) -> Option<String> {
    if file.is_empty() {
        return None;
    }
    let mut own: BTreeMap<&str, Setting> = BTreeMap::new();
    for node in graph.nodes() {
        let setting = match &node.op {
            Op::Conv { config, .. } => Setting::Conv(*config, true),
            Op::Norm(norm) => Setting::Norm { eps: norm.config.eps },
            Op::MaxPool(config) => Setting::MaxPool(*config),
            _ => continue,
        };
        own.insert(&node.name, setting);
    }
    let without_pool = !own.values().any(|setting| matches!(setting, Setting::MaxPool(_)));
    if without_pool && !graph.nodes().iter().any(|node| node.name.starts_with("maxpool")) {
        own.insert("maxpool", Setting::Identity);
    }
    let mut differing =
        file.iter().filter_map(|(path, setting)| Some((path, setting.differs(own.get(path.as_str())?)?)));
    let (path, [theirs, ours]) = differing.next()?;
    let more = match differing.count() {
        0 => String::new(),
        more => format!(", and {more} other layers differ"),
    };
    Some(format!(
        "its {} has {theirs}, {}'s has {ours}{more}: name a network whose layers are the file's",
        show(path),
        show(name)
    ))
}

/// In words what of a file's layers is not as in torchvision's networks and is lost where only tensors are kept.
pub(super) fn unusual(settings: &Settings) -> Option<String> {
    let strange = |path: &str, setting: &Setting| match setting {
        Setting::Conv(conv, _) if conv.dilation != (1, 1) => Some(format!("dilation {}", Pair(conv.dilation))),
        Setting::Conv(_, false) => Some("a border that is not of zeros".into()),
        Setting::Conv(conv, _) if path == "conv1" && conv.padding == (3, 3) && conv.stride != (2, 2) => {
            Some(format!("stride {}", Pair(conv.stride)))
        }
        Setting::Norm { eps } if (eps - NormConfig::default().eps).abs() > 1e-3 * NormConfig::default().eps => {
            Some(format!("eps {eps}"))
        }
        _ => None,
    };
    let mut found = settings.iter().filter_map(|(path, setting)| Some((path, strange(path, setting)?)));
    let (path, what) = found.next()?;
    let more = match found.count() {
        0 => String::new(),
        more => format!(", as {more} other layers have what theirs have not"),
    };
    Some(format!("its {} has {what}, which torchvision's has not{more}, and tensors alone do not tell", show(path)))
}

#[cfg(test)]
mod tests {
    use super::super::pickle::unpickle;
    use super::*;

    fn of(pickle: &[u8]) -> Option<Setting> {
        let unpickled = unpickle(pickle).unwrap();
        Setting::of(&unpickled.arena, unpickled.root)
    }

    #[test]
    fn layers_say_their_settings() {
        let conv =
            b"\x80\x02ctorch.nn.modules.conv\nConv2d\n)\x81}(U\x06strideK\x02K\x02\x86U\x07paddingK\x03K\x03\x86\
            U\x08dilationK\x01K\x01\x86U\x06groupsK\x01ub.";
        assert_eq!(of(conv), Some(Setting::Conv(ConvConfig::square(2, 3), true)));
        let pool = b"\x80\x02ctorch.nn.modules.pooling\nMaxPool2d\n)\x81}(U\x0bkernel_sizeK\x03U\x06strideK\x02U\x07paddingK\x01ub.";
        assert_eq!(of(pool), Some(Setting::MaxPool(PoolConfig::square(3, 2, 1))));
        assert_eq!(
            of(b"\x80\x02ctorch.nn.modules.batchnorm\nBatchNorm2d\n)\x81}U\x03epsG?\xf0\0\0\0\0\0\0sb."),
            Some(Setting::Norm { eps: 1.0 })
        );
        let reflecting = conv.iter().take(conv.len() - 3).chain(b"U\x0cpadding_modeU\x07reflectub.").copied();
        assert_eq!(of(&reflecting.collect::<Vec<_>>()), Some(Setting::Conv(ConvConfig::square(2, 3), false)));
        // Padding in words, negative numbers, other layers.
        assert_eq!(
            of(b"\x80\x02ctorch.nn.modules.conv\nConv2d\n)\x81}(U\x06strideK\x02U\x07paddingU\x04sameub."),
            None
        );
        assert_eq!(
            of(b"\x80\x02ctorch.nn.modules.pooling\nMaxPool2d\n)\x81}(U\x0bkernel_sizeJ\xff\xff\xff\xffub."),
            None
        );
        assert_eq!(of(b"\x80\x02ctorch.nn.modules.linear\nLinear\n)\x81}U\x03epsK\x01sb."), None);
    }

    #[test]
    fn what_tensors_do_not_tell_is_told() {
        let usual = [("conv1", Setting::Conv(ConvConfig::square(2, 3), true)), ("bn1", Setting::Norm { eps: 1e-5 })];
        let mut settings: Settings = usual.into_iter().map(|(path, setting)| (path.to_owned(), setting)).collect();
        assert_eq!(unusual(&settings), None);
        settings.insert("conv1".into(), Setting::Conv(ConvConfig::square(1, 3), true));
        settings.insert("layer1.0.bn1".into(), Setting::Norm { eps: 1e-3 });
        let said = unusual(&settings).unwrap();
        assert!(said.starts_with("its conv1 has stride 1") && said.contains("1 other"), "{said}");
    }
}

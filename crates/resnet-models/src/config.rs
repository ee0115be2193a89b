//! A network as data: what the registry's names stand for.

use resnet_blocks::{BlockConfig, BlockOptions, Branch, Naming, ShortcutKind, StrideIn};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Error;

/// What stands before the first block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stem {
    /// 3×3 convolution, stride 1 (He et al. 2015, 4.2).
    Cifar,
    /// 7×7 convolution, stride 2, then a pooling, stride 2 (He et al. 2015, Table 1).
    ImageNet,
    /// Three 3×3 convolutions, the first with stride 2, then a pooling, stride 2 (He et al. 2019, "Bag of tricks",
    /// Fig. 2b: ResNet-C).
    Deep {
        /// Channels of the first and the second convolution.
        widths: [usize; 2],
    },
}

/// The pooling, stride 2, at the end of a stem for ImageNet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StemPool {
    /// 3×3 max-pool whose border never wins.
    #[default]
    Max,
    /// 3×3 max-pool over a border of zeros (Kolesnikov et al. 2020: BiT).
    MaxOverZeros,
    /// 3×3 convolution, norm, ReLU (Bello et al. 2021: ResNet-RS).
    Convolution,
    /// None: the stem's last convolution has the stride.
    None,
}

/// Everything that decides a network's graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Name in the registry.
    pub name: String,
    /// Channels of the images.
    pub in_chans: usize,
    /// What stands before the first block.
    pub stem: Stem,
    /// Channels of the stem.
    pub stem_channels: usize,
    /// What ends the stem.
    pub stem_pool: StemPool,
    /// Blocks of each stage.
    pub blocks: Vec<usize>,
    /// Inner channels of each stage's blocks; their outputs are wider by the branch's expansion.
    pub widths: Vec<usize>,
    /// The convolutions of a block.
    pub branch: Branch,
    /// The convolutions of each stage's blocks, where stages differ; in place of `branch`.
    pub branches: Vec<Branch>,
    /// Channels of every block's first and second convolution and output, in order, where a network was pruned; in place
    /// of what follows from `widths`.
    pub pruned: Vec<[usize; 3]>,
    /// Groups of the 3×3 convolutions of bottlenecks (Xie et al. 2017: the cardinality).
    pub groups: usize,
    /// Channels of a bottleneck's 3×3 convolution in each group, for every 64 of `widths`.
    pub group_width: usize,
    /// Channels of one group, where that is fixed and the number of groups follows; in place of `groups`.
    pub group_size: Option<usize>,
    /// How many times fewer channels a bottleneck's first convolution has than its 3×3.
    pub reduce_first: usize,
    /// Pre-activation: whether the first block's input is activated before it splits into branch and shortcut (He et al.
    /// 2016, appendix). timm's networks leave it out.
    pub shared_first_activation: bool,
    /// Pre-activation: whether a norm and an activation follow the last block (He et al. 2016, appendix). kuangliu's
    /// networks for CIFAR leave them out.
    pub final_norm: bool,
    /// Stochastic depth: the share of the images that skip the last branch in training. For the others it grows from 0
    /// with the depth: for branch l of L it is `l / L` of this (Huang et al. 2016, eq. 4).
    pub drop_path: f64,
    /// Share of the features that training drops before the head (Srivastava et al. 2014).
    pub drop_rate: f64,
    /// Pixels of the image that one of the last map is wide: 32, or 16 or 8 with dilated convolutions in place of the
    /// last strides (Yu & Koltun 2016), for a stem for ImageNet.
    pub output_stride: usize,
    /// Channels of a 1×1 convolution between the last block and the head, where there is one.
    pub final_features: Option<usize>,
    /// Number of classes; with 0 there is no head, and the network ends with the features.
    pub classes: usize,
    /// Rows and columns of the images that the network was published for.
    pub image_size: usize,
    /// What all blocks have in common, and stem and head with them; written as fields of the configuration.
    #[serde(flatten)]
    pub block: BlockOptions,
}

impl Default for Config {
    /// ResNet-18 on ImageNet.
    fn default() -> Self {
        Self {
            name: "resnet18".into(),
            in_chans: 3,
            stem: Stem::ImageNet,
            stem_channels: 64,
            stem_pool: StemPool::Max,
            blocks: vec![2, 2, 2, 2],
            widths: vec![64, 128, 256, 512],
            branch: Branch::Basic,
            branches: Vec::new(),
            pruned: Vec::new(),
            groups: 1,
            group_width: 64,
            group_size: None,
            reduce_first: 1,
            shared_first_activation: true,
            final_norm: true,
            drop_path: 0.,
            drop_rate: 0.,
            output_stride: 32,
            final_features: None,
            classes: 1000,
            image_size: 224,
            block: BlockOptions::default(),
        }
    }
}

impl Config {
    /// The CIFAR network of He et al. 2015, 4.2: three stages of 16, 32, 64 channels, each of so many blocks.
    pub fn cifar(name: &str, blocks: usize) -> Self {
        Self {
            name: name.into(),
            stem: Stem::Cifar,
            stem_channels: 16,
            blocks: vec![blocks; 3],
            widths: vec![16, 32, 64],
            classes: 10,
            image_size: 32,
            block: BlockOptions { shortcut: ShortcutKind::A, ..BlockOptions::default() },
            ..Self::default()
        }
    }

    /// The CIFAR form of a network for ImageNet: a 3×3 stem of stride 1 without pooling, for images of 32×32.
    pub fn with_cifar_stem(self) -> Self {
        Self { stem: Stem::Cifar, image_size: 32, name: format!("{}_cifar", self.name), ..self }
    }

    /// The same network with another number of classes.
    pub fn with_classes(mut self, classes: usize) -> Self {
        self.classes = classes;
        self
    }

    /// The same network with some fields of the configuration changed, by their names and values as they are written.
    ///
    /// ```
    /// let changes = serde_json::from_str(r#"{ "shortcut": "c", "stem_channels": 8 }"#)?;
    /// let config = resnet_models::config("resnet20")?.with_changes(&changes)?;
    /// assert_eq!(config.stem_channels, 8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Change`] where there is no such field, or it cannot have that value.
    pub fn with_changes(&self, changes: &Map<String, Value>) -> Result<Self, Error> {
        self.changed(changes).map_err(|message| Error::Change { name: self.name.clone(), message })
    }

    /// As [`Config::with_changes`].
    ///
    /// # Errors
    /// What is wrong with the changes.
    pub(crate) fn changed(&self, changes: &Map<String, Value>) -> Result<Self, String> {
        let mut fields = match serde_json::to_value(self) {
            Ok(Value::Object(fields)) => fields,
            Ok(_) => return Err("it is no table".into()),
            Err(error) => return Err(error.to_string()),
        };
        for (field, value) in changes {
            // Names that version 0.1 wrote.
            let (field, value) = match (field.as_str(), value) {
                ("entry_reduction", value) => ("reduce_first", value.clone()),
                ("attention_inside", Value::Bool(inside)) => ("attn_last", Value::Bool(!inside)),
                (field, value) => (field, value.clone()),
            };
            match fields.get_mut(field) {
                Some(old) => *old = value,
                None => {
                    let names = fields.keys().cloned().collect::<Vec<_>>().join(", ");
                    return Err(format!("there is no field {field:?} (there are {names})"));
                }
            }
        }
        serde_json::from_value(Value::Object(fields)).map_err(|error| error.to_string())
    }

    /// Channels of the features that the head classifies.
    pub fn features(&self) -> usize {
        self.final_features.unwrap_or_else(|| self.map_channels())
    }

    /// Channels after the last block.
    pub(crate) fn map_channels(&self) -> usize {
        self.block_configs().last().map_or(self.stem_channels, |(_, block)| block.outputs)
    }

    /// What the classifier is called: `fc`, or `head.fc` in timm's pre-activation and configurable networks.
    pub fn head(&self) -> &'static str {
        match self.block.naming {
            Naming::Torchvision => "fc",
            Naming::ResNetV2 | Naming::Configurable => "head.fc",
        }
    }

    /// Path and configuration of every block, in order.
    pub fn block_configs(&self) -> Vec<(String, BlockConfig)> {
        let (total, mut inputs, mut all) = (self.blocks.iter().sum::<usize>(), self.stem_channels, Vec::new());
        // The image's pixels that one of a map is wide, and the distance of a convolution's taps.
        let (mut reduction, mut dilation) = (4, 1);
        for (stage, (&blocks, &width)) in self.blocks.iter().zip(&self.widths).enumerate() {
            let (mut stride, mut first_dilation) = (if stage > 0 { 2 } else { 1 }, dilation);
            if self.stem != Stem::Cifar && reduction >= self.output_stride.max(1) {
                dilation *= stride;
                stride = 1;
            }
            reduction *= stride;
            let branch = self.branches.get(stage).copied().unwrap_or(self.branch);
            for block in 0..blocks {
                let outputs = width * branch.expansion();
                let inner = match branch {
                    Branch::Single | Branch::Basic => outputs,
                    Branch::Bottleneck(StrideIn::First | StrideIn::Middle) => {
                        width * self.group_width / 64 * self.groups
                    }
                };
                let path = match self.block.naming {
                    Naming::Torchvision => format!("layer{}.{block}", stage + 1),
                    Naming::ResNetV2 => format!("stages.{stage}.blocks.{block}"),
                    Naming::Configurable => format!("stages.{stage}.{block}"),
                };
                let whole = BlockConfig {
                    inputs,
                    outputs,
                    inner,
                    first: inner / self.reduce_first.max(1),
                    groups: self.group_size.map_or(self.groups, |size| inner / size.max(1)),
                    stride: if block == 0 { stride } else { 1 },
                    dilation: [first_dilation, dilation],
                    branch,
                    drop_path: self.drop_path * (all.len() + 1) as f64 / total as f64,
                    shared_activation: self.shared_first_activation && all.is_empty(),
                    options: self.block,
                };
                let config = match self.pruned.get(all.len()) {
                    Some(&[first, inner, left]) => {
                        let attention = self.block.attention.map(|attention| attention.sized_for(outputs));
                        let options = BlockOptions { attention, ..self.block };
                        BlockConfig { first, inner, outputs: left, options, ..whole }
                    }
                    None => whole,
                };
                (inputs, first_dilation) = (config.outputs, dilation);
                all.push((path, config));
            }
        }
        all
    }
}

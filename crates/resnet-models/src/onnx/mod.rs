//! Networks as ONNX files, which ONNX Runtime and others run.
//!
//! Every network is a [`resnet_ops::Graph`]; the one mapping of its operations to ONNX's (opset 17) is in `nodes.rs`.

mod nodes;
mod proto;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use prost::Message;
use resnet_ops::graph::MapShape;

use crate::weights::{self, WeightsError};
use crate::{Error, Network};
use nodes::Nodes;
use proto::{Dimension, Entry, FLOAT, GraphProto, Model, OperatorSet, Size, TensorShape, TensorType, Type, ValueInfo};

/// The names of the file's input, f32 (batch, 3, size, size), normalised, and its output, f32 (batch, classes).
pub const INPUT: &str = "images";
/// See [`INPUT`].
pub const OUTPUT: &str = "logits";
/// The output's name where the network has no head: f32 (batch, channels).
pub const FEATURES: &str = "features";

/// Opset 17 came with the format's version 8.
const OPSET: i64 = 17;
const IR_VERSION: i64 = 8;
/// What a protobuf message can hold.
const MOST_BYTES: usize = (1 << 31) - 1;

/// Writes the network in evaluation mode as an ONNX file for images of `size` x `size` pixels in batches of any size.
/// `metadata` goes into the file's properties. A file already there stays until the new one is complete.
///
/// # Errors
/// [`Error::Config`] where the network has an operation that ONNX lacks or the file would be larger than 2 GiB,
/// [`Error::Tensor`] where the images do not fit, [`Error::Weights`] where the file cannot be written.
pub fn export(
    network: &Network,
    path: impl AsRef<Path>,
    size: usize,
    metadata: &BTreeMap<String, String>,
) -> Result<(), Error> {
    let path = path.as_ref();
    let wrong = |message: String| Error::Config { file: path.to_owned(), message };
    let config = network.config();
    let input = MapShape { channels: config.in_chans, height: size, width: size };
    let (output, width) = match config.classes {
        0 => (FEATURES, config.features()),
        classes => (OUTPUT, classes),
    };
    let (node, initializer) = Nodes::of(network.graph(), input, output)?.map_err(wrong)?;
    let (batch, size) = (|| Size::Name("batch".into()), || Size::Value(size as i64));
    let model = Model {
        ir_version: IR_VERSION,
        producer_name: env!("CARGO_PKG_NAME").into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(GraphProto {
            node,
            name: network.config().name.clone(),
            initializer,
            input: vec![value(INPUT, vec![batch(), Size::Value(config.in_chans as i64), size(), size()])],
            output: vec![value(output, vec![batch(), Size::Value(width as i64)])],
        }),
        opset_import: vec![OperatorSet { domain: String::new(), version: OPSET }],
        metadata_props: metadata.iter().map(|(key, value)| Entry { key: key.clone(), value: value.clone() }).collect(),
    };
    if model.encoded_len() > MOST_BYTES {
        return Err(wrong("the network is larger than 2 GiB, which one ONNX file cannot hold".into()));
    }
    weights::replace(path, |mut out| {
        out.write_all(&model.encode_to_vec()).map_err(|source| WeightsError::Write { file: path.to_owned(), source })
    })?;
    Ok(())
}

fn value(name: &str, dims: Vec<Size>) -> ValueInfo {
    let dim = dims.into_iter().map(|size| Dimension { size: Some(size) }).collect();
    let tensor = TensorType { elem_type: FLOAT, shape: Some(TensorShape { dim }) };
    ValueInfo { name: name.into(), kind: Some(Type { tensor_type: Some(tensor) }) }
}

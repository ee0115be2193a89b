//! What a file is that holds no weights that are read, and what to do about it.

use std::path::Path;

use crate::escape::show;

const ZLIB: &str = "it is compressed with zlib; unpack it first (in Python, zlib.decompress)";
const JOBLIB: &str =
    "it is a pickle of joblib's: in Python, torch.save(joblib.load(FILE), 'weights.pth'), and give weights.pth";

/// Beginnings that tell a format, and what to say of it.
const MARKS: &[(&[u8], &str)] = &[
    (b"version https://git-lfs", "it is a pointer of Git LFS; fetch the file itself with `git lfs pull`"),
    (b"\x1f\x8b", "it is compressed with gzip; unpack it first (gzip -d)"),
    (b"\xfd7zXZ\0", "it is compressed with xz; unpack it first (xz -d)"),
    (b"\x28\xb5\x2f\xfd", "it is compressed with zstd; unpack it first (zstd -d)"),
    (b"BZh", "it is compressed with bzip2; unpack it first (bzip2 -d)"),
    (b"\x04\x22\x4d\x18", "it is compressed with lz4; unpack it first (lz4 -d)"),
    (b"\x5d\0\0", "it is compressed with lzma; unpack it first (xz -d -F lzma)"),
    (b"\x78\x01", ZLIB),
    (b"\x78\x5e", ZLIB),
    (b"\x78\x9c", ZLIB),
    (b"\x78\xda", ZLIB),
    (b"7z\xbc\xaf\x27\x1c", "it is a 7z archive; unpack it first"),
    (b"Rar!\x1a\x07", "it is a RAR archive; unpack it first"),
    (b"PK\x05\x06", "it is an empty zip archive"),
    (b"\x89HDF", "it is an HDF5 file, as Keras writes (.h5); save the weights under PyTorch's names as safetensors"),
    (b"GGUF", "it is a GGUF file, for llama.cpp and its like; take the safetensors file that it was made from"),
    (b"\x93NUMPY", "it is one numpy array (.npy) without names; save a dict of arrays as safetensors"),
    (b"\x89PNG", "it is a picture (PNG), no weights"),
    (b"\xff\xd8\xff", "it is a picture (JPEG), no weights"),
    (b"GIF8", "it is a picture (GIF), no weights"),
    (b"II*\0", "it is a picture (TIFF), no weights"),
    (b"MM\0*", "it is a picture (TIFF), no weights"),
    (b"RIFF", "it is a media file (RIFF: WebP, WAV or AVI), no weights"),
    (b"%PDF", "it is a PDF document, no weights"),
    (b"PAR1", "it is a parquet file, no weights"),
    (b"\x7fELF", "it is a program or a library, no weights"),
    (b"SQLite format 3", "it is a SQLite database, no weights"),
    (b"ftrt", "it is a TensorRT engine, compiled for one GPU; take the weights that it was made from"),
    (b"\x12\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "it is a parameter file of MXNet; convert it to safetensors"),
    (b"\x08\x01\x12", "it is a SavedModel of TensorFlow; save the weights under PyTorch's names as safetensors"),
];

/// Beginnings of pickles of protocols 0 and 1, which have no mark of their own.
const OLD_PICKLES: &[&[u8]] = &[
    b"(dp",
    b"(lp",
    b"(d.",
    b"}q\0",
    b"]q\0",
    b"ccollections\n",
    b"ccopy_reg\n",
    b"c__builtin__\n",
    b"cnumpy",
    b"ctorch",
];

/// Beginnings of text, in small letters, after white space.
const TEXTS: &[(&str, &str)] = &[
    ("<!doctype", "it is a web page (HTML); the download went wrong"),
    ("<html", "it is a web page (HTML); the download went wrong"),
    ("<head", "it is a web page (HTML); the download went wrong"),
    ("<?xml", "it is XML, as servers answer errors; the download went wrong"),
    ("<error", "it is XML, as servers answer errors; the download went wrong"),
    ("model_checkpoint_path", "it is the list of a TensorFlow checkpoint; save the weights as safetensors"),
];

/// What a file without a known format is, and the mend.
pub(super) fn looks_like(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "it is empty; fetch it again".into();
    }
    if bytes.iter().take(4096).all(|&byte| byte == 0) {
        return "it holds zeros only, as a download that was never filled; fetch it again".into();
    }
    let head = &bytes[..bytes.len().min(512)];
    if OLD_PICKLES.iter().any(|begin| head.starts_with(begin)) {
        return "it is a Python pickle of protocol 0 or 1: in Python, torch.save(pickle.load(open(FILE, 'rb')), \
                'weights.pth'), and give weights.pth"
            .into();
    }
    let text = String::from_utf8_lossy(head).trim_start_matches('\u{feff}').trim_start().to_lowercase();
    if let Some((_, what)) = TEXTS.iter().find(|(mark, _)| text.starts_with(mark)) {
        return (*what).into();
    }
    if let Some((_, what)) = MARKS.iter().find(|(mark, _)| head.starts_with(mark)) {
        return (*what).into();
    }
    if head.starts_with(b"BM") && head.get(6..10) == Some(&[0; 4]) {
        return "it is a picture (BMP), no weights".into();
    }
    if head.get(4..8) == Some(b"TFL3") {
        return "it is a TFLite file; take the weights that it was made from".into();
    }
    if head.get(257..262) == Some(b"ustar") {
        return "it is a tar archive; unpack it, or for PyTorch's form before 0.2 load and save it in PyTorch".into();
    }
    // The last eight bytes of TensorFlow's index files.
    if bytes.ends_with(&0xdb47_7524_8b80_fb57u64.to_le_bytes()) {
        return "it is the index of a TensorFlow checkpoint; save the weights under PyTorch's names as safetensors"
            .into();
    }
    if is_core_ml(head) {
        return "it is a Core ML network (.mlmodel); take the weights that it was made from".into();
    }
    if is_graph(head) {
        return "it is a graph of TensorFlow (.pb); save the weights under PyTorch's names as safetensors".into();
    }
    if is_caffe(head) {
        return "it is a network of Caffe (.caffemodel); convert it to PyTorch and save the weights as safetensors"
            .into();
    }
    if is_joblib(bytes) {
        return JOBLIB.into();
    }
    if is_onnx(head) {
        return "it is an ONNX network, not PyTorch's weights; take the checkpoint that it was exported from".into();
    }
    if is_msgpack(head) {
        return "it is msgpack, as Flax writes (.msgpack); save the weights under PyTorch's names as safetensors"
            .into();
    }
    if head[0] == 0x80 {
        return "it is a Python pickle, but not one that torch.save wrote: load it in Python, and save its state_dict with \
                torch.save"
            .into();
    }
    if text.starts_with('{') || text.starts_with('[') {
        return format!("it is JSON, no weights (it begins with {}); the download may have gone wrong", begin(&text));
    }
    if std::str::from_utf8(&head[..head.len().saturating_sub(3)]).is_ok_and(|text| !text.contains('\0')) {
        return format!("it is text, no weights (it begins with {})", begin(&text));
    }
    "its first bytes are not theirs".into()
}

/// The first words of a text, fit for a message.
fn begin(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let shown: String = line.chars().take(60).flat_map(char::escape_debug).collect();
    format!("\"{shown}\"")
}

/// A protobuf message whose first field is a small version and whose next is one of those of ONNX's models.
fn is_onnx(head: &[u8]) -> bool {
    matches!(head, [0x08, 3..=20, 0x12 | 0x1a | 0x22 | 0x3a | 0x42, ..])
}

/// A map of a few entries with a string as its first key.
fn is_msgpack(head: &[u8]) -> bool {
    let after = match head {
        [0x81..=0x8f, rest @ ..] | [0xde, _, _, rest @ ..] | [0xdf, _, _, _, _, rest @ ..] => rest,
        _ => return false,
    };
    match after {
        [size @ 0xa1..=0xbf, text @ ..] => {
            let text = text.get(..usize::from(size & 0x1f));
            text.is_some_and(|text| text.iter().all(|byte| byte.is_ascii_graphic()))
        }
        [0xd9, ..] => true,
        _ => false,
    }
}

/// In words what of a network's names says that its tensors cannot be used as they are.
pub(super) fn network<'a>(names: impl Iterator<Item = &'a str>) -> Option<String> {
    let (mut means, mut variances) = (false, false);
    for name in names {
        if name.ends_with(".zero_point") || name.contains("_packed_params") {
            return Some("it is a quantized network: give the float weights that it was made from".into());
        }
        if let Some((module, rest)) = name.split_once("parametrizations.") {
            let parameter = rest.split('.').next().unwrap_or(rest);
            let module = module.trim_end_matches('.');
            return Some(format!(
                "the {} of its {} is kept as a parametrization that is not known here: in Python, \
                 torch.nn.utils.parametrize.remove_parametrizations(MODULE, '{0}') before it is saved",
                show(parameter),
                show(module)
            ));
        }
        means |= name.ends_with("._mean");
        variances |= name.ends_with("._variance");
    }
    (means && variances).then(|| {
        "it is PaddlePaddle's (its norms have _mean and _variance): rename these running_mean and running_var, transpose \
         the weights of linear layers, and save it as safetensors"
            .into()
    })
}

/// The data of a TensorFlow checkpoint, which have no mark: told by the name.
pub(super) fn named(file: &Path) -> Option<&'static str> {
    let name = file.file_name()?.to_str()?;
    let is_data = name.split_once(".data-").is_some_and(|(_, part)| part.contains("-of-"));
    is_data
        .then_some("it is the data of a TensorFlow checkpoint; save the weights under PyTorch's names as safetensors")
}

/// Whether arrays lie between a pickle's instructions.
pub(super) fn is_joblib(bytes: &[u8]) -> bool {
    let word = b"joblib.numpy_pickle";
    bytes[..bytes.len().min(4096)].windows(word.len()).any(|window| window == word)
}

/// A protobuf message of a small version and a description of inputs.
fn is_core_ml(head: &[u8]) -> bool {
    let [0x08, 1..=20, 0x12, rest @ ..] = head else { return false };
    let length = rest.iter().take(5).take_while(|byte| **byte >= 0x80).count() + 1;
    rest.get(length) == Some(&0x0a)
}

/// A protobuf message whose first field is a message or a name of that length, and what follows it.
fn first_field(head: &[u8]) -> Option<(&[u8], &[u8])> {
    let [0x0a, rest @ ..] = head else { return None };
    let &length = rest.first().filter(|byte| (1..0x80).contains(*byte))?;
    rest[1..].split_at_checked(usize::from(length))
}

/// A graph of TensorFlow: nodes, each with a name and an operation.
fn is_graph(head: &[u8]) -> bool {
    let name = first_field(head).and_then(|(node, _)| first_field(node));
    name.is_some_and(|(name, rest)| name.iter().all(u8::is_ascii_graphic) && rest.first() == Some(&0x12))
}

/// A network of Caffe: a name and layers.
fn is_caffe(head: &[u8]) -> bool {
    let layers = |rest: &[u8]| rest.starts_with(b"\xa2\x06") || rest.starts_with(b"\x12");
    first_field(head).is_some_and(|(name, rest)| name.iter().all(|byte| matches!(byte, b' '..=b'~')) && layers(rest))
}

/// What a zip archive is that torch.save did not write, by the names in it.
pub(super) fn archive(names: &[String]) -> String {
    let has = |end: &str| names.iter().any(|name| name.ends_with(end));
    if has("model.weights.h5") {
        return "it is a Keras model (.keras); save the weights under PyTorch's names as safetensors".into();
    }
    if has(".npy") {
        return "it is a zip of numpy arrays (.npz); in Python, safetensors.numpy.save_file(dict(numpy.load(FILE)), \
                'weights.safetensors'), and give that"
            .into();
    }
    if has("models/model.json") || has("serialized_exported_program.json") {
        return "it is a program of torch.export (.pt2): in Python, torch.save(torch.export.load(FILE).state_dict, \
                'weights.pth'), and give weights.pth"
            .into();
    }
    if has("coremldata.bin") || has("Manifest.json") {
        return "it is a Core ML package; take the weights that it was made from".into();
    }
    let inside: Vec<&str> = names.iter().map(String::as_str).filter(|name| !name.ends_with('/')).collect();
    if let Some(weights) =
        inside.iter().find(|name| [".pth", ".pt", ".safetensors", ".bin"].iter().any(|end| name.ends_with(end)))
    {
        let shown: String = weights.chars().take(100).flat_map(char::escape_debug).collect();
        return format!("it is a zip archive without data.pkl, no checkpoint of PyTorch's; unpack it and give {shown}");
    }
    let shown: Vec<String> =
        inside.iter().take(3).map(|name| name.chars().take(40).flat_map(char::escape_debug).collect()).collect();
    format!("it is a zip archive without data.pkl, no checkpoint of PyTorch's; it holds {}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_bytes_do_not() {
        let data = named(Path::new("a/variables.data-00000-of-00001"));
        assert!(data.is_some_and(|what| what.contains("TensorFlow")));
        assert_eq!(named(Path::new("model-00001-of-00002.safetensors")), None);
        let exported = ["e/models/model.json", "e/data/sample_inputs/model.pt"].map(str::to_owned);
        assert!(archive(&exported).contains("torch.export"));
        let network = |names: &[&str]| network(names.iter().copied());
        assert!(network(&["bn1._mean", "bn1._variance"]).is_some_and(|what| what.contains("PaddlePaddle")));
        assert!(network(&["fc.zero_point"]).is_some_and(|what| what.contains("quantized")));
        let parametrized = network(&["a.conv1.parametrizations.bias.original"]).unwrap();
        assert!(parametrized.contains("the bias of its a.conv1") && parametrized.contains("(MODULE, 'bias')"));
        assert_eq!(network(&["bn1._mean", "conv1.weight"]), None);
    }
}

//! One file of weights: what tensors it has, and their values when they are asked for.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::Tensor;
use safetensors::SafeTensors;

use super::element::{self, Element, Kind, addressable};
use super::fault::Fault;
use super::format::Format;
use super::pickle::{Arena, ArrayRef, Id, Unpickled, Value, unpickle};
use super::torch::{self, Archive, Materializer, Parts, Ranges};
use super::tree::{self, Tree};
use crate::escape::show;

/// A file's bytes, and what they describe.
pub(super) struct Part {
    pub format: Format,
    pub metadata: BTreeMap<String, String>,
    /// Names of classes, where the file has them as its own kind of program keeps them.
    pub classes: Option<Vec<String>>,
    pub tensors: Vec<Described>,
    /// Of a pickle: what else it has.
    pub tree: Tree,
    /// Of a pickle: the keys at its top.
    pub keys: Vec<String>,
    /// What the top of a pickle is, where it is no dict.
    pub root: Option<String>,
    bytes: Vec<u8>,
    content: Content,
}

/// A tensor before it is read; its shape has not been checked against its bytes.
pub(super) struct Described {
    pub name: String,
    /// How many bytes of the name are keys of dicts.
    pub entry: usize,
    pub shape: Vec<usize>,
    pub float: bool,
    /// Of a kind that torch makes by other means than plain ones: quantized, sparse.
    pub special: Option<String>,
    stored: Stored,
}

enum Stored {
    Raw { kind: Result<Kind, String>, range: Range<usize> },
    Pickled(Id),
}

enum Content {
    Safetensors,
    Zip(Arena),
    /// The last is where its pickle begins.
    Legacy(Arena, Ranges, usize),
    Pickle(Arena),
}

impl Part {
    /// # Errors
    /// When the file is damaged or holds no tensors; says what it holds instead.
    pub fn open(bytes: Vec<u8>, format: Format) -> Result<Self, Fault> {
        let bytes = if format == Format::TorchZip { torch::inflate(bytes)? } else { bytes };
        let part = |content| Self {
            format,
            metadata: BTreeMap::new(),
            classes: None,
            tensors: Vec::new(),
            tree: Tree::default(),
            keys: Vec::new(),
            root: None,
            bytes: Vec::new(),
            content,
        };
        let (mut part, unpickled) = match format {
            Format::Safetensors => {
                let mut part = part(Content::Safetensors);
                (part.metadata, part.tensors) = safetensors(&bytes)?;
                (part, None)
            }
            Format::TorchZip => {
                let unpickled = Archive::open(&bytes)?.unpickle()?;
                (part(Content::Zip(Arena::default())), Some(unpickled))
            }
            Format::TorchLegacy => {
                let (unpickled, ranges, begin) = torch::open_legacy(&bytes)?;
                (part(Content::Legacy(Arena::default(), ranges, begin)), Some(unpickled))
            }
            Format::Pickle => {
                let unpickled = unpickle(&bytes).map_err(|error| {
                    Fault::Unsupported(format!("it is a Python pickle, but not one that torch.save wrote ({error})"))
                })?;
                (part(Content::Pickle(Arena::default())), Some(unpickled))
            }
        };
        if let Some(unpickled) = unpickled {
            part.describe(unpickled)?;
        }
        part.bytes = bytes;
        Ok(part)
    }

    fn describe(&mut self, Unpickled { arena, root, .. }: Unpickled) -> Result<(), Fault> {
        let plain = matches!(self.content, Content::Pickle(_));
        self.tree = tree::walk(&arena, root, plain)?;
        if !plain && self.tree.leaves.is_empty() {
            // A dict of arrays that torch.save wrote.
            self.tree = tree::walk(&arena, root, true)?;
        }
        self.metadata = tree::scalars(&arena, root);
        self.classes = tree::classes(&arena, root);
        self.keys = tree::keys(&arena, root);
        self.root = match arena.get(root) {
            Value::Tensor(_) => Some("it holds one tensor without a name".into()),
            Value::Sequence(_) => Some("it holds a list, not a dict of tensors".into()),
            _ => None,
        };
        for leaf in std::mem::take(&mut self.tree.leaves) {
            let (shape, float, special) = match arena.get(leaf.id) {
                Value::Tensor(tensor) => (&tensor.shape[..], tensor.storage.element.is_float(), None),
                Value::Array(array) => (&array.shape[..], array.element.is_float(), None),
                Value::Object { class, .. } => {
                    (&[][..], true, Some(class.trim_start_matches("torch._utils._rebuild_")))
                }
                _ => continue,
            };
            if plain && special.is_some() {
                return Err(Fault::Unsupported(
                    "pickle.dump wrote its tensors, not torch.save: in Python, torch.save(pickle.load(open(FILE, 'rb')), \
                     'weights.pth'), and give weights.pth"
                        .into(),
                ));
            }
            self.tensors.push(Described {
                // A shape that makes no sense is told of when the tensor is read.
                shape: shape.iter().map(|&size| usize::try_from(size).unwrap_or(usize::MAX)).collect(),
                float,
                special: special.map(str::to_owned),
                name: leaf.name,
                entry: leaf.entry,
                stored: Stored::Pickled(leaf.id),
            });
        }
        match &mut self.content {
            Content::Zip(own) | Content::Legacy(own, ..) | Content::Pickle(own) => *own = arena,
            Content::Safetensors => {}
        }
        Ok(())
    }

    /// What reads the values of its tensors.
    ///
    /// # Errors
    /// When the file cannot be opened, which was done once before.
    pub fn reader(&self) -> Result<Reader<'_>, Fault> {
        let archive = match &self.content {
            Content::Zip(_) => Some(Archive::open(&self.bytes)?),
            _ => None,
        };
        let budget = self.bytes.len().saturating_mul(4);
        Ok(Reader { part: self, archive, materializer: Materializer::new(self.bytes.len()), budget })
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// Reads tensors of one file.
pub(super) struct Reader<'a> {
    part: &'a Part,
    archive: Option<Archive<'a>>,
    materializer: Materializer,
    /// Bytes of arrays that may still be made: several may share theirs.
    budget: usize,
}

impl Reader<'_> {
    /// # Errors
    /// When the tensor is of a kind that is not read, or its bytes do not bear its description out.
    pub fn tensor(&mut self, tensor: &Described) -> Result<Tensor, Fault> {
        if let Some(special) = &tensor.special {
            if special.starts_with("meta_tensor") {
                return Err(Fault::Unsupported(
                    "its tensors have no values (device meta): save the network where its weights are loaded".into(),
                ));
            }
            return Err(Fault::Unsupported(format!(
                "{} is a tensor of a kind that is not read ({}): save it as a plain tensor",
                show(&tensor.name),
                show(special),
            )));
        }
        self.plain(tensor).map_err(|fault| fault.within(&tensor.name))
    }

    fn plain(&mut self, tensor: &Described) -> Result<Tensor, Fault> {
        let part = self.part;
        let (arena, id) = match (&tensor.stored, &part.content) {
            (Stored::Raw { kind, range }, _) => {
                let kind = kind.clone().map_err(Fault::Unsupported)?;
                let bytes = part.bytes.get(range.clone()).ok_or_else(|| Fault::Damaged("it is cut off".into()))?;
                return Ok(element::tensor(kind, bytes, &tensor.shape)?);
            }
            (Stored::Pickled(id), Content::Zip(arena) | Content::Legacy(arena, ..) | Content::Pickle(arena)) => {
                (arena, *id)
            }
            (Stored::Pickled(_), Content::Safetensors) => return Err(Fault::Damaged("it has no value".into())),
        };
        match (arena.get(id), &part.content, &mut self.archive) {
            (Value::Tensor(view), Content::Legacy(_, ranges, _), _) => {
                self.materializer.tensor(view, &mut Parts { bytes: &part.bytes, ranges })
            }
            (Value::Tensor(view), _, Some(archive)) => self.materializer.tensor(view, archive),
            (Value::Array(array), content, archive) => {
                let pickle = match (content, archive) {
                    (_, Some(archive)) => archive.pickle()?,
                    (Content::Legacy(.., begin), _) => part.bytes.get(*begin..).unwrap_or_default(),
                    _ => &part.bytes,
                };
                let tensor = numpy(array, arena, pickle)?;
                let bytes = tensor.elem_count() * tensor.dtype().size_in_bytes();
                let left = self.budget.checked_sub(bytes);
                self.budget =
                    left.ok_or_else(|| Fault::Damaged("the arrays would be many times larger than the file".into()))?;
                Ok(tensor)
            }
            _ => Err(Fault::Damaged("it has no value".into())),
        }
    }
}

type Header = (BTreeMap<String, String>, Vec<Described>);

fn safetensors(bytes: &[u8]) -> Result<Header, Fault> {
    let damaged = |error: safetensors::SafeTensorError| Fault::Damaged(error.to_string());
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
    let file = SafeTensors::deserialize(bytes).map_err(damaged)?;
    let mut tensors = Vec::new();
    for (name, view) in file.iter() {
        if !addressable(view.shape()) {
            return Err(Fault::Damaged(format!("tensor {}: shape {:?} is too large", show(name), view.shape())));
        }
        let kind = Element::kind_of_safetensors(view.dtype());
        let start = view.data().as_ptr() as usize - bytes.as_ptr() as usize;
        tensors.push(Described {
            name: name.to_owned(),
            entry: 0,
            shape: view.shape().to_vec(),
            float: matches!(kind, Some(Kind::F64 | Kind::F32 | Kind::F16 | Kind::Bf16)),
            special: None,
            stored: Stored::Raw {
                kind: kind.ok_or_else(|| format!("{} is not a dtype that is read", view.dtype())),
                range: start..start + view.data().len(),
            },
        });
    }
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    if tensors.is_empty() {
        return Err(Fault::NoStateDict("it holds no tensors".into()));
    }
    let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
    Ok((metadata, tensors))
}

/// An array's values, whose bytes are part of the pickle.
fn numpy(array: &ArrayRef, arena: &Arena, pickle: &[u8]) -> Result<Tensor, Fault> {
    let damaged = |what: &str| Fault::Damaged(format!("{what} (shape {:?})", array.shape));
    let shape: Option<Vec<usize>> = array.shape.iter().map(|&size| usize::try_from(size).ok()).collect();
    let shape =
        shape.filter(|shape| addressable(shape)).ok_or_else(|| damaged("its shape is negative or too large"))?;
    let kind = array.element.kind.ok_or_else(|| damaged("its dtype is not read"))?;
    let count: usize = shape.iter().product();
    let right = |length: usize| count.checked_mul(array.element.size) == Some(length);
    let shape = if array.fortran { shape.into_iter().rev().collect() } else { shape };
    let bytes: Cow<'_, [u8]> = match arena.get(array.data) {
        Value::Bytes(range) => {
            let bytes = pickle.get(range.clone()).filter(|bytes| right(bytes.len()));
            bytes.ok_or_else(|| damaged("it has not as many bytes as its shape says"))?.into()
        }
        Value::Latin(text) => {
            let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
            let bytes = bytes.filter(|bytes| right(bytes.len()));
            bytes.ok_or_else(|| damaged("its bytes are not those of its shape"))?.into()
        }
        _ => return Err(damaged("it has no bytes")),
    };
    let tensor = if array.big_endian {
        let swapped: Vec<u8> = bytes.chunks(array.element.size).flat_map(|value| value.iter().rev().copied()).collect();
        element::tensor(kind, &swapped, &shape)?
    } else {
        element::tensor(kind, &bytes, &shape)?
    };
    // The first axis ran fastest: as rows of the transposed array.
    Ok(if array.fortran { transposed(&tensor)? } else { tensor })
}

fn transposed(tensor: &Tensor) -> candle_core::Result<Tensor> {
    let axes: Vec<usize> = (0..tensor.rank()).rev().collect();
    tensor.permute(axes)?.contiguous()
}

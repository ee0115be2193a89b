//! The names a pickle may call, as far as weights need them. Nothing is imported or run: a call is
//! recognised by its name and answered with an inert value.

use std::rc::Rc;

use super::value::{Arena, ArrayRef, Id, StorageRef, TensorRef, Value};
use crate::weights::element::Element;

/// A class or function named in a pickle.
#[derive(Clone, Debug)]
pub(crate) enum Global {
    /// `OrderedDict`, `dict`, `defaultdict`, `Counter`.
    Dict,
    /// `torch.Size`, `tuple`, `list`, `set`.
    Sequence,
    /// `_rebuild_tensor` and `_v2`, whose dtype is the storage's.
    RebuildTensor,
    /// `_rebuild_tensor_v3`, which brings its dtype.
    RebuildTyped,
    /// `_rebuild_parameter`, `_rebuild_parameter_with_state`.
    RebuildParameter,
    /// `_rebuild_from_type_v2`: a call of another function, then attributes.
    RebuildFromType,
    Storage(Element),
    Dtype(Element),
    /// `numpy.core.multiarray._reconstruct`, whose values follow.
    NumpyArray,
    /// `numpy.core.numeric._frombuffer`, which has them.
    NumpyBuffer,
    /// `numpy.dtype`.
    NumpyDtype,
    /// `numpy.core.multiarray.scalar`.
    NumpyScalar,
    /// `copyreg._reconstructor`, which makes an instance of its first argument.
    Reconstructor,
    /// `_codecs.encode`: bytes that were written as text.
    Encode,
    /// Anything else, `module.name`.
    Other(Rc<str>),
}

/// Tensors of more dimensions than this are no weights.
const MAX_RANK: usize = 16;

impl Global {
    pub fn named(module: &str, name: &str) -> Self {
        let module = if module == "__builtin__" { "builtins" } else { module };
        match (module, name) {
            ("collections", "OrderedDict" | "defaultdict" | "Counter") | ("builtins", "dict") => Self::Dict,
            ("torch", "Size") | ("builtins", "tuple" | "list" | "set" | "frozenset") => Self::Sequence,
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_tensor_v3") => Self::RebuildTyped,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Self::RebuildParameter,
            ("torch._tensor", "_rebuild_from_type_v2" | "_rebuild_from_type") => Self::RebuildFromType,
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => Self::NumpyArray,
            ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Self::NumpyScalar,
            ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Self::NumpyBuffer,
            ("numpy", "dtype") => Self::NumpyDtype,
            ("copyreg" | "copy_reg", "_reconstructor") => Self::Reconstructor,
            ("_codecs", "encode") => Self::Encode,
            ("torch" | "torch.cuda" | "torch.storage", _) => Element::of_torch_storage(name)
                .map(Self::Storage)
                .or_else(|| Element::of_torch_dtype(name).map(Self::Dtype))
                .unwrap_or_else(|| Self::other(module, name)),
            _ => Self::other(module, name),
        }
    }

    fn other(module: &str, name: &str) -> Self {
        Self::Other(format!("{module}.{name}").into())
    }

    /// What calling this with the arguments `args` (a tuple's place) gives.
    pub fn call(&self, arena: &Arena, args: Id) -> Value {
        let items = arena.sequence(args).unwrap_or_default();
        let value = match self {
            Self::Dict => Some(dict(arena, items)),
            Self::Sequence => {
                Some(items.first().map_or_else(|| Value::Sequence(Vec::new()), |&item| copy_sequence(arena, item)))
            }
            Self::RebuildTensor => rebuild_tensor(arena, items, None),
            Self::RebuildTyped => items.get(6).and_then(|&dtype| match arena.get(dtype) {
                Value::Global(Self::Dtype(element)) => rebuild_tensor(arena, items, Some(*element)),
                _ => None,
            }),
            Self::RebuildParameter => items.first().and_then(|&data| match arena.get(data) {
                tensor @ Value::Tensor(_) => Some(tensor.clone()),
                _ => None,
            }),
            Self::RebuildFromType => rebuild_from_type(arena, items),
            Self::NumpyArray => Some(Value::EmptyArray),
            Self::NumpyDtype => items.first().and_then(|&name| dtype(arena, name)),
            // `(buffer, dtype, shape, order)`
            Self::NumpyBuffer => match *items {
                [data, element, shape, order] => values(arena, (shape, element, data), |arena| {
                    arena.string(order).is_some_and(|order| &**order == "F")
                }),
                _ => None,
            },
            Self::Encode => items.first().and_then(|&text| arena.string(text)).map(|text| Value::Latin(text.clone())),
            Self::Reconstructor => items.first().and_then(|&class| match arena.get(class) {
                Value::Global(class) => Some(class.object()),
                _ => None,
            }),
            Self::NumpyScalar | Self::Storage(_) | Self::Dtype(_) | Self::Other(_) => None,
        };
        value.unwrap_or_else(|| self.object())
    }

    /// An instance nothing is known of but its class.
    pub fn object(&self) -> Value {
        let class = match self {
            Self::Other(name) => name.clone(),
            Self::RebuildTensor | Self::RebuildTyped | Self::RebuildParameter | Self::RebuildFromType => {
                "torch._utils._rebuild".into()
            }
            Self::NumpyArray | Self::NumpyBuffer => "numpy.ndarray".into(),
            Self::Dict
            | Self::Sequence
            | Self::Storage(_)
            | Self::Dtype(_)
            | Self::NumpyDtype
            | Self::NumpyScalar
            | Self::Reconstructor
            | Self::Encode => "".into(),
        };
        Value::object(class)
    }
}

/// `numpy.dtype("f4")`: its byte order follows.
fn dtype(arena: &Arena, name: Id) -> Option<Value> {
    let name: &str = arena.string(name)?;
    let element = Element::of_numpy(name.trim_start_matches(['<', '|', '=', '>']))?;
    Some(Value::Element { element, big_endian: name.starts_with('>') })
}

/// `(version, order, …)`: a dtype with its order.
pub(super) fn ordered(arena: &Arena, element: Element, state: Id) -> Option<Value> {
    let order = arena.string(*arena.sequence(state)?.get(1)?)?;
    Some(Value::Element { element, big_endian: &**order == ">" })
}

/// `(version, shape, dtype, is_fortran, bytes)`: an array's values.
pub(super) fn array(arena: &Arena, state: Id) -> Option<Value> {
    let &[_, shape, element, fortran, data] = arena.sequence(state)? else { return None };
    values(arena, (shape, element, data), |arena| matches!(arena.get(fortran), Value::Bool(true)))
}

fn values(
    arena: &Arena,
    (shape, element, data): (Id, Id, Id),
    is_fortran: impl FnOnce(&Arena) -> bool,
) -> Option<Value> {
    let &Value::Element { element, big_endian } = arena.get(element) else { return None };
    if !matches!(arena.get(data), Value::Bytes(_) | Value::Latin(_)) {
        return None;
    }
    let shape = arena.ints(shape, MAX_RANK)?;
    Some(Value::Array(Rc::new(ArrayRef { element, big_endian, shape, fortran: is_fortran(arena), data })))
}

/// A list of pairs, which is how Python 2 pickled an `OrderedDict`, or nothing.
fn dict(arena: &Arena, args: &[Id]) -> Value {
    let pairs = args.first().and_then(|&list| arena.sequence(list)).unwrap_or_default();
    let pair = |&item: &Id| match arena.sequence(item) {
        Some(&[key, value]) => Some((key, value)),
        _ => None,
    };
    Value::Dict(pairs.iter().filter_map(pair).collect())
}

/// `tuple(x)`.
fn copy_sequence(arena: &Arena, item: Id) -> Value {
    Value::Sequence(arena.sequence(item).unwrap_or_default().to_vec())
}

/// `(storage, offset, size, stride, …)`.
fn rebuild_tensor(arena: &Arena, args: &[Id], element: Option<Element>) -> Option<Value> {
    let &[storage, offset, size, stride, ..] = args else { return None };
    let Value::Storage(storage) = arena.get(storage) else { return None };
    let mut storage = storage.clone();
    if let Some(element) = element {
        // Counted in elements of the storage so far, in those of the tensor from here on.
        storage = StorageRef {
            start: storage.start.checked_mul(storage.element.size)?.checked_div(element.size)?,
            len: storage.len.checked_mul(storage.element.size)?.checked_div(element.size)?,
            element,
            key: storage.key,
        };
    }
    Some(Value::Tensor(Rc::new(TensorRef {
        storage,
        offset: arena.int(offset)?,
        shape: arena.ints(size, MAX_RANK)?,
        stride: arena.ints(stride, MAX_RANK)?,
    })))
}

/// `(function, type, args, state)`: the function decides, one level deep.
fn rebuild_from_type(arena: &Arena, args: &[Id]) -> Option<Value> {
    let (&function, &inner) = (args.first()?, args.get(2)?);
    match arena.get(function) {
        Value::Global(function @ (Global::RebuildTensor | Global::RebuildTyped | Global::RebuildParameter)) => {
            match function.call(arena, inner) {
                tensor @ Value::Tensor(_) => Some(tensor),
                _ => None,
            }
        }
        _ => None,
    }
}

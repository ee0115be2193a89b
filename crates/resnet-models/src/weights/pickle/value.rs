//! The inert values an unpickled file is made of.

use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use super::globals::Global;
use crate::weights::element::Element;

/// A value's place in the [`Arena`].
///
/// Values refer to each other by place rather than by pointer, so that a file whose lists hold
/// themselves leaks nothing, and dropping one nested a million deep needs no stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Id(u32);

/// A storage as a checkpoint names it: the bytes are elsewhere in the file.
#[derive(Clone, Debug)]
pub(crate) struct StorageRef {
    pub key: Rc<str>,
    pub element: Element,
    /// Where this view of the storage begins, in elements (only very old files use it).
    pub start: usize,
    /// Length in elements.
    pub len: usize,
}

/// A tensor as a checkpoint describes it; nothing here has been checked against the storage.
#[derive(Clone, Debug)]
pub(crate) struct TensorRef {
    pub storage: StorageRef,
    /// In elements from the storage's start.
    pub offset: i64,
    pub shape: Vec<i64>,
    /// In elements.
    pub stride: Vec<i64>,
}

/// One unpickled value. What a checkpoint of weights has no use for is an [`Value::Object`].
#[derive(Clone, Debug)]
pub(crate) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(Rc<str>),
    Sequence(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Storage(StorageRef),
    Tensor(Rc<TensorRef>),
    /// An instance of some other class (`class` may be empty); `items` is what was put in it by
    /// subscript. Its code is never run: it is a name.
    Object {
        class: Rc<str>,
        items: Vec<(Id, Id)>,
        /// What `BUILD` gave it: its attributes.
        state: Option<Id>,
    },
    /// Bytes, where they lie in the pickle.
    Bytes(Range<usize>),
    /// Bytes that an older protocol wrote as text, a character a byte.
    Latin(Rc<str>),
    /// A numpy array that has not been given its values yet.
    EmptyArray,
    /// A numpy array.
    Array(Rc<ArrayRef>),
    /// An element type of numpy (`f4`), and whether its bytes are big-endian.
    Element {
        element: Element,
        big_endian: bool,
    },
}

impl Value {
    /// An instance that nothing is known of but its class.
    pub fn object(class: impl Into<Rc<str>>) -> Self {
        Self::Object { class: class.into(), items: Vec::new(), state: None }
    }
}

/// A numpy array as a pickle describes it; nothing here has been checked against its bytes.
#[derive(Clone, Debug)]
pub(crate) struct ArrayRef {
    pub element: Element,
    /// Whether the first byte of an element is its highest.
    pub big_endian: bool,
    pub shape: Vec<i64>,
    /// Whether the first axis is the one whose neighbours lie side by side.
    pub fortran: bool,
    /// [`Value::Bytes`] or [`Value::Latin`].
    pub data: Id,
}

/// Owner of every value of one pickle.
#[derive(Default)]
pub(crate) struct Arena {
    values: Vec<Value>,
    /// What all containers held when they came in, together.
    slots: usize,
}

/// More values than a checkpoint has use for: one with an optimizer's state has some ten thousand.
const MAX_VALUES: usize = 4_000_000;

/// More places in tuples, lists and dicts than a checkpoint has use for.
const MAX_SLOTS: usize = 4 * MAX_VALUES;

impl Arena {
    /// Takes a value in; `None` when the arena is full. Copies of one long list, made over and
    /// over, fill it too.
    pub fn push(&mut self, value: Value) -> Option<Id> {
        let id = u32::try_from(self.values.len()).ok()?;
        self.slots = self.slots.saturating_add(match &value {
            Value::Sequence(items) => items.len(),
            Value::Dict(items) => items.len(),
            Value::Global(Global::Other(name)) => name.len() / 8,
            _ => 0,
        });
        if self.values.len() >= MAX_VALUES || self.slots > MAX_SLOTS {
            return None;
        }
        self.values.push(value);
        Some(Id(id))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Value> {
        self.values.iter()
    }

    pub fn get(&self, id: Id) -> &Value {
        // Ids are made by `push` alone and values are never taken out.
        &self.values[id.0 as usize]
    }

    pub fn get_mut(&mut self, id: Id) -> &mut Value {
        &mut self.values[id.0 as usize]
    }

    pub fn string(&self, id: Id) -> Option<&Rc<str>> {
        match self.get(id) {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    pub fn int(&self, id: Id) -> Option<i64> {
        match self.get(id) {
            Value::Int(value) => Some(*value),
            _ => None,
        }
    }

    pub fn sequence(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// Attributes of an object, by name.
    pub fn attribute(&self, id: Id, name: &str) -> Option<Id> {
        let Value::Object { state: Some(state), .. } = self.get(id) else { return None };
        let entries = self.entries(*state)?;
        entries.iter().rfind(|&&(key, _)| self.string(key).is_some_and(|key| &**key == name)).map(|entry| entry.1)
    }

    /// The entries of a dict, or of an object that was filled like one.
    pub fn entries(&self, id: Id) -> Option<&[(Id, Id)]> {
        match self.get(id) {
            Value::Dict(items) => Some(items),
            Value::Object { items, .. } if !items.is_empty() => Some(items),
            _ => None,
        }
    }

    /// A tuple or list of whole numbers, at most `limit` of them.
    pub fn ints(&self, id: Id, limit: usize) -> Option<Vec<i64>> {
        let items = self.sequence(id)?;
        if items.len() > limit {
            return None;
        }
        items.iter().map(|&item| self.int(item)).collect()
    }
}

/// What the pickler numbered for later use.
pub(crate) type Memo = HashMap<u32, Id>;

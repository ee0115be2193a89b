//! A small unpickler for checkpoints: protocols 0 to 5, nothing executed.
//!
//! Python's pickle is a program for a stack machine. This machine runs the instructions that build
//! values; where Python would import and call, [`globals::Global`] recognises the few names that
//! tensors are made with, and every other call gives an inert object.

mod globals;
mod reader;
mod value;

use std::rc::Rc;

pub(crate) use globals::Global;
use reader::Reader;
pub(crate) use value::{Arena, ArrayRef, Id, Memo, StorageRef, TensorRef, Value};

/// Why a pickle could not be read, and where.
#[derive(Debug, thiserror::Error)]
#[error("at byte {at} of its pickle: {what}")]
pub(crate) struct PickleError {
    pub at: usize,
    pub what: String,
}

/// What a pickle was found to hold.
pub(crate) struct Unpickled {
    pub arena: Arena,
    pub root: Id,
    /// Bytes of the input that the pickle took; another may follow.
    pub length: usize,
}

/// Reads one pickle from the start of `bytes`.
///
/// # Errors
/// When `bytes` ends too early, an instruction is unknown or finds no operand, or the values are
/// more than a checkpoint could need.
pub(crate) fn unpickle(bytes: &[u8]) -> Result<Unpickled, PickleError> {
    let mut machine = Machine {
        reader: Reader::new(bytes),
        arena: Arena::default(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: Memo::new(),
    };
    match machine.run() {
        Ok(root) => Ok(Unpickled { length: machine.reader.position(), root, arena: machine.arena }),
        Err(what) => Err(PickleError { at: machine.reader.position(), what }),
    }
}

type Step<T = ()> = Result<T, String>;

struct Machine<'a> {
    reader: Reader<'a>,
    arena: Arena,
    stack: Vec<Id>,
    /// Heights of the stack at which a `MARK` stands.
    marks: Vec<usize>,
    memo: Memo,
}

impl Machine<'_> {
    fn run(&mut self) -> Step<Id> {
        loop {
            let op = self.reader.byte()?;
            if op == b'.' {
                return self.pop();
            }
            self.step(op)?;
        }
    }

    fn step(&mut self, op: u8) -> Step {
        match op {
            0x80 => self.reader.take(1).map(drop), // PROTO
            0x95 => self.reader.take(8).map(drop), // FRAME
            0x98 => Ok(()),                        // READONLY_BUFFER
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' => self.discard(),
            b'1' => self.pop_mark().map(drop),
            b'2' => {
                let top = self.peek()?;
                self.stack.push(top);
                Ok(())
            }
            b'p' | b'q' | b'r' | 0x94 => self.put(op),
            b'g' | b'h' | b'j' => self.get(op),
            b')' => self.push(Value::Sequence(Vec::new())),
            0x85 => self.tuple(1),
            0x86 => self.tuple(2),
            0x87 => self.tuple(3),
            b't' | b'l' | 0x91 => {
                let items = self.pop_mark()?;
                self.push(Value::Sequence(items))
            }
            b']' | 0x8f => self.push(Value::Sequence(Vec::new())),
            b'}' => self.push(Value::Dict(Vec::new())),
            b'd' => {
                let items = self.pop_mark()?;
                self.push(Value::Dict(pairs(&items)))
            }
            b'a' => {
                let item = self.pop()?;
                self.extend(vec![item])
            }
            b'e' | 0x90 => {
                let items = self.pop_mark()?;
                self.extend(items)
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.update(vec![(key, value)])
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.update(pairs(&items))
            }
            b'c' | 0x93 | b'i' | 0x82..=0x84 => self.global(op),
            b'R' | 0x81 | 0x92 | b'o' => self.call(op),
            b'b' => self.build(),
            b'P' | b'Q' => self.persistent(op),
            _ => {
                let value = self.reader.scalar(op)?;
                self.push(value)
            }
        }
    }

    fn push(&mut self, value: Value) -> Step {
        let id = self.arena.push(value).ok_or("it makes more values than a checkpoint has use for")?;
        self.stack.push(id);
        Ok(())
    }

    fn peek(&self) -> Step<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.last() {
            Some(&top) if self.stack.len() > floor => Ok(top),
            _ => Err("an instruction lacks its operand".into()),
        }
    }

    fn pop(&mut self) -> Step<Id> {
        let top = self.peek()?;
        self.stack.pop();
        Ok(top)
    }

    fn discard_value(&mut self) -> Step {
        self.pop().map(drop)
    }

    /// `POP` takes a mark away when one is on top.
    fn discard(&mut self) -> Step {
        if self.marks.last() == Some(&self.stack.len()) {
            self.marks.pop();
            return Ok(());
        }
        self.discard_value()
    }

    fn pop_mark(&mut self) -> Step<Vec<Id>> {
        let floor = self.marks.pop().ok_or("an instruction lacks its mark")?;
        // `pop` never goes below a mark, so the stack is at least this high.
        Ok(self.stack.split_off(floor.min(self.stack.len())))
    }

    fn tuple(&mut self, n: usize) -> Step {
        let mut items = Vec::with_capacity(n);
        for _ in 0..n {
            items.push(self.pop()?);
        }
        items.reverse();
        self.push(Value::Sequence(items))
    }

    fn put(&mut self, op: u8) -> Step {
        let index = match op {
            0x94 => u32::try_from(self.memo.len()).map_err(|_| "its memo is too long")?,
            _ => self.reader.index(op)?,
        };
        let top = self.peek()?;
        self.memo.insert(index, top);
        Ok(())
    }

    fn get(&mut self, op: u8) -> Step {
        let index = self.reader.index(op)?;
        let id = *self.memo.get(&index).ok_or_else(|| format!("it recalls value {index}, which it never made"))?;
        self.stack.push(id);
        Ok(())
    }

    /// Appends to the list on top; what is appended to anything else is dropped.
    fn extend(&mut self, items: Vec<Id>) -> Step {
        let list = self.peek()?;
        if let Value::Sequence(have) = self.arena.get_mut(list) {
            have.extend(items);
        }
        Ok(())
    }

    /// Puts entries into the dict (or an object used like one) on top.
    fn update(&mut self, entries: Vec<(Id, Id)>) -> Step {
        let dict = self.peek()?;
        if let Value::Dict(have) | Value::Object { items: have, .. } = self.arena.get_mut(dict) {
            have.extend(entries);
        }
        Ok(())
    }

    fn global(&mut self, op: u8) -> Step {
        let global = match op {
            b'c' | b'i' => {
                let module = self.reader.line()?;
                let name = self.reader.line()?;
                Global::named(&module, &name)
            }
            0x93 => {
                let name = self.pop()?;
                let module = self.pop()?;
                match (self.arena.string(module), self.arena.string(name)) {
                    (Some(module), Some(name)) if module.len() + name.len() < 1024 => Global::named(module, name),
                    _ => return Err("it names a class by something that is no short string".into()),
                }
            }
            // EXT1, EXT2, EXT4: a number agreed on between programs.
            _ => {
                self.reader.take(1 << (op - 0x82))?;
                Global::Other(Rc::from("an extension"))
            }
        };
        if op == b'i' {
            self.pop_mark()?;
            return self.push(global.object());
        }
        self.push(Value::Global(global))
    }

    /// `REDUCE`, `NEWOBJ`, `NEWOBJ_EX` and `OBJ`: a callable and its arguments become one value.
    fn call(&mut self, op: u8) -> Step {
        if op == b'o' {
            let items = self.pop_mark()?;
            let value = match items.first().map(|&class| self.arena.get(class)) {
                Some(Value::Global(global)) => global.object(),
                _ => return Err("it makes an object of no class".into()),
            };
            return self.push(value);
        }
        if op == 0x92 {
            self.discard_value()?; // keyword arguments
        }
        let args = self.pop()?;
        let callable = self.pop()?;
        let value = match self.arena.get(callable) {
            Value::Global(global) => global.call(&self.arena, args),
            Value::Object { class, .. } => Value::object(class.clone()),
            _ => Value::object(""),
        };
        self.push(value)
    }

    /// `BUILD`: attributes of an object, and the values of a numpy array.
    fn build(&mut self) -> Step {
        let given = self.pop()?;
        let target = self.peek()?;
        let array = match self.arena.get(target) {
            Value::EmptyArray => globals::array(&self.arena, given),
            Value::Element { element, .. } => globals::ordered(&self.arena, *element, given),
            _ => None,
        };
        match (self.arena.get_mut(target), array) {
            (Value::Object { state, .. }, _) => *state = Some(given),
            (value @ (Value::EmptyArray | Value::Element { .. }), made) => {
                *value = made.unwrap_or_else(|| Value::object("numpy.ndarray"))
            }
            // Attributes of dicts and the like decide nothing about weights.
            _ => {}
        }
        Ok(())
    }

    /// A persistent id is how PyTorch refers to a storage: `("storage", type, key, location,
    /// length)`, in the legacy form followed by `None` or `(key, offset, length)` of a view.
    fn persistent(&mut self, op: u8) -> Step {
        if op == b'P' {
            self.reader.line()?;
            return self.push(Value::object(""));
        }
        let id = self.pop()?;
        // Of whole modules the legacy form keeps the classes so: `("module", class, file, source)`.
        if let Some(&[tag, class, ..]) = self.arena.sequence(id)
            && self.arena.string(tag).is_some_and(|tag| &**tag == "module")
        {
            self.stack.push(class);
            return Ok(());
        }
        let storage = self.storage(id);
        self.push(storage.map_or_else(|| Value::object(""), Value::Storage))
    }

    fn storage(&self, id: Id) -> Option<StorageRef> {
        let arena = &self.arena;
        let &[tag, class, key, _location, len, ref view @ ..] = arena.sequence(id)? else { return None };
        if &**arena.string(tag)? != "storage" {
            return None;
        }
        let Value::Global(Global::Storage(element)) = arena.get(class) else { return None };
        let (start, len) = match view.first().map(|&view| (arena.get(view), arena.sequence(view))) {
            Some((_, Some(&[_key, start, len]))) => (arena.int(start)?, arena.int(len)?),
            Some((Value::None, _)) | None => (0, arena.int(len)?),
            Some(_) => return None,
        };
        Some(StorageRef {
            key: arena.string(key)?.clone(),
            element: *element,
            start: start.try_into().ok()?,
            len: len.try_into().ok()?,
        })
    }
}

/// Keys and values in turns; an odd one out is dropped.
fn pairs(items: &[Id]) -> Vec<(Id, Id)> {
    items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
}

#[cfg(test)]
mod tests;

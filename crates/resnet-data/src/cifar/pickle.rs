//! Just enough of Python's pickle format to read CIFAR's files. Nothing is executed: a call becomes an [`Value::Object`]
//! that names what would have been called.
//!
//! Values live in one list and refer to each other by number, because a pickle may fill a list after it was stored.

use std::collections::HashMap;

/// A value; `usize` are numbers of other values.
#[derive(Debug, PartialEq)]
pub(super) enum Value<'a> {
    None,
    /// Also booleans.
    Integer(i64),
    Float,
    /// Bytes or text, which Python 2 does not tell apart.
    Text(&'a [u8]),
    /// A list or a tuple.
    Sequence(Vec<usize>),
    Dictionary(Vec<(usize, usize)>),
    /// `module.name`.
    Global(String),
    /// A call that was not made: what, with which arguments, and the state set afterwards.
    Object {
        class: String,
        arguments: usize,
        state: Option<usize>,
    },
}

/// A pickle that has been read.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    root: usize,
}

type Outcome<T> = Result<T, String>;

/// No name of a class of Python's is longer: each call notes its own, so that long ones would fill the memory.
const LONGEST_NAME: usize = 256;

impl<'a> Pickle<'a> {
    /// Reads a pickle of protocol 1 to 5.
    pub(super) fn read(bytes: &'a [u8]) -> Outcome<Self> {
        let mut machine =
            Machine { bytes, at: 0, values: Vec::new(), stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
        let root = machine.run().map_err(|message| format!("{message} at byte {}", machine.at))?;
        Ok(Self { values: machine.values, root })
    }

    /// The value that the pickle stands for.
    pub(super) fn root(&self) -> usize {
        self.root
    }

    pub(super) fn get(&self, value: usize) -> Option<&Value<'a>> {
        self.values.get(value)
    }

    /// The value under a key of text in a dictionary.
    pub(super) fn entry(&self, dictionary: usize, key: &str) -> Option<usize> {
        let Value::Dictionary(entries) = self.get(dictionary)? else { return None };
        let found = entries
            .iter()
            .find(|(name, _)| matches!(self.get(*name), Some(Value::Text(text)) if *text == key.as_bytes()));
        found.map(|&(_, value)| value)
    }

    /// The items of a list or tuple.
    pub(super) fn items(&self, value: usize) -> Option<&[usize]> {
        match self.get(value)? {
            Value::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// A list or tuple of whole numbers.
    pub(super) fn integers(&self, value: usize) -> Option<Vec<i64>> {
        let number = |&item: &usize| match self.get(item) {
            Some(Value::Integer(number)) => Some(*number),
            _ => None,
        };
        self.items(value)?.iter().map(number).collect()
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value<'a>>,
    stack: Vec<usize>,
    marks: Vec<usize>,
    memo: HashMap<u32, usize>,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Outcome<usize> {
        loop {
            let [code] = self.fixed()?;
            match code {
                b'.' => return self.pop(),
                0x80 => drop(self.fixed::<1>()?),
                0x95 => drop(self.fixed::<8>()?),
                b'(' => self.marks.push(self.stack.len()),
                b'0' => drop(self.pop()?),
                b'N' => self.push(Value::None),
                0x88 => self.push(Value::Integer(1)),
                0x89 => self.push(Value::Integer(0)),
                b'J' => {
                    let number = i32::from_le_bytes(self.fixed()?);
                    self.push(Value::Integer(number.into()));
                }
                b'K' => {
                    let [number] = self.fixed()?;
                    self.push(Value::Integer(number.into()));
                }
                b'M' => {
                    let number = u16::from_le_bytes(self.fixed()?);
                    self.push(Value::Integer(number.into()));
                }
                0x8a => self.long()?,
                b'G' => {
                    self.fixed::<8>()?;
                    self.push(Value::Float);
                }
                b'U' | b'C' | 0x8c => {
                    let [length] = self.fixed()?;
                    self.text(length.into())?;
                }
                b'T' | b'X' | b'B' => {
                    let length = u32::from_le_bytes(self.fixed()?);
                    self.text(length as usize)?;
                }
                0x8d | 0x8e => {
                    let length = u64::from_le_bytes(self.fixed()?);
                    self.text(usize::try_from(length).map_err(|_| "text is too long")?)?;
                }
                b']' | b')' => self.push(Value::Sequence(Vec::new())),
                b'}' => self.push(Value::Dictionary(Vec::new())),
                b'l' | b't' => {
                    let items = self.since_mark()?;
                    self.push(Value::Sequence(items));
                }
                0x85..=0x87 => {
                    let count = usize::from(code - 0x84);
                    let start = self.stack.len().checked_sub(count).ok_or("the stack is empty")?;
                    let items = self.stack.split_off(start);
                    self.push(Value::Sequence(items));
                }
                b'a' => {
                    let item = self.pop()?;
                    self.extend(vec![item])?;
                }
                b'e' => {
                    let items = self.since_mark()?;
                    self.extend(items)?;
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.insert(vec![key, value])?;
                }
                b'u' => {
                    let items = self.since_mark()?;
                    self.insert(items)?;
                }
                b'q' => {
                    let [place] = self.fixed()?;
                    self.store(place.into())?;
                }
                b'r' => {
                    let place = u32::from_le_bytes(self.fixed()?);
                    self.store(place)?;
                }
                0x94 => self.store(self.memo.len() as u32)?,
                b'h' => {
                    let [place] = self.fixed()?;
                    self.recall(place.into())?;
                }
                b'j' => {
                    let place = u32::from_le_bytes(self.fixed()?);
                    self.recall(place)?;
                }
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.push(Value::Global(format!("{module}.{name}")));
                }
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    let (Value::Text(module), Value::Text(name)) = (&self.values[module], &self.values[name]) else {
                        return Err("a name that is no text".to_string());
                    };
                    if module.len().max(name.len()) > LONGEST_NAME {
                        return Err("a name has no end".to_string());
                    }
                    let (module, name) = (String::from_utf8_lossy(module), String::from_utf8_lossy(name));
                    self.push(Value::Global(format!("{module}.{name}")));
                }
                b'R' | 0x81 => self.call()?,
                b'b' => {
                    let state = self.pop()?;
                    let object = self.top()?;
                    match &mut self.values[object] {
                        Value::Object { state: place, .. } => *place = Some(state),
                        _ => return Err("a state for what is no object".to_string()),
                    }
                }
                other => return Err(format!("unknown code {other:#04x}")),
            }
        }
    }

    fn take(&mut self, length: usize) -> Outcome<&'a [u8]> {
        let end = self.at.checked_add(length).filter(|&end| end <= self.bytes.len()).ok_or("it ends too early")?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| "it ends too early".to_string())
    }

    fn line(&mut self) -> Outcome<String> {
        let near = self.bytes[self.at..].iter().take(LONGEST_NAME + 1);
        let length = near.copied().position(|byte| byte == b'\n').ok_or("a name has no end")?;
        let line = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.take(1)?;
        Ok(line)
    }

    fn push(&mut self, value: Value<'a>) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    fn pop(&mut self) -> Outcome<usize> {
        Ok(self.stack.pop().ok_or("the stack is empty")?)
    }

    fn top(&self) -> Outcome<usize> {
        Ok(*self.stack.last().ok_or("the stack is empty")?)
    }

    fn since_mark(&mut self) -> Outcome<Vec<usize>> {
        let mark = self.marks.pop().ok_or("no mark")?;
        if mark > self.stack.len() {
            return Err("the stack is shorter than its mark".to_string());
        }
        Ok(self.stack.split_off(mark))
    }

    fn text(&mut self, length: usize) -> Outcome<()> {
        let text = self.take(length)?;
        self.push(Value::Text(text));
        Ok(())
    }

    fn long(&mut self) -> Outcome<()> {
        let [length] = self.fixed()?;
        let bytes = self.take(length.into())?;
        if bytes.len() > 8 {
            return Err("a number of more than 64 bits".to_string());
        }
        // Two's complement: the last byte's sign fills the rest.
        let mut wide = if bytes.last().is_some_and(|&last| last >= 0x80) { [0xff; 8] } else { [0; 8] };
        wide[..bytes.len()].copy_from_slice(bytes);
        self.push(Value::Integer(i64::from_le_bytes(wide)));
        Ok(())
    }

    fn extend(&mut self, items: Vec<usize>) -> Outcome<()> {
        let list = self.top()?;
        match &mut self.values[list] {
            Value::Sequence(list) => list.extend(items),
            _ => return Err("an item for what is no list".to_string()),
        }
        Ok(())
    }

    fn insert(&mut self, items: Vec<usize>) -> Outcome<()> {
        let dictionary = self.top()?;
        match &mut self.values[dictionary] {
            Value::Dictionary(entries) => entries.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1]))),
            _ => return Err("an entry for what is no dictionary".to_string()),
        }
        Ok(())
    }

    fn store(&mut self, place: u32) -> Outcome<()> {
        let value = self.top()?;
        self.memo.insert(place, value);
        Ok(())
    }

    fn recall(&mut self, place: u32) -> Outcome<()> {
        let value = *self.memo.get(&place).ok_or_else(|| format!("nothing stored under {place}"))?;
        self.stack.push(value);
        Ok(())
    }

    /// Notes a call instead of making it. Text that Python 3 writes for Python 2 (`_codecs.encode`) stays unread: CIFAR
    /// has none.
    fn call(&mut self) -> Outcome<()> {
        let (arguments, class) = (self.pop()?, self.pop()?);
        let Value::Global(class) = &self.values[class] else { return Err("a call of what is no name".to_string()) };
        let class = class.clone();
        self.push(Value::Object { class, arguments, state: None });
        Ok(())
    }
}

//! A machine for pickles of state dicts. It builds containers, numbers, texts and views of storages, and calls nothing.
//!
//! The operations are those that Python's pickler writes in protocols 2 to 5 for such values; any other is an error with
//! its offset. Memory grows with the pickle's own length: no number in it is taken as a size of anything.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::super::{StoredError, StoredTensor};
use super::value::{Global, Pickled, Storage, Value};

/// Longest pickle. A tensor takes about 200 bytes of it.
const LONGEST: usize = 16 << 20;

/// Most values of each kind, on the stack, in the memo and in dicts: enough for some 50,000 tensors. A short pickle can
/// repeat what it holds by references, so its length alone would not bound what is built.
const MOST: usize = 1 << 18;

/// Most characters of the file's own text in an error.
const MOST_SHOWN: usize = 80;

/// Runs a pickle. `storages` holds the range in the file of each key's storage.
pub(super) fn run<'a>(
    pickle: &'a [u8],
    storages: &'a BTreeMap<&'a str, Range<usize>>,
) -> Result<Pickled<'a>, StoredError> {
    let mut machine = Machine {
        pickle,
        storages,
        start: 0,
        at: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        tuples: Vec::new(),
        dicts: Vec::new(),
        items: 0,
        stored: Vec::new(),
        tensors: Vec::new(),
    };
    if pickle.len() > LONGEST {
        return Err(machine.refused("at most 16 MiB", format!("{} bytes", pickle.len())));
    }
    let root = loop {
        if let Some(root) = machine.step()? {
            break root;
        }
        let sizes = [
            machine.stack.len(),
            machine.marks.len(),
            machine.memo.len(),
            machine.tuples.len(),
            machine.dicts.len(),
            machine.items,
            machine.stored.len(),
            machine.tensors.len(),
        ];
        if sizes.iter().any(|&size| size > MOST) {
            return Err(machine.refused("at most 2^18 values of a kind", "more".into()));
        }
    };
    if machine.at != pickle.len() || !machine.stack.is_empty() || !machine.marks.is_empty() {
        return Err(machine.refused("one value as a whole", "more after it".into()));
    }
    Ok(Pickled { root, dicts: machine.dicts, tensors: machine.tensors })
}

struct Machine<'a> {
    pickle: &'a [u8],
    storages: &'a BTreeMap<&'a str, Range<usize>>,
    /// Offset of the current operation.
    start: usize,
    /// Offset of the next byte.
    at: usize,
    stack: Vec<Value<'a>>,
    /// Heights of the stack at which groups of values begin.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    tuples: Vec<Vec<Value<'a>>>,
    dicts: Vec<Vec<(Value<'a>, Value<'a>)>>,
    /// How many items all dicts have together.
    items: usize,
    stored: Vec<Storage>,
    tensors: Vec<StoredTensor>,
}

impl<'a> Machine<'a> {
    fn refused(&self, expected: &'static str, found: String) -> StoredError {
        StoredError::Pickle { offset: self.start, expected, found }
    }

    /// Executes one operation; returns the root value at the last one.
    fn step(&mut self) -> Result<Option<Value<'a>>, StoredError> {
        self.start = self.at;
        match self.byte()? {
            // PROTO
            0x80 => match self.byte()? {
                2..=5 => {}
                other => return Err(self.refused("protocol 2 to 5", format!("protocol {other}"))),
            },
            // FRAME: a hint for readers of streams
            0x95 => drop(self.take(8)?),
            // STOP
            b'.' => return Ok(Some(self.pop()?)),
            // MARK, POP, POP_MARK
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.group()?),
            // NONE, NEWTRUE, NEWFALSE
            b'N' => self.stack.push(Value::None),
            0x88 | 0x89 => self.stack.push(Value::Bool),
            // BININT, BININT1, BININT2, LONG1, LONG4, BINFLOAT
            b'J' => {
                let number = i32::from_le_bytes(self.array()?);
                self.stack.push(Value::Int(number.into()));
            }
            b'K' => {
                let number = self.byte()?;
                self.stack.push(Value::Int(number.into()));
            }
            b'M' => {
                let number = u16::from_le_bytes(self.array()?);
                self.stack.push(Value::Int(number.into()));
            }
            0x8a => self.long(1)?,
            0x8b => self.long(4)?,
            b'G' => {
                self.take(8)?;
                self.stack.push(Value::Number);
            }
            // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8, and the strings of Python 2: SHORT_BINSTRING, BINSTRING
            0x8c | b'U' => self.text(1)?,
            b'X' | b'T' => self.text(4)?,
            0x8d => self.text(8)?,
            // SHORT_BINBYTES, BINBYTES, BINBYTES8
            b'C' => self.bytes(1)?,
            b'B' => self.bytes(4)?,
            0x8e => self.bytes(8)?,
            // EMPTY_LIST, LIST, APPEND, APPENDS
            b']' => self.stack.push(Value::List),
            b'l' => {
                self.group()?;
                self.stack.push(Value::List);
            }
            b'a' => {
                self.pop()?;
                self.list_below()?;
            }
            b'e' => {
                self.group()?;
                self.list_below()?;
            }
            // EMPTY_TUPLE, TUPLE1, TUPLE2, TUPLE3, TUPLE
            b')' => self.tuple(Vec::new()),
            count @ 0x85..=0x87 => {
                let mut items = (0..count - 0x84).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
                items.reverse();
                self.tuple(items);
            }
            b't' => {
                let items = self.group()?;
                self.tuple(items);
            }
            // EMPTY_DICT, DICT, SETITEM, SETITEMS
            b'}' => self.dict(Vec::new()),
            b'd' => {
                let pairs = self.pairs()?;
                self.dict(pairs);
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                let dict = self.dict_below()?;
                self.items += 1;
                self.dicts[dict].push((key, value));
            }
            b'u' => {
                let pairs = self.pairs()?;
                let dict = self.dict_below()?;
                self.items += pairs.len();
                self.dicts[dict].extend(pairs);
            }
            // BINPUT, LONG_BINPUT, MEMOIZE
            b'q' => {
                let key = self.byte()?.into();
                self.put(key)?;
            }
            b'r' => {
                let key = u32::from_le_bytes(self.array()?);
                self.put(key)?;
            }
            0x94 => self.put(self.memo.len() as u32)?,
            // BINGET, LONG_BINGET
            b'h' => {
                let key = self.byte()?.into();
                self.get(key)?;
            }
            b'j' => {
                let key = u32::from_le_bytes(self.array()?);
                self.get(key)?;
            }
            // GLOBAL, STACK_GLOBAL
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)?;
            }
            0x93 => match (self.pop()?, self.pop()?) {
                (Value::Text(name), Value::Text(module)) => self.global(module, name)?,
                (name, _) => return Err(self.refused("the name of a global", name.kind().into())),
            },
            // BINPERSID, REDUCE, BUILD
            b'Q' => {
                let id = self.pop()?;
                self.persistent(id)?;
            }
            b'R' => {
                let (arguments, callee) = (self.pop()?, self.pop()?);
                let value = self.reduce(callee, arguments)?;
                self.stack.push(value);
            }
            b'b' => self.build()?,
            other => return Err(self.refused("an operation of a state dict", format!("operation {other:#04x}"))),
        }
        Ok(None)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], StoredError> {
        let rest = &self.pickle[self.at..];
        let Some(bytes) = rest.get(..count) else {
            return Err(self.refused("more bytes", format!("{} of {count}", rest.len())));
        };
        self.at += count;
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8, StoredError> {
        Ok(self.take(1)?[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], StoredError> {
        Ok(*self.take(N)?.first_chunk().expect("as many bytes were taken"))
    }

    /// Bytes after a length that itself has 1, 4 or 8 bytes.
    fn counted(&mut self, width: usize) -> Result<&'a [u8], StoredError> {
        let mut length = [0; 8];
        length[..width].copy_from_slice(self.take(width)?);
        let length = usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX);
        self.take(length)
    }

    fn text(&mut self, width: usize) -> Result<(), StoredError> {
        let bytes = self.counted(width)?;
        let text = std::str::from_utf8(bytes).map_err(|e| self.refused("UTF-8", e.to_string()))?;
        self.stack.push(Value::Text(text));
        Ok(())
    }

    fn bytes(&mut self, width: usize) -> Result<(), StoredError> {
        self.counted(width)?;
        self.stack.push(Value::Bytes);
        Ok(())
    }

    /// An integer in two's complement of as many bytes as it needs.
    fn long(&mut self, width: usize) -> Result<(), StoredError> {
        let bytes = self.counted(width)?;
        let value = match bytes.len() {
            length @ 0..=8 => {
                let negative = bytes.last().is_some_and(|&byte| byte >= 0x80);
                let mut wide = [if negative { 0xff } else { 0 }; 8];
                wide[..length].copy_from_slice(bytes);
                Value::Int(i64::from_le_bytes(wide))
            }
            _ => Value::Number,
        };
        self.stack.push(value);
        Ok(())
    }

    /// A text up to the end of its line.
    fn line(&mut self) -> Result<&'a str, StoredError> {
        let rest = &self.pickle[self.at..];
        let length = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
        let line = self.take(length)?;
        self.take(1)?;
        std::str::from_utf8(line).map_err(|e| self.refused("UTF-8", e.to_string()))
    }

    /// The value on top, of the group that is being filled.
    fn pop(&mut self) -> Result<Value<'a>, StoredError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(self.refused("a value on the stack", "none".into()));
        }
        Ok(self.stack.pop().expect("the stack is higher than its floor"))
    }

    /// All values above the last mark, which is removed too.
    fn group(&mut self) -> Result<Vec<Value<'a>>, StoredError> {
        match self.marks.pop() {
            Some(height) => Ok(self.stack.split_off(height)),
            None => Err(self.refused("a mark on the stack", "none".into())),
        }
    }

    fn pairs(&mut self) -> Result<Vec<(Value<'a>, Value<'a>)>, StoredError> {
        let items = self.group()?;
        if items.len() % 2 != 0 {
            return Err(self.refused("keys with values", format!("{} items", items.len())));
        }
        Ok(items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
    }

    fn top(&self) -> Option<Value<'a>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack.get(floor..)?.last().copied()
    }

    fn list_below(&self) -> Result<(), StoredError> {
        match self.top() {
            Some(Value::List) => Ok(()),
            other => Err(self.refused("a list to append to", other.map_or("nothing", Value::kind).into())),
        }
    }

    fn dict_below(&self) -> Result<usize, StoredError> {
        match self.top() {
            Some(Value::Dict(dict)) => Ok(dict),
            other => Err(self.refused("a dict to set items of", other.map_or("nothing", Value::kind).into())),
        }
    }

    fn tuple(&mut self, items: Vec<Value<'a>>) {
        self.stack.push(Value::Tuple(self.tuples.len()));
        self.tuples.push(items);
    }

    fn dict(&mut self, pairs: Vec<(Value<'a>, Value<'a>)>) {
        self.stack.push(Value::Dict(self.dicts.len()));
        self.items += pairs.len();
        self.dicts.push(pairs);
    }

    fn put(&mut self, key: u32) -> Result<(), StoredError> {
        let value = self.top().ok_or_else(|| self.refused("a value to keep", "none".into()))?;
        self.memo.insert(key, value);
        Ok(())
    }

    fn get(&mut self, key: u32) -> Result<(), StoredError> {
        match self.memo.get(&key) {
            Some(&value) => self.stack.push(value),
            None => return Err(self.refused("a value that was kept", format!("none under {key}"))),
        }
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Result<(), StoredError> {
        let known = Global::named(module, name);
        let unknown = || StoredError::Global { offset: self.start, name: format!("{}.{}", shown(module), shown(name)) };
        self.stack.push(Value::Global(known.ok_or_else(unknown)?));
        Ok(())
    }

    /// The storage that a persistent id names: `("storage", class, key, device, elements)`.
    fn persistent(&mut self, id: Value<'a>) -> Result<(), StoredError> {
        let items = match id {
            Value::Tuple(tuple) => self.tuples[tuple].as_slice(),
            _ => &[],
        };
        let [
            Value::Text("storage"),
            Value::Global(Global::Storage(element)),
            Value::Text(key),
            Value::Text(_),
            Value::Int(elements),
        ] = *items
        else {
            return Err(self.refused("the id of a storage", id.kind().into()));
        };
        let Some(entry) = self.storages.get(key) else {
            return Err(self.refused("a storage of the archive", format!("no entry for key `{}`", shown(key))));
        };
        let length = usize::try_from(elements).ok().and_then(|n| n.checked_mul(element.width()));
        let Some(length) = length.filter(|&length| length <= entry.len()) else {
            let found = format!("{elements} of {} bytes in the {} of `{}`", element.width(), entry.len(), shown(key));
            return Err(self.refused("elements that its entry holds", found));
        };
        self.stack.push(Value::Storage(self.stored.len()));
        self.stored.push(Storage { element, bytes: entry.start..entry.start + length });
        Ok(())
    }

    /// The value of a call of a global with these arguments.
    fn reduce(&mut self, callee: Value<'a>, arguments: Value<'a>) -> Result<Value<'a>, StoredError> {
        let items = match arguments {
            Value::Tuple(tuple) => self.tuples[tuple].as_slice(),
            other => return Err(self.refused("a tuple of arguments", other.kind().into())),
        };
        match (callee, items) {
            (Value::Global(Global::OrderedDict), []) => {
                self.dicts.push(Vec::new());
                Ok(Value::Dict(self.dicts.len() - 1))
            }
            (Value::Global(Global::Size), [sizes @ Value::Tuple(_)]) => Ok(*sizes),
            (Value::Global(Global::Encode), [Value::Text(_), Value::Text(_)]) => Ok(Value::Bytes),
            (Value::Global(Global::RebuildParameter), [tensor @ Value::Tensor(_), Value::Bool, Value::Dict(_)]) => {
                Ok(*tensor)
            }
            (Value::Global(Global::RebuildTensor), &[storage, offset, shape, strides]) => {
                self.tensor(storage, offset, shape, strides)
            }
            (Value::Global(Global::RebuildTensorV2), &[storage, offset, shape, strides, Value::Bool, _hooks]) => {
                self.tensor(storage, offset, shape, strides)
            }
            (
                Value::Global(Global::RebuildTensorV2),
                &[storage, offset, shape, strides, Value::Bool, _hooks, marks],
            ) => {
                // A mark means that the elements are to be negated or conjugated.
                match marks {
                    Value::None => {}
                    Value::Dict(dict) if self.dicts[dict].is_empty() => {}
                    _ => return Err(self.refused("a tensor without marks", marks.kind().into())),
                }
                self.tensor(storage, offset, shape, strides)
            }
            (Value::Global(global), items) => {
                let kinds: Vec<_> = items.iter().take(8).map(|item| item.kind()).collect();
                Err(self.refused("a call as torch writes it", format!("{global:?} of {kinds:?}")))
            }
            (callee, _) => Err(self.refused("a call of a global", format!("one of {}", callee.kind()))),
        }
    }

    fn tensor(
        &mut self,
        storage: Value<'a>,
        offset: Value<'a>,
        shape: Value<'a>,
        strides: Value<'a>,
    ) -> Result<Value<'a>, StoredError> {
        let (Value::Storage(storage), Value::Int(offset)) = (storage, offset) else {
            return Err(self.refused("a storage and an offset", format!("{} and {}", storage.kind(), offset.kind())));
        };
        let (shape, strides) = (self.sizes(shape)?, self.sizes(strides)?);
        let Storage { element, bytes } = self.stored[storage].clone();
        let tensor = StoredTensor::view(element, shape, strides, offset, bytes);
        self.tensors.push(tensor.map_err(|found| self.refused("a view of its storage", found))?);
        Ok(Value::Tensor(self.tensors.len() - 1))
    }

    fn sizes(&self, value: Value<'a>) -> Result<Vec<i64>, StoredError> {
        let size = |item: &Value<'a>| match item {
            Value::Int(size) => Ok(*size),
            other => Err(self.refused("a size", other.kind().into())),
        };
        match value {
            Value::Tuple(tuple) => self.tuples[tuple].iter().map(size).collect(),
            other => Err(self.refused("a tuple of sizes", other.kind().into())),
        }
    }

    /// Attributes of a dict, such as the module versions that a state dict carries: passed over.
    fn build(&mut self) -> Result<(), StoredError> {
        match (self.pop()?, self.top()) {
            (Value::Dict(_), Some(Value::Dict(_))) => Ok(()),
            (_, below) => {
                Err(self
                    .refused("attributes of a dict", format!("attributes of {}", below.map_or("nothing", Value::kind))))
            }
        }
    }
}

/// The beginning of a text of the file.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(MOST_SHOWN).collect()
}

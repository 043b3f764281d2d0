//! What the pickle of a state dict may hold.

use std::ops::Range;

use super::super::{ElementType, StoredTensor};

/// A value on the machine's stack. The items of a container are in the machine's tables, so that values are copied, may
/// refer to each other in circles, and need no recursion anywhere.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    None,
    Bool,
    /// An integer of at most 64 bits.
    Int(i64),
    /// A float, or a wider integer. Nothing that is read depends on one.
    Number,
    Text(&'a str),
    Bytes,
    /// A list. Its items are passed over: only tuples and dicts make up tensors.
    List,
    /// Index of the tuple.
    Tuple(usize),
    /// Index of the dict.
    Dict(usize),
    /// Index of the storage.
    Storage(usize),
    /// Index of the tensor.
    Tensor(usize),
    Global(Global),
}

impl Value<'_> {
    /// What it is, for errors.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Value::None => "None",
            Value::Bool => "a bool",
            Value::Int(_) | Value::Number => "a number",
            Value::Text(_) => "a string",
            Value::Bytes => "bytes",
            Value::List => "a list",
            Value::Tuple(_) => "a tuple",
            Value::Dict(_) => "a dict",
            Value::Storage(_) => "a storage",
            Value::Tensor(_) => "a tensor",
            Value::Global(_) => "a function or class",
        }
    }
}

/// The only things of Python that a pickle may name.
#[derive(Debug, Clone, Copy)]
pub(super) enum Global {
    OrderedDict,
    /// `torch._utils._rebuild_tensor`: a view of a storage.
    RebuildTensor,
    /// The same with a gradient flag, hooks and marks.
    RebuildTensorV2,
    /// A tensor as `nn.Parameter`.
    RebuildParameter,
    Size,
    /// How bytes are written in protocol 2.
    Encode,
    /// A class that states the type of a storage's elements.
    Storage(ElementType),
}

impl Global {
    pub(super) fn named(module: &str, name: &str) -> Option<Global> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Global::OrderedDict,
            ("torch._utils", "_rebuild_tensor") => Global::RebuildTensor,
            ("torch._utils", "_rebuild_tensor_v2") => Global::RebuildTensorV2,
            ("torch._utils", "_rebuild_parameter") => Global::RebuildParameter,
            ("torch", "Size") => Global::Size,
            ("_codecs", "encode") => Global::Encode,
            ("torch.storage", "UntypedStorage") => Global::Storage(ElementType::U8),
            ("torch", class) => Global::Storage(match class.strip_suffix("Storage")? {
                "Float" => ElementType::F32,
                "Half" => ElementType::F16,
                "BFloat16" => ElementType::BF16,
                "Double" => ElementType::F64,
                "Long" => ElementType::I64,
                "Int" => ElementType::I32,
                "Short" => ElementType::I16,
                "Char" => ElementType::I8,
                "Byte" => ElementType::U8,
                "Bool" => ElementType::Bool,
                _ => return None,
            }),
            _ => return None,
        })
    }
}

/// A storage: elements one after the other in the file.
#[derive(Debug, Clone)]
pub(super) struct Storage {
    pub(super) element: ElementType,
    pub(super) bytes: Range<usize>,
}

/// What a pickle built.
#[derive(Debug)]
pub(super) struct Pickled<'a> {
    /// The value of the whole pickle.
    pub(super) root: Value<'a>,
    /// Keys and values of the dicts, in the order they were set.
    pub(super) dicts: Vec<Vec<(Value<'a>, Value<'a>)>>,
    pub(super) tensors: Vec<StoredTensor>,
}

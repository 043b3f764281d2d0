//! Arrays of a batch as DLPack 1.0 describes them, and how long its memory is lent: until the last of them is given back. The
//! only file with `unsafe`.
//!
//! The structs are those of `dlpack.h`, version 1.0; the capsules' names and who deletes what are said in "Python Specification
//! for DLPack".
#![allow(unsafe_code)]

use std::ffi::{CStr, c_void};
use std::mem::ManuallyDrop;
use std::sync::Arc;

use med2e3_feed::FedBatch;
use med2e3_schemas::volume::{VoxelCode, VoxelFormat};
use pyo3::ffi;
use pyo3::prelude::*;

/// The CPU, as DLPack names a device: its type and its number.
pub(crate) const CPU: (i32, i32) = (1, 0);
/// The version that is written where one is asked for.
const VERSION: (u32, u32) = (1, 0);

const NAME: &CStr = c"dltensor";
const NAME_VERSIONED: &CStr = c"dltensor_versioned";

/// Arrays of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Field {
    Voxels,
    Ids,
    Labels,
    Lengths,
    VolumeOf,
    Questions,
    QuestionLengths,
    Weights,
}

impl Field {
    pub(crate) const ALL: [Field; 8] = [
        Field::Voxels,
        Field::Ids,
        Field::Labels,
        Field::Lengths,
        Field::VolumeOf,
        Field::Questions,
        Field::QuestionLengths,
        Field::Weights,
    ];

    /// Its key in a batch.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Field::Voxels => "voxels",
            Field::Ids => "ids",
            Field::Labels => "labels",
            Field::Lengths => "lengths",
            Field::VolumeOf => "volume_of",
            Field::Questions => "questions",
            Field::QuestionLengths => "question_lengths",
            Field::Weights => "weights",
        }
    }
}

/// What an array's values are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    U8,
    I16,
    I64,
    F32,
}

impl Kind {
    /// Its name in numpy and torch.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::U8 => "uint8",
            Kind::I16 => "int16",
            Kind::I64 => "int64",
            Kind::F32 => "float32",
        }
    }

    fn described(self) -> DataType {
        let (code, bits) = match self {
            Kind::U8 => (1, 8),
            Kind::I16 => (0, 16),
            Kind::I64 => (0, 64),
            Kind::F32 => (2, 32),
        };
        DataType { code, bits, lanes: 1 }
    }
}

/// An array in a batch's memory: whole rows, one behind the other.
#[derive(Debug)]
pub(crate) struct Array {
    /// Null where it has no values.
    data: *mut c_void,
    kind: Kind,
    shape: Vec<usize>,
}

impl Array {
    fn of<T>(values: &mut [T], kind: Kind, shape: &[usize]) -> Array {
        let data = if values.is_empty() { std::ptr::null_mut() } else { values.as_mut_ptr().cast() };
        let bytes = shape.iter().product::<usize>() * usize::from(kind.described().bits) / 8;
        assert_eq!(bytes, size_of_val(values), "a shape covers the array");
        Array { data, kind, shape: shape.to_vec() }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }
}

/// A batch whose arrays are lent to others. It goes back to its feed when the last share of it is dropped, by whichever thread.
pub(crate) struct Lent {
    batch: ManuallyDrop<FedBatch>,
    arrays: [Array; Field::ALL.len()],
    /// The process of the feed's threads.
    process: u32,
}

// SAFETY: the arrays' pointers are into memory of the batch that is kept beside them and that can be sent and shared; nothing here
// reads or writes through them. Who is lent an array sees to its own reads and writes, as of any array that others may have too.
unsafe impl Send for Lent {}
// SAFETY: as above.
unsafe impl Sync for Lent {}

impl Lent {
    pub(crate) fn new(mut batch: FedBatch, format: &VoxelFormat) -> Arc<Lent> {
        let (texts, volumes) = (batch.len(), batch.volume_ids.len());
        let (width, shown, question_width) = (batch.width, batch.shown, batch.question_width);
        let [depth, height, columns] = format.shape_dhw;
        let code = match format.code {
            VoxelCode::U8 => Kind::U8,
            VoxelCode::I16 => Kind::I16,
            VoxelCode::F32 => Kind::F32,
        };
        // In the order of `Field::ALL`.
        let arrays = [
            Array::of(&mut batch.voxels, code, &[volumes, depth, height, columns]),
            Array::of(&mut batch.ids, Kind::I64, &[texts, width]),
            Array::of(&mut batch.labels, Kind::I64, &[texts, width]),
            Array::of(&mut batch.lengths, Kind::I64, &[texts]),
            Array::of(&mut batch.volume_of, Kind::I64, &[texts, shown]),
            Array::of(&mut batch.questions, Kind::I64, &[texts, question_width]),
            Array::of(&mut batch.question_lengths, Kind::I64, &[texts]),
            Array::of(&mut batch.weights, Kind::F32, &[texts]),
        ];
        Arc::new(Lent { batch: ManuallyDrop::new(batch), arrays, process: std::process::id() })
    }

    pub(crate) fn batch(&self) -> &FedBatch {
        &self.batch
    }

    pub(crate) fn array(&self, field: Field) -> &Array {
        &self.arrays[field as usize]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // A fork copies the batch, but none of the feed's threads: there is nobody to give it back to, and a lock that one of
        // them held would stay shut.
        if self.process == std::process::id() {
            // SAFETY: it is dropped here alone, and not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.batch) }
        }
    }
}

#[repr(C)]
struct Device {
    kind: i32,
    number: i32,
}

#[repr(C)]
struct DataType {
    code: u8,
    bits: u8,
    lanes: u16,
}

#[repr(C)]
struct Tensor {
    data: *mut c_void,
    device: Device,
    dimensions: i32,
    data_type: DataType,
    shape: *mut i64,
    strides: *mut i64,
    byte_offset: u64,
}

/// `DLManagedTensor`, of versions before 1.0.
#[repr(C)]
struct Legacy {
    tensor: Tensor,
    context: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut Legacy)>,
}

/// `DLManagedTensorVersioned`.
#[repr(C)]
struct Versioned {
    version: [u32; 2],
    context: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut Versioned)>,
    flags: u64,
    tensor: Tensor,
}

/// What a managed tensor's context owns.
struct Context {
    /// Shape, then strides in values.
    sizes: Box<[i64]>,
    _lent: Arc<Lent>,
}

/// An array as a DLPack capsule, which shares its memory and keeps it lent.
///
/// # Errors
/// Python's, where it has no memory for a capsule.
pub(crate) fn capsule<'py>(
    py: Python<'py>,
    lent: &Arc<Lent>,
    field: Field,
    is_versioned: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let (tensor, context) = described(lent, field);
    let (managed, name, destructor): (*mut c_void, &CStr, ffi::PyCapsule_Destructor) = if is_versioned {
        let version = [VERSION.0, VERSION.1];
        let managed = Versioned { version, context, deleter: Some(delete_versioned), flags: 0, tensor };
        (Box::into_raw(Box::new(managed)).cast(), NAME_VERSIONED, destroy_versioned)
    } else {
        let managed = Legacy { tensor, context, deleter: Some(delete_legacy) };
        (Box::into_raw(Box::new(managed)).cast(), NAME, destroy_legacy)
    };
    // SAFETY: the pointer is not null and the name lives for ever. A capsule that is made owns the managed tensor, which its
    // destructor or its consumer deletes; one that is not made leaves it to us.
    unsafe {
        let capsule = ffi::PyCapsule_New(managed, name.as_ptr(), Some(destructor));
        if capsule.is_null() {
            if is_versioned { delete_versioned(managed.cast()) } else { delete_legacy(managed.cast()) }
        }
        Bound::from_owned_ptr_or_err(py, capsule)
    }
}

fn described(lent: &Arc<Lent>, field: Field) -> (Tensor, *mut c_void) {
    let array = lent.array(field);
    let sizes = array.shape.iter().map(|size| *size as i64);
    let strides = (0..array.shape.len()).map(|axis| array.shape[axis + 1..].iter().product::<usize>() as i64);
    let dimensions = array.shape.len();
    let context = Box::new(Context { sizes: sizes.chain(strides).collect(), _lent: lent.clone() });
    let context = Box::into_raw(context);
    // SAFETY: the context was just made, and has as many strides as sizes.
    let (shape, strides) = unsafe {
        let shape = (*context).sizes.as_mut_ptr();
        (shape, shape.add(dimensions))
    };
    let device = Device { kind: CPU.0, number: CPU.1 };
    let (data, data_type) = (array.data, array.kind.described());
    let tensor = Tensor { data, device, dimensions: dimensions as i32, data_type, shape, strides, byte_offset: 0 };
    (tensor, context.cast())
}

/// Deletes a managed tensor; any thread may, with or without the interpreter.
///
/// # Safety
/// It was made by [`capsule`] and is not used afterwards.
unsafe extern "C" fn delete_legacy(managed: *mut Legacy) {
    // SAFETY: as above; the context is its own.
    unsafe {
        let managed = Box::from_raw(managed);
        drop(Box::from_raw(managed.context.cast::<Context>()));
    }
}

/// As [`delete_legacy`].
///
/// # Safety
/// As [`delete_legacy`].
unsafe extern "C" fn delete_versioned(managed: *mut Versioned) {
    // SAFETY: as above; the context is its own.
    unsafe {
        let managed = Box::from_raw(managed);
        drop(Box::from_raw(managed.context.cast::<Context>()));
    }
}

/// Ends a capsule that nobody took the tensor from; whoever takes it gives the capsule another name.
///
/// # Safety
/// Python calls it, with a capsule of [`capsule`].
unsafe extern "C" fn destroy_legacy(capsule: *mut ffi::PyObject) {
    // SAFETY: a capsule that still has the name has the pointer too.
    unsafe {
        if ffi::PyCapsule_IsValid(capsule, NAME.as_ptr()) == 1 {
            delete_legacy(ffi::PyCapsule_GetPointer(capsule, NAME.as_ptr()).cast());
        }
    }
}

/// As [`destroy_legacy`].
///
/// # Safety
/// As [`destroy_legacy`].
unsafe extern "C" fn destroy_versioned(capsule: *mut ffi::PyObject) {
    // SAFETY: as above.
    unsafe {
        if ffi::PyCapsule_IsValid(capsule, NAME_VERSIONED.as_ptr()) == 1 {
            delete_versioned(ffi::PyCapsule_GetPointer(capsule, NAME_VERSIONED.as_ptr()).cast());
        }
    }
}

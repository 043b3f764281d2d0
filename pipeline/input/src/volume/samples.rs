//! Samples: stored voxel numbers in the file's type and order, so that a volume is never copied whole.

use std::fmt;
use std::ops::{Deref, Range};

use bytemuck::Pod;

use super::buffers::Buffer;

/// The stored numbers of a volume, in the order of the file; see [`Arrangement`](super::Arrangement).
#[derive(Clone, Debug, PartialEq)]
pub enum Samples {
    /// 8 bits, unsigned.
    U8(Stored<u8>),
    /// 8 bits, signed.
    I8(Stored<i8>),
    /// 16 bits, unsigned.
    U16(Stored<u16>),
    /// 16 bits, signed: what CT scanners store.
    I16(Stored<i16>),
    /// 32 bits, unsigned.
    U32(Stored<u32>),
    /// 32 bits, signed.
    I32(Stored<i32>),
    /// 32-bit floats.
    F32(Stored<f32>),
    /// 64-bit floats.
    F64(Stored<f64>),
}

/// Evaluates one generic expression on the samples of a [`Samples`], whatever their type.
macro_rules! with_samples {
    ($samples:expr, $name:ident => $body:expr) => {
        match $samples {
            $crate::volume::Samples::U8($name) => $body,
            $crate::volume::Samples::I8($name) => $body,
            $crate::volume::Samples::U16($name) => $body,
            $crate::volume::Samples::I16($name) => $body,
            $crate::volume::Samples::U32($name) => $body,
            $crate::volume::Samples::I32($name) => $body,
            $crate::volume::Samples::F32($name) => $body,
            $crate::volume::Samples::F64($name) => $body,
        }
    };
}
pub(crate) use with_samples;

impl Samples {
    /// Number of samples.
    pub fn len(&self) -> usize {
        with_samples!(self, samples => samples.len())
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sample at an index of the stored order as `f64`, which holds every sample type exactly.
    ///
    /// # Panics
    /// Where `index` is not below [`len`](Self::len).
    pub fn get(&self, index: usize) -> f64 {
        with_samples!(self, samples => samples[index].to_f64())
    }

    /// The type's name as Rust writes it: `u8`, `i16` and so on.
    pub fn type_name(&self) -> &'static str {
        fn name<T: Sample>(_: &[T]) -> &'static str {
            T::NAME
        }
        with_samples!(self, samples => name(samples))
    }
}

/// Numbers of one type: a vector, or a range of the buffer that a file was decoded into. Dereferences to a slice; made
/// from a vector.
pub struct Stored<T> {
    held: Held<T>,
}

enum Held<T> {
    Vector(Vec<T>),
    Decoded { buffer: Buffer, bytes: Range<usize> },
}

impl<T: Pod> Stored<T> {
    /// The numbers in bytes `bytes` of a decoded file, which start and end at multiples of `T`'s size.
    pub(super) fn decoded(buffer: Buffer, bytes: Range<usize>) -> Stored<T> {
        Stored { held: Held::Decoded { buffer, bytes } }
    }
}

impl<T: Pod> Deref for Stored<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.held {
            Held::Vector(samples) => samples,
            Held::Decoded { buffer, bytes } => buffer.numbers(bytes.clone()),
        }
    }
}

impl<T> From<Vec<T>> for Stored<T> {
    fn from(samples: Vec<T>) -> Stored<T> {
        Stored { held: Held::Vector(samples) }
    }
}

impl<T: Pod> From<Stored<T>> for Vec<T> {
    /// The vector itself, or a copy of the numbers in a decoded file.
    fn from(stored: Stored<T>) -> Vec<T> {
        match stored.held {
            Held::Vector(samples) => samples,
            Held::Decoded { buffer, bytes } => buffer.numbers(bytes).to_vec(),
        }
    }
}

impl<T: Pod> Clone for Stored<T> {
    fn clone(&self) -> Self {
        self.to_vec().into()
    }
}

impl<T: Pod + PartialEq> PartialEq for Stored<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for Stored<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// A number type that voxels are stored in.
pub trait Sample: Pod + Default + PartialOrd + Send + Sync {
    /// The type's name as Rust writes it.
    const NAME: &'static str;
    /// The smallest integer, or minus infinity.
    const LOWEST: Self;
    /// The largest integer, or infinity.
    const HIGHEST: Self;

    /// The exact value.
    fn to_f64(self) -> f64;
    /// `self - zero`, subtracted in a type in which the difference is exact (of floats: correctly rounded), then
    /// rounded to `f32`.
    fn minus(self, zero: Self) -> f32;
    /// Whether the sample is finite and its magnitude below 2^126, so that the difference of two such values fits
    /// `f32`; always true of integers.
    fn is_bounded(self) -> bool;
    /// Wraps the samples in the variant of [`Samples`] for this type.
    fn wrap(stored: Stored<Self>) -> Samples;
}

/// 2^126: sums and differences of two values below it fit `f32`.
const BOUND: f32 = f32::from_bits(253 << 23);

macro_rules! sample {
    // `$exact`: the float type in which the difference of two samples is computed.
    ($($type:ident $variant:ident $exact:ident $least:expr, $most:expr, $bounded:expr;)*) => { $(
        impl Sample for $type {
            const NAME: &'static str = stringify!($type);
            const LOWEST: Self = $least;
            const HIGHEST: Self = $most;

            #[inline]
            fn to_f64(self) -> f64 {
                self as f64
            }

            #[inline]
            fn minus(self, zero: Self) -> f32 {
                (self as $exact - zero as $exact) as f32
            }

            #[inline]
            fn is_bounded(self) -> bool {
                let bounded: fn($type) -> bool = $bounded;
                bounded(self)
            }

            fn wrap(stored: Stored<Self>) -> Samples {
                Samples::$variant(stored)
            }
        }

        impl From<Vec<$type>> for Samples {
            fn from(samples: Vec<$type>) -> Samples {
                Samples::$variant(samples.into())
            }
        }
    )* };
}

sample! {
    u8 U8 f32 u8::MIN, u8::MAX, |_| true;
    i8 I8 f32 i8::MIN, i8::MAX, |_| true;
    u16 U16 f32 u16::MIN, u16::MAX, |_| true;
    i16 I16 f32 i16::MIN, i16::MAX, |_| true;
    u32 U32 f64 u32::MIN, u32::MAX, |_| true;
    i32 I32 f64 i32::MIN, i32::MAX, |_| true;
    f32 F32 f32 f32::NEG_INFINITY, f32::INFINITY, |value| value.abs() < BOUND;
    f64 F64 f64 f64::NEG_INFINITY, f64::INFINITY, |value| value.abs() < f64::from(BOUND);
}

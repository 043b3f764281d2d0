//! Samples: stored voxel numbers in the type that the file has, so that no wider copy of a whole volume is ever made.

use crate::orientation::Layout;

/// The stored numbers of a volume, in D H W order.
#[derive(Clone, Debug, PartialEq)]
pub enum Samples {
    /// 8 bits, unsigned.
    U8(Vec<u8>),
    /// 8 bits, signed.
    I8(Vec<i8>),
    /// 16 bits, unsigned.
    U16(Vec<u16>),
    /// 16 bits, signed: what CT scanners store.
    I16(Vec<i16>),
    /// 32 bits, unsigned.
    U32(Vec<u32>),
    /// 32 bits, signed.
    I32(Vec<i32>),
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 64-bit floats.
    F64(Vec<f64>),
}

/// Runs one generic expression on whichever vector a [`Samples`] holds.
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

    /// The sample at a D H W index as `f64`, which holds every sample type exactly.
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

/// A number type that voxels are stored in.
pub trait Sample: Copy + Default + PartialOrd + Send + Sync + 'static {
    /// The type's name as Rust writes it.
    const NAME: &'static str;
    /// Bytes a sample takes in a file.
    const BYTES: usize;

    /// From [`BYTES`](Self::BYTES) little-endian bytes.
    fn from_le(bytes: &[u8]) -> Self;
    /// From [`BYTES`](Self::BYTES) big-endian bytes.
    fn from_be(bytes: &[u8]) -> Self;
    /// The exact value.
    fn to_f64(self) -> f64;
    /// `self - zero`, subtracted where it is exact and then rounded once to `f32`.
    fn above(self, zero: Self) -> f32;
    /// Neither NaN nor infinite; always true of integers.
    fn is_finite(self) -> bool;
}

macro_rules! sample {
    // `$exact`: a float type in which the difference of two samples is exact.
    ($($type:ident $exact:ident $finite:expr;)*) => { $(
        impl Sample for $type {
            const NAME: &'static str = stringify!($type);
            const BYTES: usize = size_of::<$type>();

            #[inline]
            fn from_le(bytes: &[u8]) -> Self {
                <$type>::from_le_bytes(bytes.try_into().expect("callers pass BYTES bytes"))
            }

            #[inline]
            fn from_be(bytes: &[u8]) -> Self {
                <$type>::from_be_bytes(bytes.try_into().expect("callers pass BYTES bytes"))
            }

            #[inline]
            fn to_f64(self) -> f64 {
                self as f64
            }

            #[inline]
            fn above(self, zero: Self) -> f32 {
                (self as $exact - zero as $exact) as f32
            }

            #[inline]
            fn is_finite(self) -> bool {
                let finite: fn($type) -> bool = $finite;
                finite(self)
            }
        }
    )* };
}

sample! {
    u8 f32 |_| true;
    i8 f32 |_| true;
    u16 f32 |_| true;
    i16 f32 |_| true;
    u32 f64 |_| true;
    i32 f64 |_| true;
    f32 f32 |value| value.is_finite();
    f64 f64 |value| value.is_finite();
}

/// Reads samples from a file's bytes, k slowest and i fastest (NIfTI's order), into D H W display order.
///
/// One pass: the byte order, the flips and the transposition are applied while copying. `bytes` holds exactly
/// `ni * nj * nk` samples. Returns the samples; their shape is [`display_shape`].
pub(super) fn arrange<T: Sample>(bytes: &[u8], shape_ijk: [usize; 3], layout: Layout, big_endian: bool) -> Vec<T> {
    if big_endian {
        arrange_with(bytes, shape_ijk, layout, T::from_be)
    } else {
        arrange_with(bytes, shape_ijk, layout, T::from_le)
    }
}

/// D H W of a source of `shape_ijk` voxels under a layout.
pub(super) fn display_shape([ni, nj, nk]: [usize; 3], layout: Layout) -> [usize; 3] {
    if layout.transpose { [nk, ni, nj] } else { [nk, nj, ni] }
}

fn arrange_with<T: Sample>(
    bytes: &[u8],
    [ni, nj, nk]: [usize; 3],
    layout: Layout,
    from: impl Fn(&[u8]) -> T + Copy,
) -> Vec<T> {
    let mut out = vec![T::default(); ni * nj * nk];
    let slice_bytes = ni * nj * T::BYTES;
    for (d, display) in out.chunks_exact_mut(ni * nj).enumerate() {
        let k = if layout.flip_d { nk - 1 - d } else { d };
        let source = &bytes[k * slice_bytes..][..slice_bytes];
        if layout.transpose {
            transpose_slice(source, display, [ni, nj], layout, from);
        } else {
            copy_slice(source, display, [ni, nj], layout, from);
        }
    }
    out
}

fn copy_slice<T: Sample>(
    source: &[u8],
    display: &mut [T],
    [ni, nj]: [usize; 2],
    layout: Layout,
    from: impl Fn(&[u8]) -> T,
) {
    for (h, row) in display.chunks_exact_mut(ni).enumerate() {
        let j = if layout.flip_h { nj - 1 - h } else { h };
        let samples = source[j * ni * T::BYTES..][..ni * T::BYTES].chunks_exact(T::BYTES);
        if layout.flip_w {
            row.iter_mut().rev().zip(samples).for_each(|(out, sample)| *out = from(sample));
        } else {
            row.iter_mut().zip(samples).for_each(|(out, sample)| *out = from(sample));
        }
    }
}

/// Both sides of a tile stay in the first-level cache, or each write of a long column would miss it.
const TILE: usize = 32;

fn transpose_slice<T: Sample>(
    source: &[u8],
    display: &mut [T],
    [ni, nj]: [usize; 2],
    layout: Layout,
    from: impl Fn(&[u8]) -> T,
) {
    for j0 in (0..nj).step_by(TILE) {
        for i0 in (0..ni).step_by(TILE) {
            for j in j0..nj.min(j0 + TILE) {
                let w = if layout.flip_w { nj - 1 - j } else { j };
                for i in i0..ni.min(i0 + TILE) {
                    let h = if layout.flip_h { ni - 1 - i } else { i };
                    display[h * nj + w] = from(&source[(j * ni + i) * T::BYTES..][..T::BYTES]);
                }
            }
        }
    }
}

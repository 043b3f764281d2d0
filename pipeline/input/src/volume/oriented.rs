//! Volumes of formats that store i fastest and k slowest, with the patient directions of the three axes.

use std::path::Path;

use super::low_high::LowHigh;
use super::{Arrangement, Rescale, Sample, Samples, Volume, with_samples};
use crate::orientation::{Directions, Orientation};

/// Where voxels are in the patient.
pub(super) struct Placed {
    /// In mm.
    pub(super) directions: Directions,
    /// The centre of voxel 0 0 0, in mm towards right, anterior and superior.
    pub(super) origin_mm: [f64; 3],
}

/// What a header states of its axes.
pub(super) struct Geometry {
    pub(super) orientation: Option<Orientation>,
    /// Spacing along i, j and k.
    pub(super) spacing_mm: Option<[f32; 3]>,
    /// Where the voxels are, as far as the header states it.
    pub(super) placed: Option<Placed>,
}

impl Placed {
    /// Of a first voxel whose place is stated towards left, posterior and superior; `None` where it is no number.
    pub(super) fn of_left_posterior_superior(directions: Directions, [x, y, z]: [f64; 3]) -> Option<Placed> {
        [x, y, z].iter().all(|part| part.is_finite()).then_some(Placed { directions, origin_mm: [-x, -y, z] })
    }

    /// The middle of each slice along k, in mm along one of the patient's axes.
    fn slices_mm(&self, [ni, nj, nk]: [usize; 3], world: usize) -> Vec<f64> {
        let [along_i, along_j, along_k] = self.directions[world];
        let first = self.origin_mm[world] + (along_i * (ni as f64 - 1.0) + along_j * (nj as f64 - 1.0)) / 2.0;
        (0..nk).map(|k| first + along_k * k as f64).collect()
    }
}

/// What a header states of a volume besides its numbers.
pub(super) struct Stated {
    /// Voxels along i, j and k.
    pub(super) shape_ijk: [usize; 3],
    pub(super) geometry: Geometry,
    pub(super) rescale: Rescale,
}

/// The volume in radiological display; its samples stay in the order of the file.
pub(super) fn volume(path: &Path, stated: &Stated, samples: Samples) -> Volume {
    let Geometry { orientation, spacing_mm, placed } = &stated.geometry;
    let display_transform = orientation.map(|orientation| orientation.display_transform()).unwrap_or_default();
    let [ni, nj, nk] = stated.shape_ijk;
    let [di, dj, dk] = [0, 1, 2].map(|axis| spacing_mm.map(|spacing| spacing[axis]));
    let (rows, columns) = if display_transform.transpose { (di, dj) } else { (dj, di) };
    let shape_dhw = if display_transform.transpose { [nk, ni, nj] } else { [nk, nj, ni] };
    let slices_mm = placed.as_ref().zip(*orientation).map(|(placed, orientation)| {
        let mut slices_mm = placed.slices_mm(stated.shape_ijk, orientation.plane().world());
        if display_transform.flip_d {
            slices_mm.reverse();
        }
        slices_mm
    });
    Volume {
        slices_mm,
        arrangement: Arrangement::of(display_transform),
        hu_known: reaches_air(&samples, stated.rescale),
        spacing_mm_dhw: dk.zip(rows).zip(columns).map(|((d, h), w)| [d, h, w]),
        orientation: orientation.map(|orientation| orientation.codes()),
        plane: orientation.map(|orientation| orientation.plane()),
        ..Volume::plain(path, shape_dhw, samples, stated.rescale)
    }
}

/// Whether any value is -500 or less; see [`Volume::hu_known`].
fn reaches_air(samples: &Samples, rescale: Rescale) -> bool {
    fn any<T: Sample>(samples: &[T], rescale: Rescale) -> bool {
        // In CT the first corner is air, so that few chunks are read.
        samples.chunks(1 << 14).any(|chunk| {
            let mut range = LowHigh::default();
            range.add(chunk);
            let (low, high) = range.low_and_high();
            let least = if rescale.slope < 0.0 { high } else { low };
            rescale.value(least.to_f64()) <= -500.0
        })
    }
    with_samples!(samples, samples => any(samples, rescale))
}

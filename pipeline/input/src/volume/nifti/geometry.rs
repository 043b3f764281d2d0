//! The orientation, the spacing and the place that a NIfTI header states.

use super::header::Header;
use crate::orientation::{self, Directions, Orientation};
use crate::volume::oriented::{Geometry, Placed};

impl Geometry {
    pub(super) fn of(header: &Header) -> Geometry {
        let zooms_given = header.pixdim[1..4].iter().all(|zoom| zoom.is_finite() && *zoom > 0.0);
        // Corrected as by nibabel.
        let zooms = [1, 2, 3].map(|axis| match header.pixdim[axis].abs() {
            zoom if zoom.is_finite() && zoom > 0.0 => zoom,
            _ => 1.0,
        });
        let candidates = [
            (header.sform_code > 0).then_some((header.srow, true, Some(header.srow_offset))),
            (header.qform_code > 0).then(|| (qform(header, zooms), zooms_given, zooms_given.then_some(header.qoffset))),
            // Neither: nibabel's base affine, whose first axis points to the left; where it lies nothing states.
            (header.sform_code <= 0 && header.qform_code <= 0)
                .then(|| (diagonal([-zooms[0], zooms[1], zooms[2]]), zooms_given, None)),
        ];
        let mut candidates = candidates.into_iter().flatten();
        let known = candidates.find_map(|(directions, sized, offset)| {
            Some((Orientation::from_directions(&directions)?, directions, sized, offset))
        });
        let mm = millimeters(header);
        let Some((orientation, directions, sized, offset)) = known else {
            let spacing_mm = zooms_given.then(|| zooms.map(|zoom| (zoom * mm) as f32));
            return Geometry { orientation: None, spacing_mm, placed: None };
        };
        let steps = orientation::step_lengths(&directions);
        let spacing_mm = sized.then(|| steps.map(|step| (step * mm) as f32));
        let placed = offset.filter(|offset| offset.iter().all(|part| part.is_finite())).map(|offset| Placed {
            directions: directions.map(|row| row.map(|part| part * mm)),
            origin_mm: offset.map(|part| part * mm),
        });
        Geometry { orientation: Some(orientation), spacing_mm, placed }
    }
}

/// Millimeters in the header's unit of length; an unknown unit is taken as millimeters.
fn millimeters(header: &Header) -> f64 {
    match header.xyzt_units & 7 {
        1 => 1000.0,
        3 => 0.001,
        _ => 1.0,
    }
}

/// The quaternion's rotation, scaled by the voxel sizes; a negative `pixdim[0]` reverses the third axis.
fn qform(header: &Header, zooms: [f64; 3]) -> Directions {
    let [x, y, z] = header.quatern;
    let squares = x * x + y * y + z * z;
    // Rounding in f32 may make the scalar part's square slightly negative (nibabel's threshold).
    let scalar_square = 1.0 - squares;
    let w = if scalar_square < 3.0 * f64::from(f32::EPSILON) { 0.0 } else { scalar_square.sqrt() };
    let s = 2.0 / (w * w + squares);
    let rotation = [
        [1.0 - s * (y * y + z * z), s * (x * y - w * z), s * (x * z + w * y)],
        [s * (x * y + w * z), 1.0 - s * (x * x + z * z), s * (y * z - w * x)],
        [s * (x * z - w * y), s * (y * z + w * x), 1.0 - s * (x * x + y * y)],
    ];
    let third = if header.pixdim[0] < 0.0 { -zooms[2] } else { zooms[2] };
    rotation.map(|row| [row[0] * zooms[0], row[1] * zooms[1], row[2] * third])
}

fn diagonal(zooms: [f64; 3]) -> Directions {
    std::array::from_fn(|row| std::array::from_fn(|column| if row == column { zooms[row] } else { 0.0 }))
}

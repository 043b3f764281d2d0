//! A series: whether slices belong together, their order, and the volume's orientation, spacing and tilt by their
//! positions.
//!
//! Positions and directions are in DICOM's patient coordinates (left, posterior, superior); only the affine's
//! directions are converted to those of the crate (right, anterior, superior).

use std::collections::BTreeSet;
use std::path::Path;

use super::header::Header;
use crate::error::InputError;
use crate::orientation::{Directions, DisplayTransform, Orientation};

/// Positions that differ by less than this are the same.
const SAME_POSITION_MM: f64 = 1e-3;

/// Maximum number of gaps that are reported one by one.
const MAX_GAPS_LISTED: usize = 8;

/// Gaps that are as many times as wide as the median, or as narrow, are told.
const WIDE: f64 = 1.5;

/// The order of slices along the volume.
pub(super) struct Stack {
    /// Indices of the slices, by increasing coordinate.
    pub(super) order: Vec<usize>,
    /// For each of `order`: the position along the normal in mm, or the instance number.
    coordinates: Vec<f64>,
    /// Whether the coordinates are positions in mm.
    has_positions: bool,
    /// Orientation of columns, rows and slices; `None` where slices have no position.
    pub(super) orientation: Option<Orientation>,
    /// The transform from the slices to display slices.
    pub(super) display_transform: DisplayTransform,
    /// Number of frames of reference that the slices state.
    frames_of_reference: usize,
    /// Angle in degrees between the normal and the line of positions, and the shift in mm from the first to the last
    /// slice.
    tilt: Option<(f64, f64)>,
}

/// Refuses slices of several series, shapes, spacings or orientations.
pub(super) fn check_one_series(path: &Path, headers: &[&Header]) -> Result<(), InputError> {
    let mixed = |found: String| Err(InputError::MixedSeries { path: path.to_owned(), slices: headers.len(), found });
    let series: BTreeSet<_> = headers.iter().filter_map(|header| header.series.as_ref()).collect();
    if series.len() > 1 {
        return mixed(format!("{} series", series.len()));
    }
    let shapes: BTreeSet<_> = headers.iter().map(|header| (header.rows, header.columns)).collect();
    if shapes.len() > 1 {
        return mixed(format!("{} slice shapes", shapes.len()));
    }
    let Some(first) = headers.first() else { return Ok(()) };
    let close = |a: &[f64], b: &[f64], tolerance: f64| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance);
    let rotated = headers.iter().filter(|header| match (&header.axes, &first.axes) {
        (Some(axes), Some(expected)) => !close(axes.as_flattened(), expected.as_flattened(), 1e-3),
        _ => false,
    });
    match rotated.count() {
        0 => {}
        rotated => return mixed(format!("{rotated} slices of another orientation than the first")),
    }
    let spacing = pixel_spacing_mm(headers);
    let spaced = headers.iter().filter(|header| match (&header.pixel_spacing_mm, &spacing) {
        (Some(spacing), Some(expected)) => !close(spacing, expected, 1e-3 * expected[0].max(expected[1])),
        _ => false,
    });
    match spaced.count() {
        0 => Ok(()),
        spaced => mixed(format!("{spaced} slices of another pixel spacing than the first")),
    }
}

/// Distance between rows, then between columns: that of the first slice that states it.
pub(super) fn pixel_spacing_mm(headers: &[&Header]) -> Option<[f64; 2]> {
    headers.iter().find_map(|header| header.pixel_spacing_mm)
}

/// Each slice's instance number, where all state a whole one and no two the same.
pub(super) fn instance_numbers(headers: &[&Header]) -> Option<Vec<i64>> {
    let whole =
        |header: &&Header| header.instance_number.filter(|number| number.fract() == 0.0).map(|number| number as i64);
    let numbers: Vec<i64> = headers.iter().map(whole).collect::<Option<_>>()?;
    let distinct: BTreeSet<i64> = numbers.iter().copied().collect();
    (distinct.len() == numbers.len()).then_some(numbers)
}

/// Number of frames of reference. Several are no reason to refuse a series: some programs give each slice its own.
fn frames_of_reference(headers: &[&Header]) -> usize {
    let distinct: BTreeSet<_> = headers.iter().filter_map(|header| header.frame_of_reference.as_ref()).collect();
    distinct.len()
}

impl Stack {
    /// Orders slices by their positions along the normal, or by instance number where any position is missing.
    pub(super) fn of(path: &Path, headers: &[&Header]) -> Result<Stack, InputError> {
        let axes = headers.first().and_then(|header| header.axes);
        let positions: Option<Vec<[f64; 3]>> =
            headers.iter().map(|header| header.axes.and(header.position_mm)).collect();
        let (Some(axes), Some(positions)) = (axes, positions) else {
            return Stack::by_number(path, headers);
        };
        let normal = cross(axes[0], axes[1]);
        let along: Vec<f64> = positions.iter().map(|position| dot(*position, normal)).collect();
        let (order, coordinates) = sorted(&along);
        let (first, last) = (positions[order[0]], positions[order[order.len() - 1]]);
        let line: [f64; 3] = std::array::from_fn(|n| last[n] - first[n]);
        let rise = dot(line, normal);
        let shift = (dot(line, line) - rise * rise).max(0.0).sqrt();
        let step = if rise > SAME_POSITION_MM { line.map(|part| part / rise) } else { normal };
        let [row_mm, column_mm] = pixel_spacing_mm(headers).unwrap_or([1.0, 1.0]);
        let columns = [axes[0].map(|part| part * column_mm), axes[1].map(|part| part * row_mm), step];
        // Converts left and posterior to right and anterior.
        let directions: Directions =
            std::array::from_fn(|world| columns.map(|column| if world < 2 { -column[world] } else { column[world] }));
        let orientation = Orientation::from_directions(&directions);
        let pixel_mm = row_mm.min(column_mm);
        let degrees = shift.atan2(rise).to_degrees();
        // Rounded positions of a few close slices give small angles too, so a shift of half a pixel is required.
        let tilt = (rise > SAME_POSITION_MM && degrees >= 0.1 && shift > pixel_mm / 2.0).then_some((degrees, shift));
        let display_transform = orientation.map(|orientation| orientation.display_transform()).unwrap_or_default();
        let frames_of_reference = frames_of_reference(headers);
        let stack = Stack {
            order,
            coordinates,
            has_positions: true,
            orientation,
            display_transform,
            frames_of_reference,
            tilt,
        };
        let off_line = |position: &[f64; 3]| {
            let from_first: [f64; 3] = std::array::from_fn(|n| position[n] - first[n]);
            let along = dot(from_first, normal);
            let off: [f64; 3] = std::array::from_fn(|n| from_first[n] - step[n] * along);
            dot(off, off).sqrt()
        };
        let farthest = positions.iter().map(off_line).fold(0.0, f64::max);
        if frames_of_reference > 1 && !stack.is_even(farthest, pixel_mm) {
            let found = format!("{frames_of_reference} frames of reference, and positions at uneven distances");
            return Err(InputError::MixedSeries { path: path.to_owned(), slices: headers.len(), found });
        }
        Ok(stack)
    }

    /// Whether slices lie on a line, to half a pixel, at about equal distances: as one scan, whatever its frames of
    /// reference.
    fn is_even(&self, farthest_mm: f64, pixel_mm: f64) -> bool {
        let mut gaps = self.gaps(&(0..self.order.len()).collect::<Vec<_>>());
        gaps.retain(|gap| *gap >= SAME_POSITION_MM);
        let median = if gaps.is_empty() { 0.0 } else { median(gaps.clone()) };
        farthest_mm <= pixel_mm / 2.0 && gaps.iter().all(|gap| *gap < WIDE * median && *gap * WIDE > median)
    }

    fn by_number(path: &Path, headers: &[&Header]) -> Result<Stack, InputError> {
        let frames_of_reference = frames_of_reference(headers);
        if frames_of_reference > 1 {
            let found = format!("{frames_of_reference} frames of reference, and slices without positions");
            return Err(InputError::MixedSeries { path: path.to_owned(), slices: headers.len(), found });
        }
        let without = headers.iter().filter(|header| header.instance_number.is_none()).count();
        let numbers: Option<Vec<f64>> = headers.iter().map(|header| header.instance_number).collect();
        let numbers = numbers.or_else(|| (headers.len() == 1).then(|| vec![0.0]));
        let numbers = numbers.ok_or_else(|| InputError::BadHeader {
            path: path.to_owned(),
            field: "ImagePositionPatient",
            expected: "a position and an orientation, or an instance number, in every slice",
            found: format!("{without} of {} slices without", headers.len()),
        })?;
        let (order, coordinates) = sorted(&numbers);
        let (orientation, display_transform, tilt) = (None, DisplayTransform::default(), None);
        Ok(Stack {
            order,
            coordinates,
            has_positions: false,
            orientation,
            display_transform,
            frames_of_reference,
            tilt,
        })
    }

    /// Whether two slices, by their indices in the order, have the same coordinate.
    pub(super) fn is_same_position(&self, a: usize, b: usize) -> bool {
        (self.coordinates[a] - self.coordinates[b]).abs() < SAME_POSITION_MM
    }

    /// Median distance in mm between the slices that are `kept`; the thickness of a single slice; `None` without
    /// positions.
    pub(super) fn gap_mm(&self, kept: &[usize], headers: &[&Header]) -> Option<f64> {
        match (self.has_positions, kept) {
            (true, [only]) => headers[self.order[*only]].thickness_mm,
            (true, [_, _, ..]) => Some(median(self.gaps(kept))),
            _ => None,
        }
    }

    /// The middle of each slice in mm along the patient axis across the slices, towards right, anterior or superior; `None` without
    /// positions or pixel spacing.
    pub(super) fn slices_mm(&self, kept: &[&Header]) -> Option<Vec<f64>> {
        let world = self.orientation.filter(|_| self.has_positions)?.plane().world();
        let [row_mm, column_mm] = pixel_spacing_mm(kept)?;
        let middle = |header: &&Header| {
            let ([along_row, down], position) = (header.axes?, header.position_mm?);
            let [right, below] = [header.columns as f64 - 1.0, header.rows as f64 - 1.0];
            let at = position[world] + (along_row[world] * column_mm * right + down[world] * row_mm * below) / 2.0;
            // DICOM counts towards left and posterior.
            Some(if world < 2 { -at } else { at })
        };
        kept.iter().map(middle).collect()
    }

    fn gaps(&self, kept: &[usize]) -> Vec<f64> {
        kept.windows(2).map(|pair| (self.coordinates[pair[1]] - self.coordinates[pair[0]]).abs()).collect()
    }

    /// Warnings about the slices, for the volume's notes; `kept` are indices in the order, in display order.
    pub(super) fn notes(&self, kept: &[usize]) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.has_positions {
            if kept.len() > 1 {
                notes.push("slices have no positions: they are in the order of their instance numbers".to_owned());
            }
            return notes;
        }
        if let Some((degrees, shift)) = self.tilt {
            notes.push(format!(
                "gantry tilted by {} degrees: slices shifted by {} mm from first to last, not undone",
                short(degrees, 1),
                short(shift, 1)
            ));
        }
        if self.frames_of_reference > 1 {
            let frames = self.frames_of_reference;
            notes.push(format!("{frames} frames of reference: slices are in one volume since their positions fit"));
        }
        if kept.len() < 3 {
            return notes;
        }
        let gaps = self.gaps(kept);
        let median = median(gaps.clone());
        let wide: Vec<usize> = (0..gaps.len()).filter(|n| gaps[*n] >= WIDE * median).collect();
        for n in wide.iter().take(MAX_GAPS_LISTED) {
            let (gap, median) = (short(gaps[*n], 3), short(median, 3));
            notes.push(format!("gap of {gap} mm after slice {n} where slices are {median} mm apart"));
        }
        if wide.len() > MAX_GAPS_LISTED {
            notes.push(format!("{} more such gaps", wide.len() - MAX_GAPS_LISTED));
        }
        let near = gaps.iter().copied().fold(median, f64::min);
        if near * WIDE <= median {
            let (near, median) = (short(near, 3), short(median, 3));
            notes.push(format!("slices as near as {near} mm where most are {median} mm apart"));
        }
        notes
    }
}

/// A number with at most this number of decimals.
fn short(number: f64, decimals: usize) -> String {
    let text = format!("{number:.decimals$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The indices that sort the numbers, and the sorted numbers.
fn sorted(numbers: &[f64]) -> (Vec<usize>, Vec<f64>) {
    let mut order: Vec<usize> = (0..numbers.len()).collect();
    order.sort_by(|a, b| numbers[*a].total_cmp(&numbers[*b]));
    let coordinates = order.iter().map(|index| numbers[*index]).collect();
    (order, coordinates)
}

/// The median; the list must not be empty.
fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    (numbers[(numbers.len() - 1) / 2] + numbers[numbers.len() / 2]) / 2.0
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    std::array::from_fn(|n| a[(n + 1) % 3] * b[(n + 2) % 3] - a[(n + 2) % 3] * b[(n + 1) % 3])
}

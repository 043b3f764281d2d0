//! Boxes and series: what is cut from where, drawn from one seeded generator.

use std::ops::Range;

use med2e3_input::orientation::Plane;
use med2e3_schemas::sample::Split;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::atlas::Atlas;

/// Display windows: centre and width in Hounsfield units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DisplayWindow {
    Brain,
    Fluid,
    Stroke,
}

impl DisplayWindow {
    pub(super) const ALL: [DisplayWindow; 3] = [DisplayWindow::Brain, DisplayWindow::Fluid, DisplayWindow::Stroke];

    pub(super) fn name(self) -> &'static str {
        match self {
            DisplayWindow::Brain => "brain",
            DisplayWindow::Fluid => "fluid",
            DisplayWindow::Stroke => "stroke",
        }
    }

    /// Lowest and highest Hounsfield unit shown.
    pub(super) fn range_hu(self) -> (f32, f32) {
        let (center, width) = match self {
            DisplayWindow::Brain => (40.0, 80.0),
            DisplayWindow::Fluid => (20.0, 40.0),
            DisplayWindow::Stroke => (38.0, 16.0),
        };
        (center - width / 2.0, center + width / 2.0)
    }
}

/// Thirds of the brain's height.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Lower,
    Middle,
    Upper,
}

impl Level {
    pub(super) const ALL: [Level; 3] = [Level::Lower, Level::Middle, Level::Upper];

    pub(super) fn name(self) -> &'static str {
        match self {
            Level::Lower => "lower",
            Level::Middle => "middle",
            Level::Upper => "upper",
        }
    }

    /// Heights that hold a box of this level, in mm.
    fn z_mm(self) -> Range<usize> {
        match self {
            Level::Lower => 40..75,
            Level::Middle => 80..115,
            Level::Upper => 120..155,
        }
    }
}

/// One series to cut.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) plane: Plane,
    pub(super) level: Level,
    pub(super) window: DisplayWindow,
    /// First corner and size of the box in the atlas, in mm along x, y, z.
    origin_mm: [usize; 3],
    size_mm: [usize; 3],
    /// Whether left and right are exchanged, so that a left half looks like a right one.
    mirrored: bool,
    slice_spacing_mm: f32,
    pixel_spacing_mm: f32,
}

/// Slices, rows, columns of a cut series with its values, in Hounsfield units within the window.
pub(super) struct Slices {
    pub(super) shape_dhw: [usize; 3],
    pub(super) hu: Vec<f32>,
    /// Distances along D, H, W.
    pub(super) spacing_mm_dhw: [f32; 3],
}

/// The planes of a box's series, in the order of a form.
pub(super) const PLANES: [Plane; 3] = [Plane::Axial, Plane::Coronal, Plane::Sagittal];
/// Extents of a box along x, y, z, in mm. A box is flat, so that a plane shows in how its slices are stretched to the
/// prepared shape, besides in the anatomy.
const SIZES_MM: [Range<usize>; 3] = [57..63, 74..77, 32..36];
/// Share of a box that must be brain.
const LEAST_BRAIN: f64 = 0.2;
/// Above this, a voxel is brain: the atlas' background is 0, and brain is between 20 and 50.
const BRAIN_HU: f32 = 5.0;

/// The area for boxes of a split, x and y in mm: the left half of the brain, and front and back of the right one. The
/// regions of different splits are 8 mm or more apart.
fn region(split: Split, number: usize) -> [Range<usize>; 2] {
    match split {
        Split::Train if (number / 3).is_multiple_of(2) => [36..98, 14..96],
        Split::Train => [36..98, 104..180],
        Split::Validation => [108..174, 104..180],
        Split::Test => [108..174, 14..96],
    }
}

fn boxes(split: Split) -> usize {
    match split {
        Split::Train => 90,
        Split::Validation => 12,
        Split::Test => 24,
    }
}

/// The boxes of a split, each as its three series: one a plane, the window taking turns.
pub(super) fn series_of_split(atlas: &Atlas, split: Split, rng: &mut ChaCha8Rng) -> Vec<[Series; 3]> {
    (0..boxes(split))
        .map(|number| {
            let level = Level::ALL[number % 3];
            let [x, y] = region(split, number);
            let ranges = [x, y, level.z_mm()];
            let (origin_mm, size_mm) = loop {
                let size: [usize; 3] = std::array::from_fn(|axis| rng.random_range(SIZES_MM[axis].clone()));
                let origin = std::array::from_fn(|axis| {
                    let Range { start, end } = ranges[axis];
                    rng.random_range(start..=end - size[axis])
                });
                if brain_share(atlas, origin, size) >= LEAST_BRAIN {
                    break (origin, size);
                }
            };
            // The right half is unseen in training; a mirrored left half looks like it.
            let mirrored = split == Split::Train;
            std::array::from_fn(|plane| Series {
                plane: PLANES[plane],
                level,
                window: DisplayWindow::ALL[(number / 3 + plane + number % 3) % 3],
                origin_mm,
                size_mm,
                mirrored,
                slice_spacing_mm: rng.random_range(1.0..1.6),
                pixel_spacing_mm: rng.random_range(0.8..1.2),
            })
        })
        .collect()
}

fn brain_share(atlas: &Atlas, origin: [usize; 3], size: [usize; 3]) -> f64 {
    let (step, mut brain, mut all) = (2, 0u32, 0u32);
    for z in (origin[2]..origin[2] + size[2]).step_by(step) {
        for y in (origin[1]..origin[1] + size[1]).step_by(step) {
            for x in (origin[0]..origin[0] + size[0]).step_by(step) {
                all += 1;
                brain += u32::from(atlas.at([x as f32, y as f32, z as f32]) > BRAIN_HU);
            }
        }
    }
    f64::from(brain) / f64::from(all.max(1))
}

impl Series {
    /// Reslices the box: radiological display, so axial slices run upwards with the front on top, coronal ones from
    /// front to back and sagittal ones from right to left with the top of the head on top.
    pub(super) fn slices(&self, atlas: &Atlas) -> Slices {
        // For D, H, W: the atlas axis, and whether it runs backwards.
        let axes: [(usize, bool); 3] = match self.plane {
            Plane::Axial => [(2, false), (1, true), (0, true)],
            Plane::Coronal => [(1, true), (2, true), (0, true)],
            Plane::Sagittal => [(0, true), (2, true), (1, true)],
        };
        let wanted = [self.slice_spacing_mm, self.pixel_spacing_mm, self.pixel_spacing_mm];
        let shape_dhw: [usize; 3] =
            std::array::from_fn(|i| ((self.size_mm[axes[i].0] as f32 / wanted[i]) as usize).max(2));
        let spacing_mm_dhw: [f32; 3] = std::array::from_fn(|i| self.size_mm[axes[i].0] as f32 / shape_dhw[i] as f32);
        let (low, high) = self.window.range_hu();
        let mut hu = Vec::with_capacity(shape_dhw.iter().product());
        for d in 0..shape_dhw[0] {
            for h in 0..shape_dhw[1] {
                for w in 0..shape_dhw[2] {
                    let mut point = [0.0; 3];
                    for (i, index) in [d, h, w].into_iter().enumerate() {
                        let (axis, backwards) = axes[i];
                        // Exchanging left and right is running along x the other way.
                        let backwards = backwards != (self.mirrored && axis == 0);
                        let along = (index as f32 + 0.5) * spacing_mm_dhw[i] - 0.5;
                        let size = self.size_mm[axis] as f32;
                        let along = if backwards { size - 1.0 - along } else { along };
                        point[axis] = self.origin_mm[axis] as f32 + along.clamp(0.0, size - 1.0);
                    }
                    hu.push(atlas.at(point).clamp(low, high));
                }
            }
        }
        Slices { shape_dhw, hu, spacing_mm_dhw }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo_set::SPLIT_GAP_MM;

    #[test]
    fn regions_of_different_splits_are_apart() {
        let regions: Vec<(Split, [Range<usize>; 2])> =
            Split::ALL.iter().flat_map(|&split| (0..6).map(move |number| (split, region(split, number)))).collect();
        for (a, first) in &regions {
            for (b, second) in regions.iter().filter(|(b, _)| b != a) {
                let gap = |i: usize| {
                    let (from, to) = (first[i].start.max(second[i].start), first[i].end.min(second[i].end));
                    // Distance from the last voxel of one to the first of the other.
                    from as f64 - to as f64 + 1.0
                };
                assert!(gap(0).max(gap(1)) >= SPLIT_GAP_MM, "{a} {b}");
            }
        }
    }

    #[test]
    fn every_box_fits_its_region() {
        for &split in Split::ALL {
            for number in 0..boxes(split) {
                let [x, y] = region(split, number);
                for (range, sizes) in [x, y, Level::ALL[number % 3].z_mm()].iter().zip(&SIZES_MM) {
                    assert!(range.len() >= sizes.end - 1, "{split} {number} {range:?}");
                }
            }
        }
    }
}

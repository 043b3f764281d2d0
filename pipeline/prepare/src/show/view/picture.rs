//! Slices of a volume side by side, as a data address: the page needs no other file.

use image::codecs::jpeg::JpegEncoder;
use image::imageops::{FilterType, resize};
use image::{ExtendedColorType, GrayImage, ImageEncoder};
use med2e3_input::recipe;
use med2e3_input::slices::AxialSlices;
use med2e3_input::volume::Volume;
use med2e3_page::data_address;
use med2e3_schemas::Id;
use med2e3_shards::Dataset;
use med2e3_shards::codes::decode;

use crate::PrepareError;
use crate::show::inspect::grey_of;

/// Slices of a strip.
pub(super) const SLICES: usize = 8;
/// Longer side of a slice, in pixels.
const SIDE: usize = 128;
const JPEG_QUALITY: u8 = 80;

/// A picture as it stands in the page.
pub(super) struct Strip {
    /// The data address.
    pub(super) address: String,
    /// Width and height in pixels.
    pub(super) size: [u32; 2],
    /// The numbers of the slices, from left to right.
    pub(super) slices: Vec<usize>,
}

/// Eight slices of a volume of the dataset.
pub(super) fn of_volume(dataset: &Dataset, id: Id) -> Result<Strip, PrepareError> {
    let format = dataset.voxels();
    let mut cell = vec![0; format.cell_bytes()];
    dataset.read_voxels(id, &mut cell)?;
    let grey: Vec<u8> = decode(&cell, format).into_iter().map(|value| grey_of(value, format)).collect();
    strip(&grey, format.shape_dhw)
}

/// Eight slices of an input between its smallest and its largest value, its box stretched to squares; `None` where they are equal
/// or no numbers, so that there is nothing to see.
pub(super) fn of_input(volume: &Volume) -> Option<Strip> {
    let shape = [SLICES.min(volume.shape_dhw[0]), SIDE, SIDE];
    let mut values = Vec::new();
    recipe::m3d(volume, shape, &mut values).ok()?;
    let grey: Vec<u8> = values.into_iter().map(|value| (value * 255.0).round() as u8).collect();
    strip(&grey, shape).ok()
}

fn strip(grey: &[u8], shape_dhw: [usize; 3]) -> Result<Strip, PrepareError> {
    let slices = AxialSlices::new(grey, shape_dhw).expect("as many voxels as the shape has");
    let numbers: Vec<usize> = slices.evenly(SLICES.min(slices.len())).collect();
    let [height, width] = slices.shape_hw();
    // One slice at a time, so that no pixel of one comes into its neighbour.
    let scale = SIDE as f64 / height.max(width) as f64;
    let [h, w] = [height, width].map(|side| ((side as f64 * scale).round() as u32).max(1));
    let gap = 2;
    let size = [numbers.len() as u32 * (w + gap) - gap, h];
    let mut picture = GrayImage::new(size[0], size[1]);
    for (place, number) in (0u32..).zip(&numbers) {
        let slice = GrayImage::from_raw(width as u32, height as u32, slices.slice(*number).to_vec());
        let slice = resize(&slice.expect("a slice has height x width pixels"), w, h, FilterType::Triangle);
        image::imageops::replace(&mut picture, &slice, i64::from(place * (w + gap)), 0);
    }
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, JPEG_QUALITY)
        .write_image(picture.as_raw(), size[0], size[1], ExtendedColorType::L8)
        .map_err(|error| PrepareError::Request { what: "picture".into(), problem: error.to_string() })?;
    Ok(Strip { address: data_address("image/jpeg", &jpeg), size, slices: numbers })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strip_has_its_slices_side_by_side() {
        let grey: Vec<u8> = (0..3 * 16 * 32).map(|n| (n % 251) as u8).collect();
        let strip = strip(&grey, [3, 16, 32]).unwrap();
        assert_eq!((strip.size, strip.slices), ([3 * 130 - 2, 64], vec![0, 1, 2]));
        assert!(strip.address.starts_with("data:image/jpeg;base64,/9j/"));
    }
}

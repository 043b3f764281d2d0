//! A volume's slices as pictures: a strip of some, and a sheet of all.

use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, GrayImage, ImageEncoder, ImageError, ImageResult};
use med2e3_input::slices::{AxialSlices, Montage};
use med2e3_store::{FileError, put_whole};

/// Slices in a row of a sheet.
pub(in crate::verb) const SHEET_COLUMNS: usize = 8;

/// Of a sheet, from 1 to 100.
const SHEET_QUALITY: u8 = 85;

/// A volume's pictures in the output folder.
pub(super) struct Pictures {
    /// The strip's slices.
    pub(super) shown: Vec<u32>,
    /// The strip's file name.
    pub(super) picture: String,
    /// The sheet's file name.
    pub(super) sheet: String,
}

/// Writes both pictures of a volume: `count` evenly spread slices, `VOLUME.png`, and all of them, `VOLUME.jpg`.
///
/// # Errors
/// Files that can't be written.
pub(super) fn write_pictures(
    slices: AxialSlices<'_, u8>,
    volume: &str,
    count: usize,
    out: &Path,
) -> Result<Pictures, FileError> {
    let shown: Vec<usize> = slices.evenly(count).collect();
    let picture = format!("{volume}.png");
    let path = out.join(&picture);
    let montage = slices.montage(shown.iter().copied(), count);
    let [height, width] = montage.shape_hw.map(|n| n as u32);
    let image = GrayImage::from_raw(width, height, montage.pixels).expect("a montage has height x width pixels");
    image.save(&path).map_err(failed(&path))?;
    let sheet = format!("{volume}.jpg");
    let path = out.join(&sheet);
    put_whole(&path, &sheet_jpeg(slices).map_err(failed(&path))?)?;
    Ok(Pictures { shown: shown.into_iter().map(|slice| slice as u32).collect(), picture, sheet })
}

fn failed(path: &Path) -> impl FnOnce(ImageError) -> FileError {
    |error| FileError::of(path, "write")(std::io::Error::other(error))
}

/// Values in 0..1 as grey levels.
pub(in crate::verb) fn grey(values: &[f32]) -> Vec<u8> {
    values.iter().map(|value| (value * 255.0).round() as u8).collect()
}

/// All slices as one JPEG picture: 8 in a row, from left to right and top to bottom, slice 0 first.
///
/// # Errors
/// The encoder's own, as of a sheet that is wider than the format allows.
pub(in crate::verb) fn sheet_jpeg(slices: AxialSlices<'_, u8>) -> ImageResult<Vec<u8>> {
    let Montage { shape_hw: [height, width], pixels } = slices.montage(0..slices.len(), SHEET_COLUMNS);
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, SHEET_QUALITY);
    encoder.write_image(&pixels, width as u32, height as u32, ExtendedColorType::L8)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sheet_has_every_slice_at_its_place() {
        let (slices, side) = (11, 16);
        let levels: Vec<u8> = (0..slices).map(|slice| slice as u8 * 20).collect();
        let grey: Vec<u8> = levels.iter().flat_map(|level| vec![*level; side * side]).collect();
        let bytes = sheet_jpeg(AxialSlices::new(&grey, [slices, side, side]).unwrap()).unwrap();
        let sheet = image::load_from_memory(&bytes).unwrap().into_luma8();
        assert_eq!((sheet.width(), sheet.height()), (8 * side as u32, 2 * side as u32));
        for (slice, level) in levels.iter().enumerate() {
            let centre = [slice % 8, slice / 8].map(|at| (at * side + side / 2) as u32);
            let found = sheet.get_pixel(centre[0], centre[1]).0[0];
            assert!(found.abs_diff(*level) <= 3, "slice {slice}: {found} for {level}");
        }
    }
}

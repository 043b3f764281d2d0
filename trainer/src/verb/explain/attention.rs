//! Where an answer's tokens look among the 3D tokens, over a slice.

use std::path::Path;

use image::imageops::{FilterType, resize};
use image::{ImageBuffer, Luma, Rgb, RgbImage};
use med2e3_input::slices::AxialSlices;
use med2e3_schemas::explanation::AttentionMap;
use med2e3_schemas::sample::SampleRow;
use med2e3_store::FileError;

use crate::TrainerError;
use crate::generate::answerer::Answerer;
use crate::model::med2e3::Encoded;

/// The colour of what is looked at most; light to dark, it is told from grey without colours too.
const HOT: [f32; 3] = [255.0, 96.0, 0.0];

/// How much of the colour covers the slice there.
const COVER: f32 = 0.65;

/// An answer to be looked into.
#[derive(Clone, Copy)]
pub(super) struct Looked<'a> {
    pub(super) row: &'a SampleRow,
    /// The answer's tokens.
    pub(super) ids: &'a [i64],
    /// The slice to show.
    pub(super) slice: usize,
    /// The block, from 0.
    pub(super) layer: usize,
}

/// The map of an answer, with its picture in `out`. `None` of an answer without tokens or a question without a volume.
///
/// # Errors
/// As [`Med2e3::forward`](crate::model::Med2e3::forward); a picture that can't be written.
pub(super) fn attention(
    answerer: &Answerer,
    encoded: &Encoded<'_>,
    looked: Looked<'_>,
    slices: AxialSlices<'_, u8>,
    out: &Path,
) -> Result<Option<AttentionMap>, TrainerError> {
    let Looked { row, ids, slice, layer } = looked;
    let start = row.target_spans.first().map_or(row.ids.len(), |span| span.0 as usize);
    let text = answerer.text_of(row, &row.ids[..start], ids);
    let Some(found) = answerer.model().attention(encoded, &text, layer)? else { return Ok(None) };
    let grid_dhw = answerer.model().config().pooled_grid().map(|n| n as usize);
    let picture = format!("{}-attention.png", row.sample_id);
    let path = out.join(&picture);
    let written = overlay(slices, slice, &found.tokens3d, grid_dhw).save(&path);
    written.map_err(|error| FileError::of(&path, "write")(std::io::Error::other(error)))?;
    Ok(Some(AttentionMap {
        layer: layer as u32,
        tokens: ids.len() as u64,
        grid_dhw: grid_dhw.map(|n| n as u32),
        tokens3d: found.tokens3d.iter().sum(),
        tokens2d: found.tokens2d,
        rest: found.rest,
        weights: found.tokens3d,
        slice: slice as u32,
        picture,
    }))
}

/// A slice in grey under the map of the layer of 3D tokens that covers it, whose strongest token of all layers has the full colour.
fn overlay(slices: AxialSlices<'_, u8>, slice: usize, weights: &[f64], grid_dhw: [usize; 3]) -> RgbImage {
    let [height, width] = slices.shape_hw().map(|n| n as u32);
    let [depth, rows, columns] = grid_dhw;
    let layer = (slice * depth / slices.len().max(1)).min(depth - 1);
    let strongest = weights.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let of_layer = weights[layer * rows * columns..][..rows * columns].iter();
    let of_layer: Vec<f32> = of_layer.map(|weight| (weight / strongest) as f32).collect();
    let map = ImageBuffer::<Luma<f32>, _>::from_raw(columns as u32, rows as u32, of_layer).expect("a layer's tokens");
    let map = resize(&map, width, height, FilterType::Triangle);
    RgbImage::from_fn(width, height, |x, y| {
        let grey = f32::from(slices.slice(slice)[(y * width + x) as usize]);
        let cover = COVER * map.get_pixel(x, y).0[0].clamp(0.0, 1.0);
        Rgb(HOT.map(|part| (grey * (1.0 - cover) + part * cover).round() as u8))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layer_that_covers_a_slice_is_drawn_where_its_tokens_are() {
        // Four slices of 8 x 8, two layers of 2 x 2 tokens: of layer 1 the token at the top right alone is looked at.
        let grey = vec![100u8; 4 * 64];
        let slices = AxialSlices::new(&grey, [4, 8, 8]).unwrap();
        let weights = [0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0];
        let plain = overlay(slices, 1, &weights, [2, 2, 2]);
        assert!(plain.pixels().all(|pixel| pixel.0 == [100; 3]));
        let hot = overlay(slices, 2, &weights, [2, 2, 2]);
        assert_eq!(hot.get_pixel(0, 7).0, [100; 3]);
        let expected = [0.0, 1.0, 2.0].map(|at: f32| (100.0 * 0.35 + HOT[at as usize] * 0.65).round() as u8);
        assert_eq!(hot.get_pixel(7, 0).0, expected);
    }
}

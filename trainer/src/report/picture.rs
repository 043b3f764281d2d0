//! Pictures for the page, as data addresses: the page needs no other file.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::imageops::{FilterType, resize};
use image::{ExtendedColorType, GrayImage, ImageEncoder};
use med2e3_input::slices::AxialSlices;
use med2e3_page::data_address;
use med2e3_schemas::Id;
use med2e3_schemas::volume;
use med2e3_shards::codes::decode;
use med2e3_shards::{Dataset, ShardError};
use med2e3_store::read_regular;

use crate::TrainerError;

/// Slices of a volume in the page's montage.
const SLICES: usize = 8;
/// Side of a slice there, in pixels.
const SIDE: u32 = 128;
const JPEG_QUALITY: u8 = 85;

/// Bytes of a picture at most.
const MAX_PICTURE_BYTES: u64 = 1 << 26;
/// How pictures of a kind begin, by media type.
const BEGINNINGS: [(&str, &[u8]); 2] = [("image/png", b"\x89PNG\r\n\x1a\n"), ("image/jpeg", b"\xff\xd8\xff")];

/// A picture file as it is.
pub(super) fn of_file(path: &Path) -> Result<String, TrainerError> {
    let bytes = read_regular(path, MAX_PICTURE_BYTES)?;
    match BEGINNINGS.iter().find(|(_, beginning)| bytes.starts_with(beginning)) {
        Some((media_type, _)) => Ok(data_address(media_type, &bytes)),
        None => {
            let (expected, found) = ("a PNG or JPEG picture".into(), "another beginning".into());
            Err(TrainerError::File { path: path.to_owned(), expected, found })
        }
    }
}

/// One volume of each series name, by name, with eight of its slices as one picture.
pub(super) fn of_volumes(dataset: &Dataset) -> Result<Vec<(String, String)>, TrainerError> {
    let mut chosen: BTreeMap<String, Id> = BTreeMap::new();
    for shard in dataset.volume_shards() {
        let shard = shard?;
        for batch in shard.read(&volume::SERIES)? {
            let rows = volume::series_from_batch(&batch).map_err(ShardError::schema(shard.path()))?;
            for (id, name) in rows.into_iter().filter_map(|(id, name)| Some((id, name?))) {
                chosen.entry(name).or_insert(id);
            }
        }
    }
    let picture = |(name, id): (String, Id)| Ok((name.replace('_', " "), of_volume(dataset, id)?));
    chosen.into_iter().map(picture).collect()
}

fn of_volume(dataset: &Dataset, id: Id) -> Result<String, TrainerError> {
    let format = dataset.voxels();
    let mut cell = vec![0; format.cell_bytes()];
    dataset.read_voxels(id, &mut cell)?;
    let grey: Vec<u8> = decode(&cell, format).into_iter().map(|value| (value * 255.0).round() as u8).collect();
    let slices = AxialSlices::new(&grey, format.shape_dhw).expect("a cell has the format's voxels");
    let montage = slices.montage(slices.evenly(SLICES), SLICES);
    let [height, width] = montage.shape_hw.map(|n| n as u32);
    let picture = GrayImage::from_raw(width, height, montage.pixels).expect("a montage has height x width pixels");
    let picture = resize(&picture, SIDE * SLICES as u32, SIDE, FilterType::Triangle);
    let mut bytes = Cursor::new(Vec::new());
    let written = JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY).write_image(
        picture.as_raw(),
        picture.width(),
        picture.height(),
        ExtendedColorType::L8,
    );
    written.expect("memory takes any picture");
    Ok(data_address("image/jpeg", &bytes.into_inner()))
}

//! Pictures: one PNG or JPEG file to 8-bit grey, each pixel equal to Pillow's `convert("L")`.

use std::io::{Cursor, Read};
use std::path::Path;

use image::codecs::png::PngDecoder;
use image::{ColorType, DynamicImage, ImageDecoder, Limits};

use super::limits::{self, MAX_PICTURE_EXTRAS, MAX_SLICE_BYTES};
use super::luma::luma;
use super::magic;
use super::picture_error::PictureError;
use super::png_header::Header;
use super::stage::{self, Stage};
use super::{gzip, jpeg};
use crate::reading::{self, File};

/// Whether the bytes start as PNG or JPEG does.
pub(super) fn is_picture(head: &[u8]) -> bool {
    head.starts_with(b"\x89PNG") || jpeg::is_jpeg(head)
}

/// What a picture is besides its grey pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Picture {
    /// Rows and columns.
    pub(super) shape_hw: [usize; 2],
    /// Of 16-bit grey: the number of pixels above 255, which became white.
    pub(super) clipped: Option<usize>,
}

/// Decodes one picture by its contents, whatever its name, and appends its grey pixels.
///
/// `file` is a buffer for the file's bytes, which is used for one slice after the other.
pub(super) fn grey(
    path: &Path,
    size_limit: u64,
    file: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<Picture, PictureError> {
    load(path, file)?;
    if jpeg::is_jpeg(file) {
        let shape_hw = jpeg::grey(file, size_limit, out)?;
        return Ok(Picture { shape_hw, clipped: None });
    }
    png_grey(file, size_limit, out)
}

/// Bytes of a picture that are read for its header. Most slices have fewer.
const HEADER_BYTES: u64 = 1 << 16;

/// What a picture's header says of it. A small file is looked at as a whole.
pub(super) fn look(path: &Path, size_limit: u64, file: &mut Vec<u8>) -> Result<Picture, PictureError> {
    if !reading::metadata(path)?.is_file() {
        return Err(PictureError::Unreadable("not a regular file".to_owned()));
    }
    file.clear();
    let opened = File::open(path)?;
    let length = opened.metadata()?.len();
    if length > MAX_SLICE_BYTES {
        return Err(PictureError::SliceTooLarge(length));
    }
    opened.take(HEADER_BYTES).read_to_end(file)?;
    let is_whole = length <= HEADER_BYTES;
    if jpeg::is_jpeg(file) {
        return Ok(Picture { shape_hw: jpeg::look(file, is_whole, size_limit)?, clipped: None });
    }
    if !is_whole {
        // How much data follows is not known: its header alone is.
        let header = Header::of(file);
        let unreadable = || PictureError::Unreadable("expected a PNG's header, found none".to_owned());
        let header = header.filter(|_| file.starts_with(b"\x89PNG")).ok_or_else(unreadable)?;
        let [width, height] = header.size;
        return Ok(Picture {
            shape_hw: [height as usize, width as usize],
            clipped: header.is_deep_grey().then_some(0),
        });
    }
    let (decoder, shape_hw) = png(file, size_limit)?;
    Ok(Picture { shape_hw, clipped: (decoder.color_type() == ColorType::L16).then_some(0) })
}

/// Decodes one picture of 16-bit grey and appends its numbers.
pub(super) fn deep_grey(path: &Path, file: &mut Vec<u8>, out: &mut Vec<u16>) -> Result<(), PictureError> {
    load(path, file)?;
    let (decoder, _) = png(file, u64::MAX)?;
    match DynamicImage::from_decoder(decoder)? {
        DynamicImage::ImageLuma16(picture) => out.extend_from_slice(&picture),
        _ => return Err(PictureError::Unreadable("no longer 16-bit grey".to_owned())),
    }
    Ok(())
}

/// Reads a file into `file`.
fn load(path: &Path, file: &mut Vec<u8>) -> Result<(), PictureError> {
    // A pipe would never end. A link is followed: whoever names the folder decides whether its links may be.
    if !reading::metadata(path)?.is_file() {
        return Err(PictureError::Unreadable("not a regular file".to_owned()));
    }
    stage::enter(Stage::Read);
    file.clear();
    let opened = File::open(path)?;
    let length = opened.metadata()?.len();
    if length > MAX_SLICE_BYTES {
        return Err(PictureError::SliceTooLarge(length));
    }
    limits::reserve(file, length as usize)?;
    opened.take(MAX_SLICE_BYTES).read_to_end(file)?;
    stage::enter(Stage::Decode);
    Ok(())
}

fn png_grey(bytes: &[u8], size_limit: u64, out: &mut Vec<u8>) -> Result<Picture, PictureError> {
    let (decoder, shape_hw) = png(bytes, size_limit)?;
    let start = out.len();
    let mut clipped = None;
    if decoder.color_type() == ColorType::L8 {
        limits::reserve(out, decoder.total_bytes() as usize)?;
        out.resize(start + decoder.total_bytes() as usize, 0);
        decoder.read_image(&mut out[start..]).inspect_err(|_| out.truncate(start))?;
    } else {
        let picture = DynamicImage::from_decoder(decoder)?;
        if let DynamicImage::ImageLuma16(picture) = &picture {
            clipped = Some(picture.iter().filter(|sample| **sample > 255).count());
        }
        append_grey(picture, out);
    }
    Ok(Picture { shape_hw, clipped })
}

/// The decoder of a PNG, with its rows and columns.
fn png(bytes: &[u8], size_limit: u64) -> Result<(impl ImageDecoder, [usize; 2]), PictureError> {
    if !bytes.starts_with(b"\x89PNG") {
        let found = magic::found(&bytes[..bytes.len().min(magic::HEAD_BYTES)]);
        return Err(PictureError::Unreadable(format!("expected a PNG or JPEG, found {found}")));
    }
    let Some(header) = Header::of(bytes) else {
        return Err(PictureError::Unreadable("expected a PNG's header, found none".to_owned()));
    };
    let [width, height] = header.size;
    let pixels = u64::from(width) * u64::from(height);
    let found = gzip::max_decoded_bytes(header.data_bytes);
    if header.decoded_bytes() > found {
        let expected = header.decoded_bytes();
        return Err(PictureError::Unreadable(format!(
            "{width}x{height} pixels are {expected} bytes, of which {} bytes of data hold {found} at most",
            header.data_bytes
        )));
    }
    if pixels > size_limit {
        return Err(PictureError::TooLarge(pixels));
    }
    // Besides the grey pixels.
    let taken = header.unpacked_bytes().saturating_add(pixels);
    if taken > MAX_SLICE_BYTES {
        return Err(PictureError::SliceTooLarge(taken));
    }
    let within = |bytes| {
        let mut limits = Limits::no_limits();
        limits.max_alloc = Some(bytes);
        limits
    };
    let mut decoder = PngDecoder::with_limits(Cursor::new(bytes), within(MAX_PICTURE_EXTRAS))?;
    decoder.set_limits(within(MAX_SLICE_BYTES))?;
    Ok((decoder, [height as usize, width as usize]))
}

/// Appends pixels equal to Pillow's `convert("L")`: alpha is ignored, 16-bit grey is clipped at 255, 16-bit colors are
/// reduced to their high bytes.
fn append_grey(picture: DynamicImage, out: &mut Vec<u8>) {
    let high = |sample: u16| (sample >> 8) as u8;
    match picture {
        DynamicImage::ImageLuma8(picture) => out.extend_from_slice(&picture),
        DynamicImage::ImageLumaA8(picture) => out.extend(picture.chunks_exact(2).map(|pixel| pixel[0])),
        DynamicImage::ImageRgb8(picture) => {
            out.extend(picture.chunks_exact(3).map(|pixel| luma(pixel[0], pixel[1], pixel[2])))
        }
        DynamicImage::ImageRgba8(picture) => {
            out.extend(picture.chunks_exact(4).map(|pixel| luma(pixel[0], pixel[1], pixel[2])))
        }
        DynamicImage::ImageLuma16(picture) => out.extend(picture.iter().map(|sample| (*sample).min(255) as u8)),
        DynamicImage::ImageLumaA16(picture) => out.extend(picture.chunks_exact(2).map(|pixel| high(pixel[0]))),
        DynamicImage::ImageRgb16(picture) => {
            out.extend(picture.chunks_exact(3).map(|pixel| luma(high(pixel[0]), high(pixel[1]), high(pixel[2]))));
        }
        DynamicImage::ImageRgba16(picture) => {
            out.extend(picture.chunks_exact(4).map(|pixel| luma(high(pixel[0]), high(pixel[1]), high(pixel[2]))))
        }
        // A PNG has no other numbers.
        picture => out.extend(
            picture.to_rgba16().chunks_exact(4).map(|pixel| luma(high(pixel[0]), high(pixel[1]), high(pixel[2]))),
        ),
    }
}

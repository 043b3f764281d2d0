//! A series on disk: NIfTI in Hounsfield units, or a folder of 8-bit slices as M3D-Cap ships.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, GrayImage, ImageEncoder};
use med2e3_input::orientation::Plane;
use ndarray::Array3;
use nifti::NiftiHeader;
use nifti::writer::WriterOptions;

use super::atlas::Atlas;
use super::cut::{Series, Slices};
use crate::PrepareError;

/// JPEG quality: what a web viewer would ship.
const JPEG_QUALITY: u8 = 95;

/// How a series is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Nifti,
    Png,
    Jpeg,
}

impl Form {
    pub(super) const ALL: [Form; 3] = [Form::Nifti, Form::Png, Form::Jpeg];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Form::Nifti => "nifti",
            Form::Png => "png",
            Form::Jpeg => "jpeg",
        }
    }
}

/// Cuts the series and writes it to `out/M3D_Cap/NAME`.
pub(super) fn write_series(
    atlas: &Atlas,
    series: &Series,
    form: Form,
    out: &Path,
    name: &str,
) -> Result<(), PrepareError> {
    let slices = series.slices(atlas);
    let path = out.join("M3D_Cap").join(name);
    let folder = path.parent().expect("a series is in its case's folder");
    fs::create_dir_all(folder).map_err(PrepareError::file(folder, "create"))?;
    match form {
        Form::Nifti => write_nifti(&slices, series.plane, &path.with_extension("nii.gz")),
        Form::Png | Form::Jpeg => write_folder(&slices, series, form, &path),
    }
}

fn write_nifti(slices: &Slices, plane: Plane, path: &Path) -> Result<(), PrepareError> {
    let [depth, height, width] = slices.shape_dhw;
    let [sd, sh, sw] = slices.spacing_mm_dhw;
    // Columns of the affine: where i (W), j (H) and k (D) point in right-anterior-superior millimetres.
    let (i, j, k) = match plane {
        Plane::Axial => ([-sw, 0.0, 0.0], [0.0, -sh, 0.0], [0.0, 0.0, sd]),
        Plane::Coronal => ([-sw, 0.0, 0.0], [0.0, 0.0, -sh], [0.0, -sd, 0.0]),
        Plane::Sagittal => ([0.0, -sw, 0.0], [0.0, 0.0, -sh], [-sd, 0.0, 0.0]),
    };
    let row = |axis: usize| [i[axis], j[axis], k[axis], 0.0];
    let header = NiftiHeader {
        pixdim: [1.0, sw, sh, sd, 0.0, 0.0, 0.0, 0.0],
        sform_code: 1,
        qform_code: 0,
        srow_x: row(0),
        srow_y: row(1),
        srow_z: row(2),
        xyzt_units: 2,
        scl_slope: 1.0,
        ..NiftiHeader::default()
    };
    // NIfTI's first index is the column.
    let voxels = Array3::from_shape_fn((width, height, depth), |(w, h, d)| {
        slices.hu[(d * height + h) * width + w].round() as i16
    });
    let written = WriterOptions::new(path).reference_header(&header).write_nifti(&voxels);
    written.map_err(|e| PrepareError::file(path, "write")(std::io::Error::other(e)))
}

fn write_folder(slices: &Slices, series: &Series, form: Form, folder: &Path) -> Result<(), PrepareError> {
    fs::create_dir_all(folder).map_err(PrepareError::file(folder, "create"))?;
    let [_, height, width] = slices.shape_dhw.map(|n| n as u32);
    let (low, high) = series.window.range_hu();
    let grey = |hu: &f32| ((hu - low) / (high - low) * 255.0).round() as u8;
    for (number, slice) in slices.hu.chunks_exact((height * width) as usize).enumerate() {
        let pixels: Vec<u8> = slice.iter().map(grey).collect();
        let path = folder.join(format!("{number}.{}", form.as_str()));
        let error = |e: image::ImageError| PrepareError::file(&path, "write")(std::io::Error::other(e));
        if form == Form::Jpeg {
            let file = File::create(&path).map_err(PrepareError::file(&path, "create"))?;
            let encoder = JpegEncoder::new_with_quality(BufWriter::new(file), JPEG_QUALITY);
            encoder.write_image(&pixels, width, height, ExtendedColorType::L8).map_err(error)?;
        } else {
            let picture = GrayImage::from_raw(width, height, pixels).expect("a slice has height x width pixels");
            picture.save(&path).map_err(error)?;
        }
    }
    Ok(())
}

/// Writes a NIfTI file whose gzip stream ends early and a series none of whose slices is a picture; returns their names
/// and what is wrong with them.
pub(super) fn write_broken(out: &Path, case: usize) -> Result<[(String, &'static str); 2], PrepareError> {
    let cap = out.join("M3D_Cap");
    let [cut, garbled] = ["Axial_cut_off", "Axial_garbled"].map(|name| format!("ct_case/{case:06}/{name}"));
    let folder = cap.join(&garbled);
    fs::create_dir_all(&folder).map_err(PrepareError::file(&folder, "create"))?;
    for number in 0..3 {
        let path = folder.join(format!("{number}.png"));
        fs::write(&path, b"not a picture").map_err(PrepareError::file(&path, "write"))?;
    }
    let path = cap.join(format!("{cut}.nii.gz"));
    let slices = Slices { shape_dhw: [8, 16, 16], hu: vec![40.0; 2048], spacing_mm_dhw: [1.0; 3] };
    write_nifti(&slices, Plane::Axial, &path)?;
    let bytes = fs::read(&path).map_err(PrepareError::file(&path, "read"))?;
    fs::write(&path, &bytes[..bytes.len() * 2 / 3]).map_err(PrepareError::file(&path, "write"))?;
    Ok([(cut, "its gzip stream ends early"), (garbled, "no slice is a picture")])
}

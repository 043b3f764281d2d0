//! Volume shards: one row a volume, its voxels one FixedSizeBinary cell in the order D, H, W.
//!
//! A FixedSizeList column, which `arrow.fixed_shape_tensor` asks for, reads 5 to 10 times slower from parquet than one
//! binary cell; so shape, code, scale and offset are in the field's metadata instead. The value buffer of a
//! FixedSizeBinary array is the tensor itself, so a tensor view needs no copy. Where one scale gives the Hounsfield units of
//! every row, it is in the field's metadata too.

mod described;
mod hounsfield;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, FixedSizeBinaryBuilder, Float32Array, Float32Builder, ListBuilder, RecordBatch,
    StringArray, StringBuilder, StructBuilder, UInt32Builder,
};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::columns::{Columns, ids_of, list_of};
use crate::identity::{Identify, Identity};
use crate::{Id, SchemaError};
pub use described::{DESCRIBED, Described, described_from_batch};
pub use hounsfield::{HU_OFFSET, HU_SCALE, HounsfieldScale};

/// Name of our extension type on the voxel field.
pub const EXTENSION: &str = "med2e3.voxels";

/// Bytes of the largest cell: Arrow's C++ library, and with it pyarrow, counts the bits of one in 32 bits with a sign.
pub const MAX_CELL_BYTES: usize = (1 << 28) - 1;

/// How a voxel value in 0..1 is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VoxelCode {
    /// 0..255: for 8-bit sources; error at most 1/510 of full scale.
    U8,
    /// 0..32767: signed because libtorch has no 16-bit unsigned kind.
    I16,
    /// The value itself.
    F32,
}

impl VoxelCode {
    /// Bytes of one voxel.
    pub fn width(self) -> usize {
        match self {
            VoxelCode::U8 => 1,
            VoxelCode::I16 => 2,
            VoxelCode::F32 => 4,
        }
    }

    /// The largest code; a value in 0..1 is `code / maximum`.
    pub fn maximum(self) -> f32 {
        match self {
            VoxelCode::U8 => 255.0,
            VoxelCode::I16 => 32767.0,
            VoxelCode::F32 => 1.0,
        }
    }

    /// The code's word on disk.
    pub fn as_str(self) -> &'static str {
        match self {
            VoxelCode::U8 => "u8",
            VoxelCode::I16 => "i16",
            VoxelCode::F32 => "f32",
        }
    }
}

/// What a voxel cell means: value = code * scale + offset, little-endian, D H W.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VoxelFormat {
    /// Slices, rows, columns.
    pub shape_dhw: [usize; 3],
    /// The stored type.
    pub code: VoxelCode,
    /// Factor from code to value.
    pub scale: f32,
    /// Added after the factor.
    pub offset: f32,
}

impl VoxelFormat {
    /// Values in 0..1 under `code`.
    pub fn unit_range(shape_dhw: [usize; 3], code: VoxelCode) -> VoxelFormat {
        VoxelFormat { shape_dhw, code, scale: 1.0 / code.maximum(), offset: 0.0 }
    }

    /// Hounsfield units, as recipe `ct` without a window leaves them: codes are steps of 0.5 HU from -4096 HU up, so whole
    /// units are exact and -4096 to 12287 HU can be distinguished; `F32` holds the value itself.
    pub fn hounsfield(shape_dhw: [usize; 3], code: VoxelCode) -> VoxelFormat {
        match code {
            VoxelCode::F32 => VoxelFormat { shape_dhw, code, scale: 1.0, offset: 0.0 },
            _ => VoxelFormat { shape_dhw, code, scale: 0.5, offset: -4096.0 },
        }
    }

    /// Whether decoded values are in 0..1; else they are Hounsfield units.
    pub fn is_unit_range(&self) -> bool {
        *self == VoxelFormat::unit_range(self.shape_dhw, self.code)
    }

    /// Checks what a file states: a cell of at most [`MAX_CELL_BYTES`] and not empty, a finite scale above 0, a finite offset.
    ///
    /// # Errors
    /// A value out of its range.
    pub fn check(&self) -> Result<(), SchemaError> {
        let error =
            |key: &str, expected: String, found: String| SchemaError::Value { key: key.into(), expected, found };
        let cell = self.shape_dhw.iter().try_fold(self.code.width(), |bytes, &axis| bytes.checked_mul(axis));
        if !cell.is_some_and(|bytes| (1..=MAX_CELL_BYTES).contains(&bytes)) {
            let [d, h, w] = self.shape_dhw;
            let expected = format!("three numbers above 0 whose cell takes at most {MAX_CELL_BYTES} bytes");
            return Err(error("voxels.shape_dhw", expected, format!("{d}x{h}x{w} as {}", self.code.as_str())));
        }
        if !(self.scale.is_finite() && self.scale > 0.0) {
            return Err(error("voxels.scale", "a finite number above 0".into(), self.scale.to_string()));
        }
        if !self.offset.is_finite() {
            return Err(error("voxels.offset", "a finite number".into(), self.offset.to_string()));
        }
        Ok(())
    }

    /// The format for a message.
    pub fn in_words(&self) -> String {
        let ([d, h, w], code) = (self.shape_dhw, self.code.as_str());
        format!("{d}x{h}x{w} voxels as {code}, scale {}, offset {}", self.scale, self.offset)
    }

    /// Voxels in one cell.
    pub fn voxels(&self) -> usize {
        self.shape_dhw.iter().product()
    }

    /// Bytes of one cell.
    pub fn cell_bytes(&self) -> usize {
        self.voxels() * self.code.width()
    }

    fn field(&self, hounsfield: Option<HounsfieldScale>) -> Field {
        let shape = serde_json::to_string(&self.shape_dhw).expect("three integers are JSON");
        let mut metadata = HashMap::from([
            ("ARROW:extension:name".to_owned(), EXTENSION.to_owned()),
            (
                "ARROW:extension:metadata".to_owned(),
                format!(
                    r#"{{"shape":{shape},"order":"DHW","code":"{}","scale":{},"offset":{},"endian":"little"}}"#,
                    self.code.as_str(),
                    self.scale,
                    self.offset
                ),
            ),
        ]);
        if let Some(HounsfieldScale { scale, offset }) = hounsfield {
            metadata.insert(HU_SCALE.to_owned(), scale.to_string());
            metadata.insert(HU_OFFSET.to_owned(), offset.to_string());
        }
        let width = i32::try_from(self.cell_bytes()).expect("a cell is under 2 GiB");
        Field::new("voxels", DataType::FixedSizeBinary(width), false).with_metadata(metadata)
    }

    /// The format that a shard's voxel field states.
    ///
    /// # Errors
    /// A field without our extension metadata, or whose cell size contradicts it.
    pub fn of_schema(schema: &Schema) -> Result<VoxelFormat, SchemaError> {
        #[derive(Deserialize)]
        struct Stated {
            shape: [usize; 3],
            code: VoxelCode,
            scale: f32,
            offset: f32,
        }
        let error = |found: String| SchemaError::Column {
            column: "voxels".into(),
            expected: format!("FixedSizeBinary with the metadata of {EXTENSION}"),
            found,
        };
        let field = schema.field_with_name("voxels").map_err(|_| error("none".into()))?;
        let text = field.metadata().get("ARROW:extension:metadata").ok_or_else(|| error("no metadata".into()))?;
        let stated: Stated = serde_json::from_str(text).map_err(|e| error(format!("{text} ({e})")))?;
        let format =
            VoxelFormat { shape_dhw: stated.shape, code: stated.code, scale: stated.scale, offset: stated.offset };
        format.check()?;
        match field.data_type() {
            DataType::FixedSizeBinary(width) if *width as usize == format.cell_bytes() => Ok(format),
            other => Err(error(format!("{other} for {} bytes", format.cell_bytes()))),
        }
    }
}

/// A slice that a reader left out of its volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceDropped {
    /// The slice's number in its series.
    pub slice: u32,
    /// Why.
    pub reason: String,
}

/// One row of a volume shard.
#[derive(Clone, Debug, PartialEq)]
pub struct VolumeRow {
    /// Key.
    pub volume_id: Id,
    /// Codes of the cell, see [`VoxelFormat`].
    pub voxels: Vec<u8>,
    /// What was read, relative to the data root; `None` where paths are withheld.
    pub source_path: Option<String>,
    /// blake3 of the voxel codes.
    pub content_hash: [u8; 32],
    /// How the volume looks, by which copies of one image are found though no byte is equal: 256 bits, and 256 that say
    /// which of them tell something.
    pub perceptual_hash: [u8; 64],
    /// The case that the series belongs to.
    pub case_id: Option<String>,
    /// The series' name.
    pub series: Option<String>,
    /// axial, coronal or sagittal, where the source says so.
    pub plane: Option<String>,
    /// Axis codes of the source, such as LPS.
    pub orientation: Option<String>,
    /// Slices, rows, columns before crop and resample.
    pub source_shape: [u32; 3],
    /// First voxel of the crop on each axis.
    pub crop_start: [u32; 3],
    /// One past the last voxel of the crop on each axis.
    pub crop_stop: [u32; 3],
    /// Distance of voxel centres in the source, D H W, in mm.
    pub spacing_mm: Option<[f32; 3]>,
    /// Whether the source's values are Hounsfield units.
    pub hu_known: bool,
    /// Smallest source value, after rescale.
    pub value_min: f32,
    /// Largest source value, after rescale.
    pub value_max: f32,
    /// Slices that were left out.
    pub slices_dropped: Vec<SliceDropped>,
    /// What a user of the volume should know of its source, such as a gap between slices.
    pub notes: Vec<String>,
}

impl VolumeRow {
    /// A row that states its key and its cell alone: nothing is known of its source, whose values were 0 to 1.
    pub fn of_cell(volume_id: Id, voxels: Vec<u8>) -> VolumeRow {
        VolumeRow {
            volume_id,
            voxels,
            source_path: None,
            content_hash: [0; 32],
            perceptual_hash: [0; 64],
            case_id: None,
            series: None,
            plane: None,
            orientation: None,
            source_shape: [1; 3],
            crop_start: [0; 3],
            crop_stop: [1; 3],
            spacing_mm: None,
            hu_known: false,
            value_min: 0.0,
            value_max: 1.0,
            slices_dropped: Vec::new(),
            notes: Vec::new(),
        }
    }
}

impl Identify for VolumeRow {
    /// Every field in the order of the declaration; the voxels by their hash.
    fn identify(&self, identity: &mut Identity) {
        let VolumeRow { volume_id, source_path, content_hash, perceptual_hash, case_id, series, .. } = self;
        let VolumeRow { plane, orientation, source_shape, crop_start, crop_stop, spacing_mm, hu_known, .. } = self;
        let VolumeRow { value_min, value_max, slices_dropped, notes, .. } = self;
        let add_text = |identity: &mut Identity, text: &String| {
            identity.text(text);
        };
        identity.bytes(&volume_id.0).maybe(source_path.as_ref(), add_text).bytes(content_hash).bytes(perceptual_hash);
        for text in [case_id, series, plane, orientation] {
            identity.maybe(text.as_ref(), add_text);
        }
        for shape in [source_shape, crop_start, crop_stop] {
            identity.list(shape, |identity, n| {
                identity.number((*n).into());
            });
        }
        identity.maybe(spacing_mm.as_ref(), |identity, mm| {
            identity.list(mm, |identity, mm| {
                identity.float(*mm);
            });
        });
        identity.flag(*hu_known).float(*value_min).float(*value_max);
        identity.list(slices_dropped, |identity, dropped| {
            identity.number(dropped.slice.into()).text(&dropped.reason);
        });
        identity.list(notes, add_text);
    }
}

fn dropped_fields() -> Fields {
    vec![Field::new("slice", DataType::UInt32, false), Field::new("reason", DataType::Utf8, false)].into()
}

/// The schema of `volumes/*.parquet` without a scale of Hounsfield units, as recipe `m3d` and percentiles have it.
pub fn schema(format: &VoxelFormat) -> SchemaRef {
    schema_with(format, None)
}

/// The schema of `volumes/*.parquet`; the scale is in the metadata of `voxels`.
pub fn schema_with(format: &VoxelFormat, hounsfield: Option<HounsfieldScale>) -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    Arc::new(Schema::new(vec![
        Field::new("volume_id", DataType::FixedSizeBinary(16), false),
        format.field(hounsfield),
        text("source_path"),
        Field::new("content_hash", DataType::FixedSizeBinary(32), false),
        Field::new("perceptual_hash", DataType::FixedSizeBinary(64), false),
        text("case_id"),
        text("series"),
        text("plane"),
        text("orientation"),
        Field::new("source_shape", list_of(DataType::UInt32), false),
        Field::new("crop_start", list_of(DataType::UInt32), false),
        Field::new("crop_stop", list_of(DataType::UInt32), false),
        Field::new("spacing_mm", list_of(DataType::Float32), true),
        Field::new("hu_known", DataType::Boolean, false),
        Field::new("value_min", DataType::Float32, false),
        Field::new("value_max", DataType::Float32, false),
        Field::new("slices_dropped", list_of(DataType::Struct(dropped_fields())), false),
        Field::new("notes", list_of(DataType::Utf8), false),
    ]))
}

/// The rows as one batch of [`schema`].
///
/// # Panics
/// A row whose cell has not the format's size: the encoder's fault.
pub fn to_batch(rows: &[VolumeRow], format: &VoxelFormat) -> RecordBatch {
    let binary = |width: usize, get: &dyn Fn(&VolumeRow) -> Vec<u8>| -> ArrayRef {
        let mut builder = FixedSizeBinaryBuilder::with_capacity(rows.len(), width as i32);
        rows.iter().for_each(|row| builder.append_value(get(row)).expect("the cell has the format's size"));
        Arc::new(builder.finish())
    };
    let text = |get: &dyn Fn(&VolumeRow) -> Option<String>| -> ArrayRef {
        Arc::new(rows.iter().map(get).collect::<StringArray>())
    };
    let triple = |get: &dyn Fn(&VolumeRow) -> [u32; 3]| -> ArrayRef {
        let mut builder = ListBuilder::new(UInt32Builder::new());
        rows.iter().for_each(|row| builder.append_value(get(row).map(Some)));
        Arc::new(builder.finish())
    };
    let float = |get: &dyn Fn(&VolumeRow) -> f32| -> ArrayRef {
        Arc::new(rows.iter().map(|r| Some(get(r))).collect::<Float32Array>())
    };

    let mut voxels = FixedSizeBinaryBuilder::with_capacity(rows.len(), format.cell_bytes() as i32);
    rows.iter().for_each(|row| voxels.append_value(&row.voxels).expect("the cell has the format's size"));
    let mut spacing = ListBuilder::new(Float32Builder::new());
    rows.iter().for_each(|row| spacing.append_option(row.spacing_mm.map(|mm| mm.map(Some))));
    let mut dropped = ListBuilder::new(StructBuilder::from_fields(dropped_fields(), 0)).with_field(Field::new(
        "item",
        DataType::Struct(dropped_fields()),
        true,
    ));
    for row in rows {
        for slice in &row.slices_dropped {
            let fields = dropped.values();
            fields.field_builder::<UInt32Builder>(0).expect("slice is UInt32").append_value(slice.slice);
            fields.field_builder::<StringBuilder>(1).expect("reason is Utf8").append_value(&slice.reason);
            fields.append(true);
        }
        dropped.append(true);
    }
    let mut notes = ListBuilder::new(StringBuilder::new());
    rows.iter().for_each(|row| notes.append_value(row.notes.iter().map(Some)));
    let columns: Vec<ArrayRef> = vec![
        binary(16, &|r| r.volume_id.0.to_vec()),
        Arc::new(voxels.finish()),
        text(&|r| r.source_path.clone()),
        binary(32, &|r| r.content_hash.to_vec()),
        binary(64, &|r| r.perceptual_hash.to_vec()),
        text(&|r| r.case_id.clone()),
        text(&|r| r.series.clone()),
        text(&|r| r.plane.clone()),
        text(&|r| r.orientation.clone()),
        triple(&|r| r.source_shape),
        triple(&|r| r.crop_start),
        triple(&|r| r.crop_stop),
        Arc::new(spacing.finish()),
        Arc::new(rows.iter().map(|r| Some(r.hu_known)).collect::<BooleanArray>()),
        float(&|r| r.value_min),
        float(&|r| r.value_max),
        Arc::new(dropped.finish()),
        Arc::new(notes.finish()),
    ];
    RecordBatch::try_new(schema(format), columns).expect("the columns above are built from this schema")
}

/// The rows of a batch of [`schema`].
///
/// # Errors
/// A missing column, a column of another type.
pub fn from_batch(batch: &RecordBatch, format: &VoxelFormat) -> Result<Vec<VolumeRow>, SchemaError> {
    let columns = Columns { batch, expected: schema(format) };
    (0..batch.num_rows())
        .map(|row| {
            let known = described::described(&columns, row)?;
            Ok(VolumeRow {
                volume_id: known.volume_id,
                voxels: columns.get("voxels")?.as_fixed_size_binary().value(row).to_vec(),
                source_path: known.source_path,
                content_hash: columns.hash("content_hash", row)?,
                perceptual_hash: columns.hash("perceptual_hash", row)?,
                case_id: known.case_id,
                series: known.series,
                plane: known.plane,
                orientation: known.orientation,
                source_shape: known.source_shape,
                crop_start: known.crop_start,
                crop_stop: known.crop_stop,
                spacing_mm: known.spacing_mm,
                hu_known: known.hu_known,
                value_min: known.value_min,
                value_max: known.value_max,
                slices_dropped: known.slices_dropped,
                notes: known.notes,
            })
        })
        .collect()
}

/// The one column of [`ids_from_batch`].
pub const IDS: [&str; 1] = ["volume_id"];

/// The ids of a batch with at least the column of [`IDS`].
///
/// # Errors
/// The column is missing or of another type.
pub fn ids_from_batch(batch: &RecordBatch) -> Result<Vec<Id>, SchemaError> {
    ids_of(batch, IDS[0], projected(&[(IDS[0], DataType::FixedSizeBinary(16), false)]))
}

/// What tells whether two volumes are the same or look alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Key.
    pub volume_id: Id,
    /// blake3 of the voxel codes.
    pub content_hash: [u8; 32],
    /// See [`VolumeRow::perceptual_hash`].
    pub perceptual_hash: [u8; 64],
}

/// The columns of [`fingerprints_from_batch`].
pub const FINGERPRINT: [&str; 3] = ["volume_id", "content_hash", "perceptual_hash"];

/// The fingerprints of a batch with at least the columns of [`FINGERPRINT`].
///
/// # Errors
/// A column is missing or of another type.
pub fn fingerprints_from_batch(batch: &RecordBatch) -> Result<Vec<Fingerprint>, SchemaError> {
    let [id, content, perceptual] = FINGERPRINT;
    let expected = projected(&[
        (id, DataType::FixedSizeBinary(16), false),
        (content, DataType::FixedSizeBinary(32), false),
        (perceptual, DataType::FixedSizeBinary(64), false),
    ]);
    let columns = Columns { batch, expected };
    (0..batch.num_rows())
        .map(|row| {
            Ok(Fingerprint {
                volume_id: columns.id(id, row)?,
                content_hash: columns.hash(content, row)?,
                perceptual_hash: columns.hash(perceptual, row)?,
            })
        })
        .collect()
}

/// The columns of [`series_from_batch`].
pub const SERIES: [&str; 2] = ["volume_id", "series"];

/// Id and series' name of each row of a batch with at least the columns of [`SERIES`]; no name where it is withheld.
///
/// # Errors
/// A column is missing or of another type.
pub fn series_from_batch(batch: &RecordBatch) -> Result<Vec<(Id, Option<String>)>, SchemaError> {
    named_from_batch(batch, SERIES)
}

/// The columns of [`cases_from_batch`].
pub const CASES: [&str; 2] = ["volume_id", "case_id"];

/// Id and case of each row of a batch with at least the columns of [`CASES`].
///
/// # Errors
/// A column is missing or of another type.
pub fn cases_from_batch(batch: &RecordBatch) -> Result<Vec<(Id, Option<String>)>, SchemaError> {
    named_from_batch(batch, CASES)
}

fn named_from_batch(batch: &RecordBatch, [id, name]: [&str; 2]) -> Result<Vec<(Id, Option<String>)>, SchemaError> {
    let expected = projected(&[(id, DataType::FixedSizeBinary(16), false), (name, DataType::Utf8, true)]);
    let columns = Columns { batch, expected };
    (0..batch.num_rows()).map(|row| Ok((columns.id(id, row)?, columns.maybe_text(name, row)?))).collect()
}

fn projected(fields: &[(&str, DataType, bool)]) -> SchemaRef {
    let fields = fields.iter().map(|(name, kind, nullable)| Field::new(*name, kind.clone(), *nullable));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_is_read_back_from_the_field() {
        for code in [VoxelCode::U8, VoxelCode::I16, VoxelCode::F32] {
            let format = VoxelFormat::unit_range([2, 3, 4], code);
            assert_eq!(VoxelFormat::of_schema(&schema(&format)).unwrap(), format);
        }
    }

    #[test]
    fn a_scale_of_hounsfield_units_is_in_the_metadata_and_the_format_stays() {
        let format = VoxelFormat::unit_range([2, 3, 4], VoxelCode::I16);
        let scale = HounsfieldScale::of_window(VoxelCode::I16, -1000.0, 1000.0);
        assert!((scale.scale * 32767.0 + scale.offset - 1000.0).abs() < 1e-9);
        let schema = schema_with(&format, Some(scale));
        let metadata = schema.field_with_name("voxels").unwrap().metadata();
        assert_eq!((metadata[HU_SCALE].parse(), metadata[HU_OFFSET].as_str()), (Ok(scale.scale), "-1000"));
        assert_eq!(VoxelFormat::of_schema(&schema).unwrap(), format);
        let values = VoxelFormat::hounsfield([2, 3, 4], VoxelCode::I16);
        assert_eq!(HounsfieldScale::of_values(&values), HounsfieldScale { scale: 0.5, offset: -4096.0 });
    }

    #[test]
    fn rows_round_trip() {
        let format = VoxelFormat::unit_range([1, 2, 2], VoxelCode::U8);
        let row = VolumeRow {
            volume_id: Id::of_volume("a"),
            voxels: vec![0, 1, 2, 3],
            source_path: Some("a".into()),
            content_hash: [7; 32],
            perceptual_hash: [8; 64],
            case_id: None,
            series: Some("s".into()),
            plane: None,
            orientation: None,
            source_shape: [1, 2, 2],
            crop_start: [0; 3],
            crop_stop: [1, 2, 2],
            spacing_mm: None,
            hu_known: false,
            value_min: 0.0,
            value_max: 1.0,
            slices_dropped: vec![SliceDropped { slice: 3, reason: "unreadable".into() }],
            notes: vec!["gap of 10 mm after slice 2 where slices are 5 mm apart".into()],
        };
        let other =
            VolumeRow { slices_dropped: vec![], notes: vec![], spacing_mm: Some([5.0, 1.0, 1.0]), ..row.clone() };
        let rows = vec![row, other];
        let batch = to_batch(&rows, &format);
        assert_eq!(from_batch(&batch, &format).unwrap(), rows);
        assert_eq!(ids_from_batch(&batch).unwrap(), [rows[0].volume_id; 2]);
        let described = described_from_batch(&batch).unwrap();
        assert_eq!(described[0].slices_dropped, rows[0].slices_dropped);
        assert_eq!((described[1].spacing_mm, described[1].crop_stop), (Some([5.0, 1.0, 1.0]), [1, 2, 2]));
        assert_eq!(described[0].notes, rows[0].notes);
        assert_eq!(series_from_batch(&batch).unwrap()[1], (rows[1].volume_id, Some("s".into())));
        assert_eq!(fingerprints_from_batch(&batch).unwrap()[0].perceptual_hash, [8; 64]);
    }

    #[test]
    fn a_missing_column_or_a_null_is_an_error_that_names_it() {
        let ids: ArrayRef = Arc::new(arrow::array::FixedSizeBinaryArray::new_null(16, 2));
        let batch = RecordBatch::try_from_iter_with_nullable([("volume_id", ids, true)]).unwrap();
        for error in [
            ids_from_batch(&batch).unwrap_err().to_string(),
            series_from_batch(&batch).unwrap_err().to_string(),
            fingerprints_from_batch(&batch).unwrap_err().to_string(),
        ] {
            assert!(error.contains("column `volume_id`") && error.contains("2 nulls"), "{error}");
        }
        let ids: ArrayRef = Arc::new(arrow::array::FixedSizeBinaryArray::try_from_iter([[1u8; 16]].iter()).unwrap());
        let batch = RecordBatch::try_from_iter([("volume_id", ids)]).unwrap();
        let error = fingerprints_from_batch(&batch).unwrap_err().to_string();
        assert!(error.contains("column `content_hash`") && error.contains("found none"), "{error}");
    }
}

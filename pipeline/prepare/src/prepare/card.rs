//! The dataset's card, `README.md`: what it holds for a person who was handed it, and for Hugging Face's hub which of its
//! files are data. It is made of the index alone, so it names nothing that the index does not, and equal datasets have
//! equal cards. Every Python block of it is run by a test.

use std::path::Path;

use med2e3_schemas::index::DatasetIndex;
use med2e3_schemas::inputs::VolumeRecipe;
use med2e3_schemas::sample::{IMAGE3D, Split};
use med2e3_schemas::volume::{HounsfieldScale, VoxelCode};
use med2e3_shards::index::CARD;
use med2e3_store::{LocalFolder, get_whole, put_whole};

use crate::PrepareError;

const ABOUT: &str = "\
# CT volumes with texts

Prepared for Med-2E3 by `med2e3-data prepare`, which wrote this file too. Research only; not a medical device.

";

const IDS: &str = "\
A volume is stored once, though many texts may name it: `volume_ids` of a text lists the `volume_id`s of its volumes, 16 bytes
each, in the order in which they are mentioned. `volumes` has besides the voxels what is known of the source: its shape and
spacing along D, H and W before the preparation, the box that was kept, plane, orientation, smallest and largest value,
slices that were left out, notes. Where names were withheld, ids and cases are keyed hashes and there is no path.

";

const LOADING: &str = "\
## Loading it

The blocks run in this folder. `volumes/` is best read a row at a time or a file at a time.

With the package `med2e3` (pure Python over pyarrow and numpy):

```python
import med2e3

ds = med2e3.open(\".\")
volume = ds.volumes[0]
print(len(ds.volumes), \"volumes,\", len(ds.samples), \"texts,\", volume.id, volume[\"source_shape\"])
values = volume.values()  # float32, D H W
{{hounsfield}}```

";

const SCALE: &str = "\
With pyarrow alone, with the numbers that the file itself states:

```python
import numpy
import pyarrow.parquet

file = pyarrow.parquet.ParquetFile(\"{{volumes}}\")
metadata = file.schema_arrow.field(\"voxels\").metadata
batch = next(file.iter_batches(batch_size=1, columns=[\"voxels\"]))
codes = numpy.frombuffer(batch[\"voxels\"][0].as_py(), \"{{kind}}\").reshape({{shape}})
hounsfield = codes * float(metadata[b\"hu_scale\"]) + float(metadata[b\"hu_offset\"])
```

";

const TORCH: &str = "\
With torch, through the same package; texts of a batch are padded, labels are -100 where nothing is to be learned:

```python
from torch.utils.data import DataLoader

import med2e3

ds = med2e3.open(\".\")
rows = ds.torch(split=\"{{split}}\")
loader = DataLoader(rows, batch_size=2, shuffle=True, collate_fn=ds.collate)
for batch in loader:
    print(batch[\"voxels\"].shape, batch[\"ids\"].shape, batch[\"labels\"].shape, batch[\"attention_mask\"].shape)
    break
```

";

const OTHERS: &str = "\
With pandas:

```python
import numpy
import pandas

volumes = pandas.read_parquet(\"{{volumes}}\", columns=[\"volume_id\", \"voxels\"])
codes = numpy.frombuffer(volumes[\"voxels\"][0], \"{{kind}}\").reshape({{shape}})
values = codes * numpy.float32({{scale}}) + numpy.float32({{offset}})
```

With polars:

```python
import numpy
import polars

volumes = polars.scan_parquet(\"volumes/*.parquet\").select(\"volume_id\", \"voxels\").head(1).collect()
codes = numpy.frombuffer(volumes[\"voxels\"][0], \"{{kind}}\").reshape({{shape}})
values = codes * numpy.float32({{scale}}) + numpy.float32({{offset}})
```

With DuckDB:

```python
import duckdb
import numpy

volume_id, voxels = duckdb.sql(\"SELECT volume_id, voxels FROM '{{volumes}}' LIMIT 1\").fetchall()[0]
codes = numpy.frombuffer(voxels, \"{{kind}}\").reshape({{shape}})
values = codes * numpy.float32({{scale}}) + numpy.float32({{offset}})
```

With Hugging Face datasets; a table has one split, `rows`, since the column `split` is what tells them apart:

```python
import os

import datasets
import numpy

folder = os.getcwd()  # or the dataset's name on the hub
volumes = datasets.load_dataset(folder, \"volumes\", split=\"rows\", streaming=True)
codes = numpy.frombuffer(next(iter(volumes))[\"voxels\"], \"{{kind}}\").reshape({{shape}})
values = codes * numpy.float32({{scale}}) + numpy.float32({{offset}})
```

";

const TEXT_BLOCKS: &str = "\
The texts, with each of them:

```python
import os

import datasets
import duckdb
import pandas
import polars

chosen = [(\"split\", \"==\", \"{{split}}\")]
train = pandas.read_parquet(\"samples\", filters=chosen, dtype_backend=\"pyarrow\")
same = polars.scan_parquet(\"samples/*.parquet\").filter(polars.col(\"split\") == \"{{split}}\").collect()
again = datasets.load_dataset(os.getcwd(), split=\"rows\").filter(lambda row: row[\"split\"] == \"{{split}}\")
counts = duckdb.sql(\"SELECT split, task, count(*) FROM 'samples/*.parquet' GROUP BY ALL ORDER BY ALL\").fetchall()
print(counts, train[\"question\"][0], train[\"answer\"][0])
assert len(train) == len(same) == len(again)
```

";

/// Writes the card of a dataset whose index is about to be written; a card that says the same is left alone.
///
/// # Errors
/// The system refuses to read or write.
pub(super) fn write(dataset: &Path, index: &DatasetIndex) -> Result<(), PrepareError> {
    let text = text_of(index);
    if get_whole(&LocalFolder::new(dataset), CARD).is_ok_and(|there| there == text.as_bytes()) {
        return Ok(());
    }
    Ok(put_whole(&dataset.join(CARD), text.as_bytes())?)
}

fn text_of(index: &DatasetIndex) -> String {
    let mut text = head(index);
    text += ABOUT;
    text += &counts(index);
    if !index.volumes.is_empty() {
        text += &voxels(index);
        text += IDS;
    }
    if !index.samples.is_empty() {
        text += &texts();
    }
    text += "Inputs that became no row are in `quarantine.parquet`, each with its reason.\n\n";
    if !index.volumes.is_empty() {
        let scale = hounsfield(index);
        let hounsfield = match scale {
            Hounsfield::Scale(_) => "hounsfield = volume.hounsfield()\n",
            Hounsfield::ByRow => "hounsfield = volume.hounsfield() if volume[\"hu_known\"] else None\n",
            Hounsfield::Unknown => "",
        };
        text += &LOADING.replace("{{hounsfield}}", hounsfield);
        if let Hounsfield::Scale(_) = scale {
            text += SCALE;
        }
        if !index.samples.is_empty() {
            text += TORCH;
        }
        text += OTHERS;
    }
    if !index.samples.is_empty() {
        text += TEXT_BLOCKS;
    }
    let voxels = &index.voxels;
    let [d, h, w] = voxels.shape_dhw;
    let split =
        index.counts.keys().find(|split| *split == Split::Train.as_str()).or_else(|| index.counts.keys().next());
    let first = index.volumes.iter().find(|shard| shard.rows > 0).map_or("", |shard| &shard.path);
    let filled = [
        ("{{split}}", split.map_or("", String::as_str)),
        ("{{volumes}}", first),
        ("{{kind}}", kind(voxels.code)),
        ("{{shape}}", &format!("{d}, {h}, {w}")),
        ("{{scale}}", &voxels.scale.to_string()),
        ("{{offset}}", &voxels.offset.to_string()),
    ];
    let filled = filled.iter().fold(text, |text, (name, value)| text.replace(name, value));
    filled.trim_end().to_owned() + "\n"
}

/// The head that Hugging Face's hub and `load_dataset` read: which files are data, so that no other file is taken for it.
fn head(index: &DatasetIndex) -> String {
    let mut text = "---\nconfigs:\n".to_owned();
    let tables = [("samples", &index.samples), ("volumes", &index.volumes)];
    for (number, (name, _)) in tables.iter().filter(|(_, shards)| !shards.is_empty()).enumerate() {
        let default = if number == 0 { "  default: true\n" } else { "" };
        text +=
            &format!("- config_name: {name}\n{default}  data_files:\n  - split: rows\n    path: {name}/*.parquet\n");
    }
    text + "tags:\n- medical\n- computed-tomography\n---\n\n"
}

fn counts(index: &DatasetIndex) -> String {
    let volumes: u64 = index.volumes.iter().map(|shard| shard.rows).sum();
    let texts: u64 = index.samples.iter().map(|shard| shard.rows).sum();
    let [d, h, w] = index.voxels.shape_dhw;
    let mut text = format!("- {volumes} volumes in `volumes/`, each {d} slices of {h} x {w} voxels\n");
    text += &format!("- {texts} texts in `samples/`\n\n");
    if !index.counts.is_empty() {
        text += "| split | task | texts |\n|---|---|---|\n";
        for (split, tasks) in &index.counts {
            for (task, count) in tasks {
                text += &format!("| {split} | {task} | {count} |\n");
            }
        }
        text.push('\n');
    }
    text
}

fn kind(code: VoxelCode) -> &'static str {
    match code {
        VoxelCode::U8 => "<u1",
        VoxelCode::I16 => "<i2",
        VoxelCode::F32 => "<f4",
    }
}

/// How Hounsfield units are had back.
enum Hounsfield {
    /// One scale for all rows.
    Scale(HounsfieldScale),
    /// From two columns of a row.
    ByRow,
    /// Not at all.
    Unknown,
}

fn hounsfield(index: &DatasetIndex) -> Hounsfield {
    let Some(inputs) = &index.inputs else { return Hounsfield::Unknown };
    match (inputs.volume.hounsfield(), &inputs.volume.recipe) {
        (Some(scale), _) => Hounsfield::Scale(scale),
        (None, VolumeRecipe::M3d) => Hounsfield::ByRow,
        (None, VolumeRecipe::Ct { .. }) => Hounsfield::Unknown,
    }
}

fn voxels(index: &DatasetIndex) -> String {
    let voxels = &index.voxels;
    let code = voxels.code.as_str();
    let mut text = "## Voxels\n\n".to_owned();
    if let Some(inputs) = &index.inputs {
        text += &format!("Recipe: {}.\n\n", inputs.volume.recipe);
    }
    let range = if voxels.is_unit_range() { "from 0 to 1" } else { "in Hounsfield units" };
    text += &format!(
        "A cell of the column `voxels` is the volume itself: codes of type {code}, little-endian, in the order D, H, W. The value \
         {range} is `code * {} + {}`. Shape, code, scale and offset are in the metadata of the Arrow field `voxels` too.\n\n",
        voxels.scale, voxels.offset
    );
    text += &match hounsfield(index) {
        Hounsfield::Scale(HounsfieldScale { scale, offset }) => {
            let lowest = if voxels.is_unit_range() {
                " The lowest and the highest code stand for everything beyond the window's ends too."
            } else {
                ""
            };
            format!(
                "Hounsfield units are `code * {scale} + {offset}`: the numbers `hu_scale` and `hu_offset` in the metadata of the \
                 Arrow field `voxels`.{lowest}\n\n"
            )
        }
        Hounsfield::ByRow => "Each volume has its own scale: the smallest source value, column `value_min`, became 0 and the \
             largest, `value_max`, became 1. So the source's value is `value * (value_max - value_min) + value_min`, and where \
             `hu_known` is true these are Hounsfield units.\n\n"
            .to_owned(),
        Hounsfield::Unknown => "Hounsfield units cannot be had back: each volume was scaled by percentiles of its own, which are \
             not kept.\n\n"
            .to_owned(),
    };
    text
}

fn texts() -> String {
    format!(
        "## Texts\n\n\
         A row of `samples` is a question or an instruction with its answer: `question`, `answer`, `choices` and \
         `answer_choice` where there are choices, `task`, `topic`, `split`, `case_id`. `ids` are the tokens of the whole text in \
         the template, {IMAGE3D} where a volume stands; `target_spans` are the ranges of `ids`, from `start` up to `end`, that \
         are to be learned. `tokenizer.json` is the tokenizer. Files in `subsets/` list `sample_id`s; they are no data of their \
         own.\n\n"
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use med2e3_schemas::index::ShardEntry;
    use med2e3_schemas::inputs::{CropNumbers, Inputs, IntensityNumbers, VolumeInputs};
    use med2e3_schemas::volume::VoxelFormat;

    use super::*;

    fn index(recipe: VolumeRecipe, voxels: VoxelFormat) -> DatasetIndex {
        let shard = |path: &str| ShardEntry { path: path.into(), rows: 2, ..ShardEntry::default() };
        let tasks = BTreeMap::from([("caption".to_owned(), 2)]);
        DatasetIndex {
            inputs: Some(Inputs { volume: VolumeInputs { recipe, voxels, deep_pictures: "clip".into() }, text: None }),
            visual_tokens: 1,
            counts: BTreeMap::from([("train".to_owned(), tasks)]),
            ..DatasetIndex::of_shards(
                voxels,
                vec![shard("volumes/00000.parquet")],
                vec![shard("samples/00000.parquet")],
            )
        }
    }

    fn ct(intensity: IntensityNumbers) -> VolumeRecipe {
        VolumeRecipe::Ct { spacing_mm: None, intensity, crop: CropNumbers::None }
    }

    #[test]
    fn hounsfield_units_are_told_by_recipe() {
        let unit = VoxelFormat::unit_range([2, 3, 4], VoxelCode::U8);
        let window = IntensityNumbers::Window { center: 40.0, width: 510.0 };
        let text = text_of(&index(ct(window), unit));
        assert!(text.contains("`code * 2 + -215`") && text.contains("beyond the window's ends"), "{text}");
        assert!(text.contains("frombuffer(voxels, \"<u1\").reshape(2, 3, 4)"), "{text}");
        let values = VoxelFormat::hounsfield([2, 3, 4], VoxelCode::I16);
        let text = text_of(&index(ct(IntensityNumbers::None), values));
        assert!(
            text.contains("Hounsfield units are `code * 0.5 + -4096`") && !text.contains("window's ends"),
            "{text}"
        );
        assert!(text_of(&index(VolumeRecipe::M3d, unit)).contains("value_max - value_min"));
        let percentiles = IntensityNumbers::Percentile { low: 1.0, high: 99.0 };
        let text = text_of(&index(ct(percentiles), unit));
        assert!(text.contains("cannot be had back") && !text.contains("volume.hounsfield()"), "{text}");
    }

    #[test]
    fn what_is_not_there_is_not_named() {
        let unit = VoxelFormat::unit_range([2, 3, 4], VoxelCode::U8);
        let whole = index(VolumeRecipe::M3d, unit);
        let text = text_of(&whole);
        assert!(!text.contains("{{"), "{text}");
        assert!(text.starts_with("---\nconfigs:\n- config_name: samples\n  default: true\n"), "{text}");
        let volumes = text_of(&DatasetIndex { samples: vec![], counts: BTreeMap::new(), ..whole.clone() });
        assert!(volumes.starts_with("---\nconfigs:\n- config_name: volumes\n  default: true\n"), "{volumes}");
        assert!(!volumes.contains("samples/*") && !volumes.contains("DataLoader"), "{volumes}");
        let texts = text_of(&DatasetIndex { volumes: vec![], ..whole });
        assert!(!texts.contains("path: volumes") && !texts.contains("voxels\"]"), "{texts}");
    }

    #[test]
    fn a_card_that_says_the_same_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let index = index(VolumeRecipe::M3d, VoxelFormat::unit_range([2, 3, 4], VoxelCode::U8));
        write(folder.path(), &index).unwrap();
        let card = folder.path().join(CARD);
        let written = || std::fs::metadata(&card).unwrap().modified().unwrap();
        let first = written();
        write(folder.path(), &index).unwrap();
        assert_eq!(written(), first);
        std::fs::write(&card, "another's").unwrap();
        write(folder.path(), &index).unwrap();
        assert_eq!(std::fs::read_to_string(&card).unwrap(), text_of(&index));
    }
}

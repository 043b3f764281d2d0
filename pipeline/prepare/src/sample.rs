//! Subsets: a seeded draw without replacement, stored as ids with the query, the seed and the counts that made it.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, FixedSizeBinaryArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use futures::future::try_join_all;
use med2e3_feed::shard::{Layout, ShardReader, ShardWriter};
use med2e3_schemas::Id;
use serde::Serialize;

use crate::PrepareError;
use crate::config::{SampleConfig, Stratum, TaskCount};
use crate::engine::{Batches, Catalog};
use crate::leaks::note_files;

/// Key of a subset's description in its file's footer.
const FOOTER_KEY: &str = "med2e3.subset";

/// What was drawn.
#[derive(Clone, Debug, Serialize)]
pub struct Subset {
    /// The subset's name.
    pub name: String,
    /// Seed of the draw.
    pub seed: u64,
    /// Samples by task.
    pub counts: Vec<(String, u64)>,
    /// The queries, one a task; run again they give the same ids.
    pub queries: Vec<String>,
}

/// Draws the subset that `config` describes and stores it as `subsets/NAME.parquet` of the dataset.
///
/// Each task is drawn on its own, uniformly; with a stratum, evenly over its values as far as they go; with a group, whole
/// groups, as many as the count has room for.
///
/// # Errors
/// Fewer samples than asked for, a name that is no file name, a dataset that can't be read or written.
pub async fn sample(config: &SampleConfig, dataset: &Path) -> Result<Subset, PrepareError> {
    if config.group_by.is_some() && config.stratify.is_some() {
        return Err(PrepareError::Config {
            key: "group_by".into(),
            expected: "either group_by or stratify".into(),
            found: "both".into(),
        });
    }
    let catalog = Catalog::open(dataset, Batches::Long).await?;
    let mut subset = Subset { name: config.name.clone(), seed: config.seed, counts: Vec::new(), queries: Vec::new() };
    let mut ids = Vec::new();
    let queries: Vec<String> = config.counts.iter().map(|wanted| query(config, wanted)).collect();
    // The tasks are drawn at the same time, since one query alone leaves cores idle.
    let answers = try_join_all(queries.iter().map(|query| catalog.query(query))).await?;
    for ((wanted, query), batches) in config.counts.iter().zip(queries).zip(answers) {
        let before = ids.len();
        for batch in &batches {
            ids.extend(batch.column(0).as_fixed_size_binary().iter().flatten().filter_map(Id::from_bytes));
        }
        let found = (ids.len() - before) as u64;
        // Whole groups seldom add up to the number; single samples must.
        let enough = if config.group_by.is_some() { wanted.count.min(1) } else { wanted.count };
        if found < enough {
            return Err(PrepareError::Request {
                what: format!("{} samples of {} in split {}", wanted.count, wanted.task, config.split),
                problem: format!("the dataset has {found}"),
            });
        }
        subset.counts.push((wanted.task.to_string(), found));
        subset.queries.push(query);
    }
    refuse_another_draw(dataset, &subset)?;
    write(dataset, &subset, &ids, &[])?;
    note_files(dataset)?;
    Ok(subset)
}

/// A name stands for one draw: what a run was trained on must not change under it.
fn refuse_another_draw(dataset: &Path, subset: &Subset) -> Result<(), PrepareError> {
    let path = dataset.join("subsets").join(format!("{}.parquet", subset.name));
    if !path.exists() || ShardReader::open(&path)?.footer(FOOTER_KEY) == Some(&footer_of(subset)) {
        return Ok(());
    }
    Err(PrepareError::Output {
        path,
        problem: "holds another draw of that name".into(),
        hint: "give the subset another name, or remove the file".into(),
    })
}

fn footer_of(subset: &Subset) -> String {
    serde_json::to_string(subset).expect("a subset's description is plain data")
}

/// Stores a named part of a split that the manifest lists.
///
/// # Errors
/// A name that is no file name, a dataset that can't be written.
pub fn write_part(dataset: &Path, name: &str, ids: &[Id]) -> Result<(), PrepareError> {
    let counts = vec![("all".to_owned(), ids.len() as u64)];
    let subset = Subset { name: name.to_owned(), seed: 0, counts, queries: vec!["as the manifest lists it".into()] };
    write(dataset, &subset, ids, &[])
}

/// A pseudo-random rank, the same for the same bytes and seed on every machine.
pub(crate) fn draw(bytes: &[u8], seed: u64) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(bytes);
    let hash = hasher.finalize();
    let (first, _) = hash.as_bytes().as_chunks::<8>();
    u64::from_le_bytes(first[0])
}

fn query(config: &SampleConfig, wanted: &TaskCount) -> String {
    let SampleConfig { seed, split, .. } = config;
    let TaskCount { task, count } = wanted;
    let rows = format!("FROM samples WHERE split = '{split}' AND task = '{task}'");
    let rank = format!("draw(sample_id, {seed})");
    let column = |stratum| match stratum {
        Stratum::Topic => "topic",
        Stratum::CaseId => "case_id",
    };
    match (config.group_by.map(column), config.stratify.map(column)) {
        // Every task draws its groups in the same order, so that a group is in for all tasks or for none, as far as counts go.
        (Some(group), _) => format!(
            "WITH chosen AS (SELECT {group} AS name, draw(CAST({group} AS VARCHAR), {seed}) AS rank, count(*) AS size {rows} \
             GROUP BY {group}), \
             upto AS (SELECT name, sum(size) OVER (ORDER BY rank, name) AS total FROM chosen) \
             SELECT sample_id FROM (SELECT * {rows}) AS wanted JOIN upto ON wanted.{group} = upto.name \
             WHERE total <= {count} ORDER BY {rank}, sample_id"
        ),
        (None, None) => format!("SELECT sample_id {rows} ORDER BY {rank}, sample_id LIMIT {count}"),
        (None, Some(column)) => format!(
            "SELECT sample_id FROM (SELECT sample_id, {rank} AS rank, \
             row_number() OVER (PARTITION BY {column} ORDER BY {rank}, sample_id) AS turn {rows}) \
             ORDER BY turn, rank, sample_id LIMIT {count}"
        ),
    }
}

/// Stores a subset, with more keys and texts for its footer.
///
/// # Errors
/// A name that is no file name, a dataset that can't be written.
pub(crate) fn write(
    dataset: &Path,
    subset: &Subset,
    ids: &[Id],
    footer: &[(&str, String)],
) -> Result<(), PrepareError> {
    let fit = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if subset.name.is_empty() || subset.name.starts_with('.') || !subset.name.chars().all(fit) {
        return Err(PrepareError::Request {
            what: format!("a subset named `{}`", subset.name),
            problem: "a name has letters, digits, `-`, `_` and `.` only".into(),
        });
    }
    let schema = Arc::new(Schema::new(vec![Field::new("sample_id", DataType::FixedSizeBinary(16), false)]));
    let cells = ids.iter().map(|id| id.0);
    let column: ArrayRef = match ids.is_empty() {
        true => arrow::array::new_empty_array(&DataType::FixedSizeBinary(16)),
        false => Arc::new(FixedSizeBinaryArray::try_from_iter(cells).expect("every id has 16 bytes")),
    };
    let batch = RecordBatch::try_new(schema.clone(), vec![column]).expect("the column is built from this schema");
    let relative = format!("subsets/{}.parquet", subset.name);
    let mut writer = ShardWriter::create(&dataset.join(&relative), schema, Layout::Table)?;
    writer.write(&batch)?;
    let footer = [&[(FOOTER_KEY, footer_of(subset))], footer].concat();
    writer.commit(&relative, &footer)?;
    Ok(())
}

//! Subsets: a seeded draw without replacement, stored as ids with the query, the seed and the counts that made it.

use std::path::Path;

use futures::future::try_join_all;
use med2e3_schemas::subset::{Subset, ids_from_batch};
use med2e3_shards::index::list_files_again;
use med2e3_shards::subset;
use serde::Serialize;

use crate::PrepareError;
use crate::config::{SampleConfig, Stratum, TaskCount};
use crate::engine::{BatchSize, Catalog};

/// A subset, and what could not be in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Drawn {
    /// What was drawn.
    #[serde(flatten)]
    pub subset: Subset,
    /// Samples of the split and the tasks that no draw takes, because a volume of theirs was set aside.
    pub without_volume: u64,
}

/// Draws the subset that `config` describes and stores it as `subsets/NAME.parquet` of the dataset.
///
/// Each task is drawn on its own, uniformly; with a stratum, evenly over its values as far as they go; with a group, whole
/// groups, as many as the count has room for. A sample of which a volume was set aside is never drawn.
///
/// # Errors
/// Fewer samples than asked for, a name that is no file name, a dataset that can't be read or written.
pub async fn draw(config: &SampleConfig, dataset: &Path) -> Result<Drawn, PrepareError> {
    if config.group_by.is_some() && config.stratify.is_some() {
        return Err(PrepareError::Config {
            key: "group_by".into(),
            expected: "either group_by or stratify".into(),
            found: "both".into(),
        });
    }
    let catalog = Catalog::open(dataset, BatchSize::Long, None)?;
    let mut drawn = Subset { name: config.name.clone(), seed: config.seed, counts: Vec::new(), queries: Vec::new() };
    let mut ids = Vec::new();
    let queries: Vec<String> = config.counts.iter().map(|wanted| query(config, wanted)).collect();
    // The tasks are drawn at the same time, since one query alone leaves cores idle.
    let answers = try_join_all(queries.iter().map(|query| catalog.query(query))).await?;
    let mut without_volume = 0;
    for wanted in &config.counts {
        let batches = catalog.query(&format!("{} SELECT sample_id FROM absent", absent(config, wanted))).await?;
        without_volume += batches.iter().map(|batch| batch.num_rows() as u64).sum::<u64>();
    }
    for ((wanted, query), batches) in config.counts.iter().zip(queries).zip(answers) {
        let before = ids.len();
        for batch in &batches {
            ids.extend(ids_from_batch(batch)?);
        }
        let found = (ids.len() - before) as u64;
        // Whole groups seldom add up to the number; single samples must.
        let enough = if config.group_by.is_some() { wanted.count.min(1) } else { wanted.count };
        if found < enough {
            return Err(PrepareError::Request {
                what: format!("{} samples of {} in split {}", wanted.count, wanted.task, config.split),
                problem: match config.group_by {
                    Some(_) => "the first group that the seed draws has more, or there is none".into(),
                    None => format!("the dataset has {found} whose volumes were not set aside"),
                },
            });
        }
        drawn.counts.push((wanted.task.to_string(), found));
        drawn.queries.push(query);
    }
    // A name is that of one draw: what a run was trained on must not change under it.
    if subset::is_another(dataset, &drawn)? {
        return Err(PrepareError::Output {
            path: subset::path(dataset, &drawn.name),
            problem: "holds another draw of that name".into(),
            hint: "give the subset another name, or remove the file".into(),
        });
    }
    subset::write(dataset, &drawn, &ids, None)?;
    list_files_again(dataset)?;
    Ok(Drawn { subset: drawn, without_volume })
}

/// The samples that are asked for but have a volume that was set aside, as the table `absent`.
fn absent(config: &SampleConfig, wanted: &TaskCount) -> String {
    let (split, task) = (config.split, wanted.task);
    format!(
        "WITH referred AS (SELECT sample_id, unnest(volume_ids) AS volume_id FROM samples \
         WHERE split = '{split}' AND task = '{task}'), \
         absent AS (SELECT DISTINCT sample_id FROM referred LEFT ANTI JOIN volumes ON referred.volume_id = volumes.volume_id)"
    )
}

fn query(config: &SampleConfig, wanted: &TaskCount) -> String {
    let SampleConfig { seed, split, .. } = config;
    let TaskCount { task, count } = wanted;
    let known = absent(config, wanted);
    let rows = format!(
        "FROM samples LEFT ANTI JOIN absent ON samples.sample_id = absent.sample_id \
         WHERE split = '{split}' AND task = '{task}'"
    );
    let rank = format!("draw(sample_id, {seed})");
    let column = |stratum| match stratum {
        Stratum::Topic => "topic",
        Stratum::CaseId => "case_id",
    };
    match (config.group_by.map(column), config.stratify.map(column)) {
        // Every task draws its groups in the same order, so that a group is in for all tasks or for none, as far as counts go.
        (Some(group), _) => format!(
            "{known}, chosen AS (SELECT {group} AS name, draw(CAST({group} AS VARCHAR), {seed}) AS rank, count(*) AS size {rows} \
             GROUP BY {group}), \
             upto AS (SELECT name, sum(size) OVER (ORDER BY rank, name) AS total FROM chosen) \
             SELECT sample_id FROM (SELECT * {rows}) AS wanted JOIN upto ON wanted.{group} IS NOT DISTINCT FROM upto.name \
             WHERE total <= {count} ORDER BY {rank}, sample_id"
        ),
        (None, None) => format!("{known} SELECT sample_id {rows} ORDER BY {rank}, sample_id LIMIT {count}"),
        (None, Some(column)) => format!(
            "{known} SELECT sample_id FROM (SELECT sample_id, {rank} AS rank, \
             row_number() OVER (PARTITION BY {column} ORDER BY {rank}, sample_id) AS turn {rows}) \
             ORDER BY turn, rank, sample_id LIMIT {count}"
        ),
    }
}

//! `leaks` and `resplit`: what training shares with validation and test, and a split that shares nothing.
//!
//! M3D's own split is by series, so that one case's series lie on both sides, and some cases are in the data twice
//! (BAAI-DCAI/M3D issues 38, 61, 67). Four kinds are looked for: the same case, the same report, the same voxels, and
//! voxels that look alike (perceptual hash).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use arrow::array::{Array, AsArray};
use med2e3_feed::shard::commit::write_whole;
use med2e3_feed::{Dataset, SPLIT_FOOTER_KEY, read_index};
use med2e3_input::perceptual::{NEAR_BITS, distance};
use med2e3_schemas::Id;
use med2e3_schemas::sample::{self, SampleRow, Split, Task};
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::PrepareError;
use crate::sample::{Subset, draw, write};

/// What two splits share of one kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Leak {
    /// case, report, voxels or look.
    pub kind: &'static str,
    /// The split that is learned from, or the earlier of the two.
    pub from: Split,
    /// The split that should be unseen.
    pub to: Split,
    /// Things that both have: cases, reports, images, pairs of images.
    pub shared: u64,
    /// Samples of `to` that are about one of these.
    pub samples: u64,
    /// Samples of `to` in all.
    pub of: u64,
    /// What is shared: names of cases, hashes of reports and voxels, pairs of volume ids.
    pub examples: Vec<String>,
}

/// One sample as far as leaks go.
struct Row {
    id: Id,
    split: Split,
    case: String,
    report: Option<String>,
    volumes: Vec<Id>,
}

/// A dataset as far as leaks go.
struct Cohort {
    rows: Vec<Row>,
    voxels: HashMap<Id, [u8; 32]>,
    look: HashMap<Id, [u8; 32]>,
}

impl Cohort {
    fn read(dataset: &Dataset) -> Result<Cohort, PrepareError> {
        let mut rows = Vec::new();
        for shard in dataset.sample_shards() {
            for batch in shard.read(&[])? {
                rows.extend(sample::from_batch(&batch)?.into_iter().map(Row::of));
            }
        }
        let (mut voxels, mut look) = (HashMap::new(), HashMap::new());
        for shard in dataset.volume_shards() {
            for batch in shard.read(&["volume_id", "content_hash", "perceptual_hash"])? {
                let column = |name: &str| {
                    let column = batch.column_by_name(name).and_then(|column| column.as_fixed_size_binary_opt());
                    column.ok_or_else(|| PrepareError::Request {
                        what: shard.path().display().to_string(),
                        problem: format!("expected the column {name}"),
                    })
                };
                let (ids, contents, looks) =
                    (column("volume_id")?, column("content_hash")?, column("perceptual_hash")?);
                for row in 0..ids.len() {
                    let id = Id::from_bytes(ids.value(row)).unwrap_or(Id([0; 16]));
                    voxels.insert(id, contents.value(row).try_into().unwrap_or_default());
                    look.insert(id, looks.value(row).try_into().unwrap_or_default());
                }
            }
        }
        Ok(Cohort { rows, voxels, look })
    }
}

impl Row {
    fn of(row: SampleRow) -> Row {
        // Short answers are equal by nature; a report is not.
        let report =
            (row.task == Task::Caption).then(|| blake3::hash(row.answer.trim().as_bytes()).to_hex().to_string());
        Row { id: row.sample_id, split: row.split, case: row.case_id, report, volumes: row.volume_ids }
    }
}

/// Looks for everything that two splits share.
///
/// # Errors
/// A dataset that can't be read.
pub fn leaks(dataset: &Dataset) -> Result<Vec<Leak>, PrepareError> {
    let cohort = Cohort::read(dataset)?;
    let pairs = [(Split::Train, Split::Validation), (Split::Train, Split::Test), (Split::Validation, Split::Test)];
    let mut found = Vec::new();
    for (from, to) in pairs {
        let hex = |hash: &[u8; 32]| blake3::Hash::from_bytes(*hash).to_hex().to_string();
        found.push(same("case", from, to, &cohort, |row| vec![row.case.clone()]));
        found.push(same("report", from, to, &cohort, |row| row.report.iter().cloned().collect()));
        found.push(same("voxels", from, to, &cohort, |row| {
            row.volumes.iter().filter_map(|id| cohort.voxels.get(id)).map(hex).collect()
        }));
        found.push(alike(from, to, &cohort));
    }
    Ok(found)
}

fn same(kind: &'static str, from: Split, to: Split, cohort: &Cohort, keys: impl Fn(&Row) -> Vec<String>) -> Leak {
    let of = |split: Split| cohort.rows.iter().filter(move |row| row.split == split);
    let learned: BTreeSet<String> = of(from).flat_map(&keys).filter(|key| !key.is_empty()).collect();
    let mut shared = BTreeSet::new();
    let mut samples = 0;
    for row in of(to) {
        let mut known = keys(row).into_iter().filter(|key| learned.contains(key)).peekable();
        samples += u64::from(known.peek().is_some());
        shared.extend(known);
    }
    let examples = shared.iter().cloned().collect();
    Leak { kind, from, to, shared: shared.len() as u64, samples, of: of(to).count() as u64, examples }
}

/// Distinct volumes of the two splits whose perceptual hashes are near.
fn alike(from: Split, to: Split, cohort: &Cohort) -> Leak {
    let of = |split: Split| cohort.rows.iter().filter(move |row| row.split == split);
    let volumes = |split: Split| {
        let ids: BTreeSet<Id> = of(split).flat_map(|row| row.volumes.iter().copied()).collect();
        ids.into_iter().filter_map(|id| Some((id, cohort.look.get(&id)?))).collect::<Vec<_>>()
    };
    let (learned, unseen) = (volumes(from), volumes(to));
    let mut pairs = Vec::new();
    let mut known = BTreeSet::new();
    for (id, look) in &unseen {
        let near = learned.iter().filter(|(other, hash)| other != id && distance(look, hash) <= NEAR_BITS);
        let before = pairs.len();
        pairs.extend(near.map(|(other, _)| format!("{other} {id}")));
        if pairs.len() > before || learned.iter().any(|(other, _)| other == id) {
            known.insert(*id);
        }
    }
    let samples = of(to).filter(|row| row.volumes.iter().any(|id| known.contains(id))).count() as u64;
    Leak { kind: "look", from, to, shared: pairs.len() as u64, samples, of: of(to).count() as u64, examples: pairs }
}

/// A new split in which no two parts share a case, a report, voxels or a look.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Resplit {
    /// Its name: the parts are `subsets/NAME-train.parquet` and so on.
    pub name: String,
    /// Seed of the draw.
    pub seed: u64,
    /// Groups of cases that share something; each lies in one part.
    pub groups: u64,
    /// Samples of each part.
    pub samples: BTreeMap<String, u64>,
}

/// Splits a dataset anew: cases that share anything are one group, and whole groups are drawn until validation and test
/// have their shares (between 0 and 1) of the samples.
///
/// # Errors
/// A dataset that can't be read or written, a name that is no file name, shares that leave nothing to train on.
pub fn resplit(root: &Path, name: &str, shares: [f64; 2], seed: u64) -> Result<Resplit, PrepareError> {
    let [validation, test] = shares;
    if !(shares.iter().all(|share| (0.0..1.0).contains(share)) && validation + test < 1.0) {
        return Err(PrepareError::Request {
            what: format!("shares {validation} and {test}"),
            problem: "expected two numbers from 0 that add up to less than 1".into(),
        });
    }
    let dataset = Dataset::open(root)?;
    let cohort = Cohort::read(&dataset)?;
    let groups = groups(&cohort);
    let mut order: Vec<(u64, &Vec<usize>)> =
        groups.iter().map(|(case, rows)| (draw(case.as_bytes(), seed), rows)).collect();
    order.sort_unstable();
    let total = cohort.rows.len() as f64;
    let mut parts: BTreeMap<Split, Vec<Id>> = Split::ALL.iter().map(|split| (*split, Vec::new())).collect();
    for (_, rows) in order {
        let room = |split: Split, share: f64| (parts[&split].len() + rows.len()) as f64 <= share * total;
        let split = match () {
            () if room(Split::Test, test) => Split::Test,
            () if room(Split::Validation, validation) => Split::Validation,
            () => Split::Train,
        };
        parts.entry(split).or_default().extend(rows.iter().map(|row| cohort.rows[*row].id));
    }
    for (split, share) in [(Split::Validation, validation), (Split::Test, test)] {
        if share > 0.0 && parts[&split].is_empty() {
            let smallest = groups.values().map(Vec::len).min().unwrap_or(0);
            return Err(PrepareError::Request {
                what: format!("{share} of the samples for {split}"),
                problem: format!(
                    "the smallest group that shares something has {smallest} of {total}; give a larger share"
                ),
            });
        }
    }
    let mut samples = BTreeMap::new();
    for (split, mut ids) in parts {
        ids.sort_unstable();
        samples.insert(split.to_string(), ids.len() as u64);
        let subset = Subset {
            name: format!("{name}-{split}"),
            seed,
            counts: vec![("all".into(), ids.len() as u64)],
            queries: vec![format!("resplit with {validation} validation and {test} test")],
        };
        write(root, &subset, &ids, &[(SPLIT_FOOTER_KEY, split.to_string())])?;
    }
    note_files(root)?;
    Ok(Resplit { name: name.into(), seed, groups: groups.len() as u64, samples })
}

/// Cases joined wherever they share a report, voxels or a look: the smallest case's name and the rows of each group.
fn groups(cohort: &Cohort) -> BTreeMap<String, Vec<usize>> {
    let names: BTreeSet<&str> = cohort.rows.iter().map(|row| row.case.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let number = |case: &str| names.binary_search(&case).expect("every row's case is listed");
    let mut parent: Vec<usize> = (0..names.len()).collect();
    fn root(parent: &mut [usize], mut case: usize) -> usize {
        while parent[case] != case {
            parent[case] = parent[parent[case]];
            case = parent[case];
        }
        case
    }
    let join = |parent: &mut Vec<usize>, a: usize, b: usize| {
        let (a, b) = (root(parent, a), root(parent, b));
        parent[a.max(b)] = a.min(b);
    };
    let mut first: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut cases_of: BTreeMap<Id, usize> = BTreeMap::new();
    for row in &cohort.rows {
        let case = number(&row.case);
        let report = row.report.iter().map(|hash| hash.as_bytes().to_vec());
        let voxels = row.volumes.iter().filter_map(|id| cohort.voxels.get(id)).map(|hash| hash.to_vec());
        for key in report.chain(voxels).chain(row.volumes.iter().map(|id| id.0.to_vec())) {
            let other = *first.entry(key).or_insert(case);
            join(&mut parent, case, other);
        }
        cases_of.extend(row.volumes.iter().map(|id| (*id, case)));
    }
    let looks: Vec<(usize, &[u8; 32])> =
        cases_of.iter().filter_map(|(id, case)| Some((*case, cohort.look.get(id)?))).collect();
    for (i, (case, look)) in looks.iter().enumerate() {
        for (other, hash) in &looks[..i] {
            if case != other && distance(look, hash) <= NEAR_BITS {
                join(&mut parent, *case, *other);
            }
        }
    }
    let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (place, row) in cohort.rows.iter().enumerate() {
        let case = root(&mut parent, number(&row.case));
        groups.entry(names[case].to_owned()).or_default().push(place);
    }
    groups
}

/// Writes the dataset's index again with the subsets that lie in it now.
///
/// # Errors
/// An index or a subset that can't be read, an index that can't be written.
pub(crate) fn note_files(root: &Path) -> Result<(), PrepareError> {
    let mut index = read_index(root)?;
    index.files = crate::output::files(root)?;
    Ok(write_whole(&root.join("dataset.json"), index.to_text(xxh3_64).as_bytes())?)
}

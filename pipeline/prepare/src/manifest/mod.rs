//! Manifests: files that list volumes and texts, read into the two tables that prepare starts from.
//!
//! A row that can't be used keeps its place with a reason; a row whose id was there before keeps its place as a
//! duplicate. So what comes out of prepare adds up to what a manifest lists.

mod m3d_cap;
mod m3d_vqa;
mod source;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;

use med2e3_schemas::Id;
use med2e3_schemas::manifest::{ManifestText, ManifestVolume, Refusal};
use med2e3_schemas::quarantine::Reason;
use med2e3_schemas::sample::{Split, Task, Topic};

use crate::PrepareError;
use crate::config::ManifestConfig;

/// The two tables, and the named parts of splits.
#[derive(Debug, Default)]
pub struct Manifest {
    /// Distinct volumes in order of first appearance.
    pub volumes: Vec<ManifestVolume>,
    /// Every text row in order.
    pub texts: Vec<ManifestText>,
    /// Named parts of a split, such as `test1k`: the ids of their samples.
    pub parts: BTreeMap<String, Vec<Id>>,
}

/// Reads every manifest file that the configuration names.
///
/// # Errors
/// A file that is missing or, as a whole, no manifest of its kind; single bad rows are refused in place.
pub fn read(root: &Path, config: &ManifestConfig) -> Result<Manifest, PrepareError> {
    let root = fs::canonicalize(root).map_err(PrepareError::io(root, "open"))?;
    let mut builder = Builder::new(&root);
    for file in &config.captions {
        m3d_cap::read(&root.join(file), &mut builder)?;
    }
    for file in &config.questions {
        m3d_vqa::read(&root.join(&file.path), file.split, &mut builder)?;
    }
    Ok(builder.manifest)
}

/// One text row as a manifest file states it.
struct Row {
    place: String,
    image: String,
    task: Task,
    topic: Option<Topic>,
    split: Split,
    question: String,
    answer: String,
    choices: Option<Vec<String>>,
    answer_choice: Option<String>,
    refusal: Option<Refusal>,
}

struct Builder<'a> {
    root: &'a Path,
    manifest: Manifest,
    volumes: HashSet<Id>,
    samples: HashSet<Id>,
}

impl Builder<'_> {
    fn new(root: &Path) -> Builder<'_> {
        Builder { root, manifest: Manifest::default(), volumes: HashSet::new(), samples: HashSet::new() }
    }

    /// Adds the row, and its volume where it is new; gives the sample's id unless the row is refused.
    fn add(&mut self, row: Row) -> Option<Id> {
        let volume_id = Id::of_volume(&row.image);
        let names = source::names(&row.image);
        if !row.image.is_empty() && self.volumes.insert(volume_id) {
            let (source_path, refusal) = match source::find(self.root, &row.image) {
                Ok(path) => (path, None),
                Err(refusal) => (String::new(), Some(refusal)),
            };
            self.manifest.volumes.push(ManifestVolume {
                volume_id,
                image: row.image.clone(),
                source_path,
                case_id: names.case_id.clone(),
                series: names.series,
                row: row.place.clone(),
                refusal,
            });
        }
        let choices = row.choices.clone().unwrap_or_default().join("\u{1f}");
        let words = [row.split.as_str(), row.task.as_str(), &row.question, &row.answer, &choices];
        let sample_id = Id::of_parts([volume_id.0.as_slice()].into_iter().chain(words.map(str::as_bytes)));
        let refusal = match row.image.is_empty() && row.refusal.is_none() {
            true => Some(Refusal { reason: Reason::MissingImage, detail: "expected an image path, found none".into() }),
            false => row.refusal,
        };
        // A refused row is no duplicate of another refused row: both are listed with their reason.
        let accepted = refusal.is_none().then_some(sample_id);
        let duplicate = accepted.is_some_and(|id| !self.samples.insert(id));
        self.manifest.texts.push(ManifestText {
            sample_id,
            volume_id,
            image: row.image,
            task: row.task,
            topic: row.topic,
            split: row.split,
            case_id: names.case_id,
            question: row.question,
            answer: row.answer,
            choices: row.choices,
            answer_choice: row.answer_choice,
            row: row.place,
            refusal,
            duplicate,
        });
        accepted
    }
}

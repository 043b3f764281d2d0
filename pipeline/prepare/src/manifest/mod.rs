//! Manifests: files that list volumes and texts, read into the two tables that prepare starts from.
//!
//! A row that can't be used keeps its place with a reason; a row whose id was there before keeps its place as a
//! duplicate. So what comes out of prepare adds up to what a manifest lists.

mod folder;
mod m3d_cap;
mod m3d_vqa;
mod source;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use med2e3_schemas::Id;
use med2e3_schemas::manifest::{ManifestText, ManifestVolume, Refusal};
use med2e3_schemas::quarantine::Reason;
use med2e3_schemas::sample::{Split, Task, Topic};

use crate::PrepareError;
use crate::config::ManifestConfig;
use crate::provenance::Provenance;
use crate::tables::nearest_existing;
use crate::work::Stamp;

/// The two tables, and the named parts of splits.
#[derive(Debug, Default)]
pub struct Manifest {
    /// Distinct volumes in order of first appearance.
    pub volumes: Vec<ManifestVolume>,
    /// Every text row in order.
    pub texts: Vec<ManifestText>,
    /// Named parts of a split, such as `test1k`: the ids of their samples.
    pub parts: BTreeMap<String, Vec<Id>>,
    /// Every file that the manifest came from, and where a volume was looked for but not found, as they were before they
    /// were read.
    pub sources: BTreeMap<PathBuf, Stamp>,
}

/// Reads every manifest file that the configuration names.
///
/// # Errors
/// A file that is missing or, as a whole, no manifest of its kind; single bad rows are refused in place.
pub fn read(root: &Path, config: &ManifestConfig, provenance: &Provenance) -> Result<Manifest, PrepareError> {
    let mut builder = Builder::new(root, provenance);
    for folder in &config.folders {
        folder::read(root, folder, &mut builder)?;
    }
    for file in &config.captions {
        m3d_cap::read(&builder.source(root.join(file)), &mut builder)?;
    }
    for file in &config.questions {
        m3d_vqa::read(&builder.source(root.join(&file.path)), file.split, &mut builder)?;
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
    provenance: &'a Provenance,
    manifest: Manifest,
    volumes: HashSet<Id>,
    samples: HashSet<Id>,
}

impl Builder<'_> {
    fn new<'a>(root: &'a Path, provenance: &'a Provenance) -> Builder<'a> {
        let manifest = Manifest::default();
        Builder { root, provenance, manifest, volumes: HashSet::new(), samples: HashSet::new() }
    }

    /// Notes a file that the manifest comes from, before it is read.
    fn source(&mut self, path: PathBuf) -> PathBuf {
        self.manifest.sources.entry(path.clone()).or_insert_with_key(|path| Stamp::quick(path));
        path
    }

    /// Adds a volume that is new; `row` says where the manifest names it first.
    fn add_volume(&mut self, image: &str, row: String) {
        let volume_id = self.provenance.volume_id(image);
        if image.is_empty() || !self.volumes.insert(volume_id) {
            return;
        }
        let names = source::names(image);
        let (source_path, refusal) = match source::find(self.root, image) {
            Ok(path) => (path, None),
            Err(refusal) => {
                if refusal.reason == Reason::NotFound {
                    let place = self.root.join(source::raw(image));
                    self.source(nearest_existing(&place).to_owned());
                }
                (String::new(), Some(refusal))
            }
        };
        let (image, case_id, series) = (image.to_owned(), names.case_id, names.series);
        self.manifest.volumes.push(ManifestVolume { volume_id, image, source_path, case_id, series, row, refusal });
    }

    /// Adds the row, and its volume where it is new; gives the sample's id unless the row is refused.
    fn add(&mut self, row: Row) -> Option<Id> {
        let volume_id = self.provenance.volume_id(&row.image);
        let names = source::names(&row.image);
        self.add_volume(&row.image, row.place.clone());
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

//! Manifests: files that list volumes and texts, read into the two tables that prepare starts from.
//!
//! A row that can't be used stays in its table with a reason; a row whose id an earlier row has stays as a duplicate. So what
//! comes out of prepare adds up to what a manifest lists.

mod case;
mod conversations;
mod csv_rows;
mod folder;
mod headers;
mod json_rows;
mod listing;
mod m3d_cap;
mod m3d_vqa;
mod named;
mod scrubbing;
mod source;
mod stamp;
mod table;
mod table_head;
mod table_rows;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use med2e3_input::reading;
use med2e3_input::text::CaptionPrompts;
use med2e3_schemas::Id;
use med2e3_schemas::manifest::{ManifestText, ManifestTurn, ManifestVolume, Refusal};
use med2e3_schemas::quarantine::Reason;
use med2e3_schemas::report::ManifestCounts;
use med2e3_schemas::sample::{Split, Task, Topic};
use med2e3_store::disk::nearest_existing;

use crate::PrepareError;
use crate::config::{ManifestConfig, ManifestLimits, TextRules};
use crate::provenance::Provenance;
pub use case::case_pattern;
pub use conversations::holds_conversations;
pub(crate) use folder::{expects_units, volumes_below};
use headers::Headers;
pub use listing::Listing;
use m3d_vqa::Forms;
use named::Named;
use scrubbing::Scrubbing;
use source::Found;
pub use source::link_out_of;
pub use stamp::Stamp;
pub use table_head::TableHead;

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
    /// What became of the files of folders that were listed.
    pub listing: Listing,
    /// What else was found.
    pub counts: ManifestCounts,
}

/// Reads every manifest file that the configuration names; `rules` say what is done to texts.
///
/// # Errors
/// A file that is missing or, as a whole, no manifest of its kind, and anything that the machine failed to read; single bad
/// rows stay in the table with a refusal.
pub fn read(
    root: &Path,
    config: &ManifestConfig,
    rules: &TextRules,
    provenance: &Provenance,
) -> Result<Manifest, PrepareError> {
    // A row that is refused because the machine failed would stay refused.
    reading::patiently(|| read_once(root, config, rules, provenance))?
}

fn read_once(
    root: &Path,
    config: &ManifestConfig,
    rules: &TextRules,
    provenance: &Provenance,
) -> Result<Manifest, PrepareError> {
    let mut builder = Builder::new(root, rules, provenance, config.limits);
    builder.files = config.files().cloned().collect();
    for folder in &config.folders {
        // The root by either of its names.
        let folder = folder.strip_prefix(".").unwrap_or(folder);
        folder::read(root, folder, &mut builder)?;
    }
    for file in &config.captions {
        m3d_cap::read(&builder.source(root.join(file)), &mut builder)?;
    }
    for file in &config.questions {
        let path = builder.source(root.join(&file.path));
        m3d_vqa::read(&path, file.split, Forms::Both, config.nan_as_pandas, &mut builder)?;
    }
    for file in &config.yes_no {
        let path = builder.source(root.join(file));
        m3d_vqa::read(&path, Split::Train, Forms::Open, config.nan_as_pandas, &mut builder)?;
    }
    for file in &config.conversations {
        conversations::read(&builder.source(root.join(&file.path)), file, &mut builder)?;
    }
    if config.table.iter().any(|table| table.columns.series.is_some() || table.columns.accession.is_some()) {
        builder.read_headers()?;
    }
    for table in &config.table {
        table::read(table, &mut builder)?;
    }
    case::assign(&mut builder, config.case.as_deref())?;
    Ok(builder.finish())
}

/// One text row as a manifest file states it.
#[derive(Clone)]
struct Row {
    /// File and entry.
    row: String,
    images: Vec<String>,
    task: Task,
    topic: Option<Topic>,
    split: Split,
    question: String,
    answer: String,
    turns: Option<Vec<ManifestTurn>>,
    choices: Option<Vec<String>>,
    answer_choice: Option<String>,
    refusal: Option<Refusal>,
}

impl Row {
    /// Refuses a row whose texts together are longer than a field may be, as its conversation or a question with its choices is,
    /// and drops them.
    fn fit(&mut self, most: usize) {
        let turns = self.turns.iter().flatten().map(|turn| turn.question.len() + turn.answer.len());
        let longest = turns.sum::<usize>().max(self.question.len()).max(self.answer.len());
        if longest <= most {
            return;
        }
        let detail = format!("expected texts of at most {most} bytes, found {longest}");
        self.refusal.get_or_insert(Refusal { reason: Reason::TooLarge, detail });
        (self.question, self.answer) = (String::new(), String::new());
        (self.turns, self.choices, self.answer_choice) = (None, None, None);
    }
}

struct Builder<'a> {
    root: &'a Path,
    prompts: &'a CaptionPrompts,
    scrubbing: Scrubbing<'a>,
    provenance: &'a Provenance,
    limits: ManifestLimits,
    manifest: Manifest,
    volumes: HashSet<Id>,
    samples: HashSet<Id>,
    named: Named,
    headers: Headers,
    /// The manifest's files, relative to the root.
    files: HashSet<PathBuf>,
    /// What tables state of volumes: the case, and the row that states it.
    cases: HashMap<String, (String, String)>,
    /// Texts of tables that name a case alone.
    waiting: Vec<(String, Row)>,
}

impl<'a> Builder<'a> {
    fn new(root: &'a Path, rules: &'a TextRules, provenance: &'a Provenance, limits: ManifestLimits) -> Builder<'a> {
        Builder {
            root,
            prompts: &rules.prompts,
            scrubbing: Scrubbing::of(rules, provenance),
            provenance,
            limits,
            manifest: Manifest::default(),
            volumes: HashSet::new(),
            samples: HashSet::new(),
            named: Named::default(),
            headers: Headers::default(),
            files: HashSet::new(),
            cases: HashMap::new(),
            waiting: Vec::new(),
        }
    }

    /// The manifest, with what can be counted once it is whole.
    fn finish(mut self) -> Manifest {
        let Manifest { volumes, texts, counts, .. } = &mut self.manifest;
        if !texts.is_empty() {
            let told = texts.iter().filter(|text| text.refusal.is_none()).flat_map(|text| &text.volume_ids);
            let told: HashSet<&Id> = told.collect();
            let is_silent = |volume: &&ManifestVolume| volume.refusal.is_none() && !told.contains(&volume.volume_id);
            counts.volumes_without_text = volumes.iter().filter(is_silent).count() as u64;
        }
        self.manifest
    }

    /// Notes a file that the manifest comes from, before it is read.
    fn source(&mut self, path: PathBuf) -> PathBuf {
        self.manifest.sources.entry(path.clone()).or_insert_with_key(|path| Stamp::quick(path));
        path
    }

    /// Adds a volume that is new; `row` says where the manifest names it first.
    fn add_volume(&mut self, image: &str, row: String) {
        if image.is_empty() || !self.volumes.insert(self.provenance.volume_id(image)) {
            return;
        }
        let found = source::find(self.root, image);
        if found.as_ref().is_err_and(|refusal| refusal.reason == Reason::NotFound) {
            let expected = self.root.join(source::raw(image));
            self.source(nearest_existing(&expected).to_owned());
        }
        self.push_volume(image, row, found);
    }

    /// Adds what a listing found: the file or folder itself, never another of the same stem.
    fn add_listed(&mut self, name: String, path: Result<String, Refusal>) {
        // Folders that are asked for may overlap.
        if !self.volumes.insert(self.provenance.volume_id(&name)) {
            return;
        }
        let found = path.map(|path| Found { path, note: None });
        self.push_volume(&name, name.clone(), found);
    }

    fn push_volume(&mut self, image: &str, row: String, found: Result<Found, Refusal>) {
        let series = source::names(image).series;
        let (source_path, note, refusal) = match found {
            Ok(Found { path, note }) => (path, note, None),
            Err(refusal) => (String::new(), None, Some(refusal)),
        };
        let (volume_id, image) = (self.provenance.volume_id(image), image.to_owned());
        self.manifest.volumes.push(ManifestVolume {
            volume_id,
            image,
            source_path,
            // Known once all are: see `case`.
            case_id: String::new(),
            series,
            row,
            note,
            refusal,
        });
    }

    /// Adds the row, and its volumes where they are new; gives the sample's id unless the row is refused.
    fn add(&mut self, mut row: Row) -> Option<Id> {
        row.fit(self.limits.field_bytes());
        self.scrubbing.row(&mut row, &mut self.manifest.counts);
        row.images.iter_mut().for_each(|image| *image = source::spelled(self.root, image));
        let volume_ids: Vec<Id> = row.images.iter().map(|image| self.provenance.volume_id(image)).collect();
        // What a table names in vain is no volume that is missing: the table is about more than is here.
        if row.refusal.as_ref().is_none_or(|refusal| refusal.reason != Reason::NoVolume) {
            row.images.iter().for_each(|image| self.add_volume(image, row.row.clone()));
        }
        let choices = row.choices.clone().unwrap_or_default().join("\u{1f}");
        let words = [row.split.as_str(), row.task.as_str(), &row.question, &row.answer, &choices];
        let turns = row.turns.iter().flatten().flat_map(|turn| [turn.question.as_str(), &turn.answer]);
        let volumes = volume_ids.iter().map(|id| id.0.as_slice());
        let sample_id = Id::of_parts(volumes.chain(words.into_iter().chain(turns).map(str::as_bytes)));
        let no_image = row.images.is_empty() || row.images.iter().any(String::is_empty);
        let refusal = if no_image && row.refusal.is_none() {
            Some(Refusal { reason: Reason::MissingImage, detail: "expected an image path, found none".into() })
        } else {
            row.refusal
        };
        // A refused row is no duplicate of another refused row: both are listed with their reason.
        let accepted = refusal.is_none().then_some(sample_id);
        let duplicate = accepted.is_some_and(|id| !self.samples.insert(id));
        self.manifest.texts.push(ManifestText {
            sample_id,
            volume_ids,
            case_id: String::new(),
            images: row.images,
            task: row.task,
            topic: row.topic,
            split: row.split,
            question: row.question,
            answer: row.answer,
            turns: row.turns,
            choices: row.choices,
            answer_choice: row.answer_choice,
            row: row.row,
            refusal,
            duplicate,
        });
        accepted
    }
}

/// The bytes of a JSON file, which is read as a whole.
fn read_whole(path: &Path, limits: &ManifestLimits) -> Result<Vec<u8>, PrepareError> {
    let most = limits.json_bytes();
    let bytes = reading::read_at_most(path, most).map_err(PrepareError::file(path, "read"))?;
    if bytes.len() as u64 > most {
        return Err(PrepareError::Manifest {
            path: path.to_owned(),
            expected: format!("at most {most} bytes (manifest.limits.json_mib): split it into several files"),
            found: "more".into(),
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;

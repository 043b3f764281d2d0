//! Volumes as tables name them: by a path, by a folder, by a file's name alone.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;

use med2e3_input::reading;
use med2e3_input::volume::Folder;
use med2e3_schemas::manifest::Refusal;
use med2e3_schemas::quarantine::Reason;
use med2e3_store::disk::nearest_existing;

use super::folder::volumes_below;
use super::source::{self, spelled, stem};
use super::{Builder, Row};

/// What tables have named so far, so that a volume with many texts is looked for once.
#[derive(Default)]
pub(super) struct Named {
    known: HashMap<String, Result<Vec<String>, Refusal>>,
    /// Listed volumes by the last part of their path, with and without its ending.
    by_name: HashMap<String, Vec<String>>,
    /// Volumes whose names are in `by_name`.
    read: usize,
}

impl Builder<'_> {
    /// The volumes that a table calls `path`, which is relative to the folder `base`: a file, a series, or a folder whose volumes
    /// are all meant; or, where nothing is there and the path is a name alone, the one listed volume of that name. They
    /// are named by where they are, so that a listed volume and a named one are the same.
    pub(super) fn volumes_named(&mut self, base: &Path, path: &str) -> Result<Vec<String>, Refusal> {
        // A path from the disk's root is meant where it leads below the data root.
        let inside = Path::new(path).strip_prefix(self.root).ok().and_then(Path::to_str).map(str::to_owned);
        let below = |path: &str| base.join(path).to_string_lossy().into_owned();
        let image = spelled(self.root, &inside.unwrap_or_else(|| below(path)));
        if let Some(known) = self.named.known.get(&image) {
            return known.clone();
        }
        let found = self.look_for(&image, path);
        self.named.known.insert(image, found.clone());
        found
    }

    fn look_for(&mut self, image: &str, path: &str) -> Result<Vec<String>, Refusal> {
        let found = match source::find(self.root, image) {
            Ok(found) => found.path,
            Err(refusal) if refusal.reason == Reason::NotFound => {
                // Where it comes to be, the table is read again.
                let expected = self.root.join(image);
                self.source(nearest_existing(&expected).to_owned());
                return match self.listed_as(path) {
                    [] => Err(Refusal { reason: Reason::NoVolume, ..refusal }),
                    [one] => Ok(vec![one.clone()]),
                    several => Err(Refusal {
                        reason: Reason::BadRow,
                        detail: format!("expected the path of a volume, found a name that {} have", several.len()),
                    }),
                };
            }
            Err(refusal) => return Err(refusal),
        };
        let location = self.root.join(&found);
        let is_series = || Folder::list(&location, |_| None).is_ok_and(|folder| folder.series.is_some());
        if !reading::is_dir(&location) || is_series() {
            return Ok(vec![found]);
        }
        let mut below = Vec::new();
        // It ends where the tree does.
        let _ = volumes_below(self.root, Path::new(&found), |volume| {
            below.extend(volume.to_str().map(str::to_owned));
            ControlFlow::Continue(())
        });
        self.source(location);
        if below.is_empty() {
            let detail = format!("expected a volume or a folder of volumes at {found}, found a folder without one");
            return Err(Refusal { reason: Reason::NoVolume, detail });
        }
        Ok(below)
    }

    /// Listed volumes that have the name, with its ending or without.
    fn listed_as(&mut self, name: &str) -> &[String] {
        let named = &mut self.named;
        for volume in &self.manifest.volumes[named.read..] {
            let last = volume.image.rsplit('/').next().unwrap_or_default();
            for name in [Some(last), Some(stem(last)).filter(|stem| *stem != last)].into_iter().flatten() {
                named.by_name.entry(name.to_owned()).or_default().push(volume.image.clone());
            }
        }
        named.read = self.manifest.volumes.len();
        // Of a name with an ending, the file of that name; a file of the same stem and another ending is another one.
        named.by_name.get(name).map_or(&[], Vec::as_slice)
    }

    /// Notes that a table says of which case volumes are.
    ///
    /// # Errors
    /// A case besides the one that an earlier row stated.
    pub(super) fn state_case(&mut self, images: &[String], case: &str, row: &str) -> Result<(), Refusal> {
        for image in images {
            let (stated, by) = self.cases.entry(image.clone()).or_insert_with(|| (case.to_owned(), row.to_owned()));
            if stated != case {
                let detail = format!("expected the case `{stated}`, as {by} states of this volume, found `{case}`");
                return Err(Refusal { reason: Reason::BadRow, detail });
            }
        }
        Ok(())
    }

    /// Keeps texts until it is known which volumes a case has.
    pub(super) fn wait(&mut self, case: String, texts: Vec<Row>) {
        self.waiting.extend(texts.into_iter().map(|text| (case.clone(), text)));
    }

    /// Adds a text about one volume; a caption that no table asks for gets its instruction.
    pub(super) fn add_about(&mut self, text: &Row, image: &str, refusal: Option<&Refusal>) {
        let mut row = Row { images: vec![image.to_owned()], ..text.clone() };
        if row.question.is_empty() {
            self.prompts.pick(image.as_bytes()).clone_into(&mut row.question);
        }
        row.refusal = refusal.cloned();
        self.add(row);
    }
}

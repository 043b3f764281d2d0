//! What a run will set aside, as far as the manifest, headers and sizes tell it before anything is decoded.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use med2e3_input::InputError;
use med2e3_input::reading::{self, File};
use med2e3_input::volume::{self, Looked, ReadLimits};
use med2e3_program::with_causes;
use med2e3_schemas::Id;
use med2e3_schemas::manifest::ManifestVolume;
use med2e3_schemas::quarantine::{QuarantineRecord, Reason, Table};
use rayon::ThreadPool;
use rayon::prelude::*;
use serde::Serialize;

use crate::PrepareError;
use crate::config::{PrepareConfig, Recipe};
use crate::manifest::{Manifest, link_out_of};
use crate::progress::RowProgress;

/// What is known of the rows before any is prepared. What only decoding tells is not: damage within a compressed stream, values
/// that are all equal or no numbers, units that a format does not state, texts of which no target is left.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Foreseen {
    /// Volumes that will be set aside, by reason.
    pub volumes: BTreeMap<String, u64>,
    /// Texts that will be set aside, by reason.
    pub texts: BTreeMap<String, u64>,
    /// Texts whose id an earlier one has.
    pub texts_repeated: u64,
    /// Texts that no training will see, because a volume of theirs will be set aside.
    pub texts_without_volume: u64,
    /// Volumes of which another input has the same size, beginning and end: mostly a copy.
    pub volumes_alike: u64,
    /// The first two inputs that are alike.
    pub first_alike: Option<[String; 2]>,
    /// The first rows that will be set aside, in full.
    pub first: Vec<QuarantineRecord>,
    /// Volumes whose unit only their values tell, where the recipe needs Hounsfield units.
    pub unit_unknown: u64,
    /// Ordinals of the volumes that will be set aside.
    #[serde(skip)]
    pub(crate) set_aside: HashSet<u64>,
}

impl Foreseen {
    /// Rows that will be set aside.
    pub fn rows(&self) -> u64 {
        self.volumes.values().chain(self.texts.values()).sum()
    }
}

/// Rows that are given in full.
const FIRST: usize = 5;

/// Looks at every input by its headers, on all threads of the pool.
///
/// # Errors
/// An input that the machine fails to read.
pub fn foresee(
    config: &PrepareConfig,
    root: &Path,
    manifest: &Manifest,
    threads: &ThreadPool,
) -> Result<Foreseen, PrepareError> {
    let progress = RowProgress::new(manifest.volumes.len() as u64, "headers");
    let looker = Looker { config, root };
    let looks: Vec<Look> = threads.install(|| {
        let looks = manifest.volumes.par_iter().enumerate().map(|(ordinal, entry)| {
            let look = looker.look(ordinal as u64, entry)?;
            progress.step(look.reject.is_none());
            Ok(look)
        });
        looks.collect::<Result<_, PrepareError>>()
    })?;
    progress.finish();
    let mut foreseen = Foreseen::default();
    let (mut seen, mut refused): (HashMap<Id, usize>, HashSet<Id>) = Default::default();
    for (number, (look, entry)) in looks.into_iter().zip(&manifest.volumes).enumerate() {
        if let Some(record) = look.reject {
            refused.insert(entry.volume_id);
            foreseen.set_aside.insert(number as u64);
            *foreseen.volumes.entry(record.reason.to_string()).or_default() += 1;
            if foreseen.first.len() < FIRST {
                foreseen.first.push(record);
            }
            continue;
        }
        foreseen.unit_unknown += u64::from(look.is_unit_unknown);
        let Some(print) = look.print else { continue };
        if let Some(other) = seen.insert(print, number) {
            foreseen.volumes_alike += 1;
            let names = || [other, number].map(|number| manifest.volumes[number].image.clone());
            foreseen.first_alike.get_or_insert_with(names);
        }
    }
    for (ordinal, text) in (0u64..).zip(&manifest.texts) {
        foreseen.texts_repeated += u64::from(text.duplicate);
        match &text.refusal {
            _ if text.duplicate => {}
            Some(refusal) => {
                *foreseen.texts.entry(refusal.reason.to_string()).or_default() += 1;
                if foreseen.first.len() < FIRST {
                    foreseen.first.push(QuarantineRecord {
                        table: Table::Texts,
                        ordinal,
                        path: text.images.join(", "),
                        row: text.row.clone(),
                        reason: refusal.reason,
                        detail: refusal.detail.clone(),
                        byte_offset: None,
                    });
                }
            }
            None => {
                let waits = text.volume_ids.iter().any(|id| refused.contains(id));
                foreseen.texts_without_volume += u64::from(waits);
            }
        }
    }
    Ok(foreseen)
}

/// What is known of one volume.
struct Look {
    reject: Option<QuarantineRecord>,
    /// The same for inputs of the same size, beginning and end.
    print: Option<Id>,
    is_unit_unknown: bool,
}

/// Looks at inputs as the configuration's run will read them.
struct Looker<'a> {
    config: &'a PrepareConfig,
    root: &'a Path,
}

impl Looker<'_> {
    fn look(&self, ordinal: u64, entry: &ManifestVolume) -> Result<Look, PrepareError> {
        let reject = |reason: Reason, detail: String, byte_offset: Option<u64>| {
            let path = if entry.source_path.is_empty() { &entry.image } else { &entry.source_path };
            let (path, row) = (path.clone(), entry.row.clone());
            let record = QuarantineRecord { table: Table::Volumes, ordinal, path, row, reason, detail, byte_offset };
            Ok(Look { reject: Some(record), print: None, is_unit_unknown: false })
        };
        if let Some(refusal) = &entry.refusal {
            return reject(refusal.reason, refusal.detail.clone(), None);
        }
        let path = self.root.join(&entry.source_path);
        if let Some(link) = reading::patiently(|| link_out_of(self.root, &path))? {
            let name = link.strip_prefix(self.root).unwrap_or(&link).display();
            let detail = format!("expected files within the data root, found the link {name} out of it");
            return reject(Reason::PathOutsideRoot, detail, None);
        }
        let volume = &self.config.volume;
        let limits = ReadLimits { max_decoded_bytes: volume.max_decoded_mib.saturating_mul(1 << 20) };
        let looked = match volume::look(&path, &limits, volume.deep_pictures) {
            Ok(looked) => looked,
            Err(fault @ InputError::Machine(_)) => return Err(fault.into()),
            Err(error) => {
                let detail = with_causes(&error).replace(&format!("{}/", self.root.display()), "");
                return reject(error.reason(), detail, error.byte_offset());
            }
        };
        let (mut is_unit_unknown, place) = (false, &entry.source_path);
        if let Recipe::Ct(recipe) = &volume.recipe {
            let Looked { hu_known, spacing_mm_dhw, .. } = looked;
            match (recipe.needs_hu(), hu_known) {
                (Some(needed), Some(false)) => {
                    let detail = format!(
                        "{place}: expected values in Hounsfield units, which {needed} needs, found another or no unit"
                    );
                    return reject(Reason::HuUnknown, detail, None);
                }
                (Some(_), None) => is_unit_unknown = true,
                _ => {}
            }
            if let (Some(asked), None) = (recipe.spacing_mm, spacing_mm_dhw) {
                let [d, h, w] = asked;
                let detail = format!(
                    "{place}: expected a spacing in mm, which resampling to {d} x {h} x {w} mm needs, found none"
                );
                return reject(Reason::SpacingUnknown, detail, None);
            }
        }
        Ok(Look { reject: None, print: print(&path).ok(), is_unit_unknown })
    }
}

/// Bytes at each end of a file that are compared.
const END_BYTES: u64 = 1 << 16;

/// Equal for inputs of equal sizes with equal ends: of a file its own; of a folder the sizes of its files and the ends of the first.
fn print(path: &Path) -> io::Result<Id> {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    let first = if reading::is_dir(path) {
        let files = reading::entries(path)?.into_iter().map(|entry| entry.path()).filter(|path| reading::is_file(path));
        let files: Vec<_> = files.collect();
        for file in &files {
            parts.push(reading::metadata(file)?.len().to_le_bytes().to_vec());
        }
        files.into_iter().next().ok_or(io::ErrorKind::NotFound)?
    } else {
        path.to_owned()
    };
    let mut file = File::open(&first)?;
    let length = file.metadata()?.len();
    parts.push(length.to_le_bytes().to_vec());
    for start in [0, length.saturating_sub(END_BYTES)] {
        let mut end = Vec::new();
        file.seek(SeekFrom::Start(start))?;
        file.by_ref().take(END_BYTES).read_to_end(&mut end)?;
        parts.push(end);
    }
    Ok(Id::of_parts(parts.iter().map(Vec::as_slice)))
}

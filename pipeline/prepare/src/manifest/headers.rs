//! Of which patient, series and order the volumes are whose files state it: kept in memory as hashes, for as long as a
//! manifest is read.

use std::collections::HashMap;

use blake3::Hash;
use med2e3_input::reading::MachineFault;
use med2e3_input::volume::{Identifier, Identifiers, ReadLimits, identifiers};
use rayon::prelude::*;

use super::Builder;
use super::source::{PREPARED, RAW};
use crate::PrepareError;
use crate::provenance::Provenance;

/// What the files of volumes state, by hashes under no key that never leave the memory.
#[derive(Default)]
pub(super) struct Headers {
    /// Volumes that were looked at, by their place in the manifest.
    read: usize,
    series: HashMap<Hash, Vec<String>>,
    accession: HashMap<Hash, Vec<String>>,
    patients: HashMap<String, Patient>,
    /// Patients by the identifier alone, without who issued it; `None` where several have it.
    by_identifier: HashMap<Hash, Option<Patient>>,
}

/// A patient: a hash by which volumes of one are known, and the name of the case, which is a hash under the dataset's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Patient {
    pub(super) hash: Hash,
    /// None where names are kept: there is no key then, and the case has the name of its first volume.
    pub(super) name: Option<String>,
}

fn hash(bytes: &[u8]) -> Hash {
    blake3::hash(bytes)
}

impl Headers {
    /// Volumes of the series, by their names in the manifest.
    pub(super) fn of_series(&self, uid: &str) -> Vec<String> {
        self.series.get(&hash(uid.trim().as_bytes())).cloned().unwrap_or_default()
    }

    /// Volumes of the order.
    pub(super) fn of_accession(&self, number: &str) -> Vec<String> {
        self.accession.get(&hash(number.trim().as_bytes())).cloned().unwrap_or_default()
    }

    /// The patient of a volume.
    pub(super) fn patient(&self, image: &str) -> Option<&Patient> {
        self.patients.get(image)
    }

    /// The patient that a table calls so.
    pub(super) fn patient_called(&self, identifier: &str) -> Option<&Patient> {
        self.by_identifier.get(&hash(identifier.trim().as_bytes()))?.as_ref()
    }
}

impl Builder<'_> {
    /// Reads the headers of the volumes that were added since the last time.
    ///
    /// # Errors
    /// The machine failed to read one.
    pub(super) fn read_headers(&mut self) -> Result<(), PrepareError> {
        let provenance = self.provenance;
        let root = self.root;
        // M3D's volumes are pictures and arrays; what the readers take of a file's size is no concern of its header.
        let is_open = |image: &str| !image.starts_with(PREPARED) && !image.starts_with(RAW);
        let fresh = &self.manifest.volumes[self.headers.read..];
        let looked: Vec<_> = fresh
            .par_iter()
            .filter(|volume| volume.refusal.is_none() && is_open(&volume.image))
            .map(|volume| {
                let found = identifiers(&root.join(&volume.source_path), &ReadLimits::default())?;
                Ok(found.map(|found| (volume.image.clone(), Stated::of(&found, provenance))))
            })
            .collect::<Result<Vec<_>, MachineFault>>()?;
        self.headers.read = self.manifest.volumes.len();
        for (image, stated) in looked.into_iter().flatten() {
            let headers = &mut self.headers;
            for (map, key) in [(&mut headers.series, stated.series), (&mut headers.accession, stated.accession)] {
                key.into_iter().for_each(|key| map.entry(key).or_default().push(image.clone()));
            }
            if let Some((identifier, patient)) = stated.patient {
                let known = headers.by_identifier.entry(identifier).or_insert_with(|| Some(patient.clone()));
                if known.as_ref().is_some_and(|known| *known != patient) {
                    *known = None;
                }
                headers.patients.insert(image, patient);
            }
        }
        Ok(())
    }
}

/// What one volume's files state.
struct Stated {
    series: Option<Hash>,
    accession: Option<Hash>,
    /// The identifier alone, and the patient.
    patient: Option<(Hash, Patient)>,
}

impl Stated {
    fn of(found: &Identifiers, provenance: &Provenance) -> Stated {
        let patient = found.with(Identifier::Patient, |bytes| {
            let identifier = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
            (hash(identifier), Patient { hash: hash(bytes), name: provenance.patient(bytes) })
        });
        Stated {
            series: found.with(Identifier::Series, hash),
            accession: found.with(Identifier::Accession, hash),
            patient,
        }
    }
}

//! Who and what a DICOM input is: the identifiers of its patient, study and series, and its accession number. They decide which
//! volumes are of one patient, and which row of a table a volume belongs to.
//!
//! This is the one exception to the rule that readers of DICOM return numbers and coded words alone. So [`Identifiers`] can't be
//! printed, copied or stored: a value is compared with a stated text, or its bytes are lent to a closure, which hashes them or
//! looks them up.
//!
//! Source: DICOM PS3.3 C.7.1.1 (patient), C.7.2.1 (study), C.7.3.1 (series); PS3.15 annex E (what takes the place of a patient).

use std::io::Read;
use std::path::Path;

use super::elements::{Elements, LONGEST_TEXT, Tag};
use super::file::{File, first_part, is_dicom};
use super::kind::{IMAGE_TYPE, SOP_CLASS, is_about_a_series, is_localizer};
use super::{KIND_HEAD, Kind, kind, read_file, slice_name};
use crate::reading::{self, MachineFault};
use crate::volume::ReadLimits;
use crate::volume::folder::{self, Series};
use crate::volume::limits::MAX_SLICE_BYTES;

const ACCESSION_NUMBER: Tag = Tag(0x0008, 0x0050);
const PATIENT_ID: Tag = Tag(0x0010, 0x0020);
const ISSUER_OF_PATIENT_ID: Tag = Tag(0x0010, 0x0021);
const STUDY_INSTANCE_UID: Tag = Tag(0x0020, 0x000d);
const SERIES_INSTANCE_UID: Tag = Tag(0x0020, 0x000e);

/// All elements that are read, in the order of a file.
const ALLOWED: [Tag; 7] = [
    IMAGE_TYPE,
    SOP_CLASS,
    ACCESSION_NUMBER,
    PATIENT_ID,
    ISSUER_OF_PATIENT_ID,
    STUDY_INSTANCE_UID,
    SERIES_INSTANCE_UID,
];

/// The tag behind the last of them: reading stops there, far before the pixels.
const BEHIND: Tag = Tag(SERIES_INSTANCE_UID.0, SERIES_INSTANCE_UID.1 + 1);

/// Bytes of a file that are looked at, one after the other, until the identifiers are among them. Elements before them that take
/// more than the last are no header.
const LOOKS: [usize; 3] = [KIND_HEAD, 128 << 10, 16 << 20];

/// What stands in the place of a patient's identifier or of an accession number where it was removed or never entered, in capital
/// letters and without what is neither letter nor digit: `N/A` is `NA`, `[Removed]` is `REMOVED`. So is any value of zeros or of the
/// letter X alone, and one without a letter or digit.
pub const PLACEHOLDERS: [&str; 56] = [
    "ANON",
    "ANONIM",
    "ANONYM",
    "ANONYMIS",
    "ANONYMISED",
    "ANONYMISIERT",
    "ANONYMIZED",
    "ANONYMOUS",
    "ANONYMOUSPATIENT",
    "BLANK",
    "CONFIDENTIAL",
    "DEFAULT",
    "DEIDENTIFIED",
    "DELETED",
    "DEMO",
    "DUMMY",
    "EMPTY",
    "EXAMPLE",
    "HIDDEN",
    "ID",
    "MASKED",
    "MISSING",
    "NA",
    "NAME",
    "NAN",
    "NIL",
    "NOID",
    "NOMRN",
    "NONE",
    "NOPATIENTID",
    "NOTAPPLICABLE",
    "NOTAVAILABLE",
    "NOTPROVIDED",
    "NOTSPECIFIED",
    "NULL",
    "PATIENT",
    "PATIENTID",
    "PHANTOM",
    "PRIVATE",
    "PSEUDONYMIZED",
    "REDACTED",
    "REMOVED",
    "SAMPLE",
    "SUBJECT",
    "TBD",
    "TEST",
    "TESTPATIENT",
    "UNBEKANNT",
    "UNDEFINED",
    "UNK",
    "UNKNOWN",
    "UNNAMED",
    "UNSPECIFIED",
    "匿名",
    "无",
    "未知",
];

/// What an identifier is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identifier {
    /// PatientID (0010,0020), with IssuerOfPatientID (0010,0021), within which it is unique.
    Patient,
    /// StudyInstanceUID (0020,000D).
    Study,
    /// SeriesInstanceUID (0020,000E).
    Series,
    /// AccessionNumber (0008,0050), the order's number in the department's system.
    Accession,
}

/// The identifiers of one DICOM input. No `Debug`, `Display`, `Clone` or `Serialize`: they can be compared and hashed, and not
/// printed, copied or stored.
///
/// Values are without the spaces and zero bytes around them, and in UTF-8: bytes that are not UTF-8 are taken for Latin-1, a
/// character each, so that one value has the same bytes in either. Values longer than 1024 bytes and [`PLACEHOLDERS`] of patients
/// and accession numbers count as absent.
pub struct Identifiers {
    patient: Option<String>,
    issuer: Option<String>,
    study: Option<String>,
    series: Option<String>,
    accession: Option<String>,
}

impl Identifiers {
    fn of(elements: &Elements<'_>) -> Identifiers {
        let text = |tag| elements.value(tag).and_then(decoded);
        let no_placeholder = |tag| text(tag).filter(|value| !is_placeholder(value));
        Identifiers {
            patient: no_placeholder(PATIENT_ID),
            issuer: no_placeholder(ISSUER_OF_PATIENT_ID),
            study: text(STUDY_INSTANCE_UID),
            series: text(SERIES_INSTANCE_UID),
            accession: no_placeholder(ACCESSION_NUMBER),
        }
    }

    fn value(&self, what: Identifier) -> Option<&str> {
        let value = match what {
            Identifier::Patient => &self.patient,
            Identifier::Study => &self.study,
            Identifier::Series => &self.series,
            Identifier::Accession => &self.accession,
        };
        value.as_deref()
    }

    /// Whether the input states it, and not a placeholder.
    pub fn has(&self, what: Identifier) -> bool {
        self.value(what).is_some()
    }

    /// Whether the input's value is `stated`, but for white space around it. Of a patient, the issuer is not compared. `false`
    /// where the input has none.
    pub fn is(&self, what: Identifier, stated: &str) -> bool {
        self.value(what) == Some(trimmed(stated))
    }

    /// Lends the value's bytes to `read`, which hashes them or looks them up, and must not keep them; `None` where the input
    /// has none.
    ///
    /// Of a patient, they are the identifier, and where the input states an issuer a zero byte and the issuer. So they are two
    /// patients where two issuers gave the same identifier, and also where only some inputs of a patient state the issuer.
    pub fn with<T>(&self, what: Identifier, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let value = self.value(what)?;
        Some(match (what, &self.issuer) {
            (Identifier::Patient, Some(issuer)) => read(format!("{value}\0{issuer}").as_bytes()),
            _ => read(value.as_bytes()),
        })
    }
}

/// Reads the identifiers of the input at `path`: of a DICOM file, or of the first readable slice of a folder with a DICOM series
/// (of a localizer, a secondary capture or a cut file only where there is no other). `None` for other formats, and where nothing is readable:
/// the reader of volumes says why. Blocks on file input: reads the first 4 KiB of a file, seldom more, and at most 16 MiB; a
/// deflated file as a whole, within `limits` and [`MAX_SLICE_BYTES`](crate::volume::MAX_SLICE_BYTES).
///
/// # Errors
/// The machine failed to read it, time and again.
pub fn identifiers(path: &Path, limits: &ReadLimits) -> Result<Option<Identifiers>, MachineFault> {
    reading::patiently(|| read_once(path, limits)).map_err(|fault| fault.of(path))
}

fn read_once(path: &Path, limits: &ReadLimits) -> Option<Identifiers> {
    let metadata = reading::metadata(path).ok()?;
    if metadata.is_file() {
        return of_file(path, limits).map(|(_, identifiers)| identifiers);
    }
    // Other folders hold many files that need not be opened.
    if !metadata.is_dir() || folder::series_to_read(path).ok()? != Series::Dicom {
        return None;
    }
    let mut of_other = None;
    for entry in reading::entries(path).ok()? {
        let path = entry.path();
        if slice_name(&entry).is_none() || !reading::is_file(&path) {
            continue;
        }
        match of_file(&path, limits) {
            Some((Shows::Slice, identifiers)) => return Some(identifiers),
            Some((Shows::Other, identifiers)) => of_other = of_other.or(Some(identifiers)),
            None => {}
        }
    }
    of_other
}

/// What the picture of a file is.
enum Shows {
    /// A slice of the series.
    Slice,
    /// A localizer, a secondary capture or another object about a series, which may be in a series of its own; or what a cut
    /// file shows.
    Other,
}

/// The identifiers of a file with a picture; `None` where it has none or is not readable.
fn of_file(path: &Path, limits: &ReadLimits) -> Option<(Shows, Identifiers)> {
    let mut file = reading::File::open(path).ok()?;
    let mut head = Vec::new();
    for most in LOOKS {
        let more = (most - head.len()) as u64;
        file.by_ref().take(more).read_to_end(&mut head).ok()?;
        if !is_dicom(&head) || matches!(kind(&head), Some(Kind::Directory | Kind::NoImage)) {
            return None;
        }
        let is_whole = head.len() < most;
        let (_, set) = first_part(&head)?;
        if let Some(set) = set {
            match set.elements_before(&ALLOWED, BEHIND) {
                Ok(elements) => return Some(found(&elements)),
                Err(_) if is_whole || most == LOOKS[LOOKS.len() - 1] => {
                    // Cut or broken: another file of the series is better.
                    return Some((Shows::Other, Identifiers::of(&set.first_elements(&ALLOWED))));
                }
                Err(_) => {}
            }
        } else if is_whole || most > KIND_HEAD {
            break;
        }
    }
    // The data set is deflated, and shows nothing before it is inflated.
    let length = file.metadata().ok()?.len();
    let bytes = read_file(path, limits).ok().filter(|_| length <= MAX_SLICE_BYTES)??;
    let file = File::parse(bytes, limits.max_decoded_bytes).ok()?;
    let elements = file.elements(&ALLOWED).ok()?;
    Some(found(&elements))
}

fn found(elements: &Elements<'_>) -> (Shows, Identifiers) {
    let is_other = elements.text(SOP_CLASS).is_some_and(is_about_a_series) || is_localizer(elements, IMAGE_TYPE);
    (if is_other { Shows::Other } else { Shows::Slice }, Identifiers::of(elements))
}

/// A value as text, without its padding; `None` where it is empty or too long.
fn decoded(value: &[u8]) -> Option<String> {
    let value = Some(value).filter(|value| value.len() <= LONGEST_TEXT)?;
    let text = match std::str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        Err(_) => value.iter().map(|byte| char::from(*byte)).collect(),
    };
    Some(trimmed(&text)).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\0')
}

fn is_placeholder(value: &str) -> bool {
    let word: String = value.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_uppercase).collect();
    let all = |letter: char| word.chars().all(|c| c == letter);
    all('0') || all('X') || PLACEHOLDERS.contains(&word.as_str())
}

#[cfg(test)]
mod tests {
    use std::fmt::{Debug, Display};

    use serde::Serialize;

    use super::*;

    /// Compiles where the type has none of these traits: with one of them, `NONE` would be ambiguous.
    macro_rules! has_none_of {
        ($type:ty: $($trait:path),+) => {$({
            trait Ambiguous<A> { const NONE: () = (); }
            struct Has;
            impl<T: ?Sized> Ambiguous<()> for T {}
            impl<T: ?Sized + $trait> Ambiguous<Has> for T {}
            <$type as Ambiguous<_>>::NONE
        })+};
    }

    #[test]
    fn identifiers_can_be_neither_printed_nor_copied_nor_stored() {
        has_none_of!(Identifiers: Debug, Display, Clone, Serialize, ToString);
    }

    #[test]
    fn what_stands_in_the_place_of_a_patient_is_none() {
        let placeholders = [
            "",
            "0",
            "000000",
            "xxx",
            "X",
            "***",
            "---",
            "N/A",
            "n.a.",
            "None",
            "ANON",
            "Anonymous",
            "[Removed]",
            "de-identified",
            "Anonymous Patient",
            "unknown",
            "TEST",
            "Patient ID",
            "匿名",
            "null",
        ];
        placeholders.iter().for_each(|value| assert!(is_placeholder(value), "{value}"));
        let patients =
            ["1", "10", "9", "ANON12", "P0001", "X1", "LIDC-IDRI-0001", "TEST1", "Müller", "张三", "00a", "Nathan"];
        patients.iter().for_each(|value| assert!(!is_placeholder(value), "{value}"));
        let in_form = |word: &&str| word.chars().all(|c| c.is_alphanumeric() && !c.is_lowercase());
        assert!(PLACEHOLDERS.is_sorted() && PLACEHOLDERS.iter().all(in_form));
    }

    #[test]
    fn padding_is_no_part_of_a_value_and_latin_1_is_the_same_text_as_utf_8() {
        let text = |bytes: &[u8]| decoded(bytes);
        assert_eq!(text(b" 12 3 \0").as_deref(), Some("12 3"));
        assert_eq!(text(b"J\xfcrgen1"), text("Jürgen1 ".as_bytes()));
        assert_eq!((text(b" \0"), text(&[b'1'; 1025])), (None, None));
    }
}

//! Which case a volume belongs to: what a table states, else the patient that the volume's files state, else a part of its path,
//! else its folder.
//!
//! M3D has a folder a case, with the case's series in it. Others have one folder with a file a patient (`imagesTr`, as
//! nnU-Net has it): if that folder were the case, all patients would be one.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use blake3::Hash;
use med2e3_schemas::manifest::Refusal;
use med2e3_schemas::quarantine::Reason;
use regex::Regex;

use super::Builder;
use super::source::{Names, PREPARED, RAW, names, stem};
use crate::PrepareError;

/// Where cases are taken from, in the order in which it is asked.
const ORIGINS: [&str; 4] = ["table", "patient_id", "pattern", "folder"];

/// States the case of every volume, adds the texts that name a case alone, and states the case of every text by its first volume.
///
/// # Errors
/// A pattern that is none; headers that the machine failed to read.
pub(super) fn assign(builder: &mut Builder<'_>, pattern: Option<&str>) -> Result<(), PrepareError> {
    let pattern = pattern.map(case_pattern).transpose()?;
    builder.read_headers()?;
    let folders = cases(builder.manifest.volumes.iter().map(|volume| volume.image.as_str()));
    // Of a patient without a name, the first volume's.
    let mut first: HashMap<Hash, &str> = HashMap::new();
    for volume in &builder.manifest.volumes {
        if let Some(patient) = builder.headers.patient(&volume.image) {
            let name = first.entry(patient.hash).or_insert(&volume.image);
            *name = (*name).min(volume.image.as_str());
        }
    }
    let of_patient = |patient: &super::headers::Patient| {
        patient.name.clone().unwrap_or_else(|| first.get(&patient.hash).copied().unwrap_or_default().to_owned())
    };
    // A table may call a patient as its files do.
    let of_table = |case: &str| builder.headers.patient_called(case).map_or_else(|| case.to_owned(), of_patient);
    let found: Vec<(usize, String)> = builder
        .manifest
        .volumes
        .iter()
        .map(|volume| {
            let image = &volume.image;
            let of_pattern = || {
                let found = pattern.as_ref()?.captures(image)?;
                found.name(GROUP).map(|case| case.as_str().to_owned()).filter(|case| !case.is_empty())
            };
            if let Some((case, _)) = builder.cases.get(image) {
                (0, of_table(case))
            } else if let Some(patient) = builder.headers.patient(image) {
                (1, of_patient(patient))
            } else if let Some(case) = of_pattern() {
                (2, case)
            } else {
                (3, folders.get(image).cloned().unwrap_or_default())
            }
        })
        .collect();
    let waiting: Vec<_> =
        std::mem::take(&mut builder.waiting).into_iter().map(|(case, text)| (of_table(&case), case, text)).collect();
    let mut volumes_of: HashMap<String, Vec<String>> = HashMap::new();
    let mut names: [BTreeSet<String>; ORIGINS.len()] = Default::default();
    for (volume, (origin, case)) in builder.manifest.volumes.iter_mut().zip(found) {
        volumes_of.entry(case.clone()).or_default().push(volume.image.clone());
        names[origin].insert(case.clone());
        volume.case_id = case;
    }
    // A case is counted where it was asked for first.
    let mut counted: BTreeSet<String> = BTreeSet::new();
    for (origin, names) in ORIGINS.iter().zip(names) {
        let fresh = names.iter().filter(|name| counted.insert((*name).clone())).count() as u64;
        if fresh > 0 {
            builder.manifest.counts.cases.insert((*origin).to_owned(), fresh);
        }
    }
    for (name, case, text) in waiting {
        match volumes_of.get(&name) {
            Some(images) => images.iter().for_each(|image| builder.add_about(&text, image, None)),
            None => {
                let detail = format!("expected volumes of the case `{case}`, found none");
                builder.add_about(&text, "", Some(&Refusal { reason: Reason::NoVolume, detail }));
            }
        }
    }
    let cases: HashMap<String, String> =
        builder.manifest.volumes.iter().map(|volume| (volume.image.clone(), volume.case_id.clone())).collect();
    for text in &mut builder.manifest.texts {
        text.case_id = text.images.first().and_then(|image| cases.get(image)).cloned().unwrap_or_default();
    }
    Ok(())
}

/// The group of a pattern that is the case.
const GROUP: &str = "case";

/// A pattern with a group `case`, which is looked for in a volume's path from the data root.
///
/// # Errors
/// Text that is no regular expression, or has no such group.
pub fn case_pattern(pattern: &str) -> Result<Regex, PrepareError> {
    let error = |found: String| PrepareError::Config {
        key: "manifest.case".into(),
        expected: "a regular expression with a group `case`, such as \"(?P<case>[^/]+)/\"".into(),
        found,
    };
    let found = Regex::new(pattern).map_err(|problem| error(format!("`{pattern}`: {problem}")))?;
    if found.capture_names().flatten().any(|name| name == GROUP) {
        Ok(found)
    } else {
        Err(error(format!("`{pattern}`, which has none")))
    }
}

/// The case of each image by its folder.
///
/// It is the name of the folder above. But where a folder holds more volumes than there are folders with volumes beside
/// it, it is a collection and no case: each of its volumes is a case of its own, by its name. So of 100 folders with 3
/// volumes each every folder is a case, and of `imagesTr` and `imagesTs` with 50 each none. This is so for files alone: series
/// that are folders lie in the folder of their study, unless all lie in one. Where several folders have the name (`p1/study`,
/// `p2/study`), the case is the whole path, so that two patients are never one case. Names that state their patient, as those
/// of BIDS and CT-RATE do, come before all of this.
fn cases<'a>(images: impl Iterator<Item = &'a str> + Clone) -> BTreeMap<String, String> {
    let folder = |image: &'a str| image.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut volumes: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    images.clone().for_each(|image| _ = volumes.entry(folder(image)).or_default().insert(image));
    // Folders with volumes below each folder.
    let mut beside: BTreeMap<&str, usize> = BTreeMap::new();
    volumes.keys().for_each(|path| *beside.entry(folder(path)).or_default() += 1);
    let mut named: BTreeMap<&str, usize> = BTreeMap::new();
    let last = |path: &'a str| path.rsplit('/').next().unwrap_or_default();
    volumes.keys().for_each(|path| *named.entry(last(path)).or_default() += 1);
    let of = |image: &'a str| {
        let own = folder(image);
        let Names { case_id, series } = names(image);
        // Each folder above a series of M3D is a case, whatever it holds.
        let of_m3d = image.starts_with(RAW) || image.starts_with(PREPARED);
        let is_series_of_study = last(image) == series && volumes.len() > 1;
        let case = if let Some(patient) = stated_by_name(image) {
            patient
        } else if own.is_empty() || !(of_m3d || is_series_of_study || volumes[own].len() <= beside[folder(own)]) {
            series
        } else if of_m3d || named[case_id.as_str()] == 1 {
            case_id
        } else {
            own.to_owned()
        };
        (image.to_owned(), case)
    };
    images.map(of).collect()
}

/// The patient in the name of a file or of a folder above it: BIDS has `sub-NAME`, CT-RATE `train_NUMBER_SCAN_RECONSTRUCTION`.
fn stated_by_name(image: &str) -> Option<String> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let last = stem(image.rsplit('/').next().unwrap_or_default());
    if let [split @ ("train" | "valid"), number, scan, reconstruction] = last.split('_').collect::<Vec<_>>()[..]
        && is_number(number)
        && scan.len() == 1
        && is_number(reconstruction)
    {
        return Some(format!("{split}_{number}"));
    }
    let subject = |part: &str| {
        let name = part.strip_prefix("sub-")?.split(['_', '.']).next()?;
        (!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric())).then(|| format!("sub-{name}"))
    };
    image.split('/').find_map(subject)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(images: &[&str]) -> Vec<String> {
        let found = cases(images.iter().copied());
        images.iter().map(|image| found[*image].clone()).collect()
    }

    #[test]
    fn a_study_of_several_series_is_one_case() {
        assert_eq!(of(&["p1/ct/s1", "p1/ct/s2", "p1/ct/s3", "p2/mr/s1"]), ["ct", "ct", "ct", "mr"]);
        // The same name under two patients.
        assert_eq!(of(&["p1/study/s1", "p1/study/s2", "p2/study/s1"]), ["p1/study", "p1/study", "p2/study"]);
    }

    #[test]
    fn a_folder_of_patients_is_no_case() {
        let collection =
            ["imagesTr/pat0.nii.gz", "imagesTr/pat1.nii.gz", "imagesTr/pat2.nii.gz", "imagesTs/pat9.nii.gz"];
        assert_eq!(of(&collection), ["pat0", "pat1", "pat2", "imagesTs"]);
        // Series of DICOM in one folder, volumes in the root, one volume alone.
        assert_eq!(of(&["ct/p1", "ct/p2"]), ["p1", "p2"]);
        assert_eq!(of(&["p1.nii", "p2.npy"]), ["p1", "p2"]);
        assert_eq!(of(&["x.nii"]), ["x"]);
        assert_eq!(of(&["case/x.nii"]), ["case"]);
        assert_eq!(of(&[]), Vec::<String>::new());
    }

    #[test]
    fn folders_of_patients_are_cases() {
        let images: Vec<String> = (0..20).flat_map(|p| (0..3).map(move |s| format!("data/p{p}/s{s}.nii.gz"))).collect();
        let images: Vec<&str> = images.iter().map(String::as_str).collect();
        let found = of(&images);
        assert!(found.iter().enumerate().all(|(n, case)| *case == format!("p{}", n / 3)), "{found:?}");
        // One of them with many more: a collection beside cases.
        let more: Vec<String> = (0..40).map(|n| format!("data/others/v{n}.nii.gz")).collect();
        let all: Vec<&str> = images.iter().copied().chain(more.iter().map(String::as_str)).collect();
        let found = of(&all);
        assert_eq!((found[0].as_str(), found[59].as_str(), found[60].as_str()), ("p0", "p19", "v0"));
    }

    #[test]
    fn names_may_state_the_patient() {
        let images = ["train/train_1/train_1_a/train_1_a_1.nii.gz", "train_1_b_2.nii.gz", "x/valid_1_a_1.nii.gz"];
        assert_eq!(of(&images), ["train_1", "train_1", "valid_1"]);
        let images = ["sub-01/ses-1/anat/sub-01_ses-1_ct.nii.gz", "sub-01/ses-2/ct.nii.gz", "sub-02_ct.nii.gz"];
        assert_eq!(of(&images), ["sub-01", "sub-01", "sub-02"]);
        assert_eq!(of(&["a/train_a_1.nii", "b/sub-.nii"]), ["a", "b"]);
    }

    #[test]
    fn a_pattern_has_a_group_for_the_case() {
        let found = case_pattern("^(?P<case>[^/]+)/").unwrap();
        assert_eq!(&found.captures("P1/studyA/ct.nii").unwrap()["case"], "P1");
        for pattern in ["([a-z]+)/", "(", ""] {
            let error = case_pattern(pattern).unwrap_err().to_string();
            assert!(error.starts_with("manifest.case: expected a regular expression with a group"), "{error}");
        }
    }

    #[test]
    fn the_folders_of_m3d_are_cases_whatever_they_hold() {
        let series = ["a", "b", "c"].map(|name| format!("M3D_Cap_npy/ct_case/000001/{name}.npy"));
        assert_eq!(of(&series.each_ref().map(String::as_str)), ["000001"; 3]);
    }
}

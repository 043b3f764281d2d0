//! Which case a volume belongs to, as far as its path tells.
//!
//! M3D has a folder a case, with the case's series in it. Others have one folder with a file a patient (`imagesTr`, as
//! nnU-Net has it): if that folder were the case, all patients would be one.

use std::collections::{BTreeMap, BTreeSet};

use super::Manifest;
use super::source::{Names, PREPARED, RAW, names};

/// States the case of every volume, and of every text by its first volume.
pub(super) fn assign(manifest: &mut Manifest) {
    let cases = cases(manifest.volumes.iter().map(|volume| volume.image.as_str()));
    let case_of = |image: &String| cases.get(image).cloned();
    for volume in &mut manifest.volumes {
        volume.case_id = case_of(&volume.image).unwrap_or_default();
    }
    for text in &mut manifest.texts {
        text.case_id = text.images.first().and_then(case_of).unwrap_or_default();
    }
}

/// The case of each image.
///
/// It is the name of the folder above. But where a folder holds more volumes than there are folders with volumes beside
/// it, it is a collection and no case: each of its volumes is a case of its own, by its name. So of 100 folders with 3
/// volumes each every folder is a case, and of `imagesTr` and `imagesTs` with 50 each none. This is so for files alone: series
/// that are folders lie in the folder of their study, unless all lie in one. Where several folders have the name (`p1/study`,
/// `p2/study`), the case is the whole path, so that two patients are never one case.
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
        let case = if own.is_empty() || !(of_m3d || is_series_of_study || volumes[own].len() <= beside[folder(own)]) {
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
    fn the_folders_of_m3d_are_cases_whatever_they_hold() {
        let series = ["a", "b", "c"].map(|name| format!("M3D_Cap_npy/ct_case/000001/{name}.npy"));
        assert_eq!(of(&series.each_ref().map(String::as_str)), ["000001"; 3]);
    }
}

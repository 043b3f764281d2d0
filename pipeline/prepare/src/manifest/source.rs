//! From the path that a manifest writes to a path on the disk, never outside the data root.

use std::fs;
use std::path::{Component, Path};

use med2e3_schemas::manifest::Refusal;
use med2e3_schemas::quarantine::Reason;
use unicode_normalization::UnicodeNormalization;

/// The names in an image path.
pub(super) struct Names {
    /// The folder above the series.
    pub(super) case_id: String,
    /// The last part, without its ending.
    pub(super) series: String,
}

/// Case and series of `M3D_Cap_npy/ct_case/000001/Axial.npy`.
pub(super) fn names(image: &str) -> Names {
    let mut parts = image.rsplit('/');
    let series = stem(parts.next().unwrap_or_default()).to_owned();
    Names { case_id: parts.next().unwrap_or_default().to_owned(), series }
}

fn stem(name: &str) -> &str {
    [".npy", ".nii.gz", ".nii"].iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name)
}

/// The path, relative to the root, of the volume that a manifest calls `image`.
///
/// M3D's manifests name prepared files (`M3D_Cap_npy/.../Axial.npy`); what is read is the raw series of that name
/// (`M3D_Cap/.../Axial`, a folder of slices, or `Axial.nii.gz`). The official preparation transliterates series names to
/// ASCII, so a raw folder whose name is equal without accents is taken too.
pub(super) fn find(root: &Path, image: &str) -> Result<String, Refusal> {
    let outside = |found: &str| Refusal {
        reason: Reason::PathOutsideRoot,
        detail: format!("expected a path within the data root, found {found}"),
    };
    let inside = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if image.contains('\\') || !Path::new(image).components().all(inside) {
        return Err(outside(image));
    }
    let raw = raw(image);
    let stem = stem(&raw);
    let candidates = [stem.to_owned(), format!("{stem}.nii.gz"), format!("{stem}.nii")];
    let present = candidates.iter().find(|path| root.join(path).exists()).cloned();
    let Some(path) = present.or_else(|| folded_sibling(root, stem)) else {
        return Err(Refusal { reason: Reason::NotFound, detail: format!("expected one of {}", candidates.join(", ")) });
    };
    // A link may still lead out.
    let real = fs::canonicalize(root.join(&path))
        .map_err(|error| Refusal { reason: Reason::Unreadable, detail: error.to_string() })?;
    if real.starts_with(root) { Ok(path) } else { Err(outside(&format!("a link from {path}"))) }
}

/// The raw path of a prepared one; any other path unchanged.
pub(super) fn raw(image: &str) -> String {
    match image.strip_prefix("M3D_Cap_npy/") {
        Some(rest) => format!("M3D_Cap/{rest}"),
        None => image.to_owned(),
    }
}

/// The entry next to `path` whose name is equal once accents are taken off.
fn folded_sibling(root: &Path, path: &str) -> Option<String> {
    let (folder, wanted) = path.rsplit_once('/')?;
    let names =
        fs::read_dir(root.join(folder)).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let wanted = fold(wanted);
    let matching: Vec<String> = names.filter(|name| fold(stem(name)) == wanted).collect();
    // Two names that differ by accents alone: which one is meant can't be known.
    let [name] = matching.as_slice() else { return None };
    Some(format!("{folder}/{name}"))
}

/// A name without its combining marks.
fn fold(name: &str) -> String {
    name.nfd().filter(|c| !unicode_normalization::char::is_combining_mark(*c)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_series_are_found_beside_the_prepared_name() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        let case = root.join("M3D_Cap/ct_case/000001");
        fs::create_dir_all(case.join("Axial")).unwrap();
        fs::create_dir_all(case.join("Axial_P\u{f6}schl_view")).unwrap();
        fs::write(case.join("Coronal.nii.gz"), b"x").unwrap();
        let find = |name: &str| super::find(&root, &format!("M3D_Cap_npy/ct_case/000001/{name}.npy"));
        assert_eq!(find("Axial").unwrap(), "M3D_Cap/ct_case/000001/Axial");
        assert_eq!(find("Coronal").unwrap(), "M3D_Cap/ct_case/000001/Coronal.nii.gz");
        assert_eq!(find("Axial_Poschl_view").unwrap(), "M3D_Cap/ct_case/000001/Axial_P\u{f6}schl_view");
        assert_eq!(find("Sagittal").unwrap_err().reason, Reason::NotFound);
    }

    #[test]
    fn no_path_leads_out_of_the_root() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap().join("root");
        fs::create_dir_all(&root).unwrap();
        fs::write(folder.path().join("secret.nii"), b"x").unwrap();
        std::os::unix::fs::symlink(folder.path().join("secret.nii"), root.join("link.nii")).unwrap();
        for image in ["../secret.nii", "a/../../secret.nii", "/etc/passwd", "a\\..\\b", "link.nii"] {
            assert_eq!(find(&root, image).unwrap_err().reason, Reason::PathOutsideRoot, "{image}");
        }
    }

    #[test]
    fn names_are_the_last_two_parts() {
        let names = names("M3D_Cap_npy/ct_case/000001/Axial_bone.npy");
        assert_eq!((names.case_id.as_str(), names.series.as_str()), ("000001", "Axial_bone"));
    }
}

//! From the path that a manifest writes to a path on the disk, never outside the data root.

use std::path::{Component, Path, PathBuf};

use med2e3_input::reading;
use med2e3_input::volume::{Entry, Folder, PassedOver, entry_at, second_file};
use med2e3_schemas::manifest::Refusal;
use med2e3_schemas::quarantine::Reason;
use med2e3_store::disk::nearest_existing;
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

/// Endings of volumes, in the order in which they are tried for a name without one, after a folder of that name.
const ENDINGS: [&str; 9] = [".nii.gz", ".nii", ".npy", ".nrrd", ".mha", ".nhdr", ".mhd", ".hdr", ".dcm"];

/// M3D's folder of prepared arrays, which its manifests name.
pub(super) const PREPARED: &str = "M3D_Cap_npy/";

/// The folder of the raw series that they were made of.
pub(super) const RAW: &str = "M3D_Cap/";

/// A name without the ending of a volume.
pub(super) fn stem(name: &str) -> &str {
    ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name)
}

/// A manifest's path in the one spelling by which a volume is known: without `./` and `//`; with `/` where the path is written
/// with Windows separators and no file has a name with a backslash.
pub(super) fn spelled(root: &Path, image: &str) -> String {
    let windows = image.contains('\\') && !reading::exists(&root.join(image));
    let image = if windows { image.replace('\\', "/") } else { image.to_owned() };
    let parts = Path::new(&image).components();
    let plain: Vec<&str> =
        parts.clone().filter(|part| *part != Component::CurDir).filter_map(|part| part.as_os_str().to_str()).collect();
    // Anything that climbs or starts at the root of the disk stays as it is: it is refused, and shown as it was written.
    let climbs = parts.into_iter().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir));
    if climbs { image } else { plain.join("/") }
}

/// What a manifest's path leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The input, relative to the root.
    pub(super) path: String,
    /// Set where other inputs have the name too.
    pub(super) note: Option<String>,
}

/// The volume that a manifest calls `image`, which is in the spelling of [`spelled`].
///
/// A path with an ending is the file of that name. M3D's manifests name prepared files (`M3D_Cap_npy/.../Axial.npy`); what is
/// read is the raw series of that name (`M3D_Cap/.../Axial`, a folder of slices, or `Axial.nii.gz`), and the prepared array
/// where there is none. The official preparation transliterates series names to ASCII, so a raw folder whose name is equal
/// without accents is taken too. A path without an ending is a folder, or else a file with one of the endings in the order of
/// [`ENDINGS`]; where several are there, the row has a note.
pub(super) fn find(root: &Path, image: &str) -> Result<Found, Refusal> {
    let outside = |found: &str| Refusal {
        reason: Reason::PathOutsideRoot,
        detail: format!("expected a path within the data root, found {found}"),
    };
    if image.as_bytes().get(1) == Some(&b':') && image.as_bytes()[0].is_ascii_alphabetic() {
        return Err(outside("a Windows path with a drive letter"));
    }
    if !Path::new(image).components().all(|part| matches!(part, Component::Normal(_))) && image != "." {
        return Err(outside(image));
    }
    let candidates = candidates(image);
    let found = if stem(image) != image && !image.starts_with(PREPARED) && reading::exists(&root.join(image)) {
        // What is named is meant, whatever else has its stem.
        Some(Found { path: image.to_owned(), note: None })
    } else {
        choose(root, &candidates)
            .or_else(|| folded_sibling(root, stem(&raw(image))).map(|path| Found { path, note: None }))
    };
    let Some(found) = found else { return Err(not_found(root, image, &candidates)) };
    // A link may still lead out.
    let real = reading::canonicalize(&root.join(&found.path))
        .map_err(|error| Refusal { reason: Reason::Unreadable, detail: error.to_string() })?;
    if real.starts_with(root) { Ok(found) } else { Err(outside(&format!("a link from {}", found.path))) }
}

/// Where a volume can be that is not at its own path, in the order in which it is looked for.
fn candidates(image: &str) -> Vec<String> {
    let raw = raw(image);
    let stem = stem(&raw);
    let with = |endings: &[&str]| endings.iter().map(|ending| format!("{stem}{ending}")).collect::<Vec<_>>();
    let rest = if image.starts_with(PREPARED) {
        [with(&ENDINGS[..2]), vec![image.to_owned()]].concat()
    } else {
        with(&ENDINGS)
    };
    [vec![stem.to_owned()], rest].concat()
}

/// The first candidate that is there; of several the first that a reader takes, with a note.
fn choose(root: &Path, candidates: &[String]) -> Option<Found> {
    let present: Vec<&String> = candidates.iter().filter(|path| reading::exists(&root.join(path))).collect();
    // Only where several have the name they are looked at: most often there is one.
    let usable = if present.len() > 1 {
        present.iter().copied().filter(|path| is_volume(&root.join(path))).collect()
    } else {
        present.clone()
    };
    let taken = usable.first().or(present.first())?;
    // A prepared array beside its raw series is the same volume.
    let rivals = usable.iter().filter(|path| !path.starts_with(PREPARED)).count();
    let note = (rivals > 1)
        .then(|| format!("{rivals} inputs have this name: {} was taken", kind_of(&root.join(taken), taken)));
    Some(Found { path: (*taken).clone(), note })
}

/// Whether a reader would take what is at the path.
fn is_volume(path: &Path) -> bool {
    match entry_at(path) {
        Ok(Entry::Folder) => Folder::list(path, |_| None).is_ok_and(|folder| folder.series.is_some()),
        Ok(Entry::Volume(_)) => true,
        _ => false,
    }
}

/// What an input is, without its name.
fn kind_of(path: &Path, name: &str) -> String {
    if reading::is_dir(path) {
        return "the folder".to_owned();
    }
    let ending = ENDINGS.iter().find(|ending| name.ends_with(*ending));
    ending.map_or("the file without an ending".to_owned(), |ending| format!("the {ending} file"))
}

fn not_found(root: &Path, image: &str, candidates: &[String]) -> Refusal {
    let mut detail = format!("expected one of {}", candidates.join(", "));
    let near = nearest_existing(&root.join(&candidates[0])).to_owned();
    let archives = archives_in(&near);
    if let Some(first) = archives.first() {
        let place = near.strip_prefix(root).unwrap_or(&near).join(first);
        detail.push_str(&format!(
            "; {} archives are there that are not unpacked, such as {}",
            archives.len(),
            place.display()
        ));
    }
    if image.contains('\\') {
        detail.push_str("; the path holds backslashes, which are no separators here");
    }
    Refusal { reason: Reason::NotFound, detail }
}

fn archives_in(folder: &Path) -> Vec<String> {
    let names = reading::entries(folder).into_iter().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let endings = [".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar"];
    names.filter(|name| endings.iter().any(|ending| name.to_lowercase().ends_with(ending))).collect()
}

/// The raw path of a prepared one; any other path unchanged.
pub(super) fn raw(image: &str) -> String {
    match image.strip_prefix(PREPARED) {
        Some(rest) => format!("{RAW}{rest}"),
        None => image.to_owned(),
    }
}

/// Why a link is not followed, if it is not: it leads out of the root, or to nothing.
pub(super) fn leads_out(root: &Path, link: &Path) -> Option<PassedOver> {
    match reading::canonicalize(link) {
        Ok(real) if real.starts_with(root) => None,
        Ok(_) => Some(PassedOver::LinkOut),
        Err(_) => Some(PassedOver::LinkToNothing),
    }
}

/// The first link that leads out of the root among the files that reading a volume opens besides its own path: those directly
/// in a folder, the other file of a pair, the data file that a header names. Such files must not be read.
pub fn link_out_of(root: &Path, volume: &Path) -> Option<PathBuf> {
    let entries = reading::entries(volume).into_iter().flatten();
    let links = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink())).map(|entry| entry.path());
    let mut files = links.chain(second_file(volume));
    files.find(|file| leads_out(root, file) == Some(PassedOver::LinkOut))
}

/// The entry next to `path` whose name is equal once accents are taken off.
fn folded_sibling(root: &Path, path: &str) -> Option<String> {
    let (folder, wanted) = path.rsplit_once('/')?;
    let entries = reading::entries(&root.join(folder)).ok()?;
    let names = entries.iter().filter_map(|entry| entry.file_name().into_string().ok());
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
mod tests;

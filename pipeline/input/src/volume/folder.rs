//! Folder: what every entry of one folder is, so that a listing of a tree loses no file without a word.
//!
//! Each entry is exactly one thing: a volume of its own, a part of one (a slice of the folder's series, the second file of a
//! pair), a folder, or passed over for a stated reason. What a file is, is judged by its name and, where the name does not
//! tell, by its first bytes; all files are looked at, whatever their order.
//!
//! - DICOM images make the folder a series; pictures beside them are passed over.
//! - Pictures that are numbered make the folder a slice stack, unless a volume lies beside them: then they are previews.
//! - Names that begin with a dot and the folders of operating systems are passed over without being opened.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

use super::{dicom, first_bytes, nifti, slice_stack};
use crate::reading;

/// The entries of a folder, in the order of their names.
#[derive(Debug)]
pub struct Folder {
    /// What the folder itself is a volume of, if it is one.
    pub series: Option<Series>,
    /// Every entry with what it is.
    pub entries: Vec<(OsString, Entry)>,
}

/// The kinds of volume that are a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Series {
    /// Slices of a DICOM series.
    Dicom,
    /// Numbered pictures.
    Slices,
}

/// What an entry of a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A file that is a volume of its own.
    Volume(FileKind),
    /// A file that belongs to the folder's series, or to another file.
    Part,
    /// A folder to look into.
    Folder,
    /// Nothing that a volume is made of.
    PassedOver(PassedOver),
}

/// The formats of volumes that are one file, or a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// NIfTI, or the header of a pair.
    Nifti,
    /// NRRD, MetaImage or MGH.
    Raster,
    /// A NumPy array.
    Array,
    /// DICOM: a file with several frames.
    Dicom,
}

/// Why an entry is passed over. The words are what reports count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PassedOver {
    /// A name that begins with a dot: hidden files and folders, and what macOS keeps beside files (`._x`).
    Hidden,
    /// A folder of an operating system or of a storage device, such as `__MACOSX`.
    SystemFolder,
    /// A link out of the folder that is listed.
    LinkOut,
    /// A link to nothing.
    LinkToNothing,
    /// A link to a folder that is listed already.
    LinkToListed,
    /// A picture that is no slice: not numbered, or beside a volume.
    Picture,
    /// DICOM's table of contents.
    DicomDirectory,
    /// DICOM without an image: a report, a structure set, a presentation state.
    DicomWithoutImage,
    /// DICOM localizers (scouts) without the series that was planned on them.
    Localizer,
    /// One file of a pair (`.hdr`, `.img`) whose other file is missing.
    HalfPair,
    /// A label map, by its name or its folder's.
    LabelMap,
    /// A file that the system does not let be read.
    Unreadable,
    /// A pipe, a socket or a device.
    NoFile,
    /// A file of another kind: its ending where it is a known one, else empty.
    Other(&'static str),
}

impl PassedOver {
    /// The words of a report, such as `hidden (name begins with a dot)` or `.zip files`.
    pub fn words(self) -> String {
        let words = match self {
            PassedOver::Hidden => "hidden (name begins with a dot)",
            PassedOver::SystemFolder => "folders of the operating system",
            PassedOver::LinkOut => "links that lead out of the data root",
            PassedOver::LinkToNothing => "links to nothing",
            PassedOver::LinkToListed => "links to folders that are listed",
            PassedOver::Picture => "pictures that are no slices",
            PassedOver::DicomDirectory => "DICOM directories",
            PassedOver::DicomWithoutImage => "DICOM files without an image",
            PassedOver::Localizer => "DICOM localizers (scouts)",
            PassedOver::HalfPair => "halves of a NIfTI pair",
            PassedOver::LabelMap => "label maps, by their names",
            PassedOver::Unreadable => "files without permission to read",
            PassedOver::NoFile => "pipes, sockets and devices",
            PassedOver::Other("") => "other files",
            PassedOver::Other(ending) => return format!("{ending} files"),
        };
        words.to_owned()
    }
}

/// Folders that operating systems, network drives and archives leave in a tree.
const SYSTEM_FOLDERS: [&str; 6] =
    ["__MACOSX", "@eaDir", "#recycle", "#snapshot", "$RECYCLE.BIN", "System Volume Information"];

/// Endings by which files of other kinds are counted, longest first where one ends another. Any other ending could be a part
/// of a name, and names are not for reports.
const KNOWN_ENDINGS: [&str; 49] = [
    ".dcm.gz",
    ".tar.gz",
    ".nii.zip",
    ".nii.bz2",
    ".nii.xz",
    ".nii.gzip",
    ".7z",
    ".bmp",
    ".bval",
    ".bvec",
    ".bz2",
    ".csv",
    ".db",
    ".doc",
    ".docx",
    ".gif",
    ".gz",
    ".h5",
    ".hdf5",
    ".html",
    ".ini",
    ".jp2",
    ".json",
    ".jsonl",
    ".lnk",
    ".log",
    ".mat",
    ".md",
    ".mnc",
    ".npz",
    ".parquet",
    ".pdf",
    ".pt",
    ".pth",
    ".py",
    ".rar",
    ".raw",
    ".safetensors",
    ".tar",
    ".tgz",
    ".tif",
    ".tiff",
    ".toml",
    ".tsv",
    ".txt",
    ".xlsx",
    ".xml",
    ".yaml",
    ".zip",
];

impl Folder {
    /// Lists the folder at `path`; `refuse` says of a link why it is not followed, if it is not. Blocks on file input: files
    /// whose names do not tell what they are are opened.
    ///
    /// # Errors
    /// The system's, where the folder can't be listed.
    pub fn list(path: &Path, refuse: impl Fn(&Path) -> Option<PassedOver>) -> io::Result<Folder> {
        let entries = reading::entries(path)?;
        let mut found = Vec::with_capacity(entries.len());
        for entry in entries {
            let (name, kind) = (entry.file_name(), entry.file_type()?);
            let is_folder = kind.is_dir() || (kind.is_symlink() && reading::is_dir(&entry.path()));
            let looked = match passed_over_by_name(&name, is_folder) {
                Some(reason) => Found::Is(Entry::PassedOver(reason)),
                None if kind.is_symlink() => match refuse(&entry.path()) {
                    Some(reason) => Found::Is(Entry::PassedOver(reason)),
                    None => Found::at(&entry.path()),
                },
                None if kind.is_dir() => Found::Is(Entry::Folder),
                None if kind.is_file() => Found::file(&entry.path()),
                None => Found::Is(Entry::PassedOver(PassedOver::NoFile)),
            };
            found.push((name, looked));
        }
        // Numbers that a header beside them names.
        let raster = Found::Is(Entry::Volume(FileKind::Raster));
        let headers = found.iter().filter(|(_, looked)| *looked == raster);
        let data = headers.filter_map(|(name, _)| Some(super::paired_file(&path.join(name))?.file_name()?.to_owned()));
        let data: HashSet<OsString> = data.collect();
        for (_, looked) in found.iter_mut().filter(|(name, _)| data.contains(name)) {
            *looked = Found::Is(Entry::Part);
        }
        Ok(Folder::of(found))
    }

    /// What the folder is, once every entry was looked at.
    fn of(found: Vec<(OsString, Found)>) -> Folder {
        let any = |wanted: fn(&Found) -> bool| found.iter().any(|(_, found)| wanted(found));
        let slices =
            slice_stack::slices_among(found.iter().filter(|(_, f)| *f == Found::Picture).map(|(name, _)| name));
        let series = if any(|found| *found == Found::Dicom) {
            Some(Series::Dicom)
        } else if !slices.is_empty() && !any(|found| matches!(found, Found::Is(Entry::Volume(_)))) {
            Some(Series::Slices)
        } else {
            None
        };
        let entries = found.into_iter().map(|(name, found)| {
            let entry = match found {
                Found::Is(entry) => entry,
                Found::Dicom => Entry::Part,
                Found::Localizer if series == Some(Series::Dicom) => Entry::Part,
                Found::Localizer => Entry::PassedOver(PassedOver::Localizer),
                Found::Picture if series == Some(Series::Slices) && slices.contains(&name) => Entry::Part,
                Found::Picture => Entry::PassedOver(PassedOver::Picture),
            };
            (name, entry)
        });
        Folder { series, entries: entries.collect() }
    }
}

/// What is at one path, judged without what lies beside it: a folder, a volume of its own, or why it is none.
///
/// # Errors
/// The system's, where nothing is there or it can't be looked at.
pub fn entry_at(path: &Path) -> io::Result<Entry> {
    let metadata = reading::metadata(path)?;
    if metadata.is_dir() {
        return Ok(Entry::Folder);
    }
    Ok(match Found::at(path) {
        Found::Is(entry) => entry,
        Found::Dicom | Found::Localizer => Entry::Volume(FileKind::Dicom),
        Found::Picture => Entry::PassedOver(PassedOver::Picture),
    })
}

/// The reader that a folder needs: DICOM where any of its files is a DICOM image, else slices. Pictures are not opened.
///
/// # Errors
/// The system's, where the folder can't be listed.
pub(super) fn series_to_read(path: &Path) -> io::Result<Series> {
    // The first name of a series is an image most of the time.
    let dicom = reading::entries(path)?.iter().any(|entry| {
        let path = entry.path();
        passed_over_by_name(&entry.file_name(), false).is_none()
            && reading::is_file(&path)
            && matches!(Found::file(&path), Found::Dicom | Found::Localizer | Found::Is(Entry::Volume(FileKind::Dicom)))
    });
    Ok(if dicom { Series::Dicom } else { Series::Slices })
}

/// What a file is before it is known what lies beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// The same whatever lies beside it.
    Is(Entry),
    /// A DICOM image: a slice of the folder's series.
    Dicom,
    /// A DICOM localizer: part of the folder's series, which is planned on it, or alone no volume.
    Localizer,
    /// A PNG or JPEG by its name.
    Picture,
}

impl Found {
    /// What is at the end of a link.
    fn at(path: &Path) -> Found {
        match reading::metadata(path) {
            Ok(metadata) if metadata.is_dir() => Found::Is(Entry::Folder),
            Ok(metadata) if metadata.is_file() => Found::file(path),
            Ok(_) => Found::Is(Entry::PassedOver(PassedOver::NoFile)),
            Err(_) => Found::Is(Entry::PassedOver(PassedOver::Unreadable)),
        }
    }

    fn file(path: &Path) -> Found {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        if ends(&[".nii", ".nii.gz"]) {
            return Found::Is(Entry::Volume(FileKind::Nifti));
        }
        if ends(&[".nrrd", ".nhdr", ".mha", ".mhd", ".mgh", ".mgz", ".mgh.gz"]) {
            return Found::Is(Entry::Volume(FileKind::Raster));
        }
        if ends(&[".npy"]) {
            return Found::Is(Entry::Volume(FileKind::Array));
        }
        if nifti::is_pair_name(path) {
            // Only the header of a pair counts as the volume, so that it is listed once.
            return Found::Is(match nifti::NiftiFiles::paired_file(path) {
                None => Entry::PassedOver(PassedOver::HalfPair),
                Some(_) if ends(&[".hdr", ".hdr.gz"]) => Entry::Volume(FileKind::Nifti),
                Some(_) => Entry::Part,
            });
        }
        if ends(&[".png", ".jpg", ".jpeg"]) {
            return Found::Picture;
        }
        let Ok(head) = first_bytes(path) else { return Found::Is(Entry::PassedOver(PassedOver::Unreadable)) };
        match dicom::kind(&head) {
            Some(dicom::Kind::Image) => Found::Dicom,
            Some(dicom::Kind::Localizer) => Found::Localizer,
            Some(dicom::Kind::MultiFrame) => Found::Is(Entry::Volume(FileKind::Dicom)),
            Some(dicom::Kind::Directory) => Found::Is(Entry::PassedOver(PassedOver::DicomDirectory)),
            Some(dicom::Kind::NoImage) => Found::Is(Entry::PassedOver(PassedOver::DicomWithoutImage)),
            None => {
                let ending = KNOWN_ENDINGS.into_iter().find(|ending| name.ends_with(ending)).unwrap_or_default();
                Found::Is(Entry::PassedOver(PassedOver::Other(ending)))
            }
        }
    }
}

fn passed_over_by_name(name: &OsStr, is_folder: bool) -> Option<PassedOver> {
    if name.as_encoded_bytes().starts_with(b".") {
        return Some(PassedOver::Hidden);
    }
    (is_folder && SYSTEM_FOLDERS.iter().any(|folder| name == *folder)).then_some(PassedOver::SystemFolder)
}

//! Provenance: whether a dataset states where its rows come from, or holds keyed ids only.
//!
//! File and folder names can hold names of patients. With `paths = "hash"` no file of the dataset holds a path, a file
//! name or a folder name: ids and cases are hashes under a key, and key, manifest and full reasons are in a folder next to
//! the dataset (`OUT.provenance`), which stays where the originals are and is open to its owner alone.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use med2e3_schemas::Id;
use med2e3_schemas::quarantine::QuarantineRecord;
use med2e3_schemas::sample::Split;
use med2e3_store::{LocalFolder, Store, get_whole};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::PrepareError;

/// What a dataset may say about paths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Paths {
    /// Paths below the data root, as the manifest writes them: for public data such as M3D's.
    #[default]
    Keep,
    /// Keyed ids only: for one's own patients.
    Hash,
}

/// How names become what a dataset holds.
#[derive(Clone, Debug)]
pub enum Provenance {
    /// As they are.
    Keep,
    /// Hashed under a key that is next to the dataset.
    Hash(NameKey),
}

/// The key of withheld names. It can be neither printed nor serialized.
#[derive(Clone, PartialEq, Eq)]
pub struct NameKey([u8; 32]);

impl NameKey {
    fn id(&self, bytes: &[u8]) -> Id {
        let hash = blake3::keyed_hash(&self.0, bytes);
        Id::from_bytes(&hash.as_bytes()[..16]).expect("16 bytes were cut")
    }
}

impl fmt::Debug for NameKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NameKey(withheld)")
    }
}

/// A hash of the key, from which it can't be found.
fn key_check(key: &[u8; 32]) -> String {
    blake3::derive_key("med2e3 check of a key of names", key)[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Replaces a text that is withheld.
const WITHHELD: &str = "withheld";

/// The key's file in the working folder.
const KEY: &str = "key";

/// A hash of it, by which a damaged key is known.
const KEY_CHECK: &str = "key.check";

impl Provenance {
    /// The folder of a run's working files: in the dataset, or next to it where names are withheld.
    pub fn folder(paths: Paths, out: &Path) -> PathBuf {
        match paths {
            Paths::Keep => out.join("manifest"),
            Paths::Hash => {
                // The real path: `.` and a link have no name of their own.
                let out = real(out);
                let mut name = out.file_name().unwrap_or_default().to_owned();
                name.push(".provenance");
                out.with_file_name(name)
            }
        }
    }

    /// Makes the folder of working files, closed to others where names are withheld, whatever it was before.
    ///
    /// # Errors
    /// The system refuses.
    pub fn make_folder(paths: Paths, folder: &Path) -> io::Result<()> {
        if paths == Paths::Keep {
            return fs::create_dir_all(folder);
        }
        folder.parent().map_or(Ok(()), fs::create_dir_all)?;
        match fs::DirBuilder::new().mode(OWNER_FOLDER).create(folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => close_to_others(folder, OWNER_FOLDER),
            made => made,
        }
    }

    /// The provenance of a run; where names are withheld, with the key in `folder`, which is made if there is none.
    ///
    /// # Errors
    /// A key that can't be read or written.
    pub fn open(paths: Paths, folder: &Path) -> Result<Provenance, PrepareError> {
        if paths == Paths::Keep {
            return Ok(Provenance::Keep);
        }
        let folder = LocalFolder::new(folder);
        let path = folder.root().join(KEY);
        if !path.exists() {
            // The only random number that does not come from a seed: a guessed key would give the names away.
            let mut key = [0; 32];
            let system = Path::new("/dev/urandom");
            let read = File::open(system).and_then(|mut file| file.read_exact(&mut key));
            read.map_err(PrepareError::file(system, "read"))?;
            // Of several processes that start at the same time one makes the key, and all read it.
            folder.commit_if_absent(KEY, blake3::Hash::from_bytes(key).to_hex().as_bytes())?;
        }
        close_to_others(&path, OWNER_FILE).map_err(PrepareError::file(&path, "close to others"))?;
        let key = read_key(&folder)?;
        // A bit that flips would give every name another id. Keys of earlier versions get their check now.
        folder.commit_if_absent(KEY_CHECK, key_check(&key).as_bytes())?;
        check_key(&folder, &key)?;
        Ok(Provenance::Hash(NameKey(key)))
    }

    /// As [`open`](Self::open), of a run that is there: nothing is made or changed.
    ///
    /// # Errors
    /// A key that can't be read.
    pub fn look(paths: Paths, folder: &Path) -> Result<Provenance, PrepareError> {
        if paths == Paths::Keep {
            return Ok(Provenance::Keep);
        }
        let folder = LocalFolder::new(folder);
        let key = read_key(&folder)?;
        if folder.root().join(KEY_CHECK).exists() {
            check_key(&folder, &key)?;
        }
        Ok(Provenance::Hash(NameKey(key)))
    }

    /// Whether the dataset holds no names.
    pub fn withholds_names(&self) -> bool {
        matches!(self, Provenance::Hash(_))
    }

    /// The id of the volume that a manifest names.
    pub fn volume_id(&self, image: &str) -> Id {
        match self {
            Provenance::Keep => Id::of_volume(image),
            Provenance::Hash(key) => key.id(&Id::of_volume(image).0),
        }
    }

    /// A case's name, or its hash: equal for equal names.
    pub fn case(&self, name: &str) -> String {
        match self {
            Provenance::Keep => name.to_owned(),
            Provenance::Hash(key) => key.id(name.as_bytes()).to_string(),
        }
    }

    /// The name of a patient whose files state this identifier: a hash under the key. None where there is no key, since
    /// from a hash without one an identifier can be guessed.
    pub fn patient(&self, identifier: &[u8]) -> Option<String> {
        match self {
            Provenance::Keep => None,
            Provenance::Hash(key) => Some(format!("patient-{}", key.id(identifier))),
        }
    }

    /// A path or another name, where names are kept.
    pub fn name(&self, name: &str) -> Option<String> {
        matches!(self, Provenance::Keep).then(|| name.to_owned())
    }

    /// A record as the dataset may hold it.
    pub fn record(&self, record: &QuarantineRecord) -> QuarantineRecord {
        match self {
            Provenance::Keep => record.clone(),
            Provenance::Hash(key) => QuarantineRecord {
                path: key.id(&Id::of_volume(&record.path).0).to_string(),
                row: format!("{} {}", record.table.as_str(), record.ordinal),
                detail: WITHHELD.into(),
                ..record.clone()
            },
        }
    }

    /// The name under which the dataset holds a named part of a split, the `number`th from 1: its own where it is a split's
    /// name and a count, as M3D's `test1k`; others may be the name of anything.
    pub fn part(&self, name: &str, number: usize) -> String {
        let rest = Split::ALL.iter().find_map(|split| name.strip_prefix(split.as_str()));
        let rest = rest.or_else(|| name.strip_prefix("val"));
        let is_count = |rest: &str| {
            let digits = rest.strip_suffix('k').unwrap_or(rest);
            digits.len() <= 4 && digits.bytes().all(|byte| byte.is_ascii_digit())
        };
        if matches!(self, Provenance::Keep) || rest.is_some_and(is_count) {
            return name.to_owned();
        }
        format!("part-{number}")
    }

    /// A configuration's text as the dataset may hold it: without the files that it names.
    pub fn configuration(&self, text: &str) -> String {
        if matches!(self, Provenance::Keep) {
            return text.to_owned();
        }
        let mut table: toml::Table = toml::from_str(text).expect("a written configuration parses");
        table.remove("manifest");
        table.iter_mut().for_each(|(key, value)| withhold_texts(key, value));
        toml::to_string(&table).expect("a table can be written")
    }
}

fn read_key(folder: &LocalFolder) -> Result<[u8; 32], PrepareError> {
    let bytes = get_whole(folder, KEY)?;
    let key = std::str::from_utf8(&bytes).ok().and_then(|text| blake3::Hash::from_hex(text.trim()).ok());
    Ok(*key.ok_or_else(|| other_key(folder, format!("{} bytes of something else", bytes.len())))?.as_bytes())
}

fn check_key(folder: &LocalFolder, key: &[u8; 32]) -> Result<(), PrepareError> {
    if get_whole(folder, KEY_CHECK)? == key_check(key).as_bytes() {
        return Ok(());
    }
    Err(other_key(folder, format!("another key than {KEY_CHECK} beside it was made for")))
}

fn other_key(folder: &LocalFolder, found: String) -> PrepareError {
    let expected = "64 hex digits, as this program wrote them".into();
    PrepareError::Manifest { path: folder.root().join(KEY), expected, found }
}

/// The path without `.`, `..` and links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    if let Ok(real) = fs::canonicalize(path) {
        return real;
    }
    // What is not there yet: the folder above decides, under the last name.
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match (whole.parent(), whole.file_name()) {
        (Some(parent), Some(name)) => real(parent).join(name),
        _ => whole,
    }
}

/// Keys whose texts are words of this program. Any other text may be, or hold, a name.
const KEYS_OF_WORDS: [&str; 6] = ["recipe", "voxels", "deep_pictures", "template", "check_inputs", "paths"];

/// Replaces every text but this program's own words.
fn withhold_texts(key: &str, value: &mut toml::Value) {
    match value {
        toml::Value::String(text) if !KEYS_OF_WORDS.contains(&key) => *text = WITHHELD.into(),
        toml::Value::Array(values) => values.iter_mut().for_each(|value| withhold_texts(key, value)),
        toml::Value::Table(table) => table.iter_mut().for_each(|(key, value)| withhold_texts(key, value)),
        _ => {}
    }
}

/// What the owner may do with a file, and nobody else.
const OWNER_FILE: u32 = 0o600;

/// What the owner may do with a folder, and nobody else.
const OWNER_FOLDER: u32 = 0o700;

/// Takes from everybody else what they may do with a path.
fn close_to_others(path: &Path, mode: u32) -> io::Result<()> {
    if fs::metadata(path)?.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;
    use med2e3_schemas::quarantine::{Reason, Table};

    #[test]
    fn the_folder_is_beside_the_dataset_however_it_is_spelled() {
        let above = tempfile::tempdir().unwrap();
        let above = fs::canonicalize(above.path()).unwrap();
        let dataset = above.join("ds");
        let beside = above.join("ds.provenance");
        assert_eq!(Provenance::folder(Paths::Hash, &dataset.join(".")), beside);
        fs::create_dir_all(dataset.join("volumes")).unwrap();
        std::os::unix::fs::symlink(&dataset, above.join("link")).unwrap();
        for spelling in
            [dataset.clone(), dataset.join("."), dataset.join("volumes/.."), above.join("link"), above.join("./ds/")]
        {
            assert_eq!(Provenance::folder(Paths::Hash, &spelling), beside, "{}", spelling.display());
        }
    }

    #[test]
    fn the_key_is_its_owners_alone() {
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("a/ds.provenance");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let open = || {
            Provenance::make_folder(Paths::Hash, &folder).unwrap();
            Provenance::open(Paths::Hash, &folder).unwrap();
            (mode(&folder), mode(&folder.join(KEY)))
        };
        assert_eq!(open(), (0o700, 0o600));
        // As earlier versions left them.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(folder.join(KEY), fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(open(), (0o700, 0o600));
    }

    #[test]
    fn a_damaged_key_is_no_other_key() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Provenance::open(Paths::Hash, folder.path());
        let id = open().unwrap().volume_id("Doe");
        let path = folder.path().join(KEY);
        let whole = fs::read(&path).unwrap();
        assert_eq!(whole.len(), 64);
        for bit in (0..8 * whole.len()).step_by(7) {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, bytes).unwrap();
            // A digit in capitals is the same digit.
            assert!(open().is_ok_and(|found| found.volume_id("Doe") == id) || open().is_err(), "bit {bit}");
        }
        // A key of an earlier version has no check.
        fs::write(&path, whole).unwrap();
        fs::remove_file(folder.path().join(KEY_CHECK)).unwrap();
        assert_eq!(open().unwrap().volume_id("Doe"), id);
        assert!(folder.path().join(KEY_CHECK).exists());
    }

    #[test]
    fn nothing_of_a_name_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let provenance = Provenance::open(Paths::Hash, folder.path()).unwrap();
        let record = QuarantineRecord {
            table: Table::Volumes,
            ordinal: 3,
            path: "Doe/Jane.nii".into(),
            row: "Doe.csv:2".into(),
            reason: Reason::Unreadable,
            detail: "Doe/Jane.nii: no".into(),
            byte_offset: Some(7),
        };
        let text = "root = \"Doe\"\n[manifest]\nfolders = [\"Doe\"]\n[volume]\nrecipe = \"m3d\"\n[text]\n\
            tokenizer = { path = \"Doe\" }\nquestion_tokenizer = \"Doe\"\ncaption_prompts = \"Doe\"\n\
            to_come = [\"Doe\", { more = \"Doe\" }]\n";
        let kept = format!("{:?} {}", provenance.record(&record), provenance.configuration(text));
        assert!(!kept.contains("Doe") && kept.contains("Unreadable") && kept.contains("m3d"), "{kept}");
        let parts = ["test1k", "val", "validation500", "test_Doe", "Doe", "test20260131"];
        let parts = parts.iter().enumerate().map(|(n, part)| provenance.part(part, n + 1)).collect::<Vec<_>>();
        assert_eq!(parts, ["test1k", "val", "validation500", "part-4", "part-5", "part-6"]);
        assert_eq!((provenance.name("Doe"), provenance.case("Doe").contains("Doe")), (None, false));
        // The same key gives the same ids, another one others.
        let again = Provenance::open(Paths::Hash, folder.path()).unwrap();
        assert_eq!(again.volume_id("Doe/Jane.nii"), provenance.volume_id("Doe/Jane.nii"));
        let other = Provenance::open(Paths::Hash, tempfile::tempdir().unwrap().path()).unwrap();
        assert_ne!(other.volume_id("Doe/Jane.nii"), provenance.volume_id("Doe/Jane.nii"));
        assert_eq!(Provenance::Keep.volume_id("a"), Id::of_volume("a"));
    }
}

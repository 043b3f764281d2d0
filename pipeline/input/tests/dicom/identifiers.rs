//! Identifiers: of which patient, study and series an input is.

use std::fs;
use std::path::Path;

use dicom_core::VR;
use med2e3_input::volume::{Identifier, Identifiers, ReadLimits, identifiers};

use super::dicom_file::{SliceFile, text};
use super::{series, slice};

const PATIENT_ID: (u16, u16) = (0x0010, 0x0020);

/// A slice with identifiers of its own.
fn of(patient: &str, series: &str, accession: &str) -> SliceFile {
    let mut slice = slice(0.0, 0);
    slice.put(text(PATIENT_ID, VR::LO, patient));
    slice.put(text((0x0020, 0x000e), VR::UI, series));
    slice.put(text((0x0020, 0x000d), VR::UI, "1.2.840.1"));
    slice.put(text((0x0008, 0x0050), VR::SH, accession));
    slice
}

fn read(path: &Path) -> Option<Identifiers> {
    identifiers(path, &ReadLimits::default()).unwrap()
}

fn bytes(identifiers: &Identifiers, what: Identifier) -> Option<Vec<u8>> {
    identifiers.with(what, <[u8]>::to_vec)
}

#[test]
fn identifiers_are_compared_and_lent_as_bytes() {
    let folder = series();
    let path = folder.path().join("slice");
    of(" PAT 1 ", "1.2.3.77", "A-17").write(&path);
    for path in [path.as_path(), folder.path()] {
        let found = read(path).unwrap();
        assert!(found.is(Identifier::Patient, "PAT 1") && found.is(Identifier::Series, " 1.2.3.77\n"));
        assert!(found.is(Identifier::Study, "1.2.840.1") && found.is(Identifier::Accession, "A-17"));
        assert!(!found.is(Identifier::Series, "1.2.3.7") && !found.is(Identifier::Patient, ""));
        assert_eq!(bytes(&found, Identifier::Patient).unwrap(), b"PAT 1");
        assert_eq!(bytes(&found, Identifier::Series).unwrap(), b"1.2.3.77");
    }
    // Within an issuer the identifier is unique.
    of("PAT 1", "1.2.3.77", "A-17").put(text((0x0010, 0x0021), VR::LO, "HOSPITAL")).write(&path);
    let found = read(&path).unwrap();
    assert_eq!(bytes(&found, Identifier::Patient).unwrap(), b"PAT 1\0HOSPITAL");
    assert!(found.is(Identifier::Patient, "PAT 1"));
}

#[test]
fn what_is_absent_or_removed_is_none() {
    let folder = series();
    let path = folder.path().join("slice");
    for value in ["", "ANONYMOUS", "0000", "[removed]", "n/a", "XXX", " "] {
        of(value, "1.2.3", value).write(&path);
        let found = read(&path).unwrap();
        assert!(!found.has(Identifier::Patient) && !found.has(Identifier::Accession), "{value}");
        assert!(found.has(Identifier::Series) && !found.is(Identifier::Patient, value), "{value}");
        assert_eq!(bytes(&found, Identifier::Patient), None);
    }
    slice(0.0, 0).write(&path);
    assert!(!read(&path).unwrap().has(Identifier::Patient));
}

#[test]
fn one_text_is_one_value_in_latin_1_and_utf_8() {
    let folder = series();
    let path = folder.path().join("slice");
    of("J?rgen1 ", "1.2.3", "").write(&path);
    let whole = fs::read(&path).unwrap();
    let at = whole.windows(8).position(|value| value == b"J?rgen1 ").unwrap();
    let latin = [&whole[..at + 1], b"\xfc", &whole[at + 2..]].concat();
    let utf8 = [&whole[..at], "Jürgen1".as_bytes(), &whole[at + 8..]].concat();
    for file in [latin, utf8] {
        fs::write(&path, file).unwrap();
        let found = read(&path).unwrap();
        assert!(found.is(Identifier::Patient, "Jürgen1"));
        assert_eq!(bytes(&found, Identifier::Patient).unwrap(), "Jürgen1".as_bytes());
    }
}

#[test]
fn a_folder_is_that_of_its_first_readable_slice() {
    let folder = series();
    fs::write(folder.path().join(".hidden"), "x").unwrap();
    fs::write(folder.path().join("0.txt"), "no DICOM").unwrap();
    fs::write(folder.path().join("1.dcm"), b"DICM\x02\0\x10\0UI").unwrap();
    // A localizer and a secondary capture in series of their own.
    of("1", "1.9.1", "")
        .put(text((0x0008, 0x0008), VR::CS, "ORIGINAL\\PRIMARY\\LOCALIZER"))
        .write(&folder.path().join("2"));
    of("1", "1.9.2", "")
        .put(text((0x0008, 0x0016), VR::UI, "1.2.840.10008.5.1.4.1.1.7"))
        .write(&folder.path().join("3"));
    let found = read(folder.path()).unwrap();
    assert!(found.is(Identifier::Series, "1.9.1"));
    of("1", "1.9.3", "").write(&folder.path().join("4"));
    of("1", "1.9.4", "").write(&folder.path().join("5"));
    assert!(read(folder.path()).unwrap().is(Identifier::Series, "1.9.3"));
}

#[test]
fn other_formats_and_what_is_not_readable_have_none() {
    let folder = series();
    assert!(read(folder.path()).is_none() && read(&folder.path().join("nothing")).is_none());
    fs::write(folder.path().join("0.png"), "x").unwrap();
    assert!(read(folder.path()).is_none());
    for (name, contents) in [("a.nii", &b"n+1"[..]), ("empty", b""), ("text", b"Patient")] {
        let path = folder.path().join(name);
        fs::write(&path, contents).unwrap();
        assert!(read(&path).is_none(), "{name}");
    }
    // Objects without a picture: a report, a disc's directory.
    for class in ["1.2.840.10008.5.1.4.1.1.88.11", "1.2.840.10008.1.3.10"] {
        let path = folder.path().join("object");
        of("1", "1.2.3", "").put(text((0x0008, 0x0016), VR::UI, class)).write(&path);
        assert!(read(&path).is_none(), "{class}");
    }
}

#[test]
fn only_the_header_is_read_wherever_it_ends() {
    let folder = series();
    let path = folder.path().join("slice");
    of("PAT", "1.2.3.77", "A").write(&path);
    let whole = fs::read(&path).unwrap();
    let at = whole.windows(4).position(|tag| tag == [0x20, 0, 0x0e, 0]).unwrap();
    // Cut behind the series, and before it: what stands before the cut is there.
    fs::write(&path, &whole[..at + 16]).unwrap();
    assert!(read(&path).unwrap().is(Identifier::Series, "1.2.3.77"));
    fs::write(&path, &whole[..at + 3]).unwrap();
    let found = read(&path).unwrap();
    assert!(found.is(Identifier::Patient, "PAT") && !found.has(Identifier::Series));
    // Elements of any size before the identifiers, up to 16 MiB, whose lengths decide no allocation.
    let patient = whole.windows(4).position(|tag| tag == [0x10, 0, 0x20, 0]).unwrap();
    let with = |length: u32, value: &[u8]| {
        let extra = [&b"\x09\0\x01\x10OB\0\0"[..], &length.to_le_bytes(), value].concat();
        fs::write(&path, [&whole[..patient], &extra, &whole[patient..]].concat()).unwrap();
        read(&path).unwrap()
    };
    for length in [6000, 1 << 20] {
        assert!(with(length, &vec![1; length as usize]).is(Identifier::Patient, "PAT"), "{length}");
    }
    let found = with(17 << 20, &vec![1; 17 << 20]);
    assert!(!found.has(Identifier::Patient) && found.is(Identifier::Accession, "A"));
    assert!(!with(u32::MAX - 1, b"").has(Identifier::Patient));
}

#[test]
fn every_transfer_syntax_is_read() {
    let folder = series();
    let path = folder.path().join("slice");
    for syntax in ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"] {
        let mut slice = of("PAT", "1.2.3.77", "A");
        slice.transfer_syntax = syntax.into();
        slice.write(&path);
        assert!(read(&path).unwrap().is(Identifier::Patient, "PAT"), "{syntax}");
    }
    // Deflated: its data set follows the meta group as one stream.
    of("PAT", "1.2.3.77", "A").write(&path);
    let whole = fs::read(&path).unwrap();
    let start = 144 + u32::from_le_bytes(whole[140..144].try_into().unwrap()) as usize;
    let mut meta = whole[..start].to_vec();
    let at = meta.windows(20).position(|uid| uid == b"1.2.840.10008.1.2.1\0").unwrap();
    meta.splice(at..at + 20, *b"1.2.840.10008.1.2.1.99");
    meta[at - 2] += 2;
    fs::write(&path, [meta, super::encodings::deflated(&whole[start..])].concat()).unwrap();
    let found = read(&path).unwrap();
    assert!(found.is(Identifier::Patient, "PAT") && found.is(Identifier::Series, "1.2.3.77"));
}

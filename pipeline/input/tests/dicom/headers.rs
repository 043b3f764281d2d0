//! Headers: values of unknown VR wherever they are, units, transfer syntaxes that are refused, hostile nesting.

use std::fs;

use dicom_core::VR;
use med2e3_input::volume::{self, ReadLimits};

use super::dicom_file::{EXPLICIT_LITTLE, SliceFile, text};
use super::{firsts, read, refusal, series, slice};

/// A fixed sequence of numbers, by a linear congruence.
struct Draw(u64);

impl Draw {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % most
    }
}

/// Implicit little-endian elements, nested at random.
fn implicit(draw: &mut Draw, depth: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for n in 0..draw.below(4) {
        let tag = [9, 0, n as u8, 16];
        if depth == 0 || draw.below(2) == 0 {
            // Some values look like delimiters or elements.
            let value = [&b"\xfe\xff\xdd\xe0\0\0\0\0"[..], b"AB", b"", b"\x28\0\x10\0US\x02\0\x09\0"][draw.below(4)];
            out.extend([&tag[..], &(value.len() as u32).to_le_bytes(), value].concat());
        } else {
            out.extend([&tag[..], &sequence(draw, depth - 1)].concat());
        }
    }
    out
}

/// The length and the items of a sequence; of undefined length or not, each.
fn sequence(draw: &mut Draw, depth: usize) -> Vec<u8> {
    let mut items = Vec::new();
    for _ in 0..draw.below(4) {
        let contents = implicit(draw, depth);
        let (length, end) = match draw.below(2) {
            0 => (contents.len() as u32, &[][..]),
            _ => (u32::MAX, &b"\xfe\xff\x0d\xe0\0\0\0\0"[..]),
        };
        items.extend([&b"\xfe\xff\0\xe0"[..], &length.to_le_bytes(), &contents, end].concat());
    }
    match draw.below(3) {
        0 => [&(items.len() as u32).to_le_bytes(), &items[..]].concat(),
        _ => [&u32::MAX.to_le_bytes(), &items[..], b"\xfe\xff\xdd\xe0\0\0\0\0"].concat(),
    }
}

/// A written slice with `extra` before the element of a tag.
fn with(slice: &SliceFile, before: [u8; 4], extra: &[u8]) -> Vec<u8> {
    let folder = series();
    let path = folder.path().join("slice");
    slice.write(&path);
    let whole = fs::read(&path).unwrap();
    let at = 132 + whole[132..].windows(4).position(|tag| tag == before).unwrap();
    [&whole[..at], extra, &whole[at..]].concat()
}

#[test]
fn any_value_of_vr_un_is_skipped_wherever_it_is() {
    let mut draw = Draw(11);
    let folder = series();
    for round in 0..60 {
        let big = round % 3 == 2;
        for n in 0..3u8 {
            let mut slice = slice(f64::from(n) * 1.5, i16::from(n));
            if big {
                slice.transfer_syntax = "1.2.840.10008.1.2.2".into();
            }
            let group = [[9, 0], [0x21, 0], [8, 0], [0x28, 0]][draw.below(4)];
            let order = |[a, b]: [u8; 2]| if big { [b, a] } else { [a, b] };
            let depth = draw.below(6);
            // Only the first length, that of the element itself, is in the data set's byte order.
            let mut value = sequence(&mut draw, depth);
            if big {
                value[..4].reverse();
            }
            let head = [order(group), order([draw.below(250) as u8, 0x11])].concat();
            let extra = [&head, &b"UN\0\0"[..], &value].concat();
            let before = [[0x18, 0, 0x50, 0], [0x20, 0, 0x0e, 0], [0x28, 0, 0x10, 0], [0xe0, 0x7f, 0x10, 0]];
            let [a, b, c, d] = before[draw.below(4)];
            let before = [order([a, b]), order([c, d])].concat().try_into().unwrap();
            fs::write(folder.path().join(n.to_string()), with(&slice, before, &extra)).unwrap();
        }
        let volume = read(folder.path()).unwrap();
        assert_eq!((firsts(&volume), volume.spacing_mm_dhw), (vec![0.0, 1.0, 2.0], Some([1.5, 0.75, 0.5])), "{round}");
        assert!(volume.slices_dropped.is_empty() && volume.notes.is_empty(), "{round}");
    }
}

#[test]
fn nesting_is_bounded() {
    let folder = series();
    let path = folder.path().join("slice");
    // Explicit sequences, UN sequences, and UN sequences with explicit elements, which are walked twice.
    let open = b"\xfe\xff\0\xe0\xff\xff\xff\xff";
    for element in [
        &b"\x09\0\x01\x10SQ\0\0\xff\xff\xff\xff"[..],
        b"\x09\0\x01\x10\xff\xff\xff\xff",
        b"\x09\0\x01\x10UN\0\0\xff\xff\xff\xff",
    ] {
        for depth in [10, 100_000] {
            let levels = [element, open].concat().repeat(depth);
            let closed = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0".repeat(depth + 1);
            let extra = [&b"\x09\0\x01\x10UN\0\0\xff\xff\xff\xff"[..], open, &levels, &closed].concat();
            fs::write(&path, with(&slice(0.0, 0), [0x18, 0, 0x50, 0], &extra)).unwrap();
            match read(&path) {
                Ok(volume) => assert!(depth == 10 && firsts(&volume) == [0.0]),
                Err(error) => assert!(depth > 10, "{error}"),
            }
        }
    }
}

#[test]
fn lengths_of_a_file_decide_no_allocation() {
    let folder = series();
    let path = folder.path().join("slice");
    let limits = ReadLimits { max_decoded_bytes: 1 << 20 };
    for extra in [
        &b"\x09\0\x01\x10UN\0\0\xfe\xff\xff\xff"[..],
        b"\x09\0\x01\x10UN\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xfe\xff\xff\xff",
        b"\x09\0\x01\x10SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\x7f",
        b"\x09\0\x01\x10OB\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\0\0\0\x80",
    ] {
        fs::write(&path, with(&slice(0.0, 0), [0x18, 0, 0x50, 0], extra)).unwrap();
        let error = volume::read(&path, &limits).unwrap_err();
        assert!(["lying_header", "bad_header"].contains(&error.reason().as_str()), "{error}");
    }
}

#[test]
fn rescale_types_of_ct_that_are_hounsfield_units() {
    let folder = series();
    let path = folder.path().join("slice");
    let original = "ORIGINAL\\PRIMARY\\AXIAL";
    for (rescale_type, image_type, known) in [
        (Some("HU"), None, true),
        (Some("hu"), None, true),
        (Some("Hu "), Some("DERIVED\\PRIMARY\\AXIAL"), true),
        (None, Some("DERIVED\\SECONDARY\\AXIAL"), true),
        (Some("US"), Some(original), true),
        (Some("US"), Some("ORIGINAL\\SECONDARY"), true),
        (Some("US"), Some("DERIVED\\PRIMARY\\AXIAL"), false),
        (Some("US"), None, false),
        (Some("us"), Some(original), false),
        (Some("HU_MOD"), Some(original), false),
        (Some("Z_EFF"), Some(original), false),
    ] {
        let mut slice = slice(0.0, 0);
        rescale_type.map(|unit| slice.put(text((0x0028, 0x1054), VR::LO, unit)));
        image_type.map(|image_type| slice.put(text((0x0008, 0x0008), VR::CS, image_type)));
        slice.write(&path);
        assert_eq!(read(&path).unwrap().hu_known, known, "{rescale_type:?} {image_type:?}");
    }
}

#[test]
fn syntaxes_that_are_not_read_are_named() {
    let folder = series();
    let path = folder.path().join("slice");
    for (syntax, name) in [
        (".4.51", "JPEG Extended 12-bit"),
        (".4.201", "High-Throughput JPEG 2000"),
        (".4.202", "High-Throughput JPEG 2000"),
        (".4.203", "High-Throughput JPEG 2000"),
        (".4.110", "JPEG XL"),
        (".4.112", "JPEG XL"),
        (".4.100", "MPEG-2 video"),
        (".4.107", "HEVC video"),
        (".4.92", "JPEG 2000 Multi-component"),
        (".1.98", "encapsulated uncompressed"),
    ] {
        let mut slice = slice(0.0, 0);
        slice.format(16, 12, false).fragments(syntax, vec![vec![0xff, 0xd8, 0, 0]]).write(&path);
        let (word, message) = refusal(&path);
        assert_eq!(word, "unsupported_format", "{message}");
        let syntax = format!("transfer syntax 1.2.840.10008.1.2{syntax}");
        assert!(message.contains(name) && message.contains(&syntax), "{message}");
    }
    // An identifier that is not the standard's may name a site.
    slice(0.0, 0).fragments(".4.70", vec![vec![0; 2]]).write(&path);
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(22).position(|uid| uid == b"1.2.840.10008.1.2.4.70").unwrap();
    bytes[at..at + 22].copy_from_slice(b"1.2.840.113619.5.2.123");
    fs::write(&path, bytes).unwrap();
    let (word, message) = refusal(&path);
    assert!(word == "unsupported_format" && !message.contains("113619"), "{message}");
}

#[test]
fn pixels_in_another_form_than_stated_name_the_transfer_syntax() {
    let folder = series();
    let path = folder.path().join("slice");
    // Fragments where the syntax says that there are none, and the reverse.
    let mut packed = slice(0.0, 0);
    packed.fragments(".4.70", vec![vec![0xff, 0xd8]]).transfer_syntax = EXPLICIT_LITTLE.into();
    let mut plain = slice(0.0, 0);
    plain.transfer_syntax = "1.2.840.10008.1.2.4.80".into();
    for (slice, expected) in [
        (packed, "found compressed pixel data, for which the file states explicit VR little endian (transfer syntax"),
        (plain, "found uncompressed pixel data, for which the file states JPEG-LS (transfer syntax"),
    ] {
        slice.write(&path);
        let (word, message) = refusal(&path);
        assert!(word == "bad_header" && message.contains(expected), "{message}");
    }
}

#[test]
fn a_data_set_that_is_none_names_the_transfer_syntax() {
    let folder = series();
    let path = folder.path().join("slice");
    slice(0.0, 0).write(&path);
    let mut whole = fs::read(&path).unwrap();
    let start = 144 + u32::from_le_bytes(whole[140..144].try_into().unwrap()) as usize;
    // The header of an element, cut.
    whole.truncate(start);
    whole.extend(b"\x08\0\x05\0OB\0\0\x04\0\0");
    fs::write(&path, &whole).unwrap();
    let (word, message) = refusal(&path);
    let expected = "where the file states explicit VR little endian (transfer syntax 1.2.840.10008.1.2.1)";
    assert!(word == "bad_header" && message.contains(expected), "{message}");
}

#[test]
fn fields_that_are_needed_are_errors() {
    let folder = series();
    let path = folder.path().join("slice");
    for (tag, vr, value) in [
        ((0x0020, 0x0032), VR::DS, "0\\0\\2,5"),
        ((0x0020, 0x0032), VR::DS, "left"),
        ((0x0020, 0x0037), VR::DS, "1\\0\\0"),
        ((0x0028, 0x1052), VR::DS, "-1024,0"),
        ((0x0028, 0x1053), VR::DS, "1\\1"),
    ] {
        slice(0.0, 0).put(text(tag, vr, value)).write(&path);
        assert_eq!(refusal(&path).0, "bad_header", "{value}");
    }
    // An instance number is needed where there are no positions, and an orientation only where there are.
    let write = |number: &str| {
        for n in 0..3 {
            let mut slice = slice(0.0, n);
            slice.remove((0x0020, 0x0032)).put(text((0x0020, 0x0037), VR::DS, "none"));
            slice.put(text((0x0020, 0x0013), VR::IS, if n == 1 { number } else { ["7", "", "9"][n as usize] }));
            slice.write(&folder.path().join(format!("{n}.dcm")));
        }
    };
    fs::remove_file(&path).unwrap();
    write("8");
    let volume = read(folder.path()).unwrap();
    assert_eq!(firsts(&volume), [0.0, 1.0, 2.0]);
    assert!(
        volume.notes.iter().any(|note| note.starts_with("ImageOrientationPatient of 3 slices")),
        "{:?}",
        volume.notes
    );
    write("eight");
    let (word, message) = refusal(folder.path());
    assert!(word == "bad_header" && message.contains("1 of 3 slices without"), "{message}");
}

//! DICOM pixel data in every supported encoding, compared with other decoders of the same streams.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use dicom_core::VR;
use med2e3_input::InputError;
use med2e3_input::volume::{self, ReadLimits, Volume};
use tempfile::TempDir;

use super::dicom_file::{EXPLICIT_LITTLE, SliceFile, text, word};

struct Picture {
    rows: u16,
    columns: u16,
    bits: u16,
    signed: bool,
    /// As 16-bit words.
    samples: Vec<u16>,
}

struct Stream {
    name: &'static str,
    syntax: &'static str,
    picture: &'static str,
    bytes: Vec<u8>,
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// The images and streams that tests/golden/dicom.py wrote.
fn golden() -> (HashMap<&'static str, Picture>, Vec<Stream>) {
    let (mut pictures, mut streams) = (HashMap::new(), Vec::new());
    for line in include_str!("../golden/dicom.txt").lines() {
        match *line.split(' ').collect::<Vec<_>>() {
            ["picture", name, rows, columns, bits, signed, samples] => {
                let [rows, columns, bits, signed] = [rows, columns, bits, signed].map(|n| n.parse().unwrap());
                let samples = hex(samples).chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
                pictures.insert(name, Picture { rows, columns, bits, signed: signed == 1, samples });
            }
            ["stream", name, syntax, picture, bytes] => {
                streams.push(Stream { name, syntax, picture, bytes: hex(bytes) });
            }
            _ => assert!(line.starts_with('#'), "{line}"),
        }
    }
    assert!(pictures.len() > 5 && streams.len() > 15, "golden/dicom.txt is not read");
    (pictures, streams)
}

fn slice(picture: &Picture) -> SliceFile {
    let mut slice = SliceFile::new([picture.rows, picture.columns], 0.0, &[]);
    slice.format(if picture.bits > 8 { 16 } else { 8 }, picture.bits, picture.signed);
    slice
}

fn read(slice: &SliceFile) -> Result<Volume, InputError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slice");
    slice.write(&path);
    volume::read(&path, &ReadLimits::default())
}

fn read_bytes(bytes: &[u8]) -> Result<Volume, InputError> {
    let (_folder, path) = file(bytes);
    volume::read(&path, &ReadLimits::default())
}

fn file(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slice");
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn expected(picture: &Picture) -> Vec<f64> {
    let value = |word: &u16| if picture.signed { f64::from(*word as i16) } else { f64::from(*word) };
    picture.samples.iter().map(value).collect()
}

fn stored(volume: &Volume) -> Vec<f64> {
    (0..volume.samples.len()).map(|at| volume.samples.get(at)).collect()
}

#[test]
fn every_stream_decodes_as_by_other_decoders() {
    let (pictures, streams) = golden();
    for Stream { name, syntax, picture, bytes } in streams {
        let picture = &pictures[picture];
        let volume = read(slice(picture).fragments(syntax, vec![bytes])).unwrap();
        let (found, expected) = (stored(&volume), expected(picture));
        let farthest = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        // Floating-point wavelets and cosine transforms may round differently; all other encodings are exact.
        let allowed = if matches!(syntax, ".4.91" | ".4.50") { 1.0 } else { 0.0 };
        assert_eq!(found.len(), expected.len(), "{name}");
        assert!(farthest <= allowed, "{name}: off by {farthest}");
    }
}

#[test]
fn an_extended_jpeg_of_8_bits_is_read_as_a_baseline_one() {
    let (pictures, streams) = golden();
    let stream = streams.iter().find(|stream| stream.syntax == ".4.50").unwrap();
    let picture = &pictures[stream.picture];
    let [baseline, extended] =
        [".4.50", ".4.51"].map(|syntax| read(slice(picture).fragments(syntax, vec![stream.bytes.clone()])).unwrap());
    assert_eq!(stored(&baseline), stored(&extended));
    // A stream of 12 bits, whose header states 8.
    let at = stream.bytes.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    let mut twelve = stream.bytes.clone();
    (twelve[at + 1], twelve[at + 4]) = (0xc1, 12);
    let error = read(slice(picture).fragments(".4.51", vec![twelve])).unwrap_err();
    assert_eq!(error.reason().as_str(), "no_readable_slice", "{error}");
}

#[test]
fn fragments_of_a_frame_are_concatenated() {
    let (pictures, streams) = golden();
    for name in ["signed16_ls", "unsigned12_rle"] {
        let stream = streams.iter().find(|stream| stream.name == name).unwrap();
        let picture = &pictures[stream.picture];
        let parts = stream.bytes.chunks(64).map(<[u8]>::to_vec).collect();
        assert_eq!(stored(&read(slice(picture).fragments(stream.syntax, parts)).unwrap()), expected(picture), "{name}");
    }
}

#[test]
fn cut_streams_are_refused() {
    let (pictures, streams) = golden();
    for Stream { name, syntax, picture, bytes } in streams {
        for keep in [0, 2, 30, bytes.len() / 2, bytes.len() * 3 / 4] {
            let part = bytes[..keep & !1].to_vec();
            let error = read(slice(&pictures[picture]).fragments(syntax, vec![part]));
            let error = error.err().unwrap_or_else(|| panic!("{name}: {keep} of {} bytes are read", bytes.len()));
            assert_eq!(error.reason().as_str(), "no_readable_slice", "{name}");
        }
    }
}

#[test]
fn damaged_streams_never_panic() {
    let (pictures, streams) = golden();
    // A fixed sequence of offsets and bytes, by a linear congruence.
    let mut state = 1u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    };
    for Stream { syntax, picture, bytes, .. } in &streams {
        for _ in 0..40 {
            let mut damaged = bytes.clone();
            for _ in 0..=next(4) {
                let at = next(damaged.len());
                damaged[at] = next(256) as u8;
            }
            // Any image or any error.
            let _ = read(slice(&pictures[picture]).fragments(syntax, vec![damaged]));
        }
    }
}

#[test]
fn a_picture_of_another_size_is_refused() {
    let (pictures, streams) = golden();
    for Stream { name, syntax, picture, bytes } in streams.into_iter().filter(|stream| stream.syntax != ".5") {
        let mut slice = slice(&pictures[picture]);
        slice.put(word((0x0028, 0x0010), 65535)).put(word((0x0028, 0x0011), 65535));
        let error = read(slice.fragments(syntax, vec![bytes])).unwrap_err();
        // 8-bit slices of that size are within the limit, 16-bit slices are not.
        assert!(error.to_string().contains("12x14") || error.reason().as_str() == "too_large", "{name}: {error}");
    }
}

#[test]
fn uncompressed_syntaxes_give_the_same_volume() {
    let samples = [-5, 300, 7, -1024, 0, 32767];
    for syntax in ["1.2.840.10008.1.2", EXPLICIT_LITTLE, "1.2.840.10008.1.2.2"] {
        let mut slice = SliceFile::new([2, 3], 0.0, &samples);
        slice.transfer_syntax = syntax.into();
        let volume = read(&slice).unwrap();
        assert_eq!(stored(&volume), samples.map(f64::from), "{syntax}");
        assert_eq!(volume.rescale.intercept, -1024.0, "{syntax}");
        assert_eq!(volume.spacing_mm_dhw, Some([3.0, 0.75, 0.5]), "{syntax}");
    }
}

/// A data set as one deflate stream.
pub(crate) fn deflated(dataset: &[u8]) -> Vec<u8> {
    let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::best());
    let mut deflated = vec![0; compressor.deflate_compress_bound(dataset.len())];
    let size = compressor.deflate_compress(dataset, &mut deflated).unwrap();
    deflated.truncate(size);
    deflated
}

#[test]
fn deflated_data_sets_are_inflated_within_the_limit() {
    let samples: Vec<i16> = (0..64 * 64).map(|n| n % 7).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plain");
    SliceFile::new([64, 64], 0.0, &samples).write(&path);
    let plain = fs::read(&path).unwrap();
    // The meta group ends at its stated length; the syntax becomes two characters longer, with one of padding.
    let length = u32::from_le_bytes(plain[140..144].try_into().unwrap());
    let (meta, dataset) = plain.split_at(144 + length as usize);
    let at = meta.windows(19).position(|window| window == EXPLICIT_LITTLE.as_bytes()).unwrap();
    let head = [&meta[..at - 2], &[22, 0], b"1.2.840.10008.1.2.1.99", &meta[at + 20..]].concat();
    let file = [head.as_slice(), &deflated(dataset)].concat();
    assert_eq!(stored(&read_bytes(&file).unwrap()), samples.iter().map(|n| f64::from(*n)).collect::<Vec<_>>());
    assert_eq!(read_bytes(&file[..file.len() - 9]).unwrap_err().reason().as_str(), "bad_header");
    // A few kilobytes that inflate to megabytes.
    let file = [head.as_slice(), &deflated(&vec![0; 8 << 20])].concat();
    let (_folder, path) = self::file(&file);
    let error = volume::read(&path, &ReadLimits { max_decoded_bytes: 1 << 20 }).unwrap_err();
    assert_eq!(error.reason().as_str(), "too_large");
}

#[test]
fn files_without_preamble_or_meta_group_are_read() {
    let samples = [1, 2, 3, 4, 5, 6];
    for syntax in ["1.2.840.10008.1.2", EXPLICIT_LITTLE] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("whole");
        let mut slice = SliceFile::new([2, 3], 0.0, &samples);
        slice.transfer_syntax = syntax.into();
        slice.write(&path);
        let whole = fs::read(&path).unwrap();
        let dataset = 144 + u32::from_le_bytes(whole[140..144].try_into().unwrap()) as usize;
        // From the magic, from the meta group, from the data set.
        for start in [128, 132, dataset] {
            assert_eq!(stored(&read_bytes(&whole[start..]).unwrap()), samples.map(f64::from), "{syntax} from {start}");
        }
    }
}

#[test]
fn stored_bits_are_extracted_and_signs_extended() {
    // 12 bits, and other data of older scanners in the bits above.
    let words = vec![0xf001, 0x0fff, 0x1800, 0x07ff];
    let mut slice = SliceFile::new([2, 2], 0.0, &[]);
    slice.format(16, 12, false).samples(words.clone());
    assert_eq!(stored(&read(&slice).unwrap()), [1.0, 4095.0, 2048.0, 2047.0]);
    slice.format(16, 12, true);
    assert_eq!(stored(&read(&slice).unwrap()), [1.0, -1.0, -2048.0, 2047.0]);
    // The same bits, shifted by four.
    slice.put(word((0x0028, 0x0102), 15)).samples(words.iter().map(|word| word << 4).collect());
    assert_eq!(stored(&read(&slice).unwrap()), [1.0, -1.0, -2048.0, 2047.0]);
    slice.format(8, 8, true).bytes(vec![0, 127, 128, 255]);
    let volume = read(&slice).unwrap();
    assert_eq!((stored(&volume), volume.samples.type_name()), (vec![0.0, 127.0, -128.0, -1.0], "i8"));
    let values = [-1i32, i32::MIN, i32::MAX, 70000];
    slice.format(32, 32, true).samples(values.iter().flat_map(|v| [*v as u16, (*v >> 16) as u16]).collect());
    let volume = read(&slice).unwrap();
    assert_eq!((stored(&volume), volume.samples.type_name()), (values.map(f64::from).to_vec(), "i32"));
    slice.format(32, 20, false);
    assert_eq!(stored(&read(&slice).unwrap()), values.map(|v| f64::from(v & 0xf_ffff)));
}

#[test]
fn monochrome1_is_inverted_unless_it_holds_hounsfield_units() {
    let mut slice = SliceFile::new([1, 3], 0.0, &[]);
    slice.put(text((0x0028, 0x0004), VR::CS, "MONOCHROME1")).format(16, 12, false).samples(vec![0, 100, 4095]);
    let volume = read(&slice).unwrap();
    assert_eq!(stored(&volume), [0.0, 100.0, 4095.0]);
    assert!(volume.hu_known && volume.notes[1].contains("MONOCHROME1"));
    slice.put(text((0x0028, 0x1054), VR::LO, "US"));
    let volume = read(&slice).unwrap();
    assert_eq!(stored(&volume), [4095.0, 3995.0, 0.0]);
    assert!(!volume.hu_known && volume.notes[1].contains("inverted"));
    slice.format(16, 16, true).samples(vec![0, 1, 0x8000]);
    assert_eq!(stored(&read(&slice).unwrap()), [-1.0, -2.0, 32767.0]);
}

//! One compressed slice on arbitrary bytes, so that decoders are reached without a file around them that has to be right.

use std::fs;

use crate::volumes::prepare;

/// How the slice is compressed, by the first byte modulo their number: a DICOM transfer syntax, or a picture's ending.
const KINDS: [Kind; 7] = [
    Kind::Slice(".4.90"),
    Kind::Slice(".4.80"),
    Kind::Slice(".4.70"),
    Kind::Slice(".5"),
    Kind::Slice(".4.50"),
    Kind::Picture("0.png"),
    Kind::Picture("0.jpeg"),
];

enum Kind {
    Slice(&'static str),
    Picture(&'static str),
}

/// A byte that tells the compression, then a stream. Its own size is put into the DICOM file around it; run lengths state none,
/// and have it in four bytes before them.
pub fn stream(bytes: &[u8]) {
    let Some((kind, stream)) = bytes.split_first() else { return };
    let folder = tempfile::tempdir().expect("a folder can be made");
    let (name, file) = match &KINDS[usize::from(*kind) % KINDS.len()] {
        Kind::Picture(name) => (*name, stream.to_vec()),
        Kind::Slice(syntax) => {
            let (size, stream) = match *syntax {
                ".4.90" => (size_2000(stream), stream),
                ".5" => match stream.split_first_chunk::<4>() {
                    Some((size, stream)) => (words(size), stream),
                    None => return,
                },
                _ => (size_jpeg(stream), stream),
            };
            ("0.dcm", slice_file(syntax, size.unwrap_or([8, 8]), stream))
        }
    };
    fs::write(folder.path().join(name), file).expect("a file can be written");
    prepare(folder.path());
}

/// Two words, the higher byte first.
fn words(bytes: &[u8; 4]) -> Option<[u16; 2]> {
    let [a, b, c, d] = *bytes;
    Some([u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])])
}

/// Rows and columns of a JPEG 2000 stream: the lower halves of its size's numbers, less those of its position.
fn size_2000(stream: &[u8]) -> Option<[u16; 2]> {
    let start = stream.windows(4).position(|four| four == [0xff, 0x4f, 0xff, 0x51])?;
    let number = |at: usize| Some(u32::from_be_bytes(*stream.get(start + at..)?.first_chunk()?));
    let [rows, columns] = [number(12)?.wrapping_sub(number(20)?), number(8)?.wrapping_sub(number(16)?)];
    Some([rows as u16, columns as u16])
}

/// Rows and columns of a JPEG or JPEG-LS stream: those of its first frame.
fn size_jpeg(stream: &[u8]) -> Option<[u16; 2]> {
    let frame = stream.windows(2).position(|pair| matches!(pair, [0xff, 0xc0..=0xc3 | 0xf7]))?;
    words(stream.get(frame + 5..)?.first_chunk()?)
}

/// A DICOM slice of 16 bits, of 8 where it is baseline JPEG.
fn slice_file(syntax: &str, [rows, columns]: [u16; 2], stream: &[u8]) -> Vec<u8> {
    let element = |group: u16, number: u16, vr: &[u8; 2], value: &[u8]| {
        let head = [group.to_le_bytes(), number.to_le_bytes(), *vr, (value.len() as u16).to_le_bytes()];
        [&head.concat(), value].concat()
    };
    let bits: u16 = if syntax == ".4.50" { 8 } else { 16 };
    let mut syntax = format!("1.2.840.10008.1.2{syntax}");
    if syntax.len() % 2 == 1 {
        syntax.push('\0');
    }
    let mut file = vec![0; 128];
    file.extend(b"DICM");
    file.extend(element(2, 0x10, b"UI", syntax.as_bytes()));
    file.extend(element(8, 0x60, b"CS", b"CT"));
    file.extend(element(0x20, 0x13, b"IS", b"1 "));
    for (number, value) in
        [(2, 1), (0x10, rows), (0x11, columns), (0x100, bits), (0x101, bits), (0x102, bits - 1), (0x103, 0)]
    {
        file.extend(element(0x28, number, b"US", &value.to_le_bytes()));
    }
    file.extend([0xe0, 0x7f, 0x10, 0, b'O', b'B', 0, 0, 0xff, 0xff, 0xff, 0xff]);
    let even = stream.len().next_multiple_of(2);
    for length in [0, even as u32] {
        file.extend([0xfe, 0xff, 0, 0xe0]);
        file.extend(length.to_le_bytes());
    }
    file.extend(stream);
    file.resize(file.len() + even - stream.len(), 0);
    file.extend([0xfe, 0xff, 0xdd, 0xe0, 0, 0, 0, 0]);
    file
}

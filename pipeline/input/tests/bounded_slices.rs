//! Small files of one slice that claim much: each is refused with its numbers, and none takes more memory than one slice may.
//! The kernel's figure is for the whole process, so they are read one after the other in one test.

mod peak;

use std::fs;

use libdeflater::{CompressionLvl, Compressor, Crc};
use med2e3_input::volume::{self, MAX_SLICE_BYTES, ReadLimits};
use peak::{peak, peak_from_now};

const MIB: u64 = 1 << 20;

fn packed(bytes: &[u8], pack: fn(&mut Compressor, &[u8], &mut [u8]) -> usize) -> Vec<u8> {
    let mut compressor = Compressor::new(CompressionLvl::default());
    let mut out = vec![0; compressor.zlib_compress_bound(bytes.len())];
    let length = pack(&mut compressor, bytes, &mut out);
    out.truncate(length);
    out
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    packed(bytes, |compressor, bytes, out| compressor.zlib_compress(bytes, out).unwrap())
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    packed(bytes, |compressor, bytes, out| compressor.deflate_compress(bytes, out).unwrap())
}

/// A PNG with a chunk before its data.
fn png(size: [u32; 2], depth: u8, color: u8, (kind, before): (&[u8; 4], &[u8]), data: &[u8]) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8; 4], bytes: &[u8]| {
        let mut crc = Crc::new();
        crc.update(kind);
        crc.update(bytes);
        file.extend((bytes.len() as u32).to_be_bytes());
        file.extend(kind);
        file.extend(bytes);
        file.extend(crc.sum().to_be_bytes());
    };
    chunk(b"IHDR", &[&size[0].to_be_bytes()[..], &size[1].to_be_bytes(), &[depth, color, 0, 0, 0]].concat());
    chunk(kind, before);
    chunk(b"IDAT", data);
    chunk(b"IEND", b"");
    file
}

/// The headers of a JPEG of some components, then `rest` and its end.
fn jpeg(frame: u8, size: [u16; 2], components: u8, rest: &[u8]) -> Vec<u8> {
    let mut file = vec![0xff, 0xd8, 0xff, 0xdb, 0, 67, 0];
    file.extend([1; 64]);
    file.extend([0xff, frame, 0, 8 + 3 * components, 8]);
    file.extend(size[1].to_be_bytes());
    file.extend(size[0].to_be_bytes());
    file.push(components);
    (1..=components).for_each(|number| file.extend([number, 0x11, 0]));
    let scan: Vec<u8> = (1..=components).flat_map(|number| [number, 0]).collect();
    file.extend([&[0xff, 0xda, 0, 6 + 2 * components, components], &scan[..], &[0, 0, 0]].concat());
    [&file, rest, &[0xff, 0xd9]].concat()
}

/// A JPEG 2000 stream of empty packets.
struct Stream2000 {
    size: u32,
    tile: u32,
    layers: u16,
    levels: u8,
    /// log2 of a code-block's side, less 2.
    block: u8,
    precincts: Option<u8>,
    /// Segments before the first tile.
    more: Vec<u8>,
    body: usize,
}

impl Default for Stream2000 {
    fn default() -> Self {
        let (precincts, more) = (None, Vec::new());
        Stream2000 { size: 512, tile: 512, layers: 1, levels: 0, block: 4, precincts, more, body: 1 }
    }
}

impl Stream2000 {
    fn bytes(&self) -> Vec<u8> {
        let [size, tile] = [self.size, self.tile].map(u32::to_be_bytes);
        let mut out = vec![0xff, 0x4f, 0xff, 0x51, 0, 41, 0, 0];
        out.extend([size, size, [0; 4], [0; 4], tile, tile, [0; 4], [0; 4]].concat());
        out.extend([0, 1, 15, 1, 1]);
        let precincts =
            vec![self.precincts.unwrap_or(0); if self.precincts.is_some() { 1 + self.levels as usize } else { 0 }];
        let [high, low] = self.layers.to_be_bytes();
        out.extend([0xff, 0x52, 0, 12 + precincts.len() as u8, u8::from(self.precincts.is_some()), 0, high, low, 0]);
        out.extend([self.levels, self.block, self.block, 0, 1]);
        out.extend(precincts);
        let steps = 1 + 3 * self.levels;
        out.extend([0xff, 0x5c, 0, 3 + steps, 0x40]);
        out.extend(vec![16 << 3; steps.into()]);
        out.extend(&self.more);
        let along = self.size.div_ceil(self.tile);
        for number in 0..along * along {
            out.extend([0xff, 0x90, 0, 10]);
            out.extend((number as u16).to_be_bytes());
            out.extend((14 + self.body as u32).to_be_bytes());
            out.extend([0, 1, 0xff, 0x93]);
            out.extend(vec![0; self.body]);
        }
        out.extend([0xff, 0xd9]);
        out
    }
}

fn element([group, number]: [u16; 2], vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
    let mut out = [group.to_le_bytes(), number.to_le_bytes(), *vr].concat();
    if [b"OB", b"OW", b"SQ", b"UT"].contains(&vr) {
        out.extend([0, 0]);
        out.extend((value.len() as u32).to_le_bytes());
    } else {
        out.extend((value.len() as u16).to_le_bytes());
    }
    [out, value.to_vec()].concat()
}

fn meta(syntax: &str) -> Vec<u8> {
    let syntax = format!("1.2.840.10008.1.2{syntax}");
    let even = syntax.len().next_multiple_of(2);
    [vec![0; 128], b"DICM".to_vec(), element([2, 0x10], b"UI", format!("{syntax:\0<even$}").as_bytes())].concat()
}

/// The elements of a slice up to its pixels.
fn elements(size: u16) -> Vec<u8> {
    let word = |number, value: u16| element([0x28, number], b"US", &value.to_le_bytes());
    let head = [element([8, 0x60], b"CS", b"CT"), word(2, 1), element([0x28, 4], b"CS", b"MONOCHROME2 ")].concat();
    let numbers = [(0x10, size), (0x11, size), (0x100, 16), (0x101, 16), (0x102, 15), (0x103, 0)];
    [head, numbers.into_iter().flat_map(|(number, value)| word(number, value)).collect()].concat()
}

/// A DICOM slice with a compressed stream.
fn slice(syntax: &str, size: u16, stream: &[u8]) -> Vec<u8> {
    let item = |bytes: &[u8]| [&[0xfe, 0xff, 0, 0xe0], &(bytes.len() as u32).to_le_bytes()[..], bytes].concat();
    let stream = [stream, &vec![0; stream.len() % 2]].concat();
    let pixels =
        [&[0xe0, 0x7f, 0x10, 0, b'O', b'B', 0, 0, 0xff, 0xff, 0xff, 0xff], &item(&[])[..], &item(&stream)].concat();
    [meta(syntax), elements(size), pixels, vec![0xfe, 0xff, 0xdd, 0xe0, 0, 0, 0, 0]].concat()
}

fn slice_2000(stream: Stream2000) -> Vec<u8> {
    slice(".4.90", stream.size as u16, &stream.bytes())
}

/// A JPEG-LS stream: its headers, then `coded`.
fn jpeg_ls(size: u16, coded: &[u8]) -> Vec<u8> {
    let [high, low] = size.to_be_bytes();
    let head =
        [0xff, 0xd8, 0xff, 0xf7, 0, 11, 16, high, low, high, low, 1, 1, 0x11, 0, 0xff, 0xda, 0, 8, 1, 1, 0, 0, 0, 0];
    [&head[..], coded, &[0xff, 0xd9]].concat()
}

/// Run lengths of zeros: two segments, of runs of 128.
fn run_lengths(size: usize) -> Vec<u8> {
    let segment = [129, 0].repeat((size * size).div_ceil(128));
    let starts = [2, 64, 64 + segment.len() as u32];
    let mut head: Vec<u8> = starts.into_iter().flat_map(u32::to_le_bytes).collect();
    head.resize(64, 0);
    [head, segment.clone(), segment].concat()
}

#[test]
fn files_that_claim_much_take_little() {
    let none: (&[u8; 4], &[u8]) = (b"tEXt", b"a\0b");
    let zeros = vec![0; 64 << 20];
    let profile = [b"a\0\0", &zlib(&zeros)[..]].concat();
    let pad = (b"tEXt", &vec![b'x'; 400_000][..]);
    let change: &[u8] = &[0, 0, 0, 32, 33, 1, 2];
    let changes = [&[0xff, 0x5f], &(2 + 7 * 9000_u16).to_be_bytes()[..], &change.repeat(9000)].concat();
    let deflated = |bytes: Vec<u8>| [meta(".1.99"), deflate(&bytes)].concat();
    let private = element([9, 0x1010], b"OB", &zeros);
    let positions = [b"0\\0\\0".to_vec(), vec![b' '; 1 << 20]].concat();
    let whole = |more| Stream2000 {
        size: 2048,
        tile: 2048,
        precincts: Some(0x22),
        body: 1 << 18,
        more,
        ..Stream2000::default()
    };
    let tiles = Stream2000 { size: 5000, tile: 10, ..Stream2000::default() }.bytes();
    // A series of one slice has reason `no_readable_slice` where the slice alone is refused.
    let cases = [
        (
            "header alone, colors.png",
            png([60000; 2], 16, 6, pad, &zlib(&[0; 100])),
            "no_readable_slice",
            "28800000000 bytes",
        ),
        (
            "header alone, grey.png",
            png([60000, 45000], 8, 0, pad, &zlib(&[0; 100])),
            "no_readable_slice",
            "2700000000 bytes",
        ),
        ("one row.png", png([1 << 30, 1], 1, 0, none, &zlib(&vec![0; 1 << 27])), "too_large", "2147483648"),
        ("colors.png", png([5400; 2], 16, 6, none, &zlib(&vec![0; 5400 * 43201])), "too_large", "262440000"),
        ("profile.png", png([8; 2], 8, 0, (b"iCCP", &profile), &zlib(&[0; 72])), "all_zero", ""),
        ("texts.png", png([8; 2], 8, 0, (b"zTXt", &profile), &zlib(&[0; 72])), "all_zero", ""),
        ("largest.jpeg", jpeg(0xc0, [65500; 2], 1, &vec![0; 5 << 20]), "too_large", "4290250000"),
        ("progressive.jpeg", jpeg(0xc2, [9000; 2], 3, &vec![0; 1 << 20]), "too_large", "567000000"),
        (
            "scans.jpeg",
            jpeg(0xc2, [500; 2], 1, &[0xff, 0xda, 0, 8, 1, 1, 0, 0, 0, 0].repeat(900)),
            "no_readable_slice",
            "901 scans",
        ),
        (
            "precincts.dcm",
            slice_2000(Stream2000 { size: 4096, tile: 4096, precincts: Some(0), ..whole(vec![]) }),
            "no_readable_slice",
            "16777216 bytes",
        ),
        (
            "blocks.dcm",
            slice_2000(Stream2000 { size: 4096, tile: 4096, block: 0, body: 4000, ..Stream2000::default() }),
            "too_large",
            "",
        ),
        (
            "layers.dcm",
            slice_2000(Stream2000 { size: 2048, tile: 2048, block: 0, layers: 32, body: 400, ..Stream2000::default() }),
            "too_large",
            "",
        ),
        ("tiles.dcm", slice(".4.90", 5000, &tiles[..1 << 16]), "no_readable_slice", "3500000 bytes"),
        (
            "largest.dcm",
            slice_2000(Stream2000 { size: 60000, tile: 60000, body: 1 << 16, ..Stream2000::default() }),
            "too_large",
            "",
        ),
        ("changes.dcm", slice_2000(whole(changes)), "no_readable_slice", "9000 changes"),
        (
            "depth.dcm",
            slice_2000(Stream2000 { levels: 32, body: 33, ..Stream2000::default() }),
            "no_readable_slice",
            "",
        ),
        ("run.dcm", slice(".4.80", 20000, &jpeg_ls(20000, &[0xff, 0x7f].repeat(7500))), "too_large", "1600000000"),
        (
            "no run.dcm",
            slice(".4.80", 4000, &jpeg_ls(4000, &[0xff, 0x7f].repeat(100))),
            "no_readable_slice",
            "500 bytes",
        ),
        ("run lengths.dcm", slice(".5", 12000, &run_lengths(12000)), "too_large", "288000000"),
        ("few run lengths.dcm", slice(".5", 4000, &run_lengths(100)), "no_readable_slice", "500000 bytes"),
        (
            "after.dcm",
            deflated([elements(8), element([0x7fe0, 0x10], b"OW", &zeros), zeros.clone()].concat()),
            "too_large",
            "",
        ),
        ("before.dcm", deflated([element([8, 5], b"CS", b"x "), private, elements(8)].concat()), "too_large", ""),
        (
            "promise.dcm",
            deflated([elements(60000), element([0x7fe0, 0x10], b"OW", &zeros)].concat()),
            "no_readable_slice",
            "7200000000",
        ),
        (
            "long text.dcm",
            [meta(".1"), element([8, 0x60], b"CS", b"CT"), element([0x20, 0x32], b"UT", &positions), elements(8)]
                .concat(),
            "no_readable_slice",
            "",
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes, ..) in &cases {
        assert!(bytes.len() < 10 << 20, "{name}: {} bytes", bytes.len());
        let series = folder.path().join(name);
        fs::create_dir(&series).unwrap();
        let ending = name.rsplit('.').next().unwrap();
        fs::write(series.join(format!("0.{ending}")), bytes).unwrap();
    }
    // A file of holes that takes no room on the disk.
    let hollow = folder.path().join("hollow.dcm");
    fs::create_dir(&hollow).unwrap();
    fs::write(hollow.join("0.dcm"), [meta(".1"), elements(8), element([0x7fe0, 0x10], b"OW", &[1; 128])].concat())
        .unwrap();
    fs::File::options().write(true).open(hollow.join("0.dcm")).unwrap().set_len(2 << 30).unwrap();
    let error = volume::read(&hollow, &ReadLimits::default()).unwrap_err();
    assert_eq!(error.reason().as_str(), "too_large", "{error}");
    for (name, _, reason, words) in &cases {
        let before = peak_from_now();
        let read = volume::read(&folder.path().join(name), &ReadLimits::default());
        let refused = match &read {
            Ok(volume) => {
                assert_eq!(*reason, "all_zero", "{name} is read");
                assert!(volume.samples.len() < 100, "{name}");
                continue;
            }
            Err(error) => error,
        };
        assert_eq!(refused.reason().as_str(), *reason, "{name}: {refused}");
        assert!(refused.to_string().contains(words), "{name}: {refused}");
        let grown = peak().zip(before).map(|(after, before)| after - before);
        assert!(grown.is_none_or(|grown| grown <= MAX_SLICE_BYTES + 16 * MIB), "{name}: {grown:?} bytes more");
    }
}

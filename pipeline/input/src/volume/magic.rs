//! Magic: what a file is, by its first bytes, so that a message or a count can name it. Only names; readers check more.

use super::gzip;

/// First bytes that [`Contents::of`] needs to tell every kind: the longest is the type of a tar archive.
pub const HEAD_BYTES: usize = 352;

/// What a file is, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Contents {
    /// No byte.
    Empty,
    /// Only zeros: the place of the file was reserved, its contents never written.
    Zeros,
    /// The pointer that Git keeps in place of a large file.
    GitLfsPointer,
    /// The pointer that git-annex or DataLad keeps in place of a large file.
    GitAnnexPointer,
    /// A web page, mostly a server's refusal under the name of the file that was asked for.
    Html,
    /// XML, such as a storage server's refusal.
    Xml,
    /// JSON.
    Json,
    /// A gzip stream.
    Gzip,
    /// A bzip2 stream.
    Bzip2,
    /// An xz stream.
    Xz,
    /// A Zstandard stream.
    Zstandard,
    /// A zip archive.
    Zip,
    /// A zip archive of NumPy arrays (`.npz`).
    NumpyZip,
    /// A 7z archive.
    SevenZip,
    /// A RAR archive.
    Rar,
    /// A tar archive.
    Tar,
    /// A PDF document.
    Pdf,
    /// HDF5, which MATLAB 7.3 and MINC 2 use.
    Hdf5,
    /// A MATLAB file.
    Matlab,
    /// netCDF, which MINC 1 uses.
    NetCdf,
    /// A NumPy array (`.npy`).
    NumpyArray,
    /// A NIfTI header.
    Nifti,
    /// An Analyze 7.5 header.
    Analyze,
    /// NRRD.
    Nrrd,
    /// MetaImage.
    MetaImage,
    /// FreeSurfer's MGH.
    Mgh,
    /// DICOM.
    Dicom,
    /// A PNG picture.
    Png,
    /// A JPEG picture.
    Jpeg,
    /// A JPEG 2000 picture.
    Jpeg2000,
    /// A TIFF picture.
    Tiff,
    /// A BMP picture.
    Bmp,
    /// A GIF picture.
    Gif,
    /// A WebP picture.
    WebP,
    /// What macOS keeps beside a file on a foreign disk, as `._NAME`: no contents of the file itself.
    AppleDouble,
    /// Any other text.
    Text,
    /// None of these.
    Other,
}

impl Contents {
    /// The kind of a file whose first bytes are `head`: [`HEAD_BYTES`] of them, or the whole of a shorter file.
    pub fn of(head: &[u8]) -> Contents {
        if head.is_empty() {
            return Contents::Empty;
        }
        let binary = signature(head).or_else(|| text(head));
        binary.unwrap_or(if head.iter().all(|byte| *byte == 0) { Contents::Zeros } else { Contents::Other })
    }

    /// The kind's word, which stays the same between versions: `git_lfs_pointer`, `html`, `zip` and so on.
    pub fn as_str(self) -> &'static str {
        self.words().0
    }

    /// What the file is, for a message after "found": "an HTML page, such as a server's refusal".
    pub fn found(self) -> &'static str {
        self.words().1
    }

    /// Whether the file holds none of what its name promises: its contents were never downloaded or written.
    pub fn is_placeholder(self) -> bool {
        use Contents::*;
        matches!(self, Empty | Zeros | GitLfsPointer | GitAnnexPointer | Html | AppleDouble)
    }

    fn words(self) -> (&'static str, &'static str) {
        use Contents::*;
        match self {
            Empty => ("empty", "an empty file"),
            Zeros => ("zeros", "only zeros: the file was never written, or its download broke off"),
            GitLfsPointer => (
                "git_lfs_pointer",
                "a Git LFS pointer: the file itself was not downloaded; run `git lfs pull` in its repository",
            ),
            GitAnnexPointer => (
                "git_annex_pointer",
                "a git-annex pointer: the file itself was not downloaded; run `git annex get` or `datalad get`",
            ),
            Html => ("html", "an HTML page, as a server sends it in place of a file that it refuses"),
            Xml => ("xml", "XML text, as a server sends it in place of a file that it refuses"),
            Json => ("json", "JSON text"),
            Gzip => ("gzip", "gzip data"),
            Bzip2 => ("bzip2", "bzip2 data: unpack it first"),
            Xz => ("xz", "xz data: unpack it first"),
            Zstandard => ("zstandard", "Zstandard data: unpack it first"),
            Zip => ("zip", "a zip archive: unpack it first"),
            NumpyZip => ("numpy_zip", "a zip archive of NumPy arrays (.npz): save each as a .npy file"),
            SevenZip => ("seven_zip", "a 7z archive: unpack it first"),
            Rar => ("rar", "a RAR archive: unpack it first"),
            Tar => ("tar", "a tar archive: unpack it first"),
            Pdf => ("pdf", "a PDF document"),
            Hdf5 => ("hdf5", "an HDF5 file (MATLAB 7.3 or MINC 2)"),
            Matlab => ("matlab", "a MATLAB file"),
            NetCdf => ("netcdf", "a netCDF file (MINC 1)"),
            NumpyArray => ("numpy_array", "a NumPy array"),
            Nifti => ("nifti", "a NIfTI header"),
            Analyze => ("analyze", "an Analyze 7.5 header, which gives no orientation"),
            Nrrd => ("nrrd", "an NRRD file"),
            MetaImage => ("metaimage", "a MetaImage file"),
            Mgh => ("mgh", "an MGH file of FreeSurfer"),
            Dicom => ("dicom", "a DICOM file"),
            Png => ("png", "a PNG picture"),
            Jpeg => ("jpeg", "a JPEG picture"),
            Jpeg2000 => ("jpeg_2000", "a JPEG 2000 picture"),
            Tiff => ("tiff", "a TIFF picture"),
            Bmp => ("bmp", "a BMP picture"),
            Gif => ("gif", "a GIF picture"),
            WebP => ("webp", "a WebP picture"),
            AppleDouble => ("apple_double", "an AppleDouble file, which macOS keeps beside the file itself"),
            Text => ("text", "text"),
            Other => ("other", "a file of unknown kind"),
        }
    }
}

/// What the first bytes are, for a message after "found"; bytes of an unknown kind are shown.
pub fn found(head: &[u8]) -> String {
    match Contents::of(head) {
        Contents::Other => {
            let bytes: Vec<String> = head.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
            format!("a file that starts with the bytes {}", bytes.join(" "))
        }
        kind => kind.found().to_owned(),
    }
}

/// Kinds that fixed bytes tell.
fn signature(head: &[u8]) -> Option<Contents> {
    use Contents::*;
    let at = |offset: usize, bytes: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(bytes));
    let starts: [(&[u8], Contents); 31] = [
        (b"\x1f\x8b", Gzip),
        (b"BZh", Bzip2),
        (b"\xfd7zXZ\0", Xz),
        (b"\x28\xb5\x2f\xfd", Zstandard),
        (b"PK\x05\x06", Zip),
        (b"PK\x07\x08", Zip),
        (b"7z\xbc\xaf\x27\x1c", SevenZip),
        (b"Rar!\x1a\x07", Rar),
        (b"%PDF-", Pdf),
        (b"\x89HDF\r\n\x1a\n", Hdf5),
        (b"MATLAB 7.3 MAT-file", Hdf5),
        (b"MATLAB 5.0 MAT-file", Matlab),
        (b"CDF\x01", NetCdf),
        (b"CDF\x02", NetCdf),
        (b"CDF\x05", NetCdf),
        (b"\x89PNG", Png),
        (b"\xff\xd8\xff", Jpeg),
        (b"\0\0\0\x0cjP  \r\n\x87\n", Jpeg2000),
        (b"\xff\x4f\xff\x51", Jpeg2000),
        (b"II*\0", Tiff),
        (b"MM\0*", Tiff),
        (b"II+\0", Tiff),
        (b"MM\0+", Tiff),
        (b"GIF87a", Gif),
        (b"GIF89a", Gif),
        (b"\x93NUMPY", NumpyArray),
        (b"\0\x05\x16\x07", AppleDouble),
        (b"\0\x05\x16\0", AppleDouble),
        (b"version https://git-lfs.github.com/spec/", GitLfsPointer),
        (b"version https://hawser.github.com/spec/", GitLfsPointer),
        (b"/annex/objects/", GitAnnexPointer),
    ];
    if let Some((_, kind)) = starts.iter().find(|(bytes, _)| head.starts_with(bytes)) {
        return Some(*kind);
    }
    if head.starts_with(b"PK\x03\x04") {
        let length = head.get(26..28).map_or(0, |length| usize::from(u16::from_le_bytes([length[0], length[1]])));
        let first = head.get(30..30 + length).unwrap_or_default();
        return Some(if first.ends_with(b".npy") { NumpyZip } else { Zip });
    }
    let kinds: [(bool, Contents); 9] = [
        (at(257, b"ustar"), Tar),
        (at(128, b"DICM"), Dicom),
        (head.starts_with(b"RIFF") && at(8, b"WEBP"), WebP),
        (head.starts_with(b"BM") && at(6, &[0; 4]) && head.len() > 26, Bmp),
        (head.starts_with(b"NRRD000"), Nrrd),
        (is_metaimage(head), MetaImage),
        (is_mgh(head), Mgh),
        (is_nifti(head), if at(344, &[0; 4]) && !at(4, b"n+2") && !at(4, b"ni2") { Analyze } else { Nifti }),
        // DICOM without its preamble: a first element of group 8, as old writers have it.
        (head.starts_with(&[8, 0]) && at(3, &[0]) && at(7, &[0]), Dicom),
    ];
    kinds.into_iter().find(|(is, _)| *is).map(|(_, kind)| kind)
}

/// Lines of `Key = Value`, the first of them one that starts MetaImage headers.
fn is_metaimage(head: &[u8]) -> bool {
    let first = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Some((key, value)) = first.iter().position(|byte| *byte == b'=').map(|at| first.split_at(at)) else {
        return false;
    };
    let holds = |word: &[u8]| head.windows(word.len()).any(|window| window == word);
    match key.trim_ascii() {
        b"ObjectType" => value[1..].trim_ascii() == b"Image",
        b"NDims" | b"Comment" | b"ObjectSubType" | b"BinaryData" => holds(b"DimSize") || holds(b"ElementType"),
        _ => false,
    }
}

/// Version 1, four lengths and a type, big-endian.
fn is_mgh(head: &[u8]) -> bool {
    let Some((numbers, _)) = head.as_chunks::<4>().0.split_at_checked(6) else {
        return false;
    };
    let numbers: Vec<i32> = numbers.iter().map(|bytes| i32::from_be_bytes(*bytes)).collect();
    numbers[0] == 1 && numbers[1..5].iter().all(|n| (1..1 << 16).contains(n)) && (0..=11).contains(&numbers[5])
}

/// The length of a NIfTI header of either version, in either byte order.
fn is_nifti(head: &[u8]) -> bool {
    let length = head.first_chunk().map(|length| u32::from_le_bytes(*length));
    length.is_some_and(|length| [348, 540].contains(&length) || [348, 540].contains(&length.swap_bytes()))
}

/// Kinds of text.
fn text(head: &[u8]) -> Option<Contents> {
    // Text in UTF-16 is told by its ASCII characters.
    let wide = head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]);
    let bytes: Vec<u8> =
        if wide { head[2..].iter().copied().filter(|byte| *byte != 0).collect() } else { head.to_vec() };
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let is_control = |byte: u8| byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c) || byte == 0x7f;
    if bytes.iter().any(|byte| is_control(*byte)) {
        return None;
    }
    // The last character may be cut. Other bytes above ASCII are Latin-1, of which text has few.
    let is_utf8 = str::from_utf8(bytes).map_or_else(|error| error.error_len().is_none(), |_| true);
    if !is_utf8 && bytes.iter().filter(|byte| !byte.is_ascii()).count() * 4 > bytes.len() {
        return None;
    }
    let lower = bytes.trim_ascii_start().to_ascii_lowercase();
    let holds = |word: &str| lower.windows(word.len()).any(|window| window == word.as_bytes());
    let tags = ["<!doctype html", "<html", "<head", "<body", "<title", "<meta", "<script", "<h1", "<div", "<p>"];
    let rest = |from: usize| lower.get(from..).unwrap_or_default().trim_ascii_start().first().copied();
    Some(match lower.first() {
        Some(b'<') if tags.iter().any(|tag| holds(tag)) => Contents::Html,
        Some(b'<') if matches!(lower.get(1), Some(b'?' | b'!' | b'a'..=b'z')) => Contents::Xml,
        Some(b'{') if matches!(rest(1), Some(b'"' | b'}')) => Contents::Json,
        Some(b'[') if matches!(rest(1), Some(b'"' | b'[' | b'{' | b']' | b'-' | b'0'..=b'9')) => Contents::Json,
        _ => Contents::Text,
    })
}

/// Levels of gzip within gzip that are counted.
const MOST_LEVELS: usize = 8;

/// What a gzip file of several levels is, for a message after "found"; `bytes` are what its outer level holds, or their
/// start. `None` where that is no gzip stream.
pub(super) fn gzip_within_gzip(bytes: &[u8]) -> Option<String> {
    let mut inner = gzip::is_gzip(bytes).then(|| bytes.to_vec())?;
    let mut levels = 1;
    while gzip::is_gzip(&inner) && levels < MOST_LEVELS {
        levels += 1;
        inner = gzip::head(&inner, inner.len().max(HEAD_BYTES));
    }
    let times = if levels == 2 { "twice".to_owned() } else { format!("{levels} times") };
    Some(format!("gzip data within gzip: the file is gzipped {times}; unpack it until one level is left"))
}

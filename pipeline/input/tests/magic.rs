//! What a file is: named by its first bytes, and said in messages whatever the file's name.

mod made;
mod sample;

use made::{gzip, saved};
use med2e3_input::volume::magic::{self, Contents};
use med2e3_input::volume::{self, ReadLimits};

const LFS: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345678\n";

/// Reason and message of a refusal.
fn refused(name: &str, bytes: &[u8]) -> (&'static str, String) {
    let (_folder, path) = saved(name, bytes);
    let error = volume::read(&path, &ReadLimits::default()).unwrap_err();
    (error.reason().as_str(), error.to_string())
}

fn at(offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut head = vec![0; 512];
    head[offset..offset + bytes.len()].copy_from_slice(bytes);
    head
}

#[test]
fn every_kind_is_told() {
    use Contents::*;
    let npz = [b"PK\x03\x04".to_vec(), vec![0; 22], b"\x09\0\0\0array.npyrest".to_vec()].concat();
    let mut mgh = vec![0; 284];
    mgh[..24].copy_from_slice(&[0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 4]);
    let wide: Vec<u8> = [0xff, 0xfe].into_iter().chain("<html>".bytes().flat_map(|byte| [byte, 0])).collect();
    let heads: Vec<(Contents, Vec<u8>)> = vec![
        (Empty, vec![]),
        (Zeros, vec![0; 352]),
        (Zeros, vec![0; 3]),
        (GitLfsPointer, LFS.into()),
        (GitAnnexPointer, b"/annex/objects/MD5E-s12--ab.nii.gz\n".to_vec()),
        (Html, b"<!DOCTYPE html><html><head><title>403 Forbidden</title></head></html>".to_vec()),
        (Html, b"\xef\xbb\xbf \r\n\t<HTML lang=\"en\">".to_vec()),
        (Html, b"<html>\r\n<head><title>502 Bad Gateway".to_vec()),
        (Html, b"<?xml version=\"1.0\"?>\n<!DOCTYPE html PUBLIC \"-//W3C\">".to_vec()),
        (Html, b"<!-- a page --><body>".to_vec()),
        (Html, b"<h1>404 Not Found</h1>".to_vec()),
        (Html, wide),
        (Xml, b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>".to_vec()),
        (Xml, b"<Error><Code>NoSuchKey</Code></Error>".to_vec()),
        (Json, b"{\"error\": \"not found\"}".to_vec()),
        (Json, b"[1, 2]".to_vec()),
        (Json, b" [\n {\"a\": 1}]".to_vec()),
        (Gzip, gzip(b"x")),
        (Bzip2, b"BZh91AY&SY".to_vec()),
        (Xz, b"\xfd7zXZ\0\0\x04".to_vec()),
        (Zstandard, b"\x28\xb5\x2f\xfd\x24".to_vec()),
        (Zip, [b"PK\x03\x04".to_vec(), vec![0; 50]].concat()),
        (Zip, b"PK\x03\x04".to_vec()),
        (Zip, b"PK\x05\x06".to_vec()),
        (NumpyZip, npz),
        (SevenZip, b"7z\xbc\xaf\x27\x1c\0".to_vec()),
        (Rar, b"Rar!\x1a\x07\x01\0".to_vec()),
        (Tar, at(257, b"ustar\0")),
        (Pdf, b"%PDF-1.7".to_vec()),
        (Hdf5, b"\x89HDF\r\n\x1a\n".to_vec()),
        (Hdf5, b"MATLAB 7.3 MAT-file, Platform: GLNXA64".to_vec()),
        (Matlab, b"MATLAB 5.0 MAT-file".to_vec()),
        (NetCdf, b"CDF\x01\0".to_vec()),
        (NumpyArray, b"\x93NUMPY\x01\0".to_vec()),
        (Nifti, [vec![0x5c, 1, 0, 0], vec![0; 340], b"n+1\0".to_vec()].concat()),
        (Nifti, [vec![0, 0, 2, 0x1c], b"n+2\0\r\n\x1a\n".to_vec(), vec![0; 340]].concat()),
        (Analyze, [vec![0, 0, 1, 0x5c], vec![0; 348]].concat()),
        (Nrrd, b"NRRD0005\ntype: short\n".to_vec()),
        (MetaImage, b"ObjectType = Image\nNDims = 3\n".to_vec()),
        (MetaImage, b"NDims = 3\r\nDimSize = 1 2 3\r\n".to_vec()),
        (Mgh, mgh),
        (Dicom, at(128, b"DICM")),
        (Png, b"\x89PNG\r\n\x1a\n".to_vec()),
        (Jpeg, b"\xff\xd8\xff\xe0".to_vec()),
        (Jpeg2000, b"\0\0\0\x0cjP  \r\n\x87\n".to_vec()),
        (Jpeg2000, b"\xff\x4f\xff\x51\0".to_vec()),
        (Tiff, b"II*\0\x08\0".to_vec()),
        (Tiff, b"MM\0*\0".to_vec()),
        (Bmp, [b"BM\x36\x10\0\0".to_vec(), vec![0; 40]].concat()),
        (Gif, b"GIF89a".to_vec()),
        (WebP, b"RIFF\x10\0\0\0WEBPVP8 ".to_vec()),
        (AppleDouble, b"\0\x05\x16\x07\0\x02\0\0Mac OS X".to_vec()),
        (Text, b"no volume, only words\n".to_vec()),
        (Text, b"Gr\xc3\xbc\xc3".to_vec()),
        (Text, b"Gr\xfc\xdfe aus der Klinik".to_vec()),
        (Text, b"BM is how this text starts, and it is longer".to_vec()),
        (Text, b"{not json}".to_vec()),
        (Other, b"\x01\x02\x03\x04rest".to_vec()),
        (Other, (128..=255).collect()),
    ];
    for (kind, head) in &heads {
        assert_eq!(Contents::of(head), *kind, "{}", head.escape_ascii());
        // A kind is told by its first bytes alone.
        assert_eq!(Contents::of(&head[..head.len().min(magic::HEAD_BYTES)]), *kind, "{}", head.escape_ascii());
        assert!(kind.as_str().bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'));
        assert!(!kind.found().is_empty());
    }
    let mut words: Vec<&str> = heads.iter().map(|(kind, _)| kind.as_str()).collect();
    words.sort();
    words.dedup();
    assert_eq!(words.len(), 37);
}

#[test]
fn a_message_says_what_the_file_is_under_every_name() {
    let html = "<!DOCTYPE html><html><head><title>403 Forbidden</title></head></html>".repeat(9);
    let kinds: [(&[u8], &str); 7] = [
        (LFS.as_bytes(), "a Git LFS pointer: the file itself was not downloaded; run `git lfs pull`"),
        (html.as_bytes(), "an HTML page"),
        (b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", "XML"),
        (b"PK\x03\x04...........................", "a zip archive"),
        (b"{\"message\": \"Not Found\"}", "JSON"),
        (b"%PDF-1.4 and more", "PDF"),
        (&[0; 400], "only zeros"),
    ];
    for (bytes, said) in kinds {
        for name in ["a.nii", "a.nii.gz", "a.npy", "a.img", "a.mha", "a.nrrd", "a.mgz", "a.dcm", "a"] {
            let (folder, path) = saved(name, bytes);
            std::fs::write(folder.path().join("a.hdr"), bytes).unwrap();
            let error = volume::read(&path, &ReadLimits::default()).unwrap_err();
            assert_eq!(error.reason().as_str(), "unsupported_format", "{name}");
            assert!(error.to_string().contains(said), "{error}");
        }
        let packed = refused("a.nii.gz", &gzip(bytes));
        assert!(packed.0 == "unsupported_format" && packed.1.contains(said), "{}", packed.1);
    }
    assert!(refused("a.nii", b"").1.contains("an empty file"));
    assert!(refused("a.nii", b"\x01\x02\x03\x04\x05").1.contains("the bytes 01 02 03 04"));
}

#[test]
fn gzip_within_gzip_is_counted() {
    let mut packed = gzip(&sample::sample_file());
    for times in ["twice", "3 times", "4 times", "5 times"] {
        packed = gzip(&packed);
        let (reason, message) = refused("a.nii.gz", &packed);
        assert_eq!(reason, "unsupported_format");
        assert!(message.contains("gzip data within gzip") && message.contains(times), "{message}");
    }
}

#[test]
fn a_pointer_in_place_of_a_pairs_voxels_is_named() {
    let mut header = sample::sample_file()[..348].to_vec();
    sample::put(&mut header, 344, b"ni1\0");
    let (folder, path) = saved("a.hdr", &header);
    std::fs::write(folder.path().join("a.img.gz"), LFS).unwrap();
    let error = volume::read(&path, &ReadLimits::default()).unwrap_err().to_string();
    assert!(error.contains("a.img.gz") && error.contains("Git LFS"), "{error}");
}

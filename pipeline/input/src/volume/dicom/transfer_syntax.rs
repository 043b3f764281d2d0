//! Transfer syntaxes: how a file states that its elements are written and its pixels compressed.
//!
//! Source: DICOM PS3.5 section 10 and annex A, PS3.6 annex A (identifiers and names).

use std::fmt;

use super::elements::Form;
use super::error::DicomError;

/// How the pixel data is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Native,
    Rle,
    JpegBaseline,
    /// Of 8 bits; streams of 12 bits are not supported.
    JpegExtended,
    JpegLossless,
    JpegLs,
    Jpeg2000,
}

/// The root of the standard's identifiers; they end in at most 8 more characters.
const ROOT: &str = "1.2.840.10008.1.2";

/// A transfer syntax, as a file states it. Displayed by its identifier and name where it is the standard's; others may
/// identify a site.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct TransferSyntax {
    /// `None` where the file states none.
    uid: Option<String>,
}

impl TransferSyntax {
    pub(super) fn of_uid(uid: Option<&str>) -> TransferSyntax {
        TransferSyntax { uid: uid.map(str::to_owned) }
    }

    /// The uncompressed syntax of elements in this form.
    pub(super) fn of_form(form: Form) -> TransferSyntax {
        TransferSyntax::of_uid(Some(if form.explicit { "1.2.840.10008.1.2.1" } else { ROOT }))
    }

    pub(super) fn unstated() -> TransferSyntax {
        TransferSyntax { uid: None }
    }

    pub(super) fn is_stated(&self) -> bool {
        self.uid.is_some()
    }

    /// The identifier behind the standard's root.
    fn ending(&self) -> Option<&str> {
        let ending = self.uid.as_deref()?.strip_prefix(ROOT)?;
        (ending.len() < 9 && ending.bytes().all(|b| b == b'.' || b.is_ascii_digit())).then_some(ending)
    }

    /// The form of the elements; that of most files where none is stated.
    pub(super) fn form(&self) -> Form {
        match self.ending() {
            Some("") => Form::IMPLICIT_LITTLE,
            Some(".2") => Form::EXPLICIT_BIG,
            _ => Form::EXPLICIT_LITTLE,
        }
    }

    pub(super) fn is_deflated(&self) -> bool {
        self.ending() == Some(".1.99")
    }

    /// Whether the compression may change samples, so that they may exceed the stored bits.
    pub(super) fn is_lossy(&self) -> bool {
        matches!(self.ending(), Some(".4.50" | ".4.51" | ".4.81" | ".4.91"))
    }

    /// How pixels are compressed. Where no syntax is stated, they are not.
    ///
    /// # Errors
    /// [`DicomError::Unsupported`] with the name of a syntax that is not supported.
    pub(super) fn encoding(&self) -> Result<Encoding, DicomError> {
        Ok(match self.ending() {
            Some("" | ".1" | ".2" | ".1.99") => Encoding::Native,
            Some(".5") => Encoding::Rle,
            Some(".4.50") => Encoding::JpegBaseline,
            Some(".4.51") => Encoding::JpegExtended,
            Some(".4.57" | ".4.70") => Encoding::JpegLossless,
            Some(".4.80" | ".4.81") => Encoding::JpegLs,
            Some(".4.90" | ".4.91") => Encoding::Jpeg2000,
            _ if !self.is_stated() => Encoding::Native,
            _ => {
                let expected = "uncompressed, RLE, JPEG baseline or lossless, JPEG-LS or JPEG 2000 pixel data";
                return Err(DicomError::unsupported(expected, self.to_string()));
            }
        })
    }

    fn name(&self) -> Option<&'static str> {
        Some(match self.ending()? {
            "" => "implicit VR little endian",
            ".1" => "explicit VR little endian",
            ".1.98" => "encapsulated uncompressed",
            ".1.99" => "deflated explicit VR little endian",
            ".2" => "explicit VR big endian",
            ".4.50" => "JPEG Baseline",
            ".4.51" => "JPEG Extended 12-bit",
            ".4.52" | ".4.53" | ".4.54" | ".4.55" | ".4.56" | ".4.59" | ".4.60" | ".4.61" | ".4.62" | ".4.63"
            | ".4.64" | ".4.65" | ".4.66" => "a retired process of JPEG",
            ".4.57" | ".4.58" | ".4.70" => "JPEG Lossless",
            ".4.80" | ".4.81" => "JPEG-LS",
            ".4.90" | ".4.91" => "JPEG 2000",
            ".4.92" | ".4.93" => "JPEG 2000 Multi-component",
            ".4.94" | ".4.95" | ".4.204" | ".4.205" => "JPIP, pixels on a server",
            ".4.100" | ".4.101" | ".4.100.1" | ".4.101.1" => "MPEG-2 video",
            ".4.102" | ".4.103" | ".4.104" | ".4.105" | ".4.106" => "MPEG-4 video",
            ".4.102.1" | ".4.103.1" | ".4.104.1" | ".4.105.1" | ".4.106.1" => "MPEG-4 video",
            ".4.107" | ".4.108" => "HEVC video",
            ".4.110" | ".4.111" | ".4.112" => "JPEG XL",
            ".4.201" | ".4.202" | ".4.203" => "High-Throughput JPEG 2000",
            ".5" => "RLE",
            ".8.1" => "deflated image frames",
            _ => return None,
        })
    }
}

impl fmt::Display for TransferSyntax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.ending(), self.name()) {
            (Some(ending), Some(name)) => write!(f, "{name} (transfer syntax {ROOT}{ending})"),
            (Some(ending), None) => write!(f, "transfer syntax {ROOT}{ending}"),
            _ if self.is_stated() => f.write_str("a transfer syntax that is not the standard's"),
            _ => f.write_str("no transfer syntax"),
        }
    }
}

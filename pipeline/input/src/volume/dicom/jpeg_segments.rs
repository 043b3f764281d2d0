//! The marker segments at the start of a JPEG or JPEG-LS stream with one component and one scan, up to the coded data.
//!
//! Source: ITU-T T.81, annex B; ITU-T T.87, annex C.

use super::error::DicomError;

/// The headers before the coded data of a scan.
pub(super) struct Segments<'a> {
    /// The frame marker's second byte, which states the coding process.
    pub(super) frame: u8,
    /// Bits per sample.
    pub(super) precision: u32,
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Samples between restart markers; 0 for none.
    pub(super) restart_interval: usize,
    /// Other segments in their order: second byte of the marker, and contents.
    pub(super) tables: Vec<(u8, &'a [u8])>,
    /// The byte after the component's number in the scan header: entropy tables in T.81, mapping table in T.87.
    pub(super) component_table: u8,
    /// The last three bytes of the scan header.
    pub(super) scan: [u8; 3],
    /// The rest of the stream.
    pub(super) coded: &'a [u8],
}

const EXPECTED: &str = "a JPEG stream of one component";

impl<'a> Segments<'a> {
    /// Parses the segments of `stream`.
    pub(super) fn parse(stream: &'a [u8]) -> Result<Segments<'a>, DicomError> {
        let cut = || DicomError::damaged(EXPECTED, format!("an end after {} bytes", stream.len()));
        if !stream.starts_with(&[0xff, 0xd8]) {
            return Err(DicomError::damaged(EXPECTED, "no start marker"));
        }
        let mut rest = &stream[2..];
        let mut frame = None;
        let mut restart_interval = 0;
        let mut tables = Vec::new();
        loop {
            // A marker may be preceded by any number of fill bytes.
            while rest.starts_with(&[0xff, 0xff]) {
                rest = &rest[1..];
            }
            let [0xff, marker, high, low] = *rest.first_chunk().ok_or_else(cut)? else {
                return Err(DicomError::damaged(EXPECTED, "no marker where one is due"));
            };
            let length = usize::from(u16::from_be_bytes([high, low]));
            let segment = rest.get(4..2 + length).ok_or_else(cut)?;
            rest = &rest[2 + length..];
            match (marker, segment) {
                // Every frame marker; 0xf7 is that of T.87. c4, c8 and cc are tables and reserved.
                (0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf | 0xf7, [p, y1, y0, x1, x0, 1, ..]) => {
                    let size = [[*y1, *y0], [*x1, *x0]].map(|bytes| usize::from(u16::from_be_bytes(bytes)));
                    frame = Some((marker, u32::from(*p), size));
                }
                (0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf | 0xf7, _) => {
                    return Err(DicomError::damaged(EXPECTED, "another number of components"));
                }
                (0xdd, [high, low]) => restart_interval = usize::from(u16::from_be_bytes([*high, *low])),
                (0xdd, _) => return Err(DicomError::damaged(EXPECTED, "a restart interval of another size")),
                (0xda, [1, _, component_table, a, b, c]) => {
                    let (frame, precision, [rows, columns]) =
                        frame.ok_or_else(|| DicomError::damaged(EXPECTED, "a scan before its frame"))?;
                    let (component_table, scan) = (*component_table, [*a, *b, *c]);
                    return Ok(Segments {
                        frame,
                        precision,
                        rows,
                        columns,
                        restart_interval,
                        tables,
                        component_table,
                        scan,
                        coded: rest,
                    });
                }
                (0xda, _) => return Err(DicomError::damaged(EXPECTED, "a scan of several components")),
                (0xd0..=0xd9 | 0x00, _) => return Err(DicomError::damaged(EXPECTED, "an end before a scan")),
                _ => tables.push((marker, segment)),
            }
        }
    }

    /// Refuses a stream whose image has another size than the DICOM header states.
    pub(super) fn expect_size(&self, rows: usize, columns: usize) -> Result<(), DicomError> {
        if [self.rows, self.columns] == [rows, columns] {
            return Ok(());
        }
        let found = format!("one of {}x{} where the header states {rows}x{columns}", self.rows, self.columns);
        Err(DicomError::damaged("a picture of the header's size", found))
    }
}

//! Standard output that may be closed by its reader or fill a disk.

use std::io::{self, BufWriter, StdoutLock, Write};

use serde::Serialize;

use crate::visible;

/// Standard output, held by one verb. Write errors come back as errors, never as panics; once the reader has closed its end,
/// what is written is dropped and every call succeeds.
///
/// Text that is written has nothing in it that a terminal obeys but line breaks, see [`visible`]; bytes that are no UTF-8 are
/// shown as the mark that stands for such.
#[derive(Debug)]
pub struct Stdout<W: Write = StdoutLock<'static>> {
    writer: BufWriter<W>,
    closed: bool,
    // The begin of a character whose other bytes are not written yet.
    cut: Vec<u8>,
}

impl Stdout {
    /// Takes standard output until the value is dropped.
    pub fn lock() -> Stdout {
        Stdout::new(io::stdout().lock())
    }
}

impl<W: Write> Stdout<W> {
    fn new(writer: W) -> Stdout<W> {
        Stdout { writer: BufWriter::new(writer), closed: false, cut: Vec::new() }
    }

    /// Writes a value as one line of JSON.
    ///
    /// # Errors
    /// The system refuses the write.
    pub fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string(value)?;
        self.json_lines(&text)?;
        self.data(b"\n")
    }

    /// Writes text that is JSON.
    ///
    /// # Errors
    /// The system refuses the write.
    pub fn json_lines(&mut self, text: &str) -> io::Result<()> {
        self.data(visible::json(text).as_bytes())
    }

    /// Writes the bytes of a format whose cells were made visible one by one, such as CSV.
    ///
    /// # Errors
    /// The system refuses the write.
    pub fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.unless_closed((), |writer| writer.write_all(bytes))
    }

    /// Writes everything out. Without this call the end of what was written may be lost.
    ///
    /// # Errors
    /// The system refuses the write, such as a full disk.
    pub fn finish(&mut self) -> io::Result<()> {
        self.flush()
    }

    fn unless_closed<T>(&mut self, done: T, write: impl FnOnce(&mut BufWriter<W>) -> io::Result<T>) -> io::Result<T> {
        if self.closed {
            return Ok(done);
        }
        match write(&mut self.writer) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(done)
            }
            Err(error) => Err(io::Error::new(error.kind(), format!("standard output: {error}"))),
            result => result,
        }
    }
}

impl<W: Write> Write for Stdout<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.cut.extend_from_slice(bytes);
        let mut text = String::new();
        let mut rest = self.cut.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(whole) => {
                    text.push_str(whole);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    let Some(wrong) = error.error_len() else {
                        rest = after;
                        break;
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = &after[wrong..];
                }
            }
        }
        self.cut = rest.to_vec();
        self.data(visible::lines(&text).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.unless_closed((), BufWriter::flush)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Failing(io::ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn text_is_visible_however_it_is_cut_and_data_is_as_it_is() {
        let mut out = Stdout::new(Vec::new());
        for byte in "\u{9b}é\x1b[2J\n\u{202e}".as_bytes().iter().chain(&[0xff, b'x']) {
            out.write_all(&[*byte]).unwrap();
        }
        out.data(b"\r\n").unwrap();
        out.json(&"\x7f").unwrap();
        out.finish().unwrap();
        let expected = "\\u{9b}é\\u{1b}[2J\n\\u{202e}\u{fffd}x\r\n\"\\u007f\"\n";
        assert_eq!(String::from_utf8(out.writer.into_inner().unwrap()).unwrap(), expected);
    }

    #[test]
    fn a_closed_pipe_is_success_and_a_full_disk_an_error() {
        let write = |kind| {
            let mut out = Stdout::new(Failing(kind));
            let text = "x".repeat(100_000);
            let written = writeln!(out, "{text}").and_then(|()| out.json(&text)).and_then(|()| out.finish());
            std::mem::forget(out.writer.into_parts());
            written
        };
        write(io::ErrorKind::BrokenPipe).unwrap();
        let error = write(io::ErrorKind::StorageFull).unwrap_err();
        assert!(error.kind() == io::ErrorKind::StorageFull && error.to_string().contains("standard output"));
    }
}

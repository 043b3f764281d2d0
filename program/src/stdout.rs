//! Standard output that may be closed by its reader or fill a disk.

use std::io::{self, BufWriter, StdoutLock, Write};

use serde::Serialize;

/// Standard output, held by one verb. Write errors come back as errors, never as panics; once the reader has closed its end,
/// what is written is dropped and every call succeeds.
#[derive(Debug)]
pub struct Stdout<W: Write = StdoutLock<'static>> {
    writer: BufWriter<W>,
    closed: bool,
}

impl Stdout {
    /// Takes standard output until the value is dropped.
    pub fn lock() -> Stdout {
        Stdout::new(io::stdout().lock())
    }
}

impl<W: Write> Stdout<W> {
    fn new(writer: W) -> Stdout<W> {
        Stdout { writer: BufWriter::new(writer), closed: false }
    }

    /// Writes a value as one line of JSON.
    ///
    /// # Errors
    /// The system refuses the write.
    pub fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string(value)?;
        writeln!(self, "{text}")
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
        self.unless_closed(bytes.len(), |writer| writer.write(bytes))
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

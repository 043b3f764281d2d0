//! What a run logs, as TensorBoard reads it: event files in `events/` of the run's folder.
//!
//! # Layout
//! - `record`: how one event stands in a file, and where the next begins
//! - `message`: what an event says, in protocol buffers' bytes
//!
//! Every start of a run writes a file of its own, named so that files sort as they were begun. What an earlier start wrote of steps
//! that come again is cut off first, so that no step stands twice.

mod message;
mod record;

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use med2e3_program::progress::WallClock;
use med2e3_store::FileError;

use super::appended::AppendedFile;
use crate::TrainerError;

/// What the names of the files hold, by which TensorBoard finds them.
const NAME: &str = "tfevents";

/// An event file that grows.
pub(super) struct EventFile {
    file: AppendedFile,
    clock: WallClock,
}

impl EventFile {
    /// Begins the next file of a folder, which is made where it is not there; steps after `last` are cut off the files that are.
    ///
    /// # Errors
    /// The system refuses to read or write.
    pub(super) fn begin(folder: &Path, last: u64) -> Result<EventFile, TrainerError> {
        fs::create_dir_all(folder).map_err(FileError::of(folder, "create"))?;
        let files = files(folder)?;
        for path in &files {
            cut(path, last)?;
        }
        let clock = WallClock::start();
        // A clock that was set back gives no name that sorts before those that are there.
        let numbers = files.iter().filter_map(|path| number_of(path));
        let number = numbers.max().map_or(0, |most| most + 1).max(clock.seconds() as u64);
        let path = folder.join(format!("events.out.{NAME}.{number:010}.med2e3"));
        let mut events = EventFile { file: AppendedFile::create(&path)?, clock };
        events.write(&message::version(events.clock.seconds()));
        if last > 0 {
            // A TensorBoard that has read what was cut off forgets it now.
            events.write(&message::session_start(events.clock.seconds(), last + 1));
        }
        Ok(events)
    }

    /// Appends one step's numbers by tag. What the disk refuses waits for [`EventFile::flush`].
    pub(super) fn append(&mut self, step: u64, scalars: &[(String, f64)]) {
        self.write(&message::scalars(self.clock.seconds(), step, scalars));
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// The disk still refuses it.
    pub(super) fn flush(&mut self) -> Result<(), TrainerError> {
        self.file.flush()
    }

    fn write(&mut self, event: &[u8]) {
        self.file.append(&record::framed(event));
    }
}

/// The event files of a folder, as they were begun.
fn files(folder: &Path) -> Result<Vec<PathBuf>, TrainerError> {
    let entries = fs::read_dir(folder).map_err(FileError::of(folder, "list"))?;
    let mut files: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| number_of(path).is_some()).collect();
    files.sort();
    Ok(files)
}

fn number_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_prefix(&format!("events.out.{NAME}."))?;
    name.strip_suffix(".med2e3")?.parse().ok()
}

/// Cuts a file where its first event of a step after `last` begins, or where it is torn.
fn cut(path: &Path, last: u64) -> Result<(), TrainerError> {
    let bytes = fs::read(path).map_err(FileError::of(path, "read"))?;
    let is_kept = |event: &[u8]| message::step(event).is_some_and(|step| step <= last);
    let kept = record::records(&bytes).take_while(|(_, event)| is_kept(event)).map(|(end, _)| end).last().unwrap_or(0);
    if kept < bytes.len() {
        let file = OpenOptions::new().write(true).open(path).map_err(FileError::of(path, "open"))?;
        file.set_len(kept as u64).map_err(FileError::of(path, "cut"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(value: f64) -> Vec<(String, f64)> {
        vec![("loss".into(), value), ("loss/caption".into(), 0.5 * value)]
    }

    fn steps(folder: &Path) -> Vec<Vec<u64>> {
        let steps = |path: &PathBuf| {
            let bytes = fs::read(path).unwrap();
            record::records(&bytes).filter_map(|(_, event)| message::step(event)).collect()
        };
        files(folder).unwrap().iter().map(steps).collect()
    }

    #[test]
    fn a_resumed_run_begins_a_file_and_repeats_no_step() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("events");
        let mut first = EventFile::begin(&folder, 0).unwrap();
        for step in 1..=5 {
            first.append(step, &tags(step as f64));
        }
        // As a kill leaves it.
        first.file.append(&record::framed(b"torn")[..7]);
        assert_eq!(steps(&folder), [vec![0, 1, 2, 3, 4, 5]]);

        let mut second = EventFile::begin(&folder, 3).unwrap();
        second.append(4, &tags(4.0));
        assert_eq!(steps(&folder), [vec![0, 1, 2, 3], vec![0, 4, 4]]);
        // Nothing at all is left of the steps of a run that begins again; other files stay.
        fs::write(folder.join("notes.txt"), "mine").unwrap();
        drop(EventFile::begin(&folder, 0).unwrap());
        assert_eq!(steps(&folder), [vec![0], vec![0], vec![0]]);
        assert!(folder.join("notes.txt").is_file());
    }
}

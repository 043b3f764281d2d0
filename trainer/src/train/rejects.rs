//! `feed-rejects.jsonl`: the samples that a run goes without, since a volume of theirs does not read as it was written. One line
//! each, at the step that met it first.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use med2e3_feed::BadSample;
use med2e3_program::note;
use med2e3_schemas::Id;
use med2e3_schemas::report::FeedReject;
use med2e3_store::{FileError, put_whole};

use super::appended::AppendedFile;
use super::log;
use crate::TrainerError;

/// The file in a run's folder; there is none where all samples read.
const FILE: &str = "feed-rejects.jsonl";

/// The samples so far.
pub(super) struct Rejects {
    path: PathBuf,
    // Once there is a line.
    file: Option<AppendedFile>,
    known: HashSet<Id>,
    most: u64,
}

impl Rejects {
    /// Of a run that goes on behind a step, in which so many samples may be bad. Lines of later steps are removed: their samples are
    /// met again.
    ///
    /// # Errors
    /// The system refuses.
    pub(super) fn open(out: &Path, step: u64, most: u64) -> Result<Rejects, TrainerError> {
        let path = out.join(FILE);
        let mut rejects = Rejects { file: None, known: HashSet::new(), most, path };
        if !rejects.path.exists() {
            return Ok(rejects);
        }
        let mut kept: Vec<FeedReject> = log::read(&rejects.path)?;
        kept.retain(|line| step > 0 && line.step <= step);
        if kept.is_empty() {
            fs::remove_file(&rejects.path).map_err(FileError::of(&rejects.path, "remove"))?;
            return Ok(rejects);
        }
        put_whole(&rejects.path, kept.iter().map(line).collect::<String>().as_bytes())?;
        rejects.known = kept.iter().map(|line| line.sample).collect();
        rejects.file = Some(AppendedFile::open(&rejects.path)?);
        Ok(rejects)
    }

    /// Takes note of what a batch of a step goes without.
    ///
    /// # Errors
    /// More samples than may be; the file can't be begun.
    pub(super) fn add(&mut self, step: u64, bad: &[BadSample]) -> Result<(), TrainerError> {
        for BadSample { sample, volume, shard, row, reason } in bad {
            if !self.known.insert(*sample) {
                continue;
            }
            let (shard, row) = (shard.clone(), *row as u64);
            let reject = FeedReject { step, sample: *sample, volume: *volume, shard, row, reason: reason.clone() };
            let place = format!("{}: row {row}, volume {volume}: {reason}", reject.shard.display());
            note(format_args!("WARNING: step {step} goes without sample {sample}: {place}"));
            let file = match &mut self.file {
                Some(file) => file,
                None => self.file.insert(AppendedFile::create(&self.path)?),
            };
            file.append(line(&reject).as_bytes());
            let found = self.known.len() as u64;
            if found > self.most {
                return Err(TrainerError::BadSamples { path: self.path.clone(), most: self.most, found, last: place });
            }
        }
        Ok(())
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// The disk still refuses it.
    pub(super) fn flush(&mut self) -> Result<(), TrainerError> {
        self.file.as_mut().map_or(Ok(()), AppendedFile::flush)
    }
}

fn line(reject: &FeedReject) -> String {
    serde_json::to_string(reject).expect("plain data") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad(sample: &str) -> BadSample {
        let sample = Id::of_volume(sample);
        BadSample { sample, volume: sample, shard: "volumes/00000.parquet".into(), row: 3, reason: "cut".into() }
    }

    #[test]
    fn each_sample_has_one_line_and_a_resumed_run_keeps_those_before_it() {
        let out = tempfile::tempdir().unwrap();
        let lines = || fs::read_to_string(out.path().join(FILE)).unwrap_or_default().lines().count();
        let mut rejects = Rejects::open(out.path(), 0, 2).unwrap();
        assert_eq!(lines(), 0);
        rejects.add(1, &[bad("a")]).unwrap();
        rejects.add(2, &[bad("a"), bad("b")]).unwrap();
        let error = rejects.add(3, &[bad("c")]).unwrap_err().to_string();
        assert!(error.contains("max_bad") && error.contains("row 3") && error.contains("found 3"), "{error}");
        assert_eq!(lines(), 3);
        // Behind step 2 the third is met again; with a larger limit the run goes on.
        let mut rejects = Rejects::open(out.path(), 2, 3).unwrap();
        assert_eq!(lines(), 2);
        rejects.add(3, &[bad("b"), bad("c")]).unwrap();
        rejects.flush().unwrap();
        assert_eq!(lines(), 3);
        Rejects::open(out.path(), 0, 3).unwrap();
        assert_eq!(lines(), 0);
    }
}

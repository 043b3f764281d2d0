//! The reports of runs joined: one self-contained HTML page for people, one JSON file for programs, a figure for a paper.
//!
//! # Layout
//! - `run`: a run's folder and what is shown of it; `training`: a training, perhaps going on
//! - `page`: the page; `picture`: pictures that it embeds
//! - `figure`: one explained volume as a picture of its own

mod figure;
mod page;
mod picture;
mod run;
mod training;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use med2e3_program::visible;
use med2e3_schemas::joined::{JoinedReport, RunState};
use med2e3_store::put_whole;

use crate::TrainerError;
use crate::files::json::write_json;
use run::{Run, What};

/// Writes the page of the runs in `folders`, with `.json` the same for programs, and with `.svg` a figure where a run explained an
/// open question.
///
/// With `every` a training that goes on is followed: the files are written again after so many seconds, and a browser that shows
/// the page loads it again, until no training of them goes on; only then this returns.
///
/// # Errors
/// A folder that is no run, a run that does not read, a file that can't be written.
pub fn join(folders: &[PathBuf], out: &Path, every: Option<u64>) -> Result<(), TrainerError> {
    loop {
        let runs = folders.iter().map(|folder| Run::read(folder)).collect::<Result<Vec<Run>, _>>()?;
        let is_running =
            |run: &Run| matches!(&run.what, What::Training(training) if training.run.state == RunState::Running);
        let again = every.filter(|_| runs.iter().any(is_running));
        write(&runs, out, again)?;
        let Some(seconds) = again else { return Ok(()) };
        thread::sleep(Duration::from_secs(seconds));
    }
}

fn write(runs: &[Run], out: &Path, reload: Option<u64>) -> Result<(), TrainerError> {
    write_json(&out.with_extension("json"), &JoinedReport { runs: runs.iter().map(Run::joined).collect() })?;
    let explained = runs.iter().find_map(|run| match &run.what {
        What::Explanation(explained) => Some(explained),
        _ => None,
    });
    if let Some(figure) = explained.and_then(|found| figure::figure(&found.report.explanations, &found.strips)) {
        put_whole(&out.with_extension("svg"), visible::lines(&figure).as_bytes())?;
    }
    // What reorders or hides text is shown in the page too.
    Ok(put_whole(out, visible::lines(&page::html(runs, reload)).as_bytes())?)
}

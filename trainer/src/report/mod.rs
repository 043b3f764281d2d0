//! The reports of a demo's runs joined: one self-contained HTML page for people, one JSON file for programs.
//!
//! # Layout
//! - `material`: what the page shows, read from the runs' folders
//! - `page`: the page; `chart`, `picture`: what it embeds
//! - `figure`: one volume of it as a picture of its own

mod chart;
mod figure;
mod material;
mod page;
mod picture;

use med2e3_program::visible;
use med2e3_store::put_whole;

use crate::TrainerError;
use crate::files::json::write_json;
use material::Material;

pub use material::ReportPaths;

/// Writes the page, the JSON file and the figure.
///
/// # Errors
/// A run that is missing or does not read, a file that can't be written.
pub fn join(paths: &ReportPaths) -> Result<(), TrainerError> {
    let material = Material::read(paths)?;
    write_json(&paths.out.with_extension("json"), &material.joined)?;
    if let Some(figure) = figure::svg(&material.explain.explanations, &material.strips) {
        put_whole(&paths.out.with_extension("svg"), visible::lines(&figure).as_bytes())?;
    }
    // What reorders or hides text is shown in the page too.
    Ok(put_whole(&paths.out, visible::lines(&page::html(&material)).as_bytes())?)
}

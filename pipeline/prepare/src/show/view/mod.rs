//! `view`: one HTML page of a dataset's rows for a person: slices, texts, where they come from, and what was set aside.
//!
//! The page holds everything that it shows, and asks for no file and no script. What is withheld from the dataset is not in it,
//! unless names are asked for. Texts and pictures are bounded, whatever a dataset holds.
//!
//! # Layout
//! - `material`: what the page shows, read from the dataset
//! - `page`: the page; `picture`: slices as data addresses

mod material;
mod page;
mod picture;

use std::path::Path;

use med2e3_program::visible;
use med2e3_store::put_whole;
use serde::Serialize;

use crate::PrepareError;
use material::Material;

/// Most volumes of a page.
pub const MOST_ROWS: u64 = 500;

/// Which part of a dataset a page shows.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// The first volume, from 0.
    pub start: u64,
    /// How many volumes, 1 to [`MOST_ROWS`].
    pub rows: u64,
    /// Whether names are given in full where the dataset withholds them, and inputs that were set aside are read from the data
    /// root for a picture.
    pub names: bool,
}

/// What a page holds.
#[derive(Clone, Debug, Serialize)]
pub struct Page {
    /// Volumes on the page.
    pub rows: u64,
    /// Number of the first of them.
    pub start: u64,
    /// Volumes of the dataset.
    pub volumes: u64,
    /// Rows that were set aside.
    pub set_aside: u64,
    /// Bytes of the page.
    pub bytes: u64,
}

/// Writes the page of some rows to `out`.
///
/// # Errors
/// A folder that is no dataset, a first row beyond its last, a page that can't be written.
pub fn view(root: &Path, part: Part, out: &Path) -> Result<Page, PrepareError> {
    let material = Material::read(root, part)?;
    let html = page::html(&material);
    // What reorders or hides text is shown in the page too.
    let html = visible::lines(&html);
    put_whole(out, html.as_bytes())?;
    Ok(Page {
        rows: material.volumes.len() as u64,
        start: part.start,
        volumes: material.volume_count,
        set_aside: material.set_aside_count,
        bytes: html.len() as u64,
    })
}

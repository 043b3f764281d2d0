//! The arguments of a run: one configuration file, overrides, and an output folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use med2e3_schemas::config::{self, Moved};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Stdout, note};

/// A run: one configuration file, overrides, and where the results go.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The run's TOML file
    pub config: PathBuf,
    /// Override one value of the file, such as --set seed=2; may be given again
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Folder for the results
    #[arg(long)]
    pub out: PathBuf,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

impl RunArgs {
    /// The run's configuration: the file's text with the overrides applied.
    ///
    /// # Errors
    /// A file that can't be read, an unknown key, a value of the wrong type.
    pub fn read_config<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        read_config(&self.config, &self.set)
    }

    /// As [`RunArgs::read_config`], for a configuration some of whose keys had other places in earlier versions: they are read
    /// there too, which is said.
    ///
    /// # Errors
    /// As [`RunArgs::read_config`]; a file that states both.
    pub fn read_moved_config<T: DeserializeOwned>(&self, moved: &[Moved]) -> anyhow::Result<T> {
        read_moved_config(&self.config, &self.set, moved)
    }

    /// Prints the run's report as JSON or as text.
    ///
    /// # Errors
    /// Standard output refuses the write.
    pub fn print<T: Serialize>(
        &self,
        out: &mut Stdout,
        report: &T,
        summary: impl FnOnce(&T) -> String,
    ) -> anyhow::Result<()> {
        print(out, self.json, report, summary)
    }
}

/// The configuration in a file with overrides `path.to.key=value` applied.
///
/// # Errors
/// A file that can't be read, an unknown key, a value of the wrong type.
pub fn read_config<T: DeserializeOwned>(path: &Path, overrides: &[String]) -> anyhow::Result<T> {
    read_moved_config(path, overrides, &[])
}

/// As [`read_config`], with keys of earlier versions.
///
/// # Errors
/// As [`read_config`]; a file that states both the earlier key and the present one.
pub fn read_moved_config<T: DeserializeOwned>(path: &Path, overrides: &[String], moved: &[Moved]) -> anyhow::Result<T> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).with_context(|| format!("{name}: read failed"))?;
    let (read, met) = config::parse_moved(&name, &text, overrides, moved)?;
    for (earlier, now) in met {
        note(format_args!("note: {earlier} of earlier versions is read as {now}"));
    }
    Ok(read)
}

/// Prints a value as one line of JSON, or as the text that `summary` makes of it.
///
/// # Errors
/// Standard output refuses the write.
pub fn print<T: Serialize>(
    out: &mut Stdout,
    json: bool,
    value: &T,
    summary: impl FnOnce(&T) -> String,
) -> anyhow::Result<()> {
    use std::io::Write;
    if json {
        out.json(value)?;
    } else {
        out.write_all(summary(value).as_bytes())?;
    }
    Ok(())
}

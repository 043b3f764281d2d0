//! The arguments of a run: one configuration file, overrides, and an output folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use med2e3_schemas::config;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Stdout;

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
    let name = path.display().to_string();
    let text = fs::read_to_string(path).with_context(|| format!("{name}: read failed"))?;
    Ok(config::parse(&name, &text, overrides)?)
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

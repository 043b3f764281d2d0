//! `reference`: `docs/configuration.md`, from what the programs say of their configurations.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::output;
use crate::demo::build;

const HEAD: &str = "\
# Configurations, key by key

Written by `cargo xtask reference` from the types that the programs read (`med2e3-data config reference`, `med2e3 config reference`); a test fails
where this page is another. The same as JSON schemas: `med2e3-data config schema`, `med2e3 config schema`. Examples for each task are in
[configs/](../configs/README.md).

`a.b` is the key `b` in the table `[a]`; `a[].b` is the key `b` in each table of the list `[[a]]`. `--set a.b=value` overrides any of them.

";

/// Builds both programs and writes the page.
pub(crate) fn reference(repository: &Path) -> Result<()> {
    build(repository)?;
    let folder = std::env::current_exe().context("cannot find the folder of this program")?;
    let mut page = HEAD.to_owned();
    for program in ["med2e3-data", "med2e3"] {
        let mut command = Command::new(folder.with_file_name(program));
        command.current_dir(repository).args(["config", "reference"]);
        page += &String::from_utf8(output(&mut command)?).context("the reference is no UTF-8")?;
    }
    let path = repository.join("docs/configuration.md");
    fs::write(&path, page.trim_end().to_owned() + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    println!("{}", path.display());
    Ok(())
}

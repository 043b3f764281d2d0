//! Faults of the machine, made: reads, opens and writes of chosen files that fail as a bad or full disk or a lost mount lets them; a
//! storm of signals; threads that are refused; a clock that was never set.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::program::run_to;

/// A library that makes faults, built in a folder of its own.
pub struct Faults {
    library: PathBuf,
}

/// One fault.
#[derive(Clone, Copy, Debug)]
pub struct Fault<'a> {
    /// `read`, `open` or `write`.
    pub operation: &'a str,
    /// The system's number of the error.
    pub number: i32,
    /// How many calls fail.
    pub times: u32,
    /// The first call that does, from 1.
    pub first: u32,
    /// What the paths of the files begin with.
    pub prefix: &'a Path,
}

impl Faults {
    /// Builds the library with the system's C compiler, which the workspace needs anyway.
    pub fn build(folder: &Path) -> Faults {
        let library = folder.join("fault.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/fault.c");
        run_to(0, Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).arg("-ldl"));
        Faults { library }
    }

    /// The command, in which the fault occurs.
    pub fn with<'c>(&self, command: &'c mut Command, fault: Fault<'_>) -> &'c mut Command {
        let Fault { operation, number, times, first, prefix } = fault;
        let text = format!("{operation} {number} {times} {first} {}", prefix.display());
        command.env("LD_PRELOAD", &self.library).env("MED2E3_FAULT", text)
    }

    /// The command, in which a timer's signal comes every millisecond.
    pub fn storm<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env("LD_PRELOAD", &self.library).env("MED2E3_STORM", "1")
    }

    /// The command, for which it is a day in 1969.
    pub fn early_clock<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env("LD_PRELOAD", &self.library).env("MED2E3_EARLY_CLOCK", "1")
    }

    /// The command, to which the system gives `most` threads at once besides the first.
    pub fn threads<'c>(&self, command: &'c mut Command, most: usize) -> &'c mut Command {
        command.env("LD_PRELOAD", &self.library).env("MED2E3_THREADS", most.to_string())
    }
}

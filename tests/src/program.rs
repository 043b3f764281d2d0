//! The products as programs: found next to the tests, run, and their outcome as a person sees it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A program of the workspace, to be run in the repository's root.
///
/// # Panics
/// A program that was not built.
pub fn program(name: &str) -> Command {
    let test = std::env::current_exe().expect("a test knows its own path");
    // target/debug/deps/test-hash -> target/debug/name
    let folder = test.parent().and_then(Path::parent).expect("tests are two folders deep");
    let path = folder.join(name);
    assert!(path.is_file(), "{} is missing: run `cargo build --workspace --bins`", path.display());
    let mut command = Command::new(path);
    // Help is wrapped to the terminal's width where one is stated.
    command.current_dir(root()).env_remove("COLUMNS");
    command
}

/// How often a test with random places runs: a few times, or many where `cargo xtask test --thorough` asks for it.
pub fn rounds(few: usize, many: usize) -> usize {
    match std::env::var_os("MED2E3_THOROUGH") {
        Some(_) => many,
        None => few,
    }
}

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What a program said.
pub struct Said {
    /// Exit code; -1 where a signal ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Said {
    let Output { status, stdout, stderr } = command.output().expect("the program starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("programs speak UTF-8");
    Said { code: status.code().unwrap_or(-1), out: text(stdout), err: text(stderr) }
}

/// Runs a command that must end with this code; shows what it said where it does not.
pub fn run_to(code: i32, command: &mut Command) -> Said {
    let said = run(command);
    assert_eq!(said.code, code, "{command:?}\n--- stdout\n{}\n--- stderr\n{}", said.out, said.err);
    said
}

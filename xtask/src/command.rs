//! Running a program. Every failure names the command as a user could type it.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};

/// Runs `command` with the terminal as its own and returns its exit code, which must be one of `accepted`.
pub(crate) fn run(command: &mut Command, accepted: &[i32]) -> Result<i32> {
    let status = command.status().with_context(|| not_started(command))?;
    match status.code() {
        Some(code) if accepted.contains(&code) => Ok(code),
        _ => bail!("{}", failed(command, status)),
    }
}

/// Runs `command` and returns what it wrote to stdout; its stderr goes into the error if it fails.
pub(crate) fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.stdin(Stdio::null()).output().with_context(|| not_started(command))?;
    if !output.status.success() {
        bail!("{}: {}", failed(command, output.status), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}

/// A cargo command in the workspace, by the cargo that runs this program, with the versions that `Cargo.lock` states and no
/// others.
pub(crate) fn cargo(repository: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let (verb, rest) = args.split_first().expect("cargo is given a verb");
    command.current_dir(repository).args([verb, "--locked"]).args(rest);
    command
}

/// The command on one line as one would type it: the program without its folder, quotes where a shell needs them.
pub(crate) fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(quoted).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_alphanumeric() || "-_./=:+,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

fn not_started(command: &Command) -> String {
    format!("cannot start `{}`", line(command))
}

fn failed(command: &Command, status: ExitStatus) -> String {
    format!("`{}` failed with {status}", line(command))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn only_accepted_exit_codes_pass() {
        assert_eq!(run(&mut shell("exit 1"), &[1]).unwrap(), 1);
        let error = run(&mut shell("exit 0"), &[1]).unwrap_err().to_string();
        assert_eq!(error, "`sh -c 'exit 0'` failed with exit status: 0");
        assert!(run(&mut shell("kill -9 $$"), &[0]).unwrap_err().to_string().contains("signal: 9"));
    }

    #[test]
    fn a_failed_command_tells_what_it_wrote() {
        assert_eq!(output(&mut shell("echo fine")).unwrap(), b"fine\n");
        let error = output(&mut shell("echo broken >&2; exit 3")).unwrap_err().to_string();
        assert!(error.ends_with("exit status: 3: broken"), "{error}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&mut Command::new("/usr/bin/no-such-program"), &[0]).unwrap_err().to_string();
        assert_eq!(error, "cannot start `no-such-program`");
    }
}

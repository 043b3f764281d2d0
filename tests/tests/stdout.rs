//! Standard output that is closed or full: a closed pipe is success, a full disk a failure; never a panic. And errors that
//! name their cause once.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use med2e3_tests::program::{program, run_to};
use med2e3_tests::tiny;

/// Every verb of `med2e3-data` that prints, on a dataset, with the exit code that it has.
fn verbs(dataset: &Path) -> Vec<(i32, Command)> {
    let verb = |args: &[&str]| {
        let mut command = program("med2e3-data");
        command.arg(args[0]).arg(dataset).args(&args[1..]);
        command
    };
    vec![
        (0, verb(&["sql", "SELECT * EXCLUDE (voxels) FROM volumes"])),
        (0, verb(&["sql", "SELECT question FROM samples", "--json"])),
        (0, verb(&["inspect"])),
        (0, verb(&["verify"])),
        (0, verb(&["verify", "--json"])),
        (1, verb(&["leaks"])),
    ]
}

#[test]
fn a_closed_pipe_is_success() {
    let folder = tempfile::tempdir().unwrap();
    tiny::dataset(folder.path(), &[]);
    for (code, mut command) in verbs(&folder.path().join("dataset")) {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // The reader leaves before the first byte.
        drop(child.stdout.take());
        let said = child.wait_with_output().unwrap();
        let err = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.code() == Some(code) && !err.contains("panicked"), "{command:?}: {:?} {err}", said.status);
    }
}

#[test]
fn a_full_disk_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    tiny::dataset(folder.path(), &[]);
    let dataset = folder.path().join("dataset");
    let mut commands: Vec<Command> = verbs(&dataset).into_iter().map(|(_, command)| command).collect();
    // A whole run, whose report can't be printed at its end; and the trainer's own report.
    let mut prepare = program("med2e3-data");
    prepare.args(["prepare", "--recipe", "m3d", "--set", "volume.shape=[4,16,16]", "--set", "limits.reject_rows=100"]);
    prepare.arg(folder.path().join("study/M3D_Cap")).arg("--out").arg(folder.path().join("again"));
    commands.push(prepare);
    commands.push(tiny::train(folder.path(), "run", &["data.max_steps=1"]));
    for mut command in commands {
        let said = run_to(2, command.stdout(File::options().write(true).open("/dev/full").unwrap()));
        let named = said.err.contains("standard output") && said.err.contains("No space left");
        assert!(named && !said.err.contains("panicked"), "{command:?}: {}", said.err);
    }
    assert!(folder.path().join("again/dataset.json").exists(), "the dataset itself is whole");
}

#[test]
fn a_query_error_is_printed_once() {
    let folder = tempfile::tempdir().unwrap();
    tiny::dataset(folder.path(), &[]);
    let mut command = program("med2e3-data");
    command.arg("sql").arg(folder.path().join("dataset")).arg("SELECT no_such_column FROM samples");
    let err = run_to(2, &mut command).err;
    assert_eq!(err.matches("no_such_column").count(), 1, "{err}");
    assert!(err.contains("no column `no_such_column`") && !err.contains("Schema error"), "{err}");
    // The error, and the fields that there are.
    assert!(err.lines().count() <= 2, "{err}");
}

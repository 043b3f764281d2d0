//! A program under watch: it is ended where it takes more memory or time than it may, and must not panic or abort.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::program::Said;

/// What a program may take. Times are generous: they tell a program that ends from one that doesn't.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Peak of its resident memory, in MiB.
    pub mib: u64,
    /// From its start to its end.
    pub seconds: u64,
}

/// How often the program's memory is looked at.
const EVERY: Duration = Duration::from_millis(2);

/// Runs a command to its end within bounds.
///
/// # Panics
/// Where it takes more, ends by a signal, or says that it panicked; with what it took and said.
pub fn run_within(bounds: Bounds, command: &mut Command) -> Said {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let (out, err) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let start = Instant::now();
    let mut peak = 0;
    let (status, over) = loop {
        peak = peak.max(peak_mib(&child));
        let over = peak > bounds.mib || start.elapsed().as_secs() >= bounds.seconds;
        if over {
            child.kill().expect("a child can be ended");
        }
        match child.try_wait().expect("a child can be waited for") {
            Some(status) => break (status, over),
            None => thread::sleep(EVERY),
        }
    };
    let text = |reader: thread::JoinHandle<Vec<u8>>| String::from_utf8_lossy(&reader.join().unwrap()).into_owned();
    let said = Said { code: status.code().unwrap_or(-1), out: text(out), err: text(err) };
    let took = format!(
        "{command:?}\ntook {peak} MiB and {:.1} s of {bounds:?}, {status}\n--- stdout\n{}\n--- stderr\n{}",
        start.elapsed().as_secs_f64(),
        said.out,
        said.err
    );
    assert!(!over, "more than it may take: {took}");
    assert!(said.code >= 0 && !said.err.contains("panicked"), "no orderly end: {took}");
    said
}

/// As [`run_within`]; the command must end with one of these codes.
///
/// # Panics
/// As [`run_within`], and for any other code.
pub fn run_within_to(codes: &[i32], bounds: Bounds, command: &mut Command) -> Said {
    let said = run_within(bounds, command);
    assert!(codes.contains(&said.code), "{command:?}: {}\n{}\n{}", said.code, said.out, said.err);
    said
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    let mut pipe = pipe.expect("the pipe was asked for");
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("a pipe can be read");
        bytes
    })
}

/// Peak of a running child's resident memory, as the system counts it; 0 where it has ended.
fn peak_mib(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        shell
    }

    #[test]
    fn what_takes_too_much_is_ended() {
        let bounds = Bounds { mib: 100, seconds: 20 };
        assert_eq!(run_within(bounds, &mut shell("echo out; echo err >&2; exit 3")).code, 3);
        let falls = |bounds: Bounds, script: &'static str| {
            thread::spawn(move || drop(run_within(bounds, &mut shell(script)))).join().is_err()
        };
        assert!(falls(Bounds { seconds: 1, ..bounds }, "exec sleep 60"));
        // The shell holds what it reads.
        assert!(falls(bounds, r"x=$(head -c 400000000 /dev/zero | tr '\0' a); echo $x"));
        assert!(falls(bounds, "kill -6 $$"));
        assert!(falls(bounds, "echo thread main panicked >&2"));
    }
}

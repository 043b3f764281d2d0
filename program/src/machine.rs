//! Machine: bounds on what a configuration may ask of it, and what is taken of it.

use std::io;
use std::sync::mpsc;
use std::thread;

/// Threads that run at once here; 1 where the system does not say.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Threads beyond which more cost memory and help nothing: eight for each core, 64 on a small machine.
pub fn most_threads() -> usize {
    (8 * cores()).max(64)
}

/// Bytes of memory that the process has now; `None` where the system does not say.
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The system gives fewer threads than a run needs.
#[derive(Debug, thiserror::Error)]
#[error(
    "expected {needed} threads at once, found that the system gives {given} (`ulimit -u`, or a limit of the container)"
)]
pub struct ThreadsRefused {
    /// What was asked for.
    pub needed: usize,
    /// What there was.
    pub given: usize,
    /// The system's error.
    pub source: io::Error,
}

/// Whether the system gives `needed` threads at once: they are started, and end. Libraries that start threads themselves
/// panic or end the program where they get none, so this is asked before them.
///
/// # Errors
/// It gives fewer.
pub fn require_threads(needed: usize) -> Result<(), ThreadsRefused> {
    let (mut threads, mut refused) = (Vec::new(), None);
    // All wait until the last is there.
    let (open, gates): (Vec<_>, Vec<_>) = (0..needed).map(|_| mpsc::channel::<()>()).unzip();
    for gate in gates {
        // A closed channel ends the wait.
        match thread::Builder::new().stack_size(64 << 10).spawn(move || gate.recv().is_err()) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    drop(open);
    let given = threads.len();
    threads.into_iter().for_each(|thread| drop(thread.join()));
    match refused {
        Some(source) => Err(ThreadsRefused { needed, given, source }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_are_there_are_given() {
        require_threads(0).unwrap();
        require_threads(most_threads()).unwrap();
    }
}

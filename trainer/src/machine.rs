//! What the machine can hold: bounds on what a configuration may ask of it.

use std::fs;

use crate::TrainerError;
use crate::fit::expect;

/// Bytes of memory that a process may have: the machine's, or its container's where that is less. `None` where the system does
/// not say.
pub(crate) fn memory_bytes() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| of_meminfo(&text, "MemTotal:"));
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let container = limits.into_iter().filter_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok());
    machine.into_iter().chain(container).min()
}

/// Bytes of memory that are free for a process, or would be without the system's copies of files. `None` where the system does
/// not say.
pub(crate) fn available_bytes() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| of_meminfo(&text, "MemAvailable:"));
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let container = number("/sys/fs/cgroup/memory.max")
        .zip(number("/sys/fs/cgroup/memory.current"))
        .map(|(most, used)| most.saturating_sub(used));
    machine.into_iter().chain(container).min()
}

fn of_meminfo(text: &str, what: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(what))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Fails with [`TrainerError::Config`] where `bytes` are more than the machine has; `what` needs them.
pub(crate) fn check_memory(key: &str, bytes: u128, what: &str) -> Result<(), TrainerError> {
    let Some(memory) = memory_bytes().map(u128::from) else {
        return Ok(());
    };
    let expected = format!("what takes at most {}, this machine's memory", gib(memory));
    expect(key, bytes <= memory, expected, format!("{what}, which take {}", gib(bytes)))
}

/// Bytes as a person reads them.
pub(crate) fn gib(bytes: u128) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_off_the_systems_table() {
        assert_eq!(of_meminfo("MemTotal:       16384 kB\nMemFree: 1 kB\n", "MemTotal:"), Some(16 << 20));
        assert_eq!(of_meminfo("MemFree: 1 kB\n", "MemTotal:"), None);
        assert!(available_bytes() <= memory_bytes());
        assert_eq!(gib(3 << 29), "1.5 GiB");
    }
}

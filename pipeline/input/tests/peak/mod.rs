//! The peak of this process's memory, as the system counts it; `None` where it does not say.

use std::fs;

/// Makes the peak what the process takes now, and returns it in bytes.
pub(crate) fn peak_from_now() -> Option<u64> {
    // 5 is the kernel's word for it, see proc(5).
    fs::write("/proc/self/clear_refs", "5").ok()?;
    peak()
}

/// Peak memory of the process, in bytes.
pub(crate) fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

//! Machine: bounds on what a configuration may ask of it.

/// Threads beyond which more cost memory and help nothing: eight for each core, 64 on a small machine.
pub fn most_threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (8 * cores).max(64)
}

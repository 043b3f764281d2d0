//! What reading a cell took, measured where it is read. No result depends on it.

use std::time::{Duration, Instant};

/// Bytes of a read, and its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CellCost {
    /// Stored bytes.
    pub bytes: u64,
    /// Of having them.
    pub read: Duration,
    /// Of hashing them.
    pub hash: Duration,
    /// Of decoding them; of voxels that are stored plain none.
    pub decode: Duration,
}

/// A steady clock that starts when it is made.
#[derive(Clone, Copy, Debug)]
pub struct Watch(Instant);

impl Watch {
    /// Starts.
    pub fn start() -> Watch {
        Watch(Instant::now())
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Does something, and adds its time.
pub(crate) fn timed<T>(sum: &mut Duration, work: impl FnOnce() -> T) -> T {
    let watch = Watch::start();
    let done = work();
    *sum += watch.elapsed();
    done
}

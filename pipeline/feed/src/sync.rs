//! What the ring synchronizes by. The model of the ring (`pipeline/feed/model`) puts others in their place, whose every
//! interleaving it can try.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

pub(crate) use crossbeam::atomic::AtomicCell;
pub(crate) use crossbeam::queue::ArrayQueue;
pub(crate) use crossbeam::sync::{Parker, Unparker};
pub(crate) use crossbeam::utils::Backoff;
pub(crate) use med2e3_shards::Watch;

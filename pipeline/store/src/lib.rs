//! Files that appear whole, and the small interface behind which they may be stored anywhere.
//!
//! # Layout
//! - [`error`]: the crate's one error type; what a caller can decide is a variant
//! - [`temporary`]: names of unfinished files, unique by host, process and attempt
//! - [`whole`]: files and folders on a local disk that appear under their names whole or not at all
//! - [`map`]: memory-mapped files, the crate's one place with `unsafe`
//! - [`regular`]: files that are opened for reading, never pipes or devices
//! - [`positioned`]: a file read at positions, which may be cut short meanwhile
//! - [`disk`]: free bytes
//! - [`Store`]: the interface; [`LocalFolder`] and [`Memory`] implement it
//! - [`conformance`]: what every store must do, as one function that each implementer's tests call
//!
//! Nothing here knows Arrow, shards or configurations.

pub mod conformance;
pub mod disk;
pub mod error;
mod local;
pub mod map;
mod memory;
pub mod positioned;
pub mod regular;
mod store;
pub mod temporary;
pub mod whole;

pub use error::FileError;
pub use local::LocalFolder;
pub use map::MappedFile;
pub use memory::Memory;
pub use positioned::PositionedFile;
pub use regular::{check_regular, open_regular, read_regular};
pub use store::{Commit, Entry, Store, get_whole};
pub use whole::{WholeFile, WholeFolder, put_whole};

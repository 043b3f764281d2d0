//! What both programs share: how a verb runs and ends, its arguments, its output folder, and what a person sees meanwhile.
//!
//! # Layout
//! - [`frame`]: from arguments to an exit code
//! - [`run_args`]: a run's configuration file, overrides and output folder
//! - [`stdout`]: standard output that may be closed or full; [`stderr`]: messages
//! - [`visible`]: strangers' texts, so that a terminal shows them and obeys nothing
//! - [`output`]: the output folder of a run
//! - [`completions`], [`manual`]: a program's verbs for shells and for `man`
//! - [`schema`]: what the configurations may hold; `reference`: the same as a page
//! - [`work_part`]: the part of the work that one of several processes does
//! - [`machine`]: how many threads a run may have
//! - `signals`: which thread takes them, and work that stops in good order
//! - [`progress`]: a bar or lines, and the only clocks; [`pace`]: how long is left
//!
//! Nothing here knows datasets or models.

pub mod completions;
pub mod frame;
pub mod machine;
pub mod manual;
pub mod output;
pub mod pace;
pub mod progress;
mod reference;
pub mod run_args;
pub mod schema;
mod signals;
pub mod stderr;
pub mod stdout;
pub mod visible;
pub mod work_part;

pub use completions::CompletionsArgs;
pub use frame::main;
pub use manual::ManArgs;
pub use progress::{Progress, Stopwatch};
pub use run_args::RunArgs;
pub use schema::{ConfigArgs, Configuration};
pub use signals::StopSignal;
pub use stderr::{note, with_causes};
pub use stdout::Stdout;
pub use work_part::WorkPart;

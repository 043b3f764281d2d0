//! `med2e3-data`: prepare, sample, inspect and query datasets.

use std::process::ExitCode;

fn main() -> ExitCode {
    med2e3_prepare::cli::main()
}

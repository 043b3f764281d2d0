//! `med2e3`: train, evaluate, generate, explain and report.

use std::process::ExitCode;

fn main() -> ExitCode {
    med2e3_trainer::cli::main()
}

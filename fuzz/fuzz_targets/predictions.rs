//! See `prediction_files::predictions_file`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use med2e3_fuzz::prediction_files::predictions_file;

fuzz_target!(|bytes: &[u8]| predictions_file(bytes));

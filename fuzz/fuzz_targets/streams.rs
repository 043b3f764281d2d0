//! See `streams::stream`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use med2e3_fuzz::streams::stream;

fuzz_target!(|bytes: &[u8]| stream(bytes));

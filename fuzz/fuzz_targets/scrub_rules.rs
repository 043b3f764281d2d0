//! See `scrub_rules::scrub`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use med2e3_fuzz::scrub_rules::scrub;

fuzz_target!(|bytes: &[u8]| scrub(bytes));

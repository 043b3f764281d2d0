//! See `tree::tree`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use med2e3_fuzz::tree::tree;

fuzz_target!(|bytes: &[u8]| tree(bytes));

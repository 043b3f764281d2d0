//! See `manifest_rows::manifest`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use med2e3_fuzz::manifest_rows::manifest;

fuzz_target!(|bytes: &[u8]| manifest(bytes));

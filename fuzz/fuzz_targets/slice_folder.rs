//! See `volumes::slice_folder`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use med2e3_fuzz::volumes::slice_folder;

fuzz_target!(|bytes: &[u8]| slice_folder(bytes));

//! See `volumes::nifti`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use med2e3_fuzz::volumes::nifti;

fuzz_target!(|bytes: &[u8]| nifti(bytes));

//! See `volumes::dicom_file`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use med2e3_fuzz::volumes::dicom_file;

fuzz_target!(|bytes: &[u8]| dicom_file(bytes));

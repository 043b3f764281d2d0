//! See `volumes::dicom_files`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use med2e3_fuzz::volumes::dicom_files;

fuzz_target!(|bytes: &[u8]| dicom_files(bytes));

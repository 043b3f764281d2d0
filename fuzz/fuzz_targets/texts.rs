//! See `scored_texts::scored_texts`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use med2e3_fuzz::scored_texts::scored_texts;

fuzz_target!(|bytes: &[u8]| scored_texts(bytes));

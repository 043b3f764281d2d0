//! See `tokenizer_file::tokenizer`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use med2e3_fuzz::tokenizer_file::tokenizer;

fuzz_target!(|bytes: &[u8]| tokenizer(bytes));

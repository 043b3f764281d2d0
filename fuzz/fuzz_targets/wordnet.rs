//! See `wordnet_folder::wordnet_folder`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use med2e3_fuzz::wordnet_folder::wordnet_folder;

fuzz_target!(|bytes: &[u8]| wordnet_folder(bytes));

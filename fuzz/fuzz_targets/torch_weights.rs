//! See `torch_weights::torch_weights`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use med2e3_fuzz::torch_weights::torch_weights;

fuzz_target!(|bytes: &[u8]| torch_weights(bytes));

//! See `dataset::dataset`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use med2e3_fuzz::dataset::dataset;

// As in `shard_footer`.
fuzz_target!(
    init: std::panic::set_hook(Box::new(|_| {})),
    |bytes: &[u8]| dataset(bytes)
);

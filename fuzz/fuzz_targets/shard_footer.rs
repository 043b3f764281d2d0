//! See `shard::shard_footer`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use med2e3_fuzz::shard::shard_footer;

// The reader turns panics of the parquet crate into errors; libFuzzer's own hook would abort at them. A panic that nobody
// catches still ends the run.
fuzz_target!(
    init: std::panic::set_hook(Box::new(|_| {})),
    |bytes: &[u8]| shard_footer(bytes)
);

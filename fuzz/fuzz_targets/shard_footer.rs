//! See `shard::shard_footer`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use med2e3_fuzz::shard::shard_footer;

fuzz_target!(|bytes: &[u8]| shard_footer(bytes));

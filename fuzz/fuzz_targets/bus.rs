//! Fuzzes [`rumpnet_fuzz::bus::bus`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rumpnet_fuzz::bus::bus(data));

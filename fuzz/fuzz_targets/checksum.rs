//! Fuzzes [`rumpnet_fuzz::wire::checksum`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rumpnet_fuzz::wire::checksum(data));

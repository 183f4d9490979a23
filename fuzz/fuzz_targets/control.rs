//! Fuzzes [`rumpnet_fuzz::control::control`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rumpnet_fuzz::control::control(data));

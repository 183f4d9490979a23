//! Fuzzes [`rumpnet_fuzz::wire::pcapng`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rumpnet_fuzz::wire::pcapng(data));

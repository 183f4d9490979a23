//! Fuzzes [`rumpnet_fuzz::wire::ipv6`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rumpnet_fuzz::wire::ipv6(data));

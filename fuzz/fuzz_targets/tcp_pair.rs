//! Fuzzes [`rumpnet_fuzz::pair::tcp_pair`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rumpnet_fuzz::pair::tcp_pair(data));

//! Fuzzes [`rumpnet_fuzz::tcp::tcp_stack`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rumpnet_fuzz::tcp::tcp_stack(data));

//! Fuzzes [`rumpnet_fuzz::sockets::bpf`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rumpnet_fuzz::sockets::bpf(data));

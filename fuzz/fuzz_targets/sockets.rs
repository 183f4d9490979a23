//! Fuzzes [`rumpnet_fuzz::sockets::sockets`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rumpnet_fuzz::sockets::sockets(data));

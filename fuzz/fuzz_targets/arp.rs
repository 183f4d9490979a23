//! Fuzzes [`rumpnet_fuzz::wire::arp`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rumpnet_fuzz::wire::arp(data));

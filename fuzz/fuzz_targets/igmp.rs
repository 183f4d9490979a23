//! Fuzzes [`rumpnet_fuzz::wire::igmp`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rumpnet_fuzz::wire::igmp(data));

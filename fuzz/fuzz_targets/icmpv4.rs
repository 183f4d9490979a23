//! Fuzzes [`rumpnet_fuzz::wire::icmpv4`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rumpnet_fuzz::wire::icmpv4(data));

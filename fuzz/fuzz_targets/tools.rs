//! Fuzzes [`rumpnet_fuzz::tools::tools`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rumpnet_fuzz::tools::tools(data));

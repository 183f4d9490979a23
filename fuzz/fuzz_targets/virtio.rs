//! Fuzzes [`rumpnet_fuzz::wire::virtio`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rumpnet_fuzz::wire::virtio(data));

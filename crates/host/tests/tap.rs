//! The tap against the host's own kernel, each test in a network namespace of its own. Needs root and `/dev/net/tun`.

mod world;

use rumpnet_host::{Framing, Granted, Layer, Tap, TapOptions};
use world::alone;

#[test]
fn this_kernel_grants_every_offload_behind_a_header_of_twelve() {
    alone();
    let tap = Tap::open(&TapOptions::new("tap0")).unwrap();
    let all = Granted { checksum: true, tso4: true, tso6: true, tso_ecn: true, uso4: true, uso6: true };
    assert_eq!(tap.granted(), all);
    assert_eq!((tap.framing(), tap.layer()), (Framing::Twelve, Layer::Ethernet));
    assert!(tap.is_up().unwrap());
    assert!(!tap.existed_before());
}

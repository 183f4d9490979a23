//! What is left after many taps: nothing. Alone in its process, because it counts the process's descriptors.

mod world;

use std::{fs, thread};

use rumpnet_host::{Tap, TapOptions, netlink::Netlink};
use world::alone;

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("/proc is mounted").count()
}

#[test]
fn a_thousand_taps_made_and_closed_leave_neither_descriptor_nor_interface() {
    alone();
    let before = descriptors();
    // The host's kernel takes 20 ms for each close, most of it waiting, so they wait together.
    let workers: Vec<_> = (0..40)
        .map(|worker| {
            thread::spawn(move || {
                for _ in 0..25 {
                    let tap = Tap::open(&TapOptions::new(format!("tap{worker}"))).expect("a free name");
                    tap.set_carrier(true).expect("it is ours");
                    tap.set_mtu(1400).expect("it is ours");
                }
            })
        })
        .collect();
    workers.into_iter().for_each(|worker| worker.join().expect("no worker fails"));
    assert_eq!(descriptors(), before);
    let taps = Netlink::open().unwrap().links().unwrap().into_iter().filter(|link| link.tun.is_some());
    assert_eq!(taps.count(), 0);
}

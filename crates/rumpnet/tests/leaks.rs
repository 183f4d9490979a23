//! A thousand cycles of create, configure and destroy leave nothing behind: alone in its process, which it counts.

use std::fs;

use rumpnet::{Kernel, UdpSocket};
use rumpnet_host::namespace::enter_own_network;

/// What this process holds: descriptors, threads and KiB of resident memory.
fn holdings() -> (usize, usize, usize) {
    let count = |path| fs::read_dir(path).expect("procfs").count();
    let statm = fs::read_to_string("/proc/self/statm").expect("procfs");
    let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    (count("/proc/self/fd"), count("/proc/self/task"), pages * 4)
}

fn cycle(kernel: &Kernel) {
    kernel.create("virt0").expect("these tests need root");
    kernel.add_address("virt0", "10.0.0.2/24".parse().expect("a prefix")).expect("free");
    kernel.set_mtu("virt0", 9000).expect("in range");
    let socket = UdpSocket::bind(kernel, "10.0.0.2:9").expect("free");
    socket.send_to(b"to nobody", "10.0.0.9:9").expect("waits for its neighbour");
    drop(socket);
    kernel.destroy("virt0").expect("there");
    let path = std::env::temp_dir().join(format!("rumpnet-leaks-{}", std::process::id()));
    for bus in ["mem:leaks", path.to_str().expect("text")] {
        kernel.create("bus0").expect("no name is taken");
        kernel.set_link_string("bus0", Some(bus)).expect("a bus");
        kernel.add_address("bus0", "10.0.1.2/24".parse().expect("a prefix")).expect("free");
        kernel.destroy("bus0").expect("there");
    }
    fs::remove_file(path).expect("a bus that nobody is on");
}

#[test]
fn a_thousand_cycles_of_create_configure_destroy_leak_no_descriptor_thread_or_memory() {
    enter_own_network().expect("these tests need root");
    let kernel = Kernel::boot().expect("boots");
    (0..100).for_each(|_| cycle(&kernel));
    let (descriptors, threads, resident) = holdings();
    (0..1000).for_each(|_| cycle(&kernel));
    let after = holdings();
    assert_eq!((after.0, after.1), (descriptors, threads));
    assert!(after.2 < resident + 1024, "{resident} KiB resident before, {} after", after.2);
}

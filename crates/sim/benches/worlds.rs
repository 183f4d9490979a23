//! What a world of a thousand hosts costs, in bytes, and how fast it moves, in events a second: `cargo bench -p rumpnet-sim`.

use std::time::Instant as Clock;

use rumpnet_sim::{Config, World, future};

const PAIRS: u32 = 500;
const DATAGRAMS: u32 = 1000;

/// Bytes of memory that this process has resident.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux tells");
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4096
}

fn populate(world: &World) {
    for number in 0..PAIRS {
        let cable = world.cable();
        for side in 1..=2 {
            let host = world.host_with(&format!("h{number}.{side}"), Config::tiny());
            cable.connect(&host.interface("virt0").address(&format!("10.0.0.{side}/24")));
        }
    }
}

/// Every pair of hosts plays ping-pong.
fn play(world: &World) {
    for number in 0..PAIRS {
        for side in 1..=2 {
            let host = world.host(&format!("h{number}.{side}"));
            let socket = future::UdpSocket::bind(&host, (host_address(side), 9)).expect("free");
            socket.connect((host_address(3 - side), 9)).expect("a route");
            drop(host.spawn(async move {
                if side == 1 {
                    socket.send(&[0; 64]).await.expect("room");
                }
                for _ in 0..DATAGRAMS / 2 {
                    let mut buffer = [0; 64];
                    if socket.recv(&mut buffer).await.is_ok() {
                        socket.send(&buffer).await.expect("room");
                    }
                }
            }));
        }
    }
}

const fn host_address(side: u8) -> std::net::Ipv4Addr {
    std::net::Ipv4Addr::new(10, 0, 0, side)
}

fn main() {
    let before = resident();
    // once: it is measured.
    let world = World::new(1);
    world.keep_for_capture(0);
    let start = Clock::now();
    populate(&world);
    let hosts = u64::from(2 * PAIRS);
    println!("{hosts} hosts, an interface and an address each");
    println!("{:40} {:10.1} us", "boot of a host", start.elapsed().as_secs_f64() * 1e6 / hosts as f64);
    println!("{:40} {:10} bytes", "resident for a host", (resident() - before) / hosts);
    play(&world);
    let (start, events) = (Clock::now(), world.events());
    world.run_until_idle();
    let (took, events) = (start.elapsed().as_secs_f64(), world.events() - events);
    println!("{:40} {:10.0} a second", "frames through cables and tasks", events as f64 / took);
    println!("{:40} {:10} bytes", "resident after it has talked", (resident() - before) / hosts);
    let (start, events, virtual_start) = (Clock::now(), world.events(), world.now());
    world.run_for(std::time::Duration::from_secs(3600));
    let took = start.elapsed().as_secs_f64();
    println!("an idle hour takes {:.0} ms and {} events", took * 1e3, world.events() - events);
    assert_eq!(world.now() - virtual_start, std::time::Duration::from_secs(3600));
}

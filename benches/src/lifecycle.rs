//! What it costs to boot, to make and destroy interfaces, to start, and to be there: measured in the trial's own process.

use std::{
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use nix::time::{ClockId, clock_gettime};
use rumpnet::{Kernel, link::channel};
use rumpnet_host::{Tap, TapOptions};

use crate::{
    Failure, Figures, kernel_socket, median,
    namespace::{self, PEER, TAP},
    peer::Peer,
    rump_arm,
    trial::{Arm, Load},
};

/// Kernels booted one after the other.
const BOOTS: usize = 500;
/// Interfaces made and destroyed one after the other.
const CYCLES: usize = 20;
/// The same on a tap that stays, which is quicker.
const ADOPTED_CYCLES: usize = 200;
/// Interfaces destroyed side by side.
const PARALLEL: usize = 100;
/// Kernels of one process.
const KERNELS: usize = 1000;
/// How long idle kernels are watched.
const IDLE: Duration = Duration::from_secs(1);
/// How long new addresses are probed for and announced, and a little more (RFC 5227 section 1.1).
const SETTLED: Duration = Duration::from_secs(12);
/// How long a started process may take until it answers.
const START: Duration = Duration::from_secs(5);

/// Measures `load`, which needs no far side.
pub(crate) fn run(arm: Arm, load: Load) -> Result<Figures, Failure> {
    match (arm, load) {
        (Arm::Rump, Load::Boot) => boot(),
        (Arm::Rump, Load::Cycle) => cycle(),
        (Arm::Tap, Load::Cycle) => Ok(Figures::from([("cycle_ms".into(), middle(CYCLES, bare_cycle)?)])),
        (Arm::Rump, Load::Adopted) => adopted(),
        (Arm::Rump, Load::Parallel) => parallel(),
        (Arm::Rump, Load::Start) => start(),
        (Arm::Rump, Load::Kernels) => kernels(),
        (arm, load) => Err(format!("{} is not measured under {}", arm.name(), load.name()).into()),
    }
}

/// The median of what `once` takes, in ms.
fn middle(count: usize, mut once: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let start = Instant::now();
        once()?;
        times.push(milliseconds(start));
    }
    Ok(median(&times))
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// Kernels booted in a process that runs one already.
fn boot() -> Result<Figures, Failure> {
    let _first = Kernel::boot()?;
    let mut kernels = Vec::with_capacity(BOOTS);
    let time = middle(BOOTS, || {
        kernels.push(Kernel::boot()?);
        Ok(())
    })?;
    Ok(Figures::from([("boot_us".into(), time * 1e3)]))
}

/// A tap made, brought up and closed with nothing else.
fn bare_cycle() -> Result<(), Failure> {
    drop(Tap::open(&TapOptions::new("tap0"))?);
    Ok(())
}

/// An interface of `kernel` made, given an address, brought up and destroyed.
fn virt_cycle(kernel: &Kernel) -> Result<(), Failure> {
    kernel.create("virt0")?;
    kernel.add_address("virt0", format!("{}/24", Ipv4Addr::from(PEER)).parse()?)?;
    kernel.set_up("virt0", true)?;
    Ok(kernel.destroy("virt0")?)
}

/// The whole cycle, and our own share: what it takes where the host has no part in it.
fn cycle() -> Result<Figures, Failure> {
    let kernel = Kernel::boot()?;
    let time = middle(CYCLES, || virt_cycle(&kernel))?;
    let own = middle(ADOPTED_CYCLES, || channel_cycle(&kernel))?;
    Ok(Figures::from([("cycle_ms".into(), time), ("own_ms".into(), own)]))
}

/// The same on a channel.
fn channel_cycle(kernel: &Kernel) -> Result<(), Failure> {
    let _far = attach(kernel)?;
    kernel.set_up("virt0", true)?;
    Ok(kernel.destroy("virt0")?)
}

/// `virt0` with an address, on a channel whose other end is returned.
fn attach(kernel: &Kernel) -> Result<channel::ChannelLink, Failure> {
    let (own, far) = channel::pair();
    kernel.attach("virt0", Box::new(own), None)?;
    kernel.add_address("virt0", format!("{}/24", Ipv4Addr::from(PEER)).parse()?)?;
    Ok(far)
}

/// The cycle on a tap that was there before and stays.
fn adopted() -> Result<Figures, Failure> {
    namespace::create_tap()?;
    let kernel = Kernel::boot()?;
    let time = middle(ADOPTED_CYCLES, || virt_cycle(&kernel))?;
    Ok(Figures::from([("cycle_ms".into(), time)]))
}

/// Many interfaces with taps of their own, destroyed side by side.
fn parallel() -> Result<Figures, Failure> {
    let kernel = Kernel::boot()?;
    (0..PARALLEL).try_for_each(|unit| kernel.create(&format!("virt{unit}")))?;
    let start = Instant::now();
    kernel.shutdown();
    let time = milliseconds(start);
    if !kernel.interfaces()?.iter().all(|interface| interface.name.as_str() == "lo0") {
        return Err("an interface has survived".into());
    }
    Ok(Figures::from([("destroy_ms".into(), time)]))
}

/// From the start of a process to its first answered ping, on a tap made beforehand, and what it then holds of memory.
fn start() -> Result<Figures, Failure> {
    namespace::create_tap()?;
    // The host knows the way, so that nothing but the start is waited for.
    namespace::ip(&format!(
        "neigh replace {} lladdr {} dev {TAP} nud permanent",
        Ipv4Addr::from(PEER),
        namespace::link_text(namespace::PEER_LINK)
    ))?;
    let begun = Instant::now();
    let process = Peer::start(Arm::Rump, Load::Start)?;
    kernel_socket::await_first_answer(START)?;
    let time = milliseconds(begun);
    Ok(Figures::from([
        ("first_answer_ms".into(), time),
        ("resident_mib".into(), resident(process.id())? / 1024.0),
    ]))
}

/// What each further kernel with an interface holds, and what CPU time many of them take when nothing happens.
fn kernels() -> Result<Figures, Failure> {
    let first = Kernel::boot()?;
    let _far = attach(&first)?;
    let own = std::process::id();
    let before = resident(own)?;
    let mut kernels = Vec::with_capacity(KERNELS);
    for _ in 0..KERNELS {
        let kernel = Kernel::boot()?;
        let far = attach(&kernel)?;
        kernels.push((kernel, far));
    }
    let held = (resident(own)? - before) / KERNELS as f64;
    thread::sleep(SETTLED);
    let began = cpu_time()?;
    thread::sleep(IDLE);
    let idle = cpu_time()? - began;
    Ok(Figures::from([("kernel_kib".into(), held), ("idle_us_per_second".into(), idle.as_secs_f64() * 1e6)]))
}

/// CPU time of this process.
fn cpu_time() -> Result<Duration, Failure> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}

/// Resident memory of a process in KiB.
fn resident(process: u32) -> Result<f64, Failure> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// The kernel under `load` in a process of its own.
pub(crate) fn run_peer() -> Result<(), Failure> {
    let kernel = rump_arm::boot()?;
    // Until it is killed.
    kernel.wait_halt(None);
    Ok(())
}

//! Kernels on buses in files: what one sends the others hear, whatever else becomes of the file.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::Ipv4Addr,
    os::unix::fs::FileExt as _,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use rumpnet::{
    Config, Errno, Kernel, TcpListener, TcpStream, UdpSocket,
    proto::{CreateOptions, DropReason, EchoOptions, EchoOutcome, LinkState, Reply, Request},
    wire::{bus, virtio},
};
use rumpnet_host::bus::{Access, BusFile};

const PATIENCE: Duration = Duration::from_secs(20);

/// A path of our own, removed with what is there.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rumpnet-buses-{name}-{}", std::process::id()));
        let _old = fs::remove_file(&path);
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("text")
    }

    /// A kernel with `bus0` on the bus of this file.
    fn member(&self, address: &str) -> Kernel {
        let kernel = Kernel::builder().config(Config::server()).boot().expect("boots");
        join(&kernel, self.path(), address);
        kernel
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.0);
    }
}

fn join(kernel: &Kernel, bus: &str, address: &str) {
    kernel.create_with("bus0", &CreateOptions::default()).expect("room");
    kernel.set_link_string("bus0", Some(bus)).expect("a bus");
    kernel.add_address("bus0", address.parse().expect("a prefix")).expect("free");
}

fn ping(kernel: &Kernel, destination: Ipv4Addr) -> Vec<EchoOutcome> {
    let options = EchoOptions::to(destination.into());
    let Ok(Reply::Echo { echo, .. }) = kernel.control(Request::EchoOpen(options)) else {
        panic!("no session")
    };
    kernel.control(Request::EchoSend { echo, sequence: 7 }).expect("sent");
    let timeout_ns = PATIENCE.as_nanos() as u64;
    let received = kernel.control(Request::EchoReceive { echo, timeout_ns });
    let Ok(Reply::EchoReplies(replies)) = received else { panic!("no answer: {received:?}") };
    kernel.control(Request::EchoClose { echo }).expect("open until now");
    replies.iter().map(|reply| reply.outcome).collect()
}

/// Waits until something is so.
#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "never: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn members_of_a_file_ping_each_other() {
    let place = Place::new("ping");
    let members: Vec<Kernel> = (1..=3).map(|number| place.member(&format!("10.0.0.{number}/24"))).collect();
    for from in &members {
        for number in 1..=3 {
            assert_eq!(ping(from, [10, 0, 0, number].into()), [EchoOutcome::Reply]);
        }
    }
    assert_eq!(members[0].drops(DropReason::LinkSourceOurs), 0, "nobody hears itself");
    members[0].destroy("bus0").expect("it is there");
    assert_eq!(ping(&members[1], [10, 0, 0, 3].into()), [EchoOutcome::Reply]);
}

#[test]
fn a_driven_kernel_hears_what_comes_when_it_is_turned() {
    let place = Place::new("driven");
    let (one, two) = (place.member("10.0.0.1/24"), Kernel::builder().driven().boot().expect("boots"));
    join(&two, place.path(), "10.0.0.2/24");
    assert_eq!(ping(&two, [10, 0, 0, 1].into()), [EchoOutcome::Reply]);
    drop(one);
}

#[test]
fn super_frames_cross_whole_and_a_stream_arrives_as_it_was_sent() {
    let place = Place::new("stream");
    let (one, two) = (place.member("10.0.0.1/24"), place.member("10.0.0.2/24"));
    let listener = TcpListener::bind(&two, "10.0.0.2:9").expect("free");
    let sender = thread::spawn(move || {
        let mut stream = TcpStream::connect(&one, "10.0.0.2:9").expect("answered");
        for number in 0..128u32 {
            stream.write_all(&[number as u8; 64 * 1024]).expect("taken");
        }
        (one, stream)
    });
    let (mut stream, _) = listener.accept().expect("asked");
    let mut piece = vec![0; 64 * 1024];
    for number in 0..128u32 {
        stream.read_exact(&mut piece).expect("comes");
        assert!(piece.iter().all(|byte| *byte == number as u8));
    }
    drop(sender.join().expect("no panic"));
    let bus = BusFile::open(&place.0, Access::Reader).expect("a bus");
    let mut buffer = vec![0; bus::MAX_RECORD];
    let mut longest = 0;
    let mut reader = bus.reader(true);
    while let records = reader.read(&bus, &mut buffer).expect("a bus")
        && !records.bytes().is_empty()
    {
        longest = records.map(|(record, _)| record.len).max().unwrap_or(0).max(longest);
    }
    assert!(longest > 9000, "super-frames cross whole: {longest}");
}

#[test]
fn a_forged_offload_and_nonsense_in_the_ring_are_counted_drops() {
    let place = Place::new("forged");
    let kernel = place.member("10.0.0.1/24");
    let forger = BusFile::open(&place.0, Access::Member).expect("a bus");
    let to = kernel.interface("bus0").expect("there").link_address.expect("Ethernet").0;
    let frame = [&to[..], &[2, 0, 0, 0, 0, 9, 8, 0], &[0x45; 60]].concat();
    let send = |header: virtio::Header| {
        while forger.send(&header, &[&frame]).is_err() {}
    };
    let lies = [
        (
            virtio::Header { gso_type: virtio::GsoType::Tcp4, ..Default::default() },
            DropReason::OffloadGsoSize,
        ),
        (
            virtio::Header { gso_type: virtio::GsoType::Tcp6, gso_size: 9, ..Default::default() },
            DropReason::OffloadGsoKind,
        ),
        (
            virtio::Header { flags: virtio::Flags::NEEDS_CSUM, csum_start: 9999, ..Default::default() },
            DropReason::OffloadChecksumRange,
        ),
    ];
    for (lie, reason) in lies {
        send(lie);
        eventually(reason.text(), || kernel.drops(reason) == 1);
    }
    // A record that is none: the state says it is there, and it is not.
    let file = File::options().read(true).write(true).open(&place.0).expect("ours");
    let mut state = [0; bus::State::LEN];
    file.read_exact_at(&mut state, bus::STATE_AT).expect("there");
    let state = bus::State::parse(&state).expect("a state");
    let forged = bus::State { tail: state.tail + 64, count: state.count + 1, ..state };
    file.write_all_at(&forged.to_bytes(), bus::STATE_AT).expect("ours");
    // What comes next tells the kernel to look.
    send(virtio::Header::default());
    eventually("a runt", || kernel.drops(DropReason::LinkRunt) == 1);
    let other = place.member("10.0.0.2/24");
    assert_eq!(ping(&other, [10, 0, 0, 1].into()), [EchoOutcome::Reply], "and the bus goes on");
}

#[test]
fn a_file_that_is_cut_off_is_begun_anew_and_kills_no_kernel() {
    let place = Place::new("cut");
    let (one, two) = (place.member("10.0.0.1/24"), place.member("10.0.0.2/24"));
    assert_eq!(ping(&one, [10, 0, 0, 2].into()), [EchoOutcome::Reply]);
    for len in [0, 100, 4096, 100_000] {
        File::options().write(true).open(&place.0).expect("ours").set_len(len).expect("ours");
        eventually("an answer", || {
            let options = EchoOptions::to([10, 0, 0, 2].into());
            let Ok(Reply::Echo { echo, .. }) = one.control(Request::EchoOpen(options)) else {
                panic!("no session")
            };
            let _refused = one.control(Request::EchoSend { echo, sequence: 7 });
            let replies = one.control(Request::EchoReceive { echo, timeout_ns: 300_000_000 });
            one.control(Request::EchoClose { echo }).expect("open until now");
            replies.is_ok_and(|replies| replies != Reply::EchoReplies(Vec::new()))
        });
    }
    assert_eq!(two.interface("bus0").expect("there").link_state, LinkState::Up);
}

#[test]
fn what_was_overwritten_before_it_was_read_is_counted_and_shown() {
    let place = Place::new("overrun");
    let kernel = Kernel::builder().driven().boot().expect("boots");
    join(&kernel, place.path(), "10.0.0.1/24");
    let sender = BusFile::open(&place.0, Access::Member).expect("a bus");
    // Nobody turns the kernel meanwhile.
    let count = 2 * bus::RING / 1500;
    for _ in 0..count {
        while sender.send(&virtio::Header::default(), &[&[0xff; 1500]]).is_err() {}
    }
    eventually("the kernel has looked", || {
        kernel.turn(Some(Duration::from_millis(1)));
        kernel.interface("bus0").expect("there").host_drops > Some(0)
    });
    let report = kernel.interface("bus0").expect("there");
    let overruns = report.host_drops.expect("a bus tells");
    assert!(overruns > 0 && overruns < count, "{overruns}");
    assert_eq!(report.counters.input_queue_drops, overruns);
}

#[test]
fn files_that_are_no_buses_are_refused_with_the_reason() {
    let place = Place::new("foreign");
    fs::write(&place.0, b"a letter").expect("writable");
    let kernel = Kernel::boot().expect("boots");
    kernel.create_with("bus0", &CreateOptions::default()).expect("room");
    let refused = |string| kernel.set_link_string("bus0", Some(string)).expect_err("no bus");
    assert_eq!(
        refused(place.path()).to_string(),
        "SIOCSLINKSTR bus0: Exec format error (the file is no bus)"
    );
    assert_eq!(refused("/").errno, Errno::NoExec);
    let absent = refused("/nowhere/bus").to_string();
    assert!(absent.starts_with("SIOCSLINKSTR bus0: No such file or directory (/nowhere/bus: "), "{absent}");
    assert_eq!(refused(&format!("/{}", "x".repeat(300))).errno, Errno::TooBig);
    assert_eq!(kernel.interface("bus0").expect("there").bus, Some(Default::default()));
}

#[test]
fn many_who_talk_at_once_are_all_heard() {
    let place = Place::new("many");
    let receiver = place.member("10.0.0.100/24");
    let socket = UdpSocket::bind(&receiver, "10.0.0.100:9").expect("free");
    socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
    let senders: Vec<_> = (1..=4u8)
        .map(|number| {
            let kernel = place.member(&format!("10.0.0.{number}/24"));
            thread::spawn(move || {
                let socket = UdpSocket::bind(&kernel, format!("10.0.0.{number}:0")).expect("free");
                for count in 0..100u8 {
                    socket.send_to(&[number, count], "10.0.0.100:9").expect("taken");
                }
                kernel
            })
        })
        .collect();
    let mut next = [0; 5];
    for _ in 0..400 {
        let mut bytes = [0; 2];
        socket.recv(&mut bytes).expect("all are heard");
        assert_eq!(bytes[1], next[usize::from(bytes[0])], "in the order of their sender");
        next[usize::from(bytes[0])] += 1;
    }
    senders.into_iter().for_each(|sender| drop(sender.join().expect("no panic")));
}

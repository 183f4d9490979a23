//! What both ends of a connection have counted, ours by TCP_INFO and the host's by ss(8): one stream, one account.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{TcpListener as HostListener, TcpStream as HostStream},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rumpnet::{Kernel, TcpListener, TcpStream, proto::TrafficReport};
use rumpnet_host::namespace::enter_own_network;

const PATIENCE: Duration = Duration::from_secs(20);
const SENT: usize = 500_000;
const RECEIVED: usize = 300_000;

fn output(program: &str, words: &[&str]) -> String {
    let run = Command::new(program).args(words).output().expect("package iproute2");
    assert!(run.status.success());
    String::from_utf8(run.stdout).expect("text")
}

/// A kernel of 10.0.0.2 whose tap is 10.0.0.1 of the host.
fn kernel() -> Kernel {
    enter_own_network().expect("these tests need root");
    let kernel = Kernel::boot().expect("boots");
    kernel.create("virt0").expect("these tests need root");
    kernel.add_address("virt0", "10.0.0.2/24".parse().expect("a prefix")).expect("free");
    output("ip", &["addr", "add", "10.0.0.1/24", "dev", "tap0"]);
    kernel
}

/// The counts of the host's only connection, by their names in ss; those that it leaves out are 0. Of what it has received, segments without
/// data are counted, since it counts one for a whole super-frame from a tap.
fn host_counts() -> [u64; 6] {
    let text = output("ss", &["-tinH", "state", "established"]);
    let words = text.split_whitespace().filter_map(|word| word.split_once(':'));
    let counts: BTreeMap<_, _> =
        words.filter_map(|(name, count)| Some((name, count.parse::<u64>().ok()?))).collect();
    let count = |name| counts.get(name).copied().unwrap_or(0);
    let answers = count("segs_in") - count("data_segs_in");
    let [acked, received, out, data, delivered] =
        ["bytes_acked", "bytes_received", "segs_out", "data_segs_out", "delivered"].map(count);
    [acked, received, out, answers, data, delivered]
}

/// What the host must have counted if we have counted this. Whoever begins a connection counts its SYN among the bytes, and the answer to it, which
/// the other does not.
fn mirrored(ours: &TrafficReport, we_began: bool) -> [u64; 6] {
    let (ours_more, hosts_more) = (u64::from(we_began), u64::from(!we_began));
    [
        ours.bytes_received + hosts_more,
        ours.bytes_acked - ours_more,
        ours.segments_received - ours_more,
        ours.segments_sent - ours.data_segments_sent + hosts_more,
        ours.data_segments_received,
        ours.data_segments_received + 1,
    ]
}

fn agree(mut ours: TcpStream, mut host: HostStream, we_began: bool) {
    let reader = thread::spawn(move || {
        host.read_exact(&mut vec![0; SENT]).expect("all comes");
        host.write_all(&vec![7; RECEIVED]).expect("we read");
        host
    });
    ours.write_all(&vec![7; SENT]).expect("the host reads");
    ours.read_exact(&mut vec![0; RECEIVED]).expect("all comes");
    let _host = reader.join().expect("no panic");
    let traffic = || ours.info().expect("connected").path.traffic;
    let end = Instant::now() + PATIENCE;
    // The last acknowledgments may still be on their way.
    while host_counts() != mirrored(&traffic(), we_began) && Instant::now() < end {
        thread::sleep(Duration::from_millis(20));
    }
    let told = traffic();
    assert_eq!(host_counts(), mirrored(&told, we_began), "{told:?}");
    assert_eq!(told.bytes_sent - told.bytes_retransmitted, SENT as u64);
    assert_eq!(told.bytes_received, RECEIVED as u64);
    assert_eq!(told.bytes_acked, SENT as u64 + u64::from(we_began));
    assert_eq!(told.delivered, told.data_segments_sent + 1);
    assert!(told.delivery_rate > 0 && told.busy_ns > 0);
}

#[test]
fn the_host_has_counted_what_we_have_of_a_connection_that_we_began() {
    let kernel = kernel();
    let listener = HostListener::bind("10.0.0.1:80").expect("free");
    let ours = TcpStream::connect(&kernel, "10.0.0.1:80").expect("it listens");
    let (host, _) = listener.accept().expect("connected");
    agree(ours, host, true);
}

#[test]
fn the_host_has_counted_what_we_have_of_a_connection_that_it_began() {
    let kernel = kernel();
    let listener = TcpListener::bind(&kernel, "10.0.0.2:80").expect("free");
    let host = HostStream::connect("10.0.0.2:80").expect("it listens");
    let (ours, _) = listener.accept().expect("connected");
    agree(ours, host, false);
}

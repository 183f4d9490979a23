//! What TCP makes of segments that were merged before it saw them is what it makes of them one by one.

use std::net::{Ipv4Addr, SocketAddrV4};

use bytes::Bytes;
use proptest::prelude::*;
use rumpnet_proto::{AddressChange, Capabilities, Counter, LinkKind, Request, TcpState};
use rumpnet_stack::{
    Config, PortConfig, Readiness, SocketId, Stack,
    buffer::{Offload, Received},
    time::{Duration, Instant},
};
use rumpnet_wire::{
    ethernet,
    ip::Protocol,
    ipv4,
    tcp::{Flags, Header, Seq},
};

const OURS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 80);
const THEIRS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 9), 4000);
const FIRST: u32 = 0xffff_e000;
const MSS: usize = 536;

/// A segment of a script: its place in the stream, length and flags besides ACK.
type Scripted = (usize, usize, Flags);

/// A stack with one established connection, and what it has read of it.
struct End {
    stack: Stack,
    now: Instant,
    id: SocketId,
    /// What its peer acknowledges.
    next: u32,
    identification: u16,
    read: Vec<u8>,
}

/// What a user and a peer can see.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    read: Vec<u8>,
    acknowledged: Option<u32>,
    /// Whether a reset was sent; as with acknowledgments, how many depends on how many segments there are to be answered.
    resets: bool,
    state: TcpState,
    readiness: Readiness,
    received: u64,
}

impl End {
    fn new(coalesces: bool) -> Self {
        let now = Instant::from_secs(1);
        let mut stack = Stack::boot(Config::default(), [7; 16], now);
        let port = PortConfig {
            kind: LinkKind::Ip,
            link_address: None,
            ..PortConfig::ethernet(ethernet::Address([2, 0, 0, 0, 0, 1]))
        };
        stack.create_interface(now, "tun0", port).expect("room");
        let address = (*OURS.ip()).into();
        let change =
            AddressChange { address, prefix_len: Some(24), broadcast: None, peer: None, alias: false };
        stack.control(now, Request::AddAddress { name: "tun0".into(), change }).expect("a good address");
        if !coalesces {
            let (enable, disable) = (Capabilities::empty(), Capabilities::LRO);
            let request = Request::SetCapabilities { name: "tun0".into(), enable, disable };
            stack.control(now, request).expect("an interface can");
        }
        let listener = stack.tcp_open().expect("room");
        stack.tcp_bind(listener, OURS.into()).expect("free");
        stack.tcp_listen(listener, 16).expect("bound");
        let mut end = Self { stack, now, id: listener, next: 0, identification: 0, read: Vec::new() };
        end.open(listener);
        end
    }

    fn open(&mut self, listener: SocketId) {
        let syn = self.packet(FIRST.wrapping_sub(1), Flags::SYN, b"");
        self.stack.receive(self.now, 0, [syn]);
        let answer = self.stack.next_frame(0).expect("a SYN-ACK").to_vec();
        let (header, _) = Header::parse(&answer[ipv4::Header::LEN..]).expect("our own segment");
        self.next = header.sequence.0.wrapping_add(1);
        let ack = self.packet(FIRST, Flags::ACK, b"");
        self.stack.receive(self.now, 0, [ack]);
        self.id = self.stack.tcp_accept(listener).expect("established").0;
    }

    fn packet(&mut self, sequence: u32, flags: Flags, payload: &[u8]) -> Received {
        let header = Header {
            sequence: Seq(sequence),
            acknowledgment: Seq(self.next),
            ..Header::new(THEIRS.port(), OURS.port(), flags)
        };
        let plain = ipv4::Header::new(*THEIRS.ip(), *OURS.ip(), Protocol::TCP, 0);
        let network = ipv4::Header { identification: self.identification, ..plain };
        self.identification = self.identification.wrapping_add(1);
        let mut bytes = vec![0; Header::MAX_PACKET_HEADERS + payload.len()];
        let len = header.emit_packet(network, payload, &mut bytes).expect("room");
        bytes.truncate(len);
        Received::new(Bytes::from(bytes), Offload::default())
    }

    /// A batch comes in, what it brought is read, and what is due happens.
    fn receive(&mut self, batch: &[Scripted]) -> Seen {
        let frames: Vec<Received> = batch
            .iter()
            .map(|(start, len, flags)| {
                let payload: Vec<u8> = (*start..start + len).map(|at| (at % 251) as u8).collect();
                self.packet(FIRST.wrapping_add(*start as u32), Flags::ACK | *flags, &payload)
            })
            .collect();
        self.stack.receive(self.now, 0, frames);
        let readiness = self.stack.readiness(rumpnet_stack::Endpoint::Tcp(self.id));
        while let Ok(payload) = self.stack.tcp_receive(self.now, self.id, 1 << 20)
            && !payload.is_empty()
        {
            self.read.extend_from_slice(&payload.to_bytes());
        }
        self.now += Duration::from_millis(100);
        self.stack.on_timeout(self.now);
        let sent: Vec<Vec<u8>> =
            std::iter::from_fn(|| self.stack.next_frame(0)).map(|frame| frame.to_vec()).collect();
        let headers: Vec<Header> =
            sent.iter().map(|frame| Header::parse(&frame[20..]).expect("our own segment").0).collect();
        Seen {
            read: self.read.clone(),
            acknowledged: headers.last().map(|header| header.acknowledgment.0),
            resets: headers.iter().any(|header| header.flags.contains(Flags::RST)),
            state: self.stack.tcp_info(self.id).expect("open").state,
            readiness,
            received: self.stack.counter(Counter::TcpReceived),
        }
    }
}

/// Runs a script through a stack that merges and one that does not.
fn compare(batches: &[Vec<Scripted>]) -> [End; 2] {
    let mut ends = [End::new(true), End::new(false)];
    for batch in batches {
        let [one, other] = ends.each_mut().map(|end| end.receive(batch));
        assert_eq!(one, other, "{batch:?}");
    }
    ends
}

fn in_order(from: usize, count: usize) -> Vec<Scripted> {
    (from..from + count).map(|number| (number * MSS, MSS, Flags::NONE)).collect()
}

#[test]
fn a_train_of_a_peer_without_segmentation_offload_is_read_as_it_was_sent_and_counted() {
    let [merging, plain] = compare(&[in_order(0, 30), in_order(30, 20)]);
    let counted = |end: &End, counter| end.stack.counter(counter);
    assert_eq!(counted(&merging, Counter::CoalescedTrains), 2);
    assert_eq!(counted(&merging, Counter::CoalescedSegments), 50);
    assert_eq!(counted(&plain, Counter::CoalescedTrains), 0, "it was switched off");
    let packets = |mut end: End| {
        let request = Request::Interface { name: "tun0".into(), reset: false };
        let Ok(rumpnet_proto::Reply::Interfaces { interfaces, .. }) = end.stack.control(end.now, request)
        else {
            panic!("no interface")
        };
        (interfaces[0].counters.input_packets, interfaces[0].counters.input_bytes)
    };
    assert_eq!(packets(merging), packets(plain));
}

#[test]
fn the_end_of_a_stream_and_what_is_pushed_travel_in_trains() {
    let mut last = in_order(30, 4);
    last[1].2 = Flags::PSH;
    last[3].2 = Flags::FIN | Flags::PSH;
    let [merging, _] = compare(&[in_order(0, 30), last]);
    assert_eq!(merging.read.len(), 34 * MSS);
    assert_eq!(merging.stack.counter(Counter::CoalescedTrains), 3);
}

#[test]
fn gaps_repetitions_and_a_reset_are_the_same_with_and_without() {
    let mut lossy = in_order(0, 20);
    lossy.remove(7);
    lossy.insert(12, (2 * MSS, MSS, Flags::NONE));
    let fill = vec![(6 * MSS, MSS, Flags::NONE), (7 * MSS, MSS, Flags::NONE), (8 * MSS, MSS, Flags::NONE)];
    let reset = vec![(20 * MSS, MSS, Flags::NONE), (21 * MSS, 0, Flags::RST)];
    compare(&[lossy, fill, reset]);
}

/// Batches of segments that mostly follow each other, with gaps, overlaps, short ones and flags.
fn scripts() -> impl Strategy<Value = Vec<Vec<Scripted>>> {
    let step = (0..16u8, 0..3000usize);
    let batch = proptest::collection::vec(step, 1..40);
    proptest::collection::vec(batch, 1..6).prop_map(|batches| {
        let mut at = 0usize;
        let mut segment = |(way, value): (u8, usize)| {
            let (mut len, mut flags) = (MSS, Flags::NONE);
            match way {
                0 => at = at.saturating_sub(value),
                1 => at += value,
                2 => len = value % MSS,
                3 => flags = Flags::PSH,
                4 if value < 60 => flags = Flags::FIN,
                5 if value < 30 => flags = Flags::RST,
                6 if value < 60 => flags = Flags::SYN,
                7 => len = MSS + value % MSS,
                _ => {}
            }
            at += len;
            (at - len, len, flags)
        };
        batches.into_iter().map(|batch| batch.into_iter().map(&mut segment).collect()).collect()
    })
}

proptest! {
    #[test]
    fn whatever_comes_means_the_same_with_and_without(batches in scripts()) {
        compare(&batches);
    }
}

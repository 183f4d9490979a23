//! Pacing: when frames leave, seen on the cable.

mod support;

use std::{cell::RefCell, io::ErrorKind, rc::Rc, time::Duration};

use rumpnet_sim::{TcpOption, Verdict, World, future, scenario};
use support::{Pair, ms, ping, secs};

/// Ethernet, IPv4 and TCP with timestamps.
const HEADERS: usize = 14 + 20 + 32;
const MSS: usize = 1448;

/// When data left, since the first of it, and how much.
type Departures = Vec<(Duration, usize)>;

/// Sends `len` bytes from `a` over a cable of 10 ms; what left, and the rate that the sender said in the end.
fn send(world: &World, len: usize, options: &'static [TcpOption], paced: bool) -> (Departures, Option<u64>) {
    let pair = Pair::new(world);
    pair.cable.set(|conditions| conditions.latency = ms(10));
    // The first round trip shall not be that of a question for the link address.
    assert_eq!(ping(world, &pair.a, "10.0.0.2").len(), 1);
    pair.a.sysctl("net.inet.tcp.pacing", Some(paced.into())).expect("known");
    let seen: Rc<RefCell<Departures>> = Rc::default();
    let log = seen.clone();
    pair.cable.rule(move |passing| {
        if passing.from == "a/virt0" && passing.bytes.len() > HEADERS + 100 {
            log.borrow_mut().push((passing.time, passing.bytes.len() - HEADERS));
        }
        Verdict::Pass
    });
    let (a, b) = (pair.a.clone(), pair.b.clone());
    let rate = world.block_on(async move {
        let listener = future::TcpListener::bind(&b, "10.0.0.2:80").expect("free");
        let client = future::TcpStream::connect(&a, "10.0.0.2:80").await.expect("answered");
        options.iter().for_each(|option| client.set_option(*option).expect("in range"));
        let (server, _) = listener.accept().await.expect("a connection");
        let (writer, text) = (client.clone(), vec![7; len]);
        drop(a.spawn(async move { writer.write_all(&text).await.expect("the peer reads") }));
        server.read_exact(&mut vec![0; len]).await.expect("all comes");
        client.info().expect("connected").path.pacing_rate
    });
    world.run_for(secs(1));
    let all = seen.borrow();
    let began = all.first().expect("data").0;
    (all.iter().map(|(at, len)| (*at - began, *len)).collect(), rate)
}

/// The bytes that left before a time.
fn before(departures: &Departures, time: Duration) -> usize {
    departures.iter().filter(|(at, _)| *at < time).map(|(_, len)| len).sum()
}

#[test]
fn data_leaves_at_the_rate_that_was_set_piece_by_piece() {
    scenario(|world| {
        let limit = &[TcpOption::MaxPacingRate(1_000_000)];
        let (left, rate) = send(world, 2_000_000, limit, false);
        assert_eq!(rate, Some(1_000_000));
        // In the first round trips the window is what limits.
        let steady: Vec<_> = left.iter().filter(|(at, _)| *at > ms(100)).collect();
        for pair in steady.windows(2) {
            let [(at, len), (next, _)] = pair else { unreachable!() };
            assert!(*len <= 2 * MSS, "no burst: {len}");
            let pause = (*next - *at).as_secs_f64() / (*len as f64 / 1e6);
            assert!((0.95..1.05).contains(&pause), "{pause} of what the rate says, at {at:?}");
        }
        let took = left.last().expect("data").0.as_secs_f64();
        assert!((1.98..2.02).contains(&took), "{took} s");
    });
}

#[test]
fn a_fast_rate_leaves_in_longer_pieces_and_is_kept_all_the_same() {
    scenario(|world| {
        let limit = &[TcpOption::MaxPacingRate(20_000_000)];
        let (left, _) = send(world, 20_000_000, limit, false);
        // What a millisecond carries is twenty thousand bytes.
        assert!(left.iter().all(|(_, len)| *len <= 20_000), "no burst");
        // Slow start is over by then.
        let (early, late) = (ms(300), ms(900));
        let rate = (before(&left, late) - before(&left, early)) as f64 / (late - early).as_secs_f64();
        assert!((19.4e6..20.4e6).contains(&rate), "{rate} bytes/s");
    });
}

#[test]
fn without_a_limit_the_rate_follows_the_window_and_the_first_one_is_spread() {
    scenario(|world| {
        let (left, rate) = send(world, 10 * MSS, &[], true);
        assert!(rate.is_some());
        // Twice of what the window carries in a round trip: two segments in 2 ms, and of the first pause half is forgiven.
        let times: Vec<_> = left.iter().map(|(at, len)| (at.as_micros() / 100, len / MSS)).collect();
        assert_eq!(times, [(0, 2), (10, 2), (30, 2), (50, 2), (70, 2)]);
    });
}

#[test]
fn who_is_not_paced_leaves_as_fast_as_the_window_allows() {
    const LIFTED: &[TcpOption] = &[TcpOption::MaxPacingRate(1000), TcpOption::MaxPacingRate(u64::MAX)];
    for options in [&[], LIFTED] {
        scenario(|world| {
            let (left, rate) = send(world, 10 * MSS, options, false);
            assert_eq!(rate, None);
            assert_eq!(before(&left, Duration::from_nanos(1)), 10 * MSS);
        });
    }
}

#[test]
fn a_rate_of_nothing_is_refused_and_what_was_set_is_told() {
    scenario(|world| {
        let pair = Pair::new(world);
        let socket = rumpnet_sim::TcpSocket::new(&pair.a).expect("room");
        assert_eq!(socket.settings().expect("open").max_pacing_rate, None);
        let refused = socket.set_option(TcpOption::MaxPacingRate(0)).expect_err("out of range");
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        socket.set_option(TcpOption::MaxPacingRate(5)).expect("in range");
        assert_eq!(socket.settings().expect("open").max_pacing_rate, Some(5));
    });
}

#[test]
fn a_paced_flow_repeats_what_is_lost_and_ends() {
    scenario(|world| {
        let pair = Pair::new(world);
        pair.cable.set(|conditions| (conditions.latency, conditions.loss) = (ms(5), 0.03));
        pair.a.sysctl("net.inet.tcp.pacing", Some(1)).expect("known");
        let (a, b) = (pair.a.clone(), pair.b.clone());
        let text: Vec<u8> = (0..300_000u32).map(|place| (place * 7) as u8).collect();
        let got = world.block_on({
            let text = text.clone();
            async move {
                let listener = future::TcpListener::bind(&b, "10.0.0.2:80").expect("free");
                let client = future::TcpStream::connect(&a, "10.0.0.2:80").await.expect("answered");
                let (server, _) = listener.accept().await.expect("a connection");
                drop(a.spawn(async move { client.write_all(&text).await.expect("the peer reads") }));
                let mut got = Vec::new();
                server.read_to_end(&mut got).await.expect("the end comes");
                got
            }
        });
        assert!(got == text, "byte for byte");
    });
}

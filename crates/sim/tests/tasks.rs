//! User code in a world: tasks, waiting, sockets, panics, tools, and what is left of a failed test.

mod support;

use std::{
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, catch_unwind},
    process::Command,
    rc::Rc,
    time::Duration,
};

use rumpnet_sim::{
    Elapsed, UdpSocket, World, assert_deterministic, future,
    proto::{Counter, DropReason, Severity},
    scenario, sleep, timeout,
    wire::pcapng::{Block, Direction, blocks},
};
use support::{Pair, Visited, bound, ms, secs};

#[test]
fn time_passes_only_while_the_world_is_run_and_exactly_as_asked() {
    scenario(|world| {
        assert_eq!(world.now(), Duration::ZERO);
        world.run_for(secs(3600));
        assert_eq!(world.now(), secs(3600));
        let host = world.host("a");
        let slept = host.block_on(async {
            sleep(ms(250)).await;
            rumpnet_sim::now()
        });
        assert_eq!((slept, world.now()), (secs(3600) + ms(250), secs(3600) + ms(250)));
    });
}

#[test]
fn tasks_take_turns_in_the_order_in_which_they_wake() {
    scenario(|world| {
        let host = world.host("a");
        let order = Rc::new(RefCell::new(Vec::new()));
        for (name, pause) in [("slow", 20), ("fast", 10), ("fast too", 10)] {
            let order = Rc::clone(&order);
            drop(host.spawn(async move {
                for _ in 0..2 {
                    sleep(ms(pause)).await;
                    order.borrow_mut().push(name);
                }
            }));
        }
        world.run_for(secs(1));
        // At 20 ms `slow` set its alarm first.
        assert_eq!(*order.borrow(), ["fast", "fast too", "slow", "fast", "fast too", "slow"]);
    });
}

#[test]
fn a_task_may_start_others_and_wait_for_them() {
    scenario(|world| {
        let host = world.host("a");
        let inner = host.clone();
        let sum = host.block_on(async move {
            let tasks: Vec<_> = (1..=3)
                .map(|number| {
                    inner.spawn(async move {
                        sleep(ms(number)).await;
                        number
                    })
                })
                .collect();
            let mut sum = 0;
            for task in tasks {
                sum += task.await;
            }
            sum
        });
        assert_eq!((sum, world.now()), (6, ms(3)));
    });
}

#[test]
fn a_timeout_ends_a_wait_and_nothing_else() {
    scenario(|world| {
        let pair = Pair::new(world);
        let socket = future::UdpSocket::bind(&pair.b, "10.0.0.2:9").expect("free");
        let waits = socket.clone();
        let early = pair.b.block_on(async move {
            timeout(ms(100), async { waits.recv_from(&mut [0; 8]).await.map(|(len, _)| len) }).await
        });
        assert_eq!(early.expect_err("nothing was sent"), Elapsed);
        bound(&pair.a, "10.0.0.1:9").send_to(b"late", "10.0.0.2:9").expect("room");
        let late = pair.b.block_on(async move {
            timeout(ms(100), async { socket.recv_from(&mut [0; 8]).await.map(|(len, _)| len) }).await
        });
        assert_eq!(late.expect("in time").expect("a datagram"), 4);
    });
}

#[test]
fn a_panic_in_a_task_fails_the_test_and_is_caught_by_nobody() {
    // once: it panics.
    let world = World::new(1);
    let host = world.host("unlucky");
    drop(host.spawn(async {
        sleep(ms(1500)).await;
        panic!("as planned");
    }));
    let outcome = catch_unwind(AssertUnwindSafe(|| world.run_for(secs(2))));
    let message = outcome.expect_err("the task panicked");
    assert_eq!(message.downcast_ref(), Some(&"as planned"));
    assert_eq!(world.now(), ms(1500));
}

/// Set where [`a_scenario_fails_when_it_is_told_to`] shall.
const FAIL: &str = "RUMPNET_FAIL_ON_PURPOSE";

#[test]
fn a_scenario_fails_when_it_is_told_to() {
    assert_deterministic(41, |world| {
        let pair = Pair::new(world);
        drop(pair.b.spawn(async {
            sleep(ms(1)).await;
            assert!(std::env::var_os(FAIL).is_none(), "on purpose");
        }));
        world.run_for(secs(1));
    });
}

#[test]
fn a_failed_test_leaves_its_seed_and_a_capture() {
    let program = std::env::current_exe().expect("a test knows its program");
    let output = Command::new(program)
        .args(["--exact", "a_scenario_fails_when_it_is_told_to", "--nocapture"])
        .envs([(FAIL, "1"), ("RUMPNET_SEED", "43")])
        .env_remove("RUST_TEST_THREADS")
        .output()
        .expect("this program runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains("a task on b panicked at 20.001000s of virtual time"), "{said}");
    assert!(said.contains("the world had the seed 43"), "{said}");
    let path = said.lines().find_map(|line| line.strip_prefix("what passed its cables: ")).expect("a path");
    assert!(path.ends_with("captures/a_scenario_fails_when_it_is_told_to-43.pcapng"), "{path}");
    let file = std::fs::read(path).expect("the capture is there");
    let packets = blocks(&file).filter(|block| matches!(block, Ok(Block::Packet(_)))).count();
    assert!(packets >= 10, "probes and announcements of two hosts: {packets}");
    std::fs::remove_file(path).expect("it is ours");
}

#[test]
fn a_capture_names_every_end_and_what_befell_a_frame() {
    scenario(|world| {
        let pair = Pair::new(world);
        pair.cable.set(|conditions| conditions.loss = 1.0);
        bound(&pair.a, "10.0.0.1:9").send_to(b"x", "10.0.0.2:9").expect("room");
        world.run_for(secs(1));
        let path = std::env::temp_dir().join(format!("rumpnet-{}.pcapng", std::process::id()));
        world.capture(&path).expect("a place to write");
        let file = std::fs::read(&path).expect("written");
        std::fs::remove_file(&path).expect("it is ours");
        let (mut names, mut comments) = (Vec::new(), Vec::new());
        for block in blocks(&file) {
            match block.expect("well formed") {
                Block::Interface(interface) => names.push(interface.name.expect("a name").to_owned()),
                Block::Packet(packet) => comments.extend(packet.comment.map(str::to_owned)),
                _ => {}
            }
        }
        assert_eq!(names, ["a/virt0", "b/virt0"]);
        assert!(comments.iter().all(|comment| comment == "lost by chance") && !comments.is_empty());
    });
}

#[test]
fn run_until_stops_where_the_condition_holds_or_at_the_limit() {
    scenario(|world| {
        let host = world.host("a");
        let ticks = Rc::new(Cell::new(0));
        let count = Rc::clone(&ticks);
        drop(host.spawn(async move {
            loop {
                sleep(ms(10)).await;
                count.set(count.get() + 1);
            }
        }));
        assert!(world.run_until(|| ticks.get() == 3, secs(1)));
        assert_eq!(world.now(), ms(30));
        assert!(!world.run_until(|| ticks.get() == 1000, secs(1)));
        assert_eq!(world.now(), ms(1030));
    });
}

#[test]
fn an_idle_world_has_answered_everything_but_waits_for_no_timer() {
    scenario(|world| {
        let pair = Pair::new(world);
        pair.cable.set(|conditions| conditions.latency = ms(7));
        drop(pair.a.spawn(sleep_in(secs(100))));
        bound(&pair.a, "10.0.0.1:9").send_to(b"x", "10.0.0.2:9").expect("room");
        let before = world.now();
        world.run_until_idle();
        // ARP there and back, the datagram, and the answer that nobody listens.
        assert_eq!(world.now() - before, ms(4 * 7));
        assert_eq!(pair.b.drops(DropReason::UdpNoSocket), 1);
    });
}

async fn sleep_in(span: Duration) {
    sleep(span).await;
}

#[test]
#[should_panic(expected = "nothing is left to happen, and a task still waits")]
fn waiting_for_what_never_happens_is_found_out() {
    // once: it panics.
    let world = World::new(1);
    world.host("a").block_on(std::future::pending::<()>());
}

#[test]
fn a_blocking_call_inside_a_task_is_refused_and_not_a_standstill() {
    scenario(|world| {
        let host = world.host("a");
        let socket = UdpSocket::bind(&host, "127.0.0.1:9").expect("free");
        let error = host.block_on(async move { socket.recv(&mut [0; 8]).map(|_| ()) });
        assert!(error.is_err());
    });
}

#[test]
fn one_program_runs_on_any_host_that_has_sockets() {
    /// Nothing in it knows that it is simulated.
    async fn echo<N: rumpnet_sockets::Net>(net: N) -> std::io::Result<()> {
        let socket = rumpnet_sockets::UdpSocket::bind(&net, "0.0.0.0:7")?;
        let mut buffer = [0; 2048];
        loop {
            let (len, from) = socket.recv_from(&mut buffer).await?;
            socket.send_to(&buffer[..len], from).await?;
        }
    }
    scenario(|world| {
        let pair = Pair::new(world);
        pair.cable.set(|conditions| (conditions.loss, conditions.latency) = (0.3, ms(20)));
        drop(pair.b.spawn(echo(pair.b.clone())));
        let client = future::UdpSocket::bind(&pair.a, "10.0.0.1:0").expect("a port");
        let tries = pair.a.block_on(async move {
            client.connect("10.0.0.2:7").expect("a route");
            for tries in 1.. {
                client.send(b"hello").await.expect("room");
                let mut buffer = [0; 16];
                if timeout(secs(3), client.recv(&mut buffer)).await.is_ok() {
                    return tries;
                }
            }
            0
        });
        assert!(tries > 0);
    });
}

#[test]
fn tools_run_on_hosts_as_on_the_command_line() {
    scenario(|world| {
        let host = world.host("a");
        assert_eq!(host.sh("sysctl net.inet.ip.ttl").ok(), "net.inet.ip.ttl = 64\n");
        let refused = host.sh("sysctl net.inet.ip.nonsense").refused();
        assert!(refused.starts_with("sysctl: "), "{refused}");
        let unknown = host.sh("frobnicate -a");
        assert_eq!((unknown.status, unknown.err.as_str()), (127, "frobnicate: not found\n"));
    });
}

#[test]
fn an_interface_is_created_only_where_a_cable_waits_for_it() {
    scenario(|world| {
        let host = world.host("a");
        let cable = world.cable().connect_when_created(&host, "virt3");
        let stranger = world.stranger(&cable);
        let refused = host.sh("ifconfig virt0 create").refused();
        assert!(refused.contains("SIOCIFCREATE") && refused.contains("Device not configured"), "{refused}");
        for _ in 0..2 {
            host.sh("ifconfig virt3 create").ok();
            host.sh("ifconfig virt3 inet 10.0.0.1/24").ok();
            world.run_until_idle();
            assert!(!stranger.heard().is_empty(), "it probes for its address");
            host.sh("ifconfig virt3 destroy").ok();
            assert_eq!(host.sh("ifconfig -l").ok().trim(), "lo0");
        }
    });
}

#[test]
fn a_capture_runs_until_it_is_interrupted() {
    scenario(|world| {
        let visited = Visited::new(world);
        let capture = visited.a.start("tcpdump -i virt0 -w -");
        world.run_until_idle();
        visited.stranger.send(vec![0; 60]);
        visited.introduce(world);
        capture.interrupt();
        let said = world.block_on(capture);
        assert_eq!(said.status, 0);
        let mut ways = Vec::new();
        for block in blocks(&said.capture) {
            if let Block::Packet(packet) = block.expect("well formed") {
                assert_eq!(packet.time_ns, 20_000_000_000);
                ways.push(packet.direction);
            }
        }
        assert_eq!(ways, [Direction::Inbound, Direction::Inbound, Direction::Outbound]);
    });
}

#[test]
fn drops_are_captured_with_their_reasons() {
    scenario(|world| {
        let visited = Visited::new(world);
        let capture = visited.a.start("tcpdump -i virt0 --drops -c 1 -w -");
        world.run_until_idle();
        visited.stranger.send(vec![2; 10]);
        let said = world.block_on(capture);
        let comment = blocks(&said.capture).find_map(|block| match block {
            Ok(Block::Packet(packet)) => packet.comment.map(str::to_owned),
            _ => None,
        });
        assert_eq!(comment.as_deref(), Some(DropReason::LinkRunt.text()));
    });
}

#[test]
fn messages_tell_what_an_administrator_wants_to_read() {
    scenario(|world| {
        let pair = Pair::new(world);
        let c = world.host("c");
        pair.cable.connect(&c.interface("virt0").address("10.0.0.1/24"));
        world.run_for(secs(10));
        let lost: Vec<_> =
            c.messages().into_iter().filter(|message| message.severity == Severity::Error).collect();
        assert_eq!(lost.len(), 1);
        assert!(lost[0].text.contains("uses our address 10.0.0.1: given up"), "{}", lost[0].text);
        assert!(c.sh("dmesg").ok().contains("given up"));
    });
}

#[test]
fn another_seed_makes_another_world_and_the_same_seed_the_same() {
    let trace = |seed| {
        // once: the test itself compares runs.
        let world = World::new(seed);
        let pair = Pair::new(&world);
        pair.cable.set(|conditions| conditions.loss = 0.5);
        let sender = bound(&pair.a, "10.0.0.1:9");
        for _ in 0..20 {
            sender.send_to(b"x", "10.0.0.2:9").expect("room");
        }
        world.run_for(secs(10));
        world.trace()
    };
    assert_eq!(trace(1), trace(1));
    // The variable makes all seeds one.
    if std::env::var_os("RUMPNET_SEED").is_none() {
        assert_ne!(trace(1), trace(2));
    }
}

#[test]
fn a_thousand_hosts_share_a_world() {
    scenario(|world| {
        for number in 0..500_u32 {
            let cable = world.cable();
            for side in 1..=2 {
                let host = world.host_with(&format!("h{number}.{side}"), rumpnet_sim::Config::tiny());
                cable.connect(&host.interface("virt0").address(&format!("10.0.0.{side}/24")));
            }
        }
        for number in 0..500 {
            let sender = bound(&world.host(&format!("h{number}.1")), "10.0.0.1:9");
            sender.send_to(b"x", "10.0.0.2:9").expect("room");
        }
        world.run_until_idle();
        let answered = |number| world.host(&format!("h{number}.2")).counter(Counter::IcmpErrorsSent);
        assert_eq!((0..500).map(answered).sum::<u64>(), 500);
    });
}

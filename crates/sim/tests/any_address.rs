//! Any-address sockets in worlds: one task decides on every flow of a host, and answers its datagrams.

mod support;

use std::{cell::RefCell, io::ErrorKind, rc::Rc};

use rumpnet_sim::{future, now, proto::Counter, scenario, sleep};
use support::{Pair, secs};

#[test]
fn one_task_accepts_resets_and_drops_the_flows_of_a_host() {
    scenario(|world| {
        let pair = Pair::new(world);
        pair.a.sh("route add default 10.0.0.2").ok();
        let flows = future::FlowListener::bind(&pair.b, "virt0", 0).expect("free");
        let seen = Rc::new(RefCell::new(Vec::new()));
        let decided = pair.b.spawn({
            let seen = seen.clone();
            async move {
                for _ in 0..3 {
                    let flow = flows.accept().await.expect("a request");
                    seen.borrow_mut().push(flow.original().to_string());
                    // Longer than a peer waits before it asks again.
                    sleep(secs(5)).await;
                    match flow.original().port() {
                        80 => flow.accept().await.expect("answered").write_all(b"hello").await.expect("room"),
                        81 => flow.reset().expect("held"),
                        _ => drop(flow),
                    }
                }
            }
        });
        let host = pair.a.clone();
        let asked = pair.a.spawn(async move {
            let mut answer = Vec::new();
            let stream = future::TcpStream::connect(&host, "192.0.2.1:80").await.expect("accepted");
            stream.read_to_end(&mut answer).await.expect("the end comes");
            let refused = future::TcpStream::connect(&host, "192.0.2.2:81").await.map(drop);
            let began = now();
            let dropped = future::TcpStream::connect(&host, "192.0.2.3:82").await.map(drop);
            (answer, refused.expect_err("reset").kind(), dropped.expect_err("silence").kind(), now() - began)
        });
        world.run_for(secs(200));
        assert!(decided.is_finished());
        let (answer, refused, dropped, patience) = asked.take().expect("an end");
        assert_eq!(answer, b"hello");
        assert_eq!((refused, dropped), (ErrorKind::ConnectionRefused, ErrorKind::TimedOut));
        assert!(patience > secs(120));
        assert_eq!(*seen.borrow(), ["192.0.2.1:80", "192.0.2.2:81", "192.0.2.3:82"]);
        let counted = |counter| pair.b.stack(|stack, _| stack.counter(counter));
        assert_eq!(counted(Counter::TcpFlowsAccepted), 1);
        assert_eq!(counted(Counter::TcpFlowsReset), 1);
    });
}

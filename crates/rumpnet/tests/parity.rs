//! One program, written once over `sockets::Net`, in a simulated world and over taps that the host's bridge joins.

use std::{io, net::Shutdown, process::Command};

use rumpnet::Kernel;
use rumpnet_host::namespace::enter_own_network;
use rumpnet_sim::scenario;
use rumpnet_sockets::{Net, TcpListener, TcpStream, UdpSocket};

/// What the program saw, in the order in which it saw it.
type Transcript = Vec<String>;

/// A client at 10.0.0.1 and a server at 10.0.0.2: an exchange, a train, a closed port, an address that is not ours, and streams.
async fn program<N: Net>(client_at: N, server_at: N) -> io::Result<Transcript> {
    let mut saw = Vec::new();
    let server = UdpSocket::bind(&server_at, "10.0.0.2:7")?;
    let client = UdpSocket::bind(&client_at, "10.0.0.1:1000")?;
    client.send_to(b"question", "10.0.0.2:7").await?;
    let mut buffer = [0; 100];
    let (len, from) = server.recv_from(&mut buffer).await?;
    saw.push(format!("{:?} from {from}", &buffer[..len]));
    server.send_to(b"answer", from).await?;
    let (len, from) = client.recv_from(&mut buffer).await?;
    saw.push(format!("{:?} from {from}", &buffer[..len]));
    client.send_batch(&[&[1; 50], &[2; 50], &[3; 7]], Some(from)).await?;
    for _ in 0..3 {
        let (len, meta) = server.recv_meta(&mut buffer).await?;
        saw.push(format!("{len} bytes of {} with ttl {}", buffer[0], meta.ttl));
    }
    drop(server);
    client.connect("10.0.0.2:7")?;
    saw.push(format!("peer {}", client.peer_addr()?));
    client.send(b"nobody").await?;
    saw.push(format!("{:?}", client.recv(&mut buffer).await.expect_err("nobody is there").kind()));
    let foreign = UdpSocket::bind(&client_at, "10.0.0.3:7").map(drop);
    saw.push(format!("{:?}", foreign.expect_err("not ours").kind()));
    streams(client_at, server_at, &mut saw).await?;
    Ok(saw)
}

/// A refusal, a stream with an end in each direction, and a reset.
async fn streams<N: Net>(client_at: N, server_at: N, saw: &mut Transcript) -> io::Result<()> {
    let refused = TcpStream::connect(&client_at, "10.0.0.2:80").await.map(drop);
    saw.push(format!("{:?}", refused.expect_err("nobody listens").kind()));
    let listener = TcpListener::bind(&server_at, "10.0.0.2:80")?;
    let client = TcpStream::connect(&client_at, "10.0.0.2:80").await?;
    let (server, peer) = listener.accept().await?;
    saw.push(format!("{}", peer == client.local_addr()?));
    client.write_all(&[7; 100_000]).await?;
    client.shutdown(Shutdown::Write)?;
    let mut asked = Vec::new();
    saw.push(format!("{} bytes asked", server.read_to_end(&mut asked).await?));
    server.write_all(b"answer").await?;
    let mut answer = [0; 6];
    client.read_exact(&mut answer).await?;
    saw.push(format!("{answer:?}"));
    saw.push(format!("{:?}", client.write(b"more").await.expect_err("ended").kind()));
    drop(server);
    saw.push(format!("{} at the end", client.read(&mut answer).await?));
    let client = TcpStream::connect(&client_at, "10.0.0.2:80").await?;
    listener.accept().await?.0.abort()?;
    saw.push(format!("{:?}", client.read(&mut answer).await.expect_err("reset").kind()));
    saw.push(format!("ttl {}, nodelay {}", client.ttl()?, client.nodelay()?));
    Ok(())
}

fn in_a_simulation() -> Transcript {
    let (tell, told) = std::sync::mpsc::channel();
    scenario(|world| {
        let (client, server) = (world.host("client"), world.host("server"));
        let cable = world.cable();
        cable.connect(&client.interface("virt0").address("10.0.0.1/24"));
        cable.connect(&server.interface("virt0").address("10.0.0.2/24"));
        let saw = world.block_on(program(client, server)).expect("no error that the program does not expect");
        tell.send(saw).expect("somebody listens");
    });
    told.recv().expect("the scenario has run")
}

fn ip(words: &str) {
    let ran =
        Command::new("ip").args(words.split_whitespace()).output().expect("ip is there (package iproute2)");
    assert!(ran.status.success(), "ip {words}: {}", String::from_utf8_lossy(&ran.stderr));
}

#[tokio::test]
async fn a_program_sees_the_same_in_a_simulation_and_over_the_hosts_bridge() {
    enter_own_network().expect("these tests need root");
    let kernels = [1, 2].map(|number| {
        let kernel = Kernel::boot().expect("boots");
        kernel.create(&format!("virt{number}")).expect("these tests need root");
        let address = format!("10.0.0.{number}/24").parse().expect("a prefix");
        kernel.add_address(&format!("virt{number}"), address).expect("free");
        kernel
    });
    ip("link add bridge0 type bridge forward_delay 0");
    ip("link set bridge0 up");
    ip("link set tap1 master bridge0");
    ip("link set tap2 master bridge0");
    let [client, server] = kernels;
    let over_taps = tokio::time::timeout(std::time::Duration::from_secs(20), program(client, server));
    let over_taps = over_taps.await.expect("in time").expect("no error that the program does not expect");
    assert_eq!(over_taps, in_a_simulation());
    assert_eq!(over_taps.len(), 16);
}

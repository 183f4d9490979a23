//! A machine whose every TCP connection goes through a SOCKS5 proxy (RFC 1928): `cargo run -p rumpnet --example tun2socks`.
//!
//! The machine is a kernel at one end of a channel; in its place could be whatever speaks Ethernet. At the other end is a router with one
//! [`FlowListener`]: it holds each request until the proxy, on the host's loopback, has connected to the address that was asked for.

use std::{
    error::Error,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener as HostListener, TcpStream as HostStream},
    thread,
};

use rumpnet::{Flow, FlowListener, Kernel, TcpStream, link::channel, proto::NextHop};

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let proxy = HostListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let proxy_address = proxy.local_addr()?;
    thread::spawn(move || proxy.incoming().flatten().try_for_each(serve_socks));

    let (machine, router, (inner, outer)) = (Kernel::boot()?, Kernel::boot()?, channel::pair());
    machine.attach("virt0", Box::new(inner), None)?;
    machine.add_address("virt0", "10.0.0.2/24".parse()?)?;
    machine.add_route("0.0.0.0/0".parse()?, NextHop::Gateway("10.0.0.1".parse()?))?;
    router.attach("virt0", Box::new(outer), None)?;
    router.add_address("virt0", "10.0.0.1/24".parse()?)?;

    let flows = FlowListener::bind(&router, "virt0", 0)?;
    thread::spawn(move || {
        while let Ok(flow) = flows.accept() {
            thread::spawn(move || tunnel(flow, proxy_address));
        }
    });

    let mut answer = String::new();
    TcpStream::connect(&machine, "192.0.2.80:80")?.read_to_string(&mut answer)?;
    println!("{answer}");
    assert_eq!(answer, "you have reached 192.0.2.80:80");
    let refused = TcpStream::connect(&machine, "192.0.2.80:81").expect_err("the proxy knows no such port");
    println!("192.0.2.80:81: {refused}");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    Ok(())
}

/// Accepts a flow once the proxy is connected to its destination, or resets it, and carries both directions.
fn tunnel(flow: Flow, proxy: SocketAddr) -> io::Result<()> {
    let Ok(upstream) = connect_by_socks(proxy, flow.original()) else { return flow.reset() };
    let stream = flow.accept_blocking()?;
    thread::scope(|scope| {
        scope.spawn(|| {
            let sent = io::copy(&mut &stream, &mut &upstream);
            upstream.shutdown(Shutdown::Write).and(sent)
        });
        let received = io::copy(&mut &upstream, &mut &stream);
        stream.shutdown(Shutdown::Write).and(received)
    })?;
    Ok(())
}

/// The client's side of SOCKS5: no authentication, CONNECT to an IPv4 address.
fn connect_by_socks(proxy: SocketAddr, to: SocketAddr) -> io::Result<HostStream> {
    let SocketAddr::V4(to) = to else { return Err(io::ErrorKind::Unsupported.into()) };
    let mut stream = HostStream::connect(proxy)?;
    stream.write_all(&[5, 1, 0])?;
    stream.read_exact(&mut [0; 2])?;
    stream.write_all(&[&[5, 1, 0, 1][..], &to.ip().octets(), &to.port().to_be_bytes()].concat())?;
    let mut reply = [0; 10];
    stream.read_exact(&mut reply)?;
    if reply[1] == 0 { Ok(stream) } else { Err(io::ErrorKind::ConnectionRefused.into()) }
}

/// A proxy that knows port 80 of the whole world, and says there where one has arrived.
fn serve_socks(mut client: HostStream) -> io::Result<()> {
    let (mut greeting, mut request) = ([0; 3], [0; 10]);
    client.read_exact(&mut greeting)?;
    client.write_all(&[5, 0])?;
    client.read_exact(&mut request)?;
    let [_, _, _, _, a, b, c, d, port @ ..] = request;
    let to = SocketAddr::from(([a, b, c, d], u16::from_be_bytes(port)));
    let code = if to.port() == 80 { 0 } else { 5 };
    client.write_all(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0])?;
    if code == 0 { write!(client, "you have reached {to}") } else { Ok(()) }
}

//! A UDP echo server with an IP address of its own: `cargo run -p rumpnet --example echo`, as root.
//!
//! Then, in another terminal: `ip addr add 10.0.0.1/24 dev tap0; ping 10.0.0.2; nc -u 10.0.0.2 7`.

use rumpnet::{Kernel, UdpSocket};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kernel = Kernel::boot()?;
    kernel.create("virt0")?;
    kernel.add_address("virt0", "10.0.0.2/24".parse()?)?;
    let socket = UdpSocket::bind(&kernel, "10.0.0.2:7")?;
    let mut buffer = [0; 65_536];
    loop {
        let (len, from) = socket.recv_from(&mut buffer)?;
        socket.send_to(&buffer[..len], from)?;
    }
}

//! Sockets on a tokio runtime, and kernels dropped inside of it.

use std::{
    io,
    sync::mpsc::{Receiver, Sender, channel as messages},
    time::Duration,
};

use rumpnet::{
    Kernel, Pool,
    buffer::{Frame, Received},
    link::{Link, LinkProperties, Signal, channel},
    tokio::{TcpListener, TcpStream, UdpSocket},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader, ReadBuf, copy},
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(20);

fn neighbours() -> [Kernel; 2] {
    let kernels = [Kernel::boot().expect("boots"), Kernel::boot().expect("boots")];
    let (one, two) = channel::pair();
    for (number, (kernel, end)) in (1..).zip(kernels.iter().zip([one, two])) {
        kernel.attach("virt0", Box::new(end), None).expect("a fresh kernel has room");
        kernel.add_address("virt0", format!("10.0.0.{number}/24").parse().expect("a prefix")).expect("free");
    }
    kernels
}

#[tokio::test]
async fn a_server_task_echoes_to_a_client_task() {
    let [one, two] = neighbours();
    let server = UdpSocket::bind(&two, "10.0.0.2:7").await.expect("free");
    let echo = tokio::spawn(async move {
        let mut buffer = [0; 100];
        for _ in 0..100 {
            let (len, from) = server.recv_from(&mut buffer).await.expect("open");
            server.send_to(&buffer[..len], from).await.expect("sent");
        }
    });
    let client = UdpSocket::bind(&one, "10.0.0.1:0").await.expect("free");
    client.connect("10.0.0.2:7").await.expect("reachable");
    for number in 0..100u8 {
        client.send(&[number; 10]).await.expect("sent");
        let mut buffer = [0; 20];
        let len = timeout(PATIENCE, client.recv(&mut buffer)).await.expect("in time").expect("echoed");
        assert_eq!(&buffer[..len], &[number; 10]);
    }
    timeout(PATIENCE, echo).await.expect("in time").expect("no panic");
}

#[tokio::test]
async fn a_read_buffer_is_filled_from_where_it_stands() {
    let [one, two] = neighbours();
    let receiver = UdpSocket::bind(&two, "10.0.0.2:7").await.expect("free");
    let sender = UdpSocket::bind(&one, "10.0.0.1:0").await.expect("free");
    sender.send_to(b"tail", "10.0.0.2:7").await.expect("sent");
    let mut bytes = [0; 10];
    let mut buffer = ReadBuf::new(&mut bytes);
    buffer.put_slice(b"head");
    let arrival = std::future::poll_fn(|cx| receiver.poll_recv_from(cx, &mut buffer));
    timeout(PATIENCE, arrival).await.expect("in time").expect("arrives");
    assert_eq!(buffer.filled(), b"headtail");
}

#[tokio::test]
async fn tokios_own_tools_copy_a_stream_there_and_back() {
    let [one, two] = neighbours();
    let listener = TcpListener::bind(&two, "10.0.0.2:7").await.expect("free");
    let echo = tokio::spawn(async move {
        let (stream, peer) = listener.accept().await.expect("a connection");
        assert_eq!(stream.peer_addr().expect("connected"), peer);
        let (mut read, mut write) = stream.into_split();
        copy(&mut read, &mut write).await.expect("the end comes")
    });
    let stream = TcpStream::connect(&one, "10.0.0.2:7").await.expect("answered");
    let sent: Vec<u8> = (0..5_000_000u32).map(|place| (place / 7) as u8).collect();
    let (read, mut write) = tokio::io::split(stream);
    let said = sent.clone();
    let writer = tokio::spawn(async move {
        write.write_all(&said).await.expect("the peer reads");
        write.shutdown().await.expect("connected");
    });
    let mut heard = Vec::new();
    let mut reader = BufReader::new(read);
    let reading = reader.read_to_end(&mut heard);
    assert_eq!(timeout(PATIENCE, reading).await.expect("in time").expect("the end comes"), sent.len());
    assert!(heard == sent, "byte for byte");
    timeout(PATIENCE, writer).await.expect("in time").expect("no panic");
    assert_eq!(timeout(PATIENCE, echo).await.expect("in time").expect("no panic"), sent.len() as u64);
}

#[tokio::test]
async fn a_stream_is_refused_ended_and_reset_as_tokios_are() {
    let [one, two] = neighbours();
    let refused = TcpStream::connect(&one, "10.0.0.2:7").await.map(drop).expect_err("no listener");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    let listener = TcpListener::bind(&two, "10.0.0.2:7").await.expect("free");
    let mut ours = TcpStream::connect(&one, "10.0.0.2:7").await.expect("answered");
    let (theirs, _) = listener.accept().await.expect("a connection");
    let (read, write) = theirs.into_split();
    drop(write);
    assert_eq!(timeout(PATIENCE, ours.read(&mut [0; 9])).await.expect("in time").expect("the end"), 0);
    ours.write_all(b"never read").await.expect("the other direction lives");
    timeout(PATIENCE, read.readable()).await.expect("in time").expect("open");
    drop(read);
    timeout(PATIENCE, ours.readable()).await.expect("in time").expect("open");
    let error = timeout(PATIENCE, async {
        loop {
            if let Err(error) = ours.write(b"x").await {
                break error;
            }
        }
    });
    let error = error.await.expect("in time");
    let kinds = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
    assert!(kinds.contains(&error.kind()), "{error}");
    ours.shutdown().await.expect("over is none to complain about");
}

/// A link whose end takes as long as the test wants.
struct Slow {
    released: std::sync::Mutex<Receiver<()>>,
    ended: Sender<()>,
}

impl Link for Slow {
    fn properties(&self) -> LinkProperties {
        let (end, _) = channel::pair();
        end.properties()
    }

    fn signal(&self) -> Signal<'_> {
        Signal::Doorbell
    }

    fn send(&self, _frame: &Frame) -> io::Result<()> {
        Ok(())
    }

    fn receive(&self, _pool: &Pool, _limit: usize, _out: &mut Vec<Received>) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        let released = self.released.get_mut().expect("no panic").recv_timeout(PATIENCE);
        assert!(released.is_ok() || std::thread::panicking(), "nobody came past the drop");
        let _listened = self.ended.send(());
    }
}

#[tokio::test]
async fn dropping_the_last_handle_in_a_task_does_not_wait_for_the_link_to_end() {
    let kernel = Kernel::boot().expect("boots");
    let (release, released) = messages();
    let (ended, end) = messages();
    let slow = Slow { released: std::sync::Mutex::new(released), ended };
    kernel.attach("virt0", Box::new(slow), None).expect("room");
    drop(kernel);
    assert!(end.try_recv().is_err(), "the link has not ended, and here we are");
    release.send(()).expect("somebody ends the link");
    end.recv_timeout(PATIENCE).expect("the link ends in the end");
}

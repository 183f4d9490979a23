//! Streams over a bad cable: the rump kernel, or the host's own kernel in a second namespace, at the far end, and the host's at the near one.
//!
//! Every stream is limited by its losses and none by the cable, so that several at once are as many measurements of one. All of it is
//! one process: a namespace belongs to a thread, and a socket to the namespace of the thread that made it.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use rumpnet::Kernel;
use rumpnet_cable::{TapCable, bridged_end, host_end};
use rumpnet_host::{Tap, namespace::enter_own_network};
use rumpnet_sim::Conditions;
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    Failure, Figures,
    kernel_socket::PORT,
    kernel_stream::PATIENCE,
    namespace::{HOST, PEER},
    trial::{Arm, Load},
};

/// Half of the round trip.
const LATENCY: Duration = Duration::from_millis(10);
/// For so long nothing is counted, until windows are what losses make of them.
const SETTLE: Duration = Duration::from_secs(2);
/// For so long it is.
const MEASURE: Duration = Duration::from_secs(8);
/// Bytes of a write and of a read.
const BLOCK: usize = 64 * 1024;

/// Anybody's connected stream.
trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// Streams by a namespace's or a kernel's sockets; made in the thread that is there.
enum Side {
    Host([u8; 4]),
    Rump(Kernel),
}

impl Side {
    fn listen(&self) -> Result<Listener, Failure> {
        Ok(match self {
            Self::Host(address) => Listener::Host(TcpListener::bind(SocketAddr::from((*address, PORT)))?),
            Self::Rump(kernel) => {
                Listener::Rump(rumpnet::TcpListener::bind(kernel, SocketAddr::from((PEER, PORT)))?)
            }
        })
    }

    fn connect(&self, to: [u8; 4]) -> Result<Box<dyn Stream>, Failure> {
        let to = SocketAddr::from((to, PORT));
        Ok(match self {
            Self::Host(_) => {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
                socket.set_tcp_congestion(b"cubic")?;
                socket.connect_timeout(&to.into(), PATIENCE)?;
                socket.set_write_timeout(Some(PATIENCE))?;
                Box::new(TcpStream::from(socket))
            }
            Self::Rump(kernel) => {
                let stream = rumpnet::TcpStream::connect(kernel, to)?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Box::new(stream)
            }
        })
    }
}

/// A listener of either kind.
enum Listener {
    Host(TcpListener),
    Rump(rumpnet::TcpListener),
}

impl Listener {
    fn accept(&self) -> Result<Box<dyn Stream>, Failure> {
        Ok(match self {
            Self::Host(listener) => Box::new(listener.accept()?.0),
            Self::Rump(listener) => Box::new(listener.accept()?.0),
        })
    }
}

/// What befalls frames under `load`, and how many streams run at once.
fn determine_conditions(load: Load) -> (Conditions, usize) {
    let clean = Conditions { latency: LATENCY, ..Conditions::PERFECT };
    match load {
        Load::HeavyLossSend | Load::HeavyLossReceive => (Conditions { loss: 0.01, ..clean }, 8),
        Load::OvertakenSend => {
            let reordering_delay = Duration::from_millis(2);
            let bandwidth = Some(50_000_000);
            (Conditions { reordering: 0.03, reordering_delay, bandwidth, queue: Some(200), ..clean }, 1)
        }
        _ => (Conditions { loss: 0.001, ..clean }, 4),
    }
}

/// Measures `arm` at the far end.
pub(crate) fn run(arm: Arm, load: Load) -> Result<Figures, Failure> {
    let (conditions, streams) = determine_conditions(load);
    let (far, far_end) = far_side(arm)?;
    let near_end = host_end("10.0.0.1/24")?;
    let seed = u64::from(std::process::id());
    let cable = TapCable::lay([near_end, far_end], seed, [conditions; 2])?;
    let sends = matches!(load, Load::LossSend | Load::HeavyLossSend | Load::OvertakenSend);
    let bits = far.run(sends, streams)?;
    let punctuality = cable.punctuality();
    let late = punctuality.late.as_secs_f64() * 1e6 / punctuality.frames.max(1) as f64;
    let counters = cable.counters();
    Ok(Figures::from([
        ("mbit_per_second".into(), bits / streams as f64 / 1e6),
        ("cable_late_us".into(), late),
        ("lost_percent".into(), counters.lost as f64 * 100.0 / counters.sent.max(1) as f64),
    ]))
}

/// The far side, which lives in a thread of its own: it is asked to make sockets there.
struct Far {
    asked: mpsc::Sender<bool>,
    streams: mpsc::Receiver<Result<Option<Box<dyn Stream>>, String>>,
}

/// Makes the far side, and its end of the cable.
fn far_side(arm: Arm) -> Result<(Far, Tap), Failure> {
    let (asked, questions) = mpsc::channel();
    let (answers, streams) = mpsc::channel();
    let (made, ends) = mpsc::channel();
    thread::spawn(move || {
        let (side, end) = match make(arm) {
            Ok((side, end)) => (side, Ok(end)),
            Err(error) => (Side::Host(PEER), Err(error.to_string())),
        };
        let _gone = made.send(end);
        serve(&side, &questions, &answers);
    });
    Ok((Far { asked, streams }, ends.recv()??))
}

fn make(arm: Arm) -> Result<(Side, Tap), Failure> {
    enter_own_network()?;
    if arm == Arm::Linux {
        return Ok((Side::Host(PEER), host_end("10.0.0.2/24")?));
    }
    let kernel = crate::rump_arm::boot()?;
    let end = bridged_end("tap0")?;
    Ok((Side::Rump(kernel), end))
}

/// Makes streams as it is asked: connects if the word is true, else listens and accepts one for each further word.
fn serve(
    side: &Side,
    questions: &mpsc::Receiver<bool>,
    answers: &mpsc::Sender<Result<Option<Box<dyn Stream>>, String>>,
) {
    let mut listener = None;
    while let Ok(connects) = questions.recv() {
        let made = if connects {
            side.connect(HOST).map(Some)
        } else {
            match &listener {
                None => side.listen().map(|made| {
                    listener = Some(made);
                    None
                }),
                Some(listener) => listener.accept().map(Some),
            }
        };
        let _gone = answers.send(made.map_err(|error| error.to_string()));
    }
}

impl Far {
    fn ask(&self, connects: bool) -> Result<Option<Box<dyn Stream>>, Failure> {
        self.asked.send(connects)?;
        Ok(self.streams.recv()??)
    }

    /// Opens the streams and counts what they bring: bits per second of all together.
    fn run(&self, sends: bool, streams: usize) -> Result<f64, Failure> {
        let near = Side::Host(HOST);
        let mut pairs = Vec::new();
        if sends {
            let listener = near.listen()?;
            for _ in 0..streams {
                let sender = self.ask(true)?.ok_or("no stream")?;
                pairs.push((sender, listener.accept()?));
            }
        } else {
            self.ask(false)?;
            for _ in 0..streams {
                let sender = near.connect(PEER)?;
                pairs.push((sender, self.ask(false)?.ok_or("no stream")?));
            }
        }
        measure(pairs)
    }
}

/// The bits per second that arrive, after a while.
fn measure(pairs: Vec<(Box<dyn Stream>, Box<dyn Stream>)>) -> Result<f64, Failure> {
    let arrived = Arc::new(AtomicU64::new(0));
    for (mut sender, mut receiver) in pairs {
        let arrived = Arc::clone(&arrived);
        thread::spawn(move || {
            let block = vec![0x55; BLOCK];
            while sender.write(&block).is_ok() {}
        });
        thread::spawn(move || {
            let mut buffer = vec![0; BLOCK];
            loop {
                match receiver.read(&mut buffer) {
                    Ok(0) | Err(_) => break,
                    Ok(len) => arrived.fetch_add(len as u64, Ordering::Relaxed),
                };
            }
        });
    }
    thread::sleep(SETTLE);
    let (before, begun) = (arrived.load(Ordering::Relaxed), Instant::now());
    thread::sleep(MEASURE);
    let after = arrived.load(Ordering::Relaxed);
    Ok((after - before) as f64 * 8.0 / begun.elapsed().as_secs_f64())
}

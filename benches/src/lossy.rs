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
    namespace::{self, HOST, PEER},
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
        Load::Shared => (Conditions { bandwidth: Some(20_000_000), queue: Some(60), ..clean }, 1),
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
    let rates = match load {
        Load::Shared => far.run_shared()?,
        Load::LossReceive | Load::HeavyLossReceive => far.receive(streams)?,
        _ => far.send(streams)?,
    };
    let punctuality = cable.punctuality();
    let late = punctuality.late.as_secs_f64() * 1e6 / punctuality.frames.max(1) as f64;
    let counters = cable.counters();
    let mean = rates.iter().sum::<f64>() / rates.len().max(1) as f64;
    let mut figures = Figures::from([
        ("mbit_per_second".into(), mean),
        ("cable_late_us".into(), late),
        ("lost_percent".into(), counters.lost as f64 * 100.0 / counters.sent.max(1) as f64),
    ]);
    if load == Load::Shared {
        figures.insert("own_mbit_per_second".into(), rates[0]);
        figures.insert("beside_mbit_per_second".into(), rates[1]);
    }
    Ok(figures)
}

/// What the far side is asked for.
enum Question {
    /// A stream to the host.
    Connect,
    /// One of Linux in the same namespace.
    ConnectBeside,
    /// A listener.
    Listen,
    /// A stream that came to it.
    Accept,
}

/// A stream, or none for a listener; why not.
type Made = Result<Option<Box<dyn Stream>>, String>;

/// The far side, which lives in a thread of its own: it is asked to make sockets there.
struct Far {
    asked: mpsc::Sender<Question>,
    streams: mpsc::Receiver<Made>,
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
    namespace::ip("addr add 10.0.0.3/24 dev br0")?;
    Ok((Side::Rump(kernel), end))
}

/// Makes what it is asked for.
fn serve(side: &Side, questions: &mpsc::Receiver<Question>, answers: &mpsc::Sender<Made>) {
    let mut listener = None;
    while let Ok(question) = questions.recv() {
        let made = match question {
            Question::Connect => side.connect(HOST).map(Some),
            Question::ConnectBeside => Side::Host(PEER).connect(HOST).map(Some),
            Question::Listen => side.listen().map(|made| {
                listener = Some(made);
                None
            }),
            Question::Accept => match &listener {
                Some(listener) => listener.accept().map(Some),
                None => Err("nobody listens".into()),
            },
        };
        let _gone = answers.send(made.map_err(|error| error.to_string()));
    }
}

impl Far {
    fn ask(&self, question: Question) -> Result<Box<dyn Stream>, Failure> {
        self.asked.send(question)?;
        self.streams.recv()??.ok_or_else(|| "no stream".into())
    }

    /// Streams from the far side to the near one: Mbit/s of each.
    fn send(&self, streams: usize) -> Result<Vec<f64>, Failure> {
        let listener = Side::Host(HOST).listen()?;
        let pairs = (0..streams).map(|_| Ok((self.ask(Question::Connect)?, listener.accept()?)));
        measure(pairs.collect::<Result<_, Failure>>()?)
    }

    /// Streams the other way.
    fn receive(&self, streams: usize) -> Result<Vec<f64>, Failure> {
        self.asked.send(Question::Listen)?;
        self.streams.recv()??;
        let near = Side::Host(HOST);
        let pairs = (0..streams).map(|_| Ok((near.connect(PEER)?, self.ask(Question::Accept)?)));
        measure(pairs.collect::<Result<_, Failure>>()?)
    }

    /// One stream of the arm's, and one of Linux from the same namespace.
    fn run_shared(&self) -> Result<Vec<f64>, Failure> {
        let listener = Side::Host(HOST).listen()?;
        let own = (self.ask(Question::Connect)?, listener.accept()?);
        let beside = (self.ask(Question::ConnectBeside)?, listener.accept()?);
        measure(vec![own, beside])
    }
}

/// The Mbit/s of each that arrive, after a while.
fn measure(pairs: Vec<(Box<dyn Stream>, Box<dyn Stream>)>) -> Result<Vec<f64>, Failure> {
    let counts: Vec<_> = pairs.into_iter().map(|(sender, receiver)| run_one(sender, receiver)).collect();
    let look = || counts.iter().map(|count| count.load(Ordering::Relaxed)).collect::<Vec<_>>();
    thread::sleep(SETTLE);
    let (before, begun) = (look(), Instant::now());
    thread::sleep(MEASURE);
    let (after, took) = (look(), begun.elapsed().as_secs_f64());
    Ok(after.iter().zip(before).map(|(after, before)| (after - before) as f64 * 8.0 / took / 1e6).collect())
}

/// Writes and reads until one of them ends; what has arrived.
fn run_one(mut sender: Box<dyn Stream>, mut receiver: Box<dyn Stream>) -> Arc<AtomicU64> {
    let arrived = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&arrived);
    thread::spawn(move || {
        let block = vec![0x55; BLOCK];
        while sender.write(&block).is_ok() {}
    });
    thread::spawn(move || {
        let mut buffer = vec![0; BLOCK];
        while let Ok(len @ 1..) = receiver.read(&mut buffer) {
            count.fetch_add(len as u64, Ordering::Relaxed);
        }
    });
    arrived
}

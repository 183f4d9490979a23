//! The world: hosts, cables and time, and what is left of it when a test fails.

use std::{
    future::Future,
    io,
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use rumpnet_stack::{Config, time::Instant};

use crate::{
    Cable, Host, Stranger,
    cable::state::Plug,
    shared::{Shared, since_start},
    stranger::StrangerState,
};

/// A world of hosts and cables with its own time, which begins at zero and passes only while the world is run.
///
/// The same seed and the same calls make the same world, byte for byte. If a test panics while its world lives, the seed is printed
/// and what passed the cables is left as `captures/<test>-<seed>.pcapng`.
pub struct World {
    pub(crate) shared: Rc<Shared>,
}

/// The environment variable that overrules the seed of every world.
const SEED_VARIABLE: &str = "RUMPNET_SEED";

impl World {
    /// An empty world. The environment variable `RUMPNET_SEED` overrules the seed, to run a test with another.
    ///
    /// # Panics
    ///
    /// If that variable is not a number of 64 bits.
    pub fn new(seed: u64) -> Self {
        let overruled = std::env::var(SEED_VARIABLE).ok();
        let seed = overruled.map_or(seed, |text| {
            text.parse().unwrap_or_else(|_| panic!("{SEED_VARIABLE}={text} is not a number of 64 bits"))
        });
        Self { shared: Rc::new(Shared::new(seed)) }
    }

    /// The seed of everything random in it.
    pub fn seed(&self) -> u64 {
        self.shared.seed
    }

    /// The time since it began.
    pub fn now(&self) -> Duration {
        since_start(self.shared.now())
    }

    /// The host of that name; one that is new boots now, with `lo0` and nothing else.
    pub fn host(&self, name: &str) -> Host {
        self.host_with(name, Config::default())
    }

    /// As [`Self::host`], with limits of its own. A host that exists keeps those it has.
    pub fn host_with(&self, name: &str, config: Config) -> Host {
        let number = self.shared.with(|core| match core.names.get(name) {
            Some(number) => *number,
            None => core.boot(name, config),
        });
        Host { shared: Rc::clone(&self.shared), number }
    }

    /// A new cable, with nobody at its ends and perfect conditions.
    pub fn cable(&self) -> Cable {
        let number = self.shared.with(|core| core.add_cable(None));
        Cable { shared: Rc::clone(&self.shared), number }
    }

    /// The bus that a link string names, such as `mem:lan` or a path, which is only a name here; one that is new is made now.
    ///
    /// It is a cable with any number of ends, whose members have a carrier even when they are alone.
    pub fn bus(&self, name: &str) -> Cable {
        let number = self.shared.with(|core| core.bus(name));
        Cable { shared: Rc::clone(&self.shared), number }
    }

    /// A stranger at a new end of a cable, who can do nothing but send and receive whole frames.
    ///
    /// As it has no offloads, the other ends do theirs in software from now on.
    pub fn stranger(&self, cable: &Cable) -> Stranger {
        let number = self.shared.with(|core| {
            let number = core.strangers.len();
            let label = format!("stranger{number}");
            let ethernet = core.cables[cable.number].ends.first().is_none_or(|end| end.ethernet);
            core.strangers.push(StrangerState::default());
            let end = core.plug(cable.number, Plug::Stranger(number), label, ethernet, true);
            core.strangers[number].plug = (cable.number, end);
            number
        });
        Stranger { shared: Rc::clone(&self.shared), number }
    }

    /// Lets time pass.
    pub fn run_for(&self, span: Duration) {
        let limit = self.shared.now() + span.into();
        self.shared.drive(limit, || false);
        self.shared.advance_to(limit);
    }

    /// Runs until no frame is under way and no task can go on. Timers and sleepers that are left are not waited for, but
    /// go off if their time comes while frames are under way.
    ///
    /// Two programs that answer each other with pauses keep a world busy for ever; run it for a time instead.
    pub fn run_until_idle(&self) {
        self.shared.drive(Instant::MAX, || {
            // What is due at once, such as packets of a host to itself, is not worth a timer.
            let due = self.shared.with(|core| core.next_time().is_some_and(|at| at <= core.now));
            !due && !self.shared.with(|core| core.is_anything_under_way())
                && !self.shared.tasks.is_any_ready()
        });
    }

    /// How many things may happen at one time before the world is believed to run in circles, and the test fails: ten million
    /// unless set.
    pub fn set_patience(&self, things: u64) {
        self.shared.patience.set(things);
    }

    /// Runs until `condition` holds, at most for `limit`; says whether it held. It is looked at after everything that happens.
    #[must_use = "the limit may have been reached"]
    pub fn run_until(&self, mut condition: impl FnMut() -> bool, limit: Duration) -> bool {
        let limit = self.shared.now() + limit.into();
        let held = self.shared.drive(limit, &mut condition);
        if !held {
            self.shared.advance_to(limit);
        }
        held
    }

    /// Runs until a future is ready, and returns what it came to. A [`JoinHandle`](crate::JoinHandle) will do.
    ///
    /// # Panics
    ///
    /// If nothing is left to happen and the future still waits; if it takes a year.
    pub fn block_on<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> T {
        block_on(&self.shared, "the world".into(), future)
    }

    /// A hash of every frame with its time, every message and every tool's output up to now; equal for equal runs.
    pub fn trace(&self) -> u64 {
        self.shared.with(|core| core.trace.hash())
    }

    /// Things that have happened: frames that arrived, timers that went off.
    pub fn events(&self) -> u64 {
        self.shared.with(|core| core.happened)
    }

    /// Keeps at most so many bytes of frames for captures: 32 MiB unless set, 0 for none.
    pub fn keep_for_capture(&self, bytes: usize) {
        self.shared.with(|core| core.recording.set_limit(bytes));
    }

    /// Writes what has passed the cables as pcapng, an interface for each end of a cable, with what befell a frame as its comment.
    pub fn capture(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let file = self.shared.with(|core| core.recording.to_pcapng());
        std::fs::write(path, file)
    }

    /// A test has failed: leaves what helps to find out why.
    fn leave_evidence(&self) {
        eprintln!("the world had the seed {}, and stopped at {}", self.seed(), self.shared.now());
        let Some(file) = self.shared.read(|core| core.recording.to_pcapng()) else { return };
        let folder = captures_folder();
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("world").replace("::", "-");
        let path = folder.join(format!("{test}-{}.pcapng", self.seed()));
        match std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, file)) {
            Ok(()) => eprintln!("what passed its cables: {}", path.display()),
            Err(error) => {
                eprintln!("what passed its cables could not be written to {}: {error}", path.display())
            }
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.leave_evidence();
        }
        self.shared.tasks.clear();
    }
}

/// The longest that anybody waits for a future: a year.
const YEAR: u64 = 365 * 24 * 3600;

/// Runs a world until a future is ready.
pub(crate) fn block_on<T: 'static>(
    shared: &Rc<Shared>,
    place: Rc<str>,
    future: impl Future<Output = T> + 'static,
) -> T {
    let handle = shared.tasks.spawn(place, future);
    let limit = shared.now() + rumpnet_stack::time::Duration::from_secs(YEAR);
    let ended = shared.drive(limit, || handle.is_finished());
    assert!(ended, "nothing is left to happen, and a task still waits");
    handle.take().expect("a finished task has an outcome that nobody else takes")
}

/// `captures` beside the nearest `Cargo.lock` above the directory a test runs in.
fn captures_folder() -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    let root = here.ancestors().find(|folder| folder.join("Cargo.lock").exists());
    root.unwrap_or(&here).join("captures")
}

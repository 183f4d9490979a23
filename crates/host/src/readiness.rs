//! Readiness: one epoll descriptor, an eventfd by which other threads end a wait, and an alarm that ends it at its time.
//!
//! Descriptors are named by a token of the caller's choice and reported for as long as they are ready. Waits are as exact as the
//! clock: epoll_pwait2(2) takes nanoseconds. An alarm that stays where it is costs a wait nothing, while a limit is set and
//! taken back by the kernel each time.

use std::{
    io::{self, IoSlice},
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll, eventfd, poll},
    io::{Errno, ReadWriteFlags, pwritev2, write},
    time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime},
};

/// The token of the eventfd, which no caller may use.
const WAKE: u64 = u64::MAX;

/// The token of the alarm, which no caller may use either.
const ALARM: u64 = u64::MAX - 1;

/// How news is told once.
const NEWS: epoll::EventFlags = epoll::EventFlags::ET;

/// Events taken with one system call.
const EVENTS: usize = 256;

/// What is waited for. Errors are always reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// There is something to read.
    pub readable: bool,
    /// There is room to write.
    pub writable: bool,
}

impl Interest {
    /// Something to read.
    pub const READABLE: Self = Self { readable: true, writable: false };
    /// Something to read, or room to write.
    pub const BOTH: Self = Self { readable: true, writable: true };

    fn flags(self) -> epoll::EventFlags {
        let mut flags = epoll::EventFlags::empty();
        flags.set(epoll::EventFlags::IN, self.readable);
        flags.set(epoll::EventFlags::OUT, self.writable);
        flags
    }
}

/// A descriptor that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which one.
    pub token: u64,
    /// There is something to read.
    pub readable: bool,
    /// There is room to write.
    pub writable: bool,
    /// It is in error, or its other end is gone.
    pub failed: bool,
}

/// A set of descriptors to wait for.
#[derive(Debug)]
pub struct Poller {
    epoll: OwnedFd,
    wake: OwnedFd,
    alarm: OwnedFd,
}

impl Poller {
    /// An empty set. EMFILE, ENFILE, ENOMEM.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &wake, epoll::EventData::new_u64(WAKE), epoll::EventFlags::IN)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let alarm = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        epoll::add(&epoll, &alarm, epoll::EventData::new_u64(ALARM), epoll::EventFlags::IN)?;
        Ok(Self { epoll, wake, alarm })
    }

    /// Waits for `fd` too. EEXIST if it does already; EPERM for one that cannot be polled.
    pub fn add(&self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, epoll::EventData::new_u64(token), interest.flags())?)
    }

    /// The same, but of several pollers that wait for `fd` so, news ends the wait of the first only in which a thread waits, by the order
    /// in which it was added to them (EPOLLEXCLUSIVE). What is waited for cannot be changed then, only removed and added anew.
    pub fn add_exclusive(&self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        let flags = interest.flags() | epoll::EventFlags::EXCLUSIVE;
        Ok(epoll::add(&self.epoll, fd, epoll::EventData::new_u64(token), flags)?)
    }

    /// The same, but news is told once: that there is something to read, or room, only when more of it comes, and ends and errors once
    /// (EPOLLET).
    pub fn add_news(&self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        let flags = interest.flags() | NEWS;
        Ok(epoll::add(&self.epoll, fd, epoll::EventData::new_u64(token), flags)?)
    }

    /// Changes what news is waited for; what is the case already is told once. ENOENT if `fd` is not in the set.
    pub fn modify_news(&self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        let flags = interest.flags() | NEWS;
        Ok(epoll::modify(&self.epoll, fd, epoll::EventData::new_u64(token), flags)?)
    }

    /// Changes what is waited for. ENOENT if `fd` is not in the set.
    pub fn modify(&self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, fd, epoll::EventData::new_u64(token), interest.flags())?)
    }

    /// Waits for `fd` no more. ENOENT if it is not in the set.
    pub fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, fd)?)
    }

    /// Waits until something is ready, at most so long, and puts it in the place of what `events` held.
    pub fn wait(&self, events: &mut Vec<Event>, patience: Option<Duration>) -> io::Result<()> {
        events.clear();
        let timeout = patience.map(timespec);
        let mut ready = [const { std::mem::MaybeUninit::uninit() }; EVENTS];
        match epoll::wait(&self.epoll, &mut ready, timeout.as_ref()) {
            Ok((ready, _)) => ready.iter().for_each(|event| self.take(Event::from(*event), events)),
            Err(Errno::INTR) => {}
            // Before Linux 5.11 there is no epoll_pwait2(2).
            Err(Errno::NOSYS) => self.wait_in_milliseconds(events, patience)?,
            Err(errno) => return Err(errno.into()),
        }
        Ok(())
    }

    /// The same by epoll_wait(2), which counts in milliseconds; a wait is longer rather than shorter.
    fn wait_in_milliseconds(&self, events: &mut Vec<Event>, patience: Option<Duration>) -> io::Result<()> {
        let milliseconds =
            |span: Duration| span.as_nanos().div_ceil(1_000_000).try_into().unwrap_or(i32::MAX);
        let timeout = patience.map_or(-1, milliseconds);
        let mut ready = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
        // SAFETY: the descriptor is open for as long as `self` is, and the kernel writes at most EVENTS entries of `ready`.
        let count =
            unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), ready.as_mut_ptr(), EVENTS as i32, timeout) };
        let Ok(count) = usize::try_from(count) else {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) };
        };
        ready[..count].iter().for_each(|event| self.take(Event::new(event.u64, event.events), events));
        Ok(())
    }

    /// Keeps an event of a caller's descriptor; our own two have done their work when the wait is over.
    fn take(&self, event: Event, events: &mut Vec<Event>) {
        // Somebody else may have emptied them.
        match event.token {
            WAKE => drop(rustix::io::read(&self.wake, &mut [0; 8])),
            ALARM => drop(rustix::io::read(&self.alarm, &mut [0; 8])),
            _ => events.push(event),
        }
    }

    /// Ends the wait that is under way when so much time has passed, or the next one if it comes later; at once for zero.
    ///
    /// There is one alarm, and setting it again moves it.
    pub fn set_alarm(&self, after: Duration) -> io::Result<()> {
        // A timer of zero would be no timer.
        let it_value = timespec(after.max(Duration::from_nanos(1)));
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        timerfd_settime(&self.alarm, TimerfdTimerFlags::empty(), &Itimerspec { it_interval, it_value })?;
        Ok(())
    }

    /// Ends the wait that is under way, or else the next one.
    pub fn wake(&self) {
        // It fails only when as many as 2^64 wake-ups are pending, which is one.
        let _pending = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }
}

fn timespec(span: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: span.subsec_nanos().into(),
    }
}

impl AsFd for Poller {
    /// Readable when something in the set is ready.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl From<epoll::Event> for Event {
    fn from(event: epoll::Event) -> Self {
        let (flags, data) = (event.flags, event.data);
        Self::new(data.u64(), flags.bits())
    }
}

impl Event {
    const fn new(token: u64, flags: u32) -> Self {
        Self {
            token,
            readable: flags & libc::EPOLLIN as u32 != 0,
            writable: flags & libc::EPOLLOUT as u32 != 0,
            failed: flags & (libc::EPOLLERR | libc::EPOLLHUP) as u32 != 0,
        }
    }
}

/// Waits once for one of a few descriptors, plain files included, which are always ready; at most so long. An event's token is the place in
/// `wanted`; there is none if the time is over. For who waits for other descriptors each time: a [`Poller`] keeps its set.
pub fn wait_for(wanted: &[(BorrowedFd<'_>, Interest)], patience: Option<Duration>) -> io::Result<Vec<Event>> {
    let mut polled: Vec<_> = wanted
        .iter()
        .map(|(fd, interest)| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, interest.readable);
            flags.set(PollFlags::OUT, interest.writable);
            PollFd::from_borrowed_fd(*fd, flags)
        })
        .collect();
    let until = patience.and_then(|span| Instant::now().checked_add(span));
    loop {
        let left = until.map(|until| timespec(until.saturating_duration_since(Instant::now())));
        match poll(&mut polled, left.as_ref()) {
            Err(Errno::INTR) => {}
            done => {
                done?;
                break;
            }
        }
    }
    let seen = polled.iter().enumerate().filter(|(_, fd)| !fd.revents().is_empty());
    Ok(seen
        .map(|(place, fd)| Event {
            token: place as u64,
            readable: fd.revents().contains(PollFlags::IN),
            writable: fd.revents().contains(PollFlags::OUT),
            failed: fd.revents().intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL),
        })
        .collect())
}

/// Writes to a descriptor that may belong to others, too, without waiting, though it may be a blocking one: what it takes now, or
/// WouldBlock. One of a kind that knows no such writes, a FIFO or a terminal, is written in the ordinary way, which may wait.
pub fn write_now(descriptor: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    // No place in a file, but wherever it stands.
    let written = pwritev2(&descriptor, &[IoSlice::new(bytes)], u64::MAX, ReadWriteFlags::NOWAIT);
    match written {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(write(descriptor, bytes)?),
        written => Ok(written?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_to_a_full_blocking_pipe_does_not_wait_and_one_to_a_file_is_written() {
        let (_reader, writer) = rustix::pipe::pipe().expect("a pipe");
        let mut held = 0;
        let refused = loop {
            match write_now(&writer, &[0; 4096]) {
                Ok(len) => held += len,
                Err(error) => break error,
            }
        };
        assert!(refused.kind() == io::ErrorKind::WouldBlock && held > 0, "{refused} {held}");
        let path = std::env::temp_dir().join(format!("rumpnet-write-now-{}", std::process::id()));
        let file = std::fs::File::create(&path).expect("a temporary file");
        for _ in 0..2 {
            assert_eq!(write_now(&file, b"ab").ok(), Some(2));
        }
        assert_eq!(std::fs::read(&path).ok().as_deref(), Some(&b"abab"[..]));
        std::fs::remove_file(path).expect("it was made");
    }

    #[test]
    fn of_a_few_descriptors_those_that_are_ready_are_told_and_files_always_are() {
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        let file = std::fs::File::open("/dev/null").expect("it is there");
        let wanted = [(reader.as_fd(), Interest::READABLE)];
        assert_eq!(wait_for(&wanted, Some(Duration::from_millis(5))).expect("open"), []);
        let wanted = [(reader.as_fd(), Interest::READABLE), (file.as_fd(), Interest::READABLE)];
        let events = wait_for(&wanted, None).expect("open");
        assert_eq!(events, [Event { token: 1, readable: true, writable: false, failed: false }]);
        drop(writer);
        assert!(wait_for(&wanted[..1], None).expect("open")[0].failed);
    }

    #[test]
    fn a_descriptor_is_reported_by_its_token_for_as_long_as_it_is_ready() {
        let poller = Poller::new().expect("a descriptor");
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        poller.add(reader.as_fd(), 7, Interest::READABLE).expect("a pipe polls");
        let mut events = Vec::new();
        poller.wait(&mut events, Some(Duration::ZERO)).expect("no error");
        assert!(events.is_empty());
        rustix::io::write(&writer, b"x").expect("room");
        for _ in 0..2 {
            poller.wait(&mut events, None).expect("no error");
            assert_eq!(events, [Event { token: 7, readable: true, writable: false, failed: false }]);
        }
        drop(writer);
        rustix::io::read(&reader, &mut [0; 8]).expect("the byte");
        poller.wait(&mut events, None).expect("no error");
        assert!(events[0].failed);
        poller.remove(reader.as_fd()).expect("it was there");
        poller.wait(&mut events, Some(Duration::ZERO)).expect("no error");
        assert!(events.is_empty());
    }

    #[test]
    fn a_wake_up_ends_the_wait_under_way_or_the_next_one_and_only_that() {
        let poller = Poller::new().expect("a descriptor");
        poller.wake();
        poller.wake();
        let mut events = Vec::new();
        poller.wait(&mut events, None).expect("no error");
        assert!(events.is_empty());
        let before = std::time::Instant::now();
        poller.wait(&mut events, Some(Duration::from_millis(5))).expect("no error");
        assert!(before.elapsed() >= Duration::from_millis(5));
    }

    #[test]
    fn of_pollers_that_wait_exclusively_the_first_with_a_waiting_thread_is_told_alone() {
        let pollers = [Poller::new().expect("a descriptor"), Poller::new().expect("a descriptor")];
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        for poller in &pollers {
            poller.add_exclusive(reader.as_fd(), 1, Interest::READABLE).expect("a pipe polls");
        }
        let waits = |poller: &Poller, patience| {
            let mut events = Vec::new();
            poller.wait(&mut events, Some(patience)).expect("no error");
            events.len()
        };
        // Nobody waits in the first: the second is told, whose thread does.
        std::thread::scope(|scope| {
            let second = scope.spawn(|| waits(&pollers[1], Duration::from_secs(10)));
            std::thread::sleep(Duration::from_millis(20));
            rustix::io::write(&writer, b"x").expect("room");
            assert_eq!(second.join().expect("no panic"), 1);
        });
        rustix::io::read(&reader, &mut [0; 8]).expect("the byte");
        // Threads wait in both: the first is told, and the second sees nothing once that has read.
        std::thread::scope(|scope| {
            let first = scope.spawn(|| {
                let count = waits(&pollers[0], Duration::from_secs(10));
                rustix::io::read(&reader, &mut [0; 8]).expect("the byte");
                count
            });
            let second = scope.spawn(|| waits(&pollers[1], Duration::from_millis(200)));
            std::thread::sleep(Duration::from_millis(20));
            rustix::io::write(&writer, b"x").expect("room");
            assert_eq!((first.join().expect("no panic"), second.join().expect("no panic")), (1, 0));
        });
    }

    #[test]
    fn an_alarm_ends_one_wait_and_the_last_setting_counts() {
        let poller = Poller::new().expect("a descriptor");
        let mut events = Vec::new();
        poller.set_alarm(Duration::from_secs(3600)).expect("a timer");
        poller.set_alarm(Duration::ZERO).expect("a timer");
        poller.wait(&mut events, None).expect("no error");
        assert!(events.is_empty());
        let before = std::time::Instant::now();
        poller.wait(&mut events, Some(Duration::from_millis(5))).expect("no error");
        assert!(before.elapsed() >= Duration::from_millis(5), "it rings once");
    }

    #[test]
    fn where_waits_count_in_milliseconds_the_same_is_reported() {
        let poller = Poller::new().expect("a descriptor");
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        poller.add(reader.as_fd(), 7, Interest::READABLE).expect("a pipe polls");
        let mut events = Vec::new();
        poller.wait_in_milliseconds(&mut events, Some(Duration::from_nanos(1))).expect("no error");
        assert!(events.is_empty());
        rustix::io::write(&writer, b"x").expect("room");
        poller.wake();
        poller.wait_in_milliseconds(&mut events, None).expect("no error");
        assert_eq!(events, [Event { token: 7, readable: true, writable: false, failed: false }]);
        drop(writer);
        events.clear();
        poller.wait_in_milliseconds(&mut events, None).expect("no error");
        assert!(events[0].failed);
    }
}

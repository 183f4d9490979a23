//! One client: its calls one after the other, and their answers.
//!
//! A call that waits for echo replies goes on a thread of its own, so that the client can close the echo session meanwhile.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use rumpnet_host::unix::Connection;
use rumpnet_proto::{
    CaptureOptions, ControlError, Errno, Operation, Reply, Request,
    codec::{self, Answer, Call, MAX_MESSAGE},
};

use super::{
    Limits, Shared,
    owned::Owned,
    sockets, spawn,
    stream::{Captured, Id, Source, Stream},
    watch::Watched,
};
use crate::{
    Kernel,
    client::{NO_CALL, deadline_after},
    passed::Share,
};

type Result<T> = std::result::Result<T, ControlError>;

/// A wait without end.
const FOREVER: u64 = u64::MAX;

/// A client.
pub(super) struct Session {
    socket: Connection,
    owned: Mutex<Owned>,
    /// The kernel of the host that the client has entered, if the server is a lab.
    entered: OnceLock<Kernel>,
    share: Arc<Share>,
}

fn refuse<T>(operation: Operation, errno: Errno) -> Result<T> {
    Err(ControlError::new(operation, "", errno))
}

impl Session {
    pub(super) fn new(socket: Connection, limits: &Limits) -> Self {
        Self { socket, owned: Mutex::default(), entered: OnceLock::new(), share: Share::new(limits) }
    }

    /// Its sockets.
    pub(super) const fn share(&self) -> &Arc<Share> {
        &self.share
    }

    /// Ends the conversation with a reason, if there is room to say it.
    pub(super) fn refuse_all(&self, errno: Errno) {
        let result = Err(ControlError::new(Operation::Server, "", errno));
        self.send(NO_CALL, result, Duration::ZERO);
        self.hang_up();
    }

    /// Answers until the client or the server ends the conversation.
    pub(super) fn run(self: &Arc<Self>, shared: &Arc<Shared>) {
        let token = shared.watch(&**self, Watched::Client(Arc::downgrade(self)));
        let mut buffer = vec![0; MAX_MESSAGE];
        while let Some((Call { id, request }, descriptors)) = self.next_call(&mut buffer) {
            let is_sent = match request {
                Request::Socket(request) => {
                    let (result, descriptor) = sockets::answer(self.kernel(shared), &self.share, request);
                    self.send_with(id, result, descriptor, shared.limits.patience)
                }
                request => self
                    .answer(shared, id, request, descriptors)
                    .is_none_or(|result| self.send(id, result, shared.limits.patience)),
            };
            if !is_sent {
                break;
            }
        }
        shared.forget_watched(&**self, token);
        self.close_all(shared);
        self.hang_up();
    }

    /// The next call; none when the client is gone or talks nonsense, which it is told.
    fn next_call(&self, buffer: &mut [u8]) -> Option<(Call, Vec<OwnedFd>)> {
        let message = self.socket.receive_by(buffer, 1, FOREVER).ok()?;
        if message.len == 0 {
            return None;
        }
        let call =
            if message.is_truncated { Err(Errno::MsgSize) } else { codec::decode(&buffer[..message.len]) };
        call.map_err(|errno| self.refuse_all(errno)).ok().map(|call| (call, message.descriptors))
    }

    /// The answer to a call, or none if another thread will send it.
    fn answer(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        id: u32,
        request: Request,
        descriptors: Vec<OwnedFd>,
    ) -> Option<Result<Reply>> {
        Some(match request {
            Request::EchoOpen(_) => self.open_echo(shared, request),
            Request::EchoSend { echo, .. } => {
                self.own_echo(echo).and_then(|()| self.kernel(shared).control(request))
            }
            Request::EchoReceive { echo, timeout_ns } => {
                return self.receive_echo(shared, id, echo, timeout_ns);
            }
            Request::EchoClose { echo } => self.close_echo(shared, echo),
            Request::CaptureOpen(options) => self.open_capture(shared, &options, descriptors),
            Request::CaptureClose { capture } => self.close_capture(capture),
            Request::MonitorOpen => self.open_monitor(shared, descriptors),
            Request::MonitorClose { monitor } => self.close_monitor(monitor),
            Request::Enter { host } => self.enter(shared, &host),
            Request::Hosts { after } => shared.hosts(after.as_deref()),
            request => self.kernel(shared).control(request),
        })
    }

    /// Whom the client asks: the host that it has entered, or the server's own kernel.
    pub(super) fn kernel<'session>(&'session self, shared: &'session Shared) -> &'session Kernel {
        self.entered.get().unwrap_or(&shared.kernel)
    }

    /// ENOENT if the lab has no such host, EBUSY for a client that has entered one before.
    fn enter(&self, shared: &Shared, host: &str) -> Result<Reply> {
        let kernel = shared.host(host)?;
        // What is open in one kernel must be closed in the same.
        let busy = |_| ControlError::new(Operation::Server, "", Errno::Busy);
        self.entered.set(kernel).map(|()| Reply::Done).map_err(busy)
    }

    /// Sends an answer; false if the client is gone, or has not read for so long.
    fn send(&self, id: u32, result: Result<Reply>, patience: Duration) -> bool {
        self.send_with(id, result, None, patience)
    }

    /// The same with a descriptor.
    fn send_with(
        &self,
        id: u32,
        result: Result<Reply>,
        descriptor: Option<OwnedFd>,
        patience: Duration,
    ) -> bool {
        let message = codec::encode(&Answer { id, result }).or_else(|errno| {
            let error = ControlError::new(Operation::Server, "", errno);
            let result = Err(error.with_hint("the answer fits no message"));
            codec::encode(&Answer { id, result })
        });
        let descriptors: Vec<_> = descriptor.iter().map(AsFd::as_fd).collect();
        let by = deadline_after(patience);
        message.is_ok_and(|message| self.socket.send_by(&message, &descriptors, by).is_ok())
    }

    fn owned(&self) -> MutexGuard<'_, Owned> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the conversation when the call under way is answered.
    pub(super) fn hang_up_after_this_call(&self) {
        self.socket.stop_receiving();
    }

    /// Ends the conversation.
    pub(super) fn hang_up(&self) {
        self.socket.hang_up();
    }
}

impl AsFd for Session {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Echo sessions.
impl Session {
    fn open_echo(&self, shared: &Shared, request: Request) -> Result<Reply> {
        if self.owned().echo_sessions.len() >= shared.limits.echo_sessions {
            return refuse(Operation::Echo, Errno::MFile);
        }
        let reply = self.kernel(shared).control(request)?;
        if let Reply::Echo { echo, .. } = reply {
            let mut owned = self.owned();
            if owned.gone {
                drop(owned);
                // The client went while it was opened; nobody learns its number.
                let _closed = self.kernel(shared).control(Request::EchoClose { echo });
                return refuse(Operation::Echo, Errno::ConnReset);
            }
            owned.echo_sessions.insert(echo);
        }
        Ok(reply)
    }

    fn own_echo(&self, echo: u64) -> Result<()> {
        if self.owned().echo_sessions.contains(&echo) { Ok(()) } else { refuse(Operation::Echo, Errno::BadF) }
    }

    fn close_echo(&self, shared: &Shared, echo: u64) -> Result<Reply> {
        if !self.owned().echo_sessions.remove(&echo) {
            return refuse(Operation::Echo, Errno::BadF);
        }
        self.kernel(shared).control(Request::EchoClose { echo })
    }

    /// What has come back already is the answer at once; otherwise a thread of its own waits for it.
    fn receive_echo(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        id: u32,
        echo: u64,
        timeout_ns: u64,
    ) -> Option<Result<Reply>> {
        if let Err(error) = self.own_echo(echo) {
            return Some(Err(error));
        }
        match self.kernel(shared).control(Request::EchoReceive { echo, timeout_ns: 0 }) {
            Ok(Reply::EchoReplies(replies)) if replies.is_empty() && timeout_ns > 0 => {
                self.await_echo(shared, id, echo, timeout_ns)
            }
            result => Some(result),
        }
    }

    fn await_echo(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        id: u32,
        echo: u64,
        timeout_ns: u64,
    ) -> Option<Result<Reply>> {
        let mut owned = self.owned();
        if owned.waiting_calls >= shared.limits.waiting_calls {
            return Some(refuse(Operation::Echo, Errno::Again));
        }
        owned.waiting_calls += 1;
        drop(owned);
        let (session, server) = (Arc::clone(self), Arc::clone(shared));
        let started = spawn("rump-wait", move || {
            let result = session.kernel(&server).control(Request::EchoReceive { echo, timeout_ns });
            session.owned().waiting_calls -= 1;
            session.send(id, result, server.limits.patience);
        });
        if started.is_ok() {
            return None;
        }
        self.owned().waiting_calls -= 1;
        Some(refuse(Operation::Echo, Errno::Again))
    }
}

/// Captures and monitors.
impl Session {
    fn open_capture(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        options: &CaptureOptions,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Reply> {
        let id = self
            .open_stream(shared, Operation::Capture, descriptors, |kernel| Captured::open(kernel, options))?;
        let (Id::Capture(capture) | Id::Monitor(capture)) = id;
        Ok(Reply::Capture { capture })
    }

    fn open_monitor(self: &Arc<Self>, shared: &Arc<Shared>, descriptors: Vec<OwnedFd>) -> Result<Reply> {
        let id = self.open_stream(shared, Operation::Monitor, descriptors, |kernel| {
            let monitor = kernel.open_monitor()?;
            Ok((Id::Monitor(monitor.id()), monitor))
        })?;
        let (Id::Capture(monitor) | Id::Monitor(monitor)) = id;
        Ok(Reply::Monitor { monitor })
    }

    fn open_stream<S: Source>(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        operation: Operation,
        descriptors: Vec<OwnedFd>,
        open: impl FnOnce(&Kernel) -> Result<(Id, S)>,
    ) -> Result<Id> {
        let Some(pipe) = descriptors.into_iter().next() else {
            return refuse(operation, Errno::BadF);
        };
        if !self.owned().may_stream(shared.limits.captures) {
            return refuse(operation, Errno::MFile);
        }
        let kernel = self.kernel(shared);
        let (id, source) = open(kernel)?;
        // What cannot be waited for is closed with its source.
        let Ok(stream) = Stream::new(kernel, id) else { return refuse(operation, Errno::MFile) };
        let stream = Arc::new(stream);
        if !self.owned().adopt(&stream) {
            // The client went while it was opened.
            stream.cancel();
            return refuse(operation, Errno::ConnReset);
        }
        let (its, server, session) = (Arc::clone(&stream), Arc::clone(shared), Arc::downgrade(self));
        let started = spawn("rump-stream", move || {
            let pipe = Arc::new(pipe);
            let watched = Watched::Stream(session.clone(), Arc::downgrade(&its), Arc::downgrade(&pipe));
            let token = server.watch(&*pipe, watched);
            its.run(source, &pipe);
            server.forget_watched(&*pipe, token);
            if let Some(session) = session.upgrade() {
                session.owned().on_written(its.id());
            }
        });
        if started.is_err() {
            self.on_reader_gone(&stream);
            return refuse(operation, Errno::Again);
        }
        Ok(stream.id())
    }

    fn close_capture(&self, capture: u64) -> Result<Reply> {
        let (captured, overruns) = self.close_stream(Operation::Capture, Id::Capture(capture))?;
        Ok(Reply::CaptureEnded { captured, overruns })
    }

    fn close_monitor(&self, monitor: u64) -> Result<Reply> {
        let (_, overruns) = self.close_stream(Operation::Monitor, Id::Monitor(monitor))?;
        Ok(Reply::MonitorEnded { overruns })
    }

    fn close_stream(&self, operation: Operation, id: Id) -> Result<(u64, u64)> {
        let stream = self.owned().part_with(id);
        stream.map_or_else(|| refuse(operation, Errno::BadF), |stream| Ok(stream.finish()))
    }
}

/// Going.
impl Session {
    /// Whoever read a stream has gone.
    pub(super) fn on_reader_gone(&self, stream: &Stream) {
        self.owned().streams.remove(&stream.id());
        stream.cancel();
    }

    /// Closes what the client has opened; nothing can be opened any more.
    pub(super) fn close_all(&self, shared: &Shared) {
        let (echo_sessions, streams) = self.owned().take_all();
        streams.iter().for_each(|stream| stream.cancel());
        self.share.orphan();
        for echo in echo_sessions {
            // One that is closed already is as wanted.
            let _closed = self.kernel(shared).control(Request::EchoClose { echo });
        }
    }
}

//! The thread that takes connections, and notices who goes: clients, and readers of streams.
//!
//! It waits for everything at once and never for one of them.

use std::{
    fs::File,
    io::{self, ErrorKind},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, Weak},
};

use rumpnet_host::{machine, readiness::Interest, unix::Connection};
use rumpnet_proto::Errno;

use super::{Limits, Listener, Shared, session::Session, spawn, stream::Stream};

/// The token that is no client's and no capture's.
pub(super) const LISTENER: u64 = 0;
/// Nothing but ends and errors.
const ENDS: Interest = Interest { readable: false, writable: false };

/// Who is watched for going.
#[derive(Clone)]
pub(super) enum Watched {
    Client(Weak<Session>),
    Stream(Weak<Session>, Weak<Stream>, Weak<OwnedFd>),
}

/// Serves until the server stops.
pub(super) fn run(shared: &Arc<Shared>, listener: &Listener) {
    let user = machine::user();
    if shared.poller.add(listener.as_fd(), LISTENER, Interest::READABLE).is_err() {
        return;
    }
    let (mut events, mut spare) = (Vec::new(), Spare::new());
    while !shared.clients().stopping {
        // It fails for want of memory alone; what was to be seen is still there the next time.
        let _seen = shared.poller.wait(&mut events, None);
        for event in &events {
            match event.token {
                LISTENER => accept(shared, listener, &mut spare, user),
                token => shared.on_gone(token),
            }
        }
    }
}

impl Shared {
    /// Watches a descriptor until it is gone; what it was watched under.
    pub(super) fn watch(&self, descriptor: impl AsFd, watched: Watched) -> u64 {
        let mut clients = self.clients();
        clients.last += 1;
        let token = clients.last;
        clients.watched.insert(token, watched);
        drop(clients);
        // A plain file cannot be watched: it has no reader who could go.
        let _watched = self.poller.add(descriptor.as_fd(), token, ENDS);
        token
    }

    /// Watches no longer. To be called before the descriptor is closed, for another process may hold a copy of it.
    pub(super) fn forget_watched(&self, descriptor: impl AsFd, token: u64) {
        self.clients().watched.remove(&token);
        self.look_away(descriptor.as_fd());
    }

    fn look_away(&self, descriptor: BorrowedFd<'_>) {
        // It is not watched if it is a plain file, or has gone before.
        let _gone = self.poller.remove(descriptor);
    }

    /// Somebody has gone; he would be seen going for ever if he were still watched.
    fn on_gone(&self, token: u64) {
        let Some(watched) = self.clients().watched.remove(&token) else { return };
        match watched {
            Watched::Client(session) => {
                let Some(session) = session.upgrade() else { return };
                self.look_away(session.as_fd());
                session.close_all(self);
            }
            Watched::Stream(session, stream, pipe) => {
                pipe.upgrade().iter().for_each(|pipe| self.look_away(pipe.as_fd()));
                if let (Some(session), Some(stream)) = (session.upgrade(), stream.upgrade()) {
                    session.on_reader_gone(&stream);
                }
            }
        }
    }
}

/// A descriptor kept for the day when there are no more: with it, a newcomer can be taken and turned away.
struct Spare(Option<File>);

impl Spare {
    fn new() -> Self {
        Self(File::open("/dev/null").ok())
    }

    /// Has one again as soon as there is room: a thread that begins opens a file for a moment (the C library counts the processors), and may
    /// have had the one that was given up for a newcomer.
    fn refill(&mut self) {
        if self.0.is_none() {
            *self = Self::new();
        }
    }

    /// Turns one newcomer away with the reason, lest the listener stay readable and nothing else be done.
    fn turn_away(&mut self, listener: &Listener) {
        self.0 = None;
        if let Ok(socket) = listener.accept() {
            Session::new(socket, &Limits::default()).refuse_all(Errno::MFile);
        }
        *self = Self::new();
    }
}

/// Takes a connection, and gives it a thread if it may have one.
fn accept(shared: &Arc<Shared>, listener: &Listener, spare: &mut Spare, user: u32) {
    spare.refill();
    match listener.accept().map_err(io::Error::from) {
        Ok(socket) => {
            if let Err((socket, errno)) = admit(shared, socket, user) {
                Session::new(socket, &shared.limits).refuse_all(errno);
            }
        }
        // The newcomer has gone between the wait and here.
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionAborted) => {}
        Err(_) => spare.turn_away(listener),
    }
}

/// Whether a client may be served, and if so its thread.
fn admit(shared: &Arc<Shared>, socket: Connection, user: u32) -> Result<(), (Connection, Errno)> {
    match socket.peer() {
        Ok(peer) if peer.uid == user || peer.uid == 0 => {}
        _ => return Err((socket, Errno::Perm)),
    }
    let mut clients = shared.clients();
    if clients.sessions.len() >= shared.limits.clients {
        return Err((socket, Errno::NFile));
    }
    clients.last += 1;
    let number = clients.last;
    let session = Arc::new(Session::new(socket, &shared.limits));
    clients.sessions.insert(number, Arc::clone(&session));
    clients.shares.retain(|share| !share.is_spent());
    clients.shares.push(Arc::clone(session.share()));
    drop(clients);
    let (server, its) = (Arc::clone(shared), Arc::clone(&session));
    let started = spawn("rump-client", move || {
        its.run(&server);
        server.forget(number);
    });
    if started.is_err() {
        session.refuse_all(Errno::Again);
        shared.forget(number);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::{Condvar, Mutex};

    use rumpnet_host::readiness::Poller;

    use super::*;
    use crate::Kernel;

    #[test]
    fn the_spare_descriptor_comes_back_before_the_next_newcomer_is_taken() {
        let path = std::env::temp_dir().join(format!("rump-spare-{}", std::process::id()));
        let listener = Listener::bind(&path).expect("nobody is there");
        let shared = Arc::new(Shared {
            kernel: Kernel::boot().expect("memory"),
            lab: None,
            limits: Limits::default(),
            clients: Mutex::default(),
            ended: Condvar::new(),
            poller: Poller::new().expect("descriptors"),
        });
        let mut spare = Spare(None);
        accept(&shared, &listener, &mut spare, 0);
        assert!(spare.0.is_some());
    }
}

//! News of the host's interfaces, on a descriptor that can be waited for.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::{
    io::{Errno, Result},
    net::{RecvFlags, bind, netlink::SocketAddrNetlink, recv},
};

use super::{HostLink, message::messages, socket};

/// What happened to an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkNews {
    /// It is new, or something of it changed: this is how it is now.
    Changed(HostLink),
    /// It is gone; this is how it was.
    Deleted(HostLink),
    /// News were lost because nobody read them: ask for everything again.
    Lost,
}

/// A socket that is told of every change of an interface in its network namespace.
#[derive(Debug)]
pub struct LinkMonitor {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

impl LinkMonitor {
    /// Listens in the thread's network namespace.
    pub fn open() -> Result<Self> {
        let fd = socket()?;
        bind(&fd, &SocketAddrNetlink::new(0, libc::RTMGRP_LINK as u32))?;
        Ok(Self { fd, buffer: vec![0; super::BUFFER] })
    }

    /// The news that wait, oldest first; none if nothing happened. Does not block.
    pub fn receive(&mut self) -> Result<Vec<LinkNews>> {
        let mut news = Vec::new();
        loop {
            match recv(&self.fd, &mut self.buffer[..], RecvFlags::DONTWAIT) {
                Ok((len, _)) => news.extend(parse(&self.buffer[..len])),
                Err(Errno::AGAIN) => return Ok(news),
                Err(Errno::INTR) => {}
                Err(Errno::NOBUFS) => news.push(LinkNews::Lost),
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for LinkMonitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn parse(bytes: &[u8]) -> impl Iterator<Item = LinkNews> {
    messages(bytes).filter_map(|message| {
        let link = HostLink::parse(&message)?;
        // A bridge tells of its ports with messages of the same type and another family.
        let is_of_bridge = message.body.first().is_some_and(|family| i32::from(*family) == libc::AF_BRIDGE);
        match message.kind {
            _ if is_of_bridge => None,
            libc::RTM_NEWLINK => Some(LinkNews::Changed(link)),
            libc::RTM_DELLINK => Some(LinkNews::Deleted(link)),
            _ => None,
        }
    })
}

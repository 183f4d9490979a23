//! Bytes in and out: read, recv, write, send and their kin.

use std::{
    ffi::{c_int, c_void},
    net::SocketAddr,
    ptr,
    sync::Arc,
};

use bytes::Bytes;
use libc::{iovec, msghdr, size_t, sockaddr, socklen_t, ssize_t};

use super::{drill, finish, reading, writing};
use crate::{
    drill::Drill,
    memory::{self, Buffer, address_bytes, read_address, write_address},
    refusal::{Answer, Refusal},
    world::{Taken, World},
};

/// Bytes of a stream that are copied at once.
const CHUNK: usize = 1 << 20;

/// What a call received: how many bytes in the caller's buffer, how many there were, from whom.
#[derive(Default)]
struct Received {
    count: usize,
    whole: usize,
    source: Option<SocketAddr>,
}

/// Receives into a buffer; with MSG_WAITALL until it is full.
///
/// # Safety
/// The buffer may be written.
unsafe fn receive(drill: &Drill, number: c_int, buffer: &Buffer, flags: c_int) -> Answer<Received> {
    let peeks = flags & libc::MSG_PEEK != 0;
    let takes_all = flags & libc::MSG_WAITALL != 0 && !peeks;
    // Of a stream MSG_TRUNC throws the bytes away; tcp(7).
    let discards = flags & libc::MSG_TRUNC != 0;
    let mut received = Received::default();
    let room = buffer.len();
    let attempt = |world: &mut World| loop {
        let Taken { bytes, whole, source } = world.receive(number, room - received.count, flags)?;
        let is_stream = source.is_none();
        if !(discards && is_stream) {
            // SAFETY: the caller's promise; `scatter` keeps within the buffer.
            unsafe { buffer.scatter(received.count, &bytes)? };
        }
        let ended = bytes.is_empty();
        received.count += bytes.len();
        (received.whole, received.source) = (whole, source);
        if ended || !takes_all || !is_stream || received.count == room {
            return Ok(());
        }
    };
    // What is out of band is never waited for; recv(2).
    let dont_wait = flags & (libc::MSG_DONTWAIT | libc::MSG_OOB) != 0;
    match drill.wait(reading(number, dont_wait), attempt) {
        Err(_) if received.count > 0 => Ok(received),
        answer => answer.map(|()| received),
    }
}

/// What recv(2) returns: with MSG_TRUNC the length that a datagram had.
const fn count_of(received: &Received, flags: c_int) -> ssize_t {
    let truncated = flags & libc::MSG_TRUNC != 0 && received.source.is_some();
    (if truncated { received.whole } else { received.count }) as ssize_t
}

/// Writes a whole buffer while that may wait; else what there is room for.
///
/// # Safety
/// The buffer may be read.
unsafe fn transmit(
    drill: &Drill,
    number: c_int,
    buffer: &Buffer,
    dont_wait: bool,
    mut send: impl FnMut(&mut World, Bytes) -> Answer<usize>,
) -> Answer<ssize_t> {
    let mut written = 0;
    let attempt = |world: &mut World| {
        let limit = if world.is_stream(number)? { CHUNK } else { usize::MAX };
        loop {
            // SAFETY: the caller's promise.
            let bytes = unsafe { buffer.gather(written, limit)? };
            written += send(world, bytes.into())?;
            if written >= buffer.len() {
                return Ok(());
            }
        }
    };
    match drill.wait(writing(number, dont_wait), attempt) {
        Err(refusal) if written == 0 => Err(refusal),
        _ => Ok(written as ssize_t),
    }
}

/// read(2) and readv(2): of a socket as recv(2) without flags, and of a pipe.
///
/// # Safety
/// The buffer may be written.
unsafe fn read_into(drill: Answer<Arc<Drill>>, number: c_int, buffer: Answer<Buffer>) -> Answer<ssize_t> {
    let buffer = buffer?;
    let bytes = drill?.wait(reading(number, false), |world| world.read(number, buffer.len()))?;
    // SAFETY: the caller's promise.
    unsafe { buffer.scatter(0, &bytes)? };
    Ok(bytes.len() as ssize_t)
}

pub(crate) unsafe extern "C" fn read(
    userdata: *mut c_void,
    number: c_int,
    buffer: *mut c_void,
    len: size_t,
) -> ssize_t {
    // SAFETY: the promise of the table's callers.
    finish(unsafe { read_into(drill(userdata), number, Buffer::new(buffer, len)) })
}

pub(crate) unsafe extern "C" fn readv(
    userdata: *mut c_void,
    number: c_int,
    pieces: *const iovec,
    count: c_int,
) -> ssize_t {
    // SAFETY: the promise of the table's callers.
    finish(unsafe { read_into(drill(userdata), number, Buffer::scattered(pieces, count)) })
}

pub(crate) unsafe extern "C" fn recv(
    userdata: *mut c_void,
    number: c_int,
    buffer: *mut c_void,
    len: size_t,
    flags: c_int,
) -> ssize_t {
    // SAFETY: the promise of the table's callers; without an address none is written.
    unsafe { recvfrom(userdata, number, buffer, len, flags, ptr::null_mut(), ptr::null_mut()) }
}

pub(crate) unsafe extern "C" fn recvfrom(
    userdata: *mut c_void,
    number: c_int,
    buffer: *mut c_void,
    len: size_t,
    flags: c_int,
    address: *mut sockaddr,
    address_len: *mut socklen_t,
) -> ssize_t {
    let received = || {
        if !address.is_null() && address_len.is_null() {
            return Err(Refusal::FAULT);
        }
        let buffer = Buffer::new(buffer, len)?;
        // SAFETY: the promise of the table's callers.
        unsafe {
            let received = receive(&*drill(userdata)?, number, &buffer, flags)?;
            write_address(address, address_len, received.source)?;
            Ok(count_of(&received, flags))
        }
    };
    finish(received())
}

pub(crate) unsafe extern "C" fn recvmsg(
    userdata: *mut c_void,
    number: c_int,
    message: *mut msghdr,
    flags: c_int,
) -> ssize_t {
    let received = || {
        // SAFETY: the promise of the table's callers, for the record, its pieces and its buffers.
        unsafe {
            let mut header = memory::read(message.cast_const())?;
            let buffer = Buffer::scattered(header.msg_iov, c_int::try_from(header.msg_iovlen).unwrap_or(-1))?;
            let received = receive(&*drill(userdata)?, number, &buffer, flags)?;
            let name = received.source.map(address_bytes).unwrap_or_default();
            if !header.msg_name.is_null() {
                let room = name.len().min(header.msg_namelen as usize);
                memory::write_bytes(header.msg_name, &name[..room])?;
                header.msg_namelen = name.len() as socklen_t;
            }
            header.msg_controllen = 0;
            header.msg_flags = if received.whole > received.count && received.source.is_some() {
                libc::MSG_TRUNC
            } else {
                0
            };
            memory::write(message, header)?;
            Ok(count_of(&received, flags))
        }
    };
    finish(received())
}

/// write(2) and writev(2).
///
/// # Safety
/// The buffer may be read.
unsafe fn write_from(drill: Answer<Arc<Drill>>, number: c_int, buffer: Answer<Buffer>) -> Answer<ssize_t> {
    // SAFETY: the caller's promise.
    unsafe { transmit(&*drill?, number, &buffer?, false, |world, bytes| world.write(number, bytes)) }
}

/// send(2) and its kin.
///
/// # Safety
/// The buffer may be read.
unsafe fn send_from(
    drill: Answer<Arc<Drill>>,
    number: c_int,
    buffer: &Buffer,
    flags: c_int,
    to: Option<SocketAddr>,
) -> Answer<ssize_t> {
    let dont_wait = flags & libc::MSG_DONTWAIT != 0;
    // SAFETY: the caller's promise.
    unsafe {
        transmit(&*drill?, number, buffer, dont_wait, |world, bytes| world.send(number, bytes, flags, to))
    }
}

pub(crate) unsafe extern "C" fn write(
    userdata: *mut c_void,
    number: c_int,
    buffer: *const c_void,
    len: size_t,
) -> ssize_t {
    // SAFETY: the promise of the table's callers.
    finish(unsafe { write_from(drill(userdata), number, Buffer::new(buffer.cast_mut(), len)) })
}

pub(crate) unsafe extern "C" fn writev(
    userdata: *mut c_void,
    number: c_int,
    pieces: *const iovec,
    count: c_int,
) -> ssize_t {
    // SAFETY: the promise of the table's callers.
    finish(unsafe { write_from(drill(userdata), number, Buffer::scattered(pieces, count)) })
}

pub(crate) unsafe extern "C" fn send(
    userdata: *mut c_void,
    number: c_int,
    buffer: *const c_void,
    len: size_t,
    flags: c_int,
) -> ssize_t {
    // SAFETY: the promise of the table's callers; without an address none is read.
    unsafe { sendto(userdata, number, buffer, len, flags, ptr::null(), 0) }
}

pub(crate) unsafe extern "C" fn sendto(
    userdata: *mut c_void,
    number: c_int,
    buffer: *const c_void,
    len: size_t,
    flags: c_int,
    address: *const sockaddr,
    address_len: socklen_t,
) -> ssize_t {
    let sent = || {
        let buffer = Buffer::new(buffer.cast_mut(), len)?;
        // SAFETY: the promise of the table's callers.
        unsafe {
            let to = if address.is_null() { None } else { Some(read_address(address, address_len)?) };
            send_from(drill(userdata), number, &buffer, flags, to)
        }
    };
    finish(sent())
}

pub(crate) unsafe extern "C" fn sendmsg(
    userdata: *mut c_void,
    number: c_int,
    message: *const msghdr,
    flags: c_int,
) -> ssize_t {
    let sent = || {
        // SAFETY: the promise of the table's callers, for the record, its pieces and its buffers.
        unsafe {
            let header = memory::read(message)?;
            let buffer = Buffer::scattered(header.msg_iov, c_int::try_from(header.msg_iovlen).unwrap_or(-1))?;
            // Nothing can be told to the stack besides the bytes.
            if header.msg_controllen > 0 {
                return Err(Refusal::INVALID);
            }
            let to = if header.msg_name.is_null() {
                None
            } else {
                Some(read_address(header.msg_name.cast(), header.msg_namelen)?)
            };
            send_from(drill(userdata), number, &buffer, flags, to)
        }
    };
    finish(sent())
}

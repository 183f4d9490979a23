//! Sockets: made, named, joined, closed.

use std::ffi::{c_int, c_void};

use libc::{sockaddr, socklen_t};

use super::{drill, finish, reading, writing};
use crate::{
    drill::Drill,
    memory::{read_address, write_address},
    refusal::{Answer, Refusal},
    world::Patience,
};

pub(crate) unsafe extern "C" fn socket(
    userdata: *mut c_void,
    domain: c_int,
    kind: c_int,
    protocol: c_int,
) -> c_int {
    // SAFETY: the promise of the table's callers.
    let drill = unsafe { drill(userdata) };
    finish(drill.and_then(|drill| drill.enter(|world| world.socket(domain, kind, protocol))))
}

pub(crate) unsafe extern "C" fn bind(
    userdata: *mut c_void,
    number: c_int,
    address: *const sockaddr,
    len: socklen_t,
) -> c_int {
    // SAFETY: the promise of the table's callers.
    let (drill, address) = unsafe { (drill(userdata), read_address(address, len)) };
    finish(drill.and_then(|drill| drill.enter(|world| world.bind(number, address?))).map(|()| 0))
}

pub(crate) unsafe extern "C" fn listen(userdata: *mut c_void, number: c_int, backlog: c_int) -> c_int {
    // SAFETY: the promise of the table's callers.
    let drill = unsafe { drill(userdata) };
    finish(drill.and_then(|drill| drill.enter(|world| world.listen(number, backlog))).map(|()| 0))
}

pub(crate) unsafe extern "C" fn accept(
    userdata: *mut c_void,
    number: c_int,
    address: *mut sockaddr,
    len: *mut socklen_t,
) -> c_int {
    // SAFETY: the promise of the table's callers.
    let drill = unsafe { drill(userdata) };
    let accepted = || {
        // A connection is not taken for a caller who cannot be told whose it is.
        if !address.is_null() && len.is_null() {
            return Err(Refusal::FAULT);
        }
        let (accepted, peer) = drill?.wait(reading(number, false), |world| world.accept(number))?;
        // SAFETY: the promise of the table's callers.
        unsafe { write_address(address, len, Some(peer))? };
        Ok(accepted)
    };
    finish(accepted())
}

pub(crate) unsafe extern "C" fn connect(
    userdata: *mut c_void,
    number: c_int,
    address: *const sockaddr,
    len: socklen_t,
) -> c_int {
    // SAFETY: the promise of the table's callers.
    let (drill, address) = unsafe { (drill(userdata), read_address(address, len)) };
    let connected = || -> Answer<c_int> {
        let (drill, address) = (drill?, address?);
        let begun = drill.enter(|world| -> Answer<(bool, Patience)> {
            Ok((world.connect(number, address)?, world.patience(number, true, false)?))
        })?;
        match begun {
            (true, _) => return Ok(0),
            (false, Patience::None) => return Err(Refusal(libc::EINPROGRESS)),
            (false, _) => {}
        }
        match drill.wait(writing(number, false), |world| world.connected(number)) {
            // SO_SNDTIMEO is over, and the connection is still being made.
            Err(Refusal::AGAIN) => Err(Refusal(libc::EINPROGRESS)),
            answer => answer.map(|()| 0),
        }
    };
    finish(connected())
}

/// Closes; with SO_LINGER it waits first until the peer has everything, but no longer than was set.
fn close_in_time(drill: &Drill, number: c_int) -> Answer<()> {
    if let Some(span) = drill.enter(|world| world.linger(number))? {
        // In time or not, it is closed now.
        let _either = drill.wait(|_| Ok(Patience::Span(span)), |world| world.delivered(number));
    }
    drill.enter(|world| world.close(number))
}

pub(crate) unsafe extern "C" fn close(userdata: *mut c_void, number: c_int) -> c_int {
    // SAFETY: the promise of the table's callers.
    let drill = unsafe { drill(userdata) };
    finish(drill.and_then(|drill| close_in_time(&drill, number)).map(|()| 0))
}

pub(crate) unsafe extern "C" fn shutdown(userdata: *mut c_void, number: c_int, how: c_int) -> c_int {
    // SAFETY: the promise of the table's callers.
    let drill = unsafe { drill(userdata) };
    finish(drill.and_then(|drill| drill.enter(|world| world.shutdown(number, how))).map(|()| 0))
}

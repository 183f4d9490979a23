//! Readiness: poll(2) and epoll(7).

use std::ffi::{c_int, c_void};

use libc::{epoll_event, nfds_t, pollfd};

use super::{drill, finish, or_none, patience_of};
use crate::{
    memory,
    refusal::{Answer, Refusal},
    world::{Interest, World},
};

/// Descriptors that one poll(2) asks of at most (RLIMIT_NOFILE).
const MAX_POLLED: nfds_t = 1024;
/// What is told though nobody asked.
const ALWAYS: u32 = (libc::POLLERR | libc::POLLHUP) as u32;

/// What is to be told of one descriptor; nothing of a negative one.
fn returned_events(world: &World, asked: &pollfd) -> i16 {
    if asked.fd < 0 {
        return 0;
    }
    match world.readiness(asked.fd) {
        Ok(events) => (events & (u32::from(asked.events as u16) | ALWAYS)) as i16,
        Err(_) => libc::POLLNVAL,
    }
}

pub(crate) unsafe extern "C" fn poll(
    userdata: *mut c_void,
    asked: *mut pollfd,
    count: nfds_t,
    timeout: c_int,
) -> c_int {
    let polled = || {
        if count > MAX_POLLED {
            return Err(Refusal::INVALID);
        }
        // SAFETY: the promise of the table's callers: `count` records may be read and written.
        let (drill, mut records) = unsafe {
            let records: Answer<Vec<pollfd>> = (0..count as usize)
                .map(|place| memory::read(asked.wrapping_add(place).cast_const()))
                .collect();
            (drill(userdata)?, records?)
        };
        if count > 0 && asked.is_null() {
            return Err(Refusal::FAULT);
        }
        let ready = or_none(drill.wait(
            |_| Ok(patience_of(timeout)),
            |world| {
                records.iter_mut().for_each(|record| record.revents = returned_events(world, record));
                let ready = records.iter().filter(|record| record.revents != 0).count();
                if ready == 0 { Err(Refusal::AGAIN) } else { Ok(ready as c_int) }
            },
        ))?;
        for (place, record) in records.into_iter().enumerate() {
            // SAFETY: as above; `place` is below `count`.
            unsafe { memory::write(asked.wrapping_add(place), record)? };
        }
        Ok(ready)
    };
    finish(polled())
}

pub(crate) unsafe extern "C" fn epoll_create(userdata: *mut c_void, size: c_int) -> c_int {
    // SAFETY: the promise of the table's callers.
    let drill = unsafe { drill(userdata) };
    // The size means nothing, but must be one; epoll_create(2).
    let checked = if size > 0 { drill } else { Err(Refusal::INVALID) };
    finish(checked.and_then(|drill| drill.enter(World::epoll_create)))
}

pub(crate) unsafe extern "C" fn epoll_ctl(
    userdata: *mut c_void,
    queue: c_int,
    operation: c_int,
    number: c_int,
    event: *mut epoll_event,
) -> c_int {
    let controlled = || {
        let interest = if operation == libc::EPOLL_CTL_DEL {
            Interest { events: 0, data: 0 }
        } else {
            // SAFETY: the promise of the table's callers.
            let event = unsafe { memory::read(event.cast_const())? };
            Interest { events: event.events, data: event.u64 }
        };
        // SAFETY: the promise of the table's callers.
        unsafe { drill(userdata)? }.enter(|world| world.epoll_ctl(queue, operation, number, interest))?;
        Ok(0)
    };
    finish(controlled())
}

pub(crate) unsafe extern "C" fn epoll_wait(
    userdata: *mut c_void,
    queue: c_int,
    events: *mut epoll_event,
    limit: c_int,
    timeout: c_int,
) -> c_int {
    let waited = || {
        let limit = usize::try_from(limit).ok().filter(|limit| *limit > 0).ok_or(Refusal::INVALID)?;
        if events.is_null() {
            return Err(Refusal::FAULT);
        }
        // SAFETY: the promise of the table's callers.
        let drill = unsafe { drill(userdata)? };
        let told = or_none(drill.wait(|_| Ok(patience_of(timeout)), |world| world.epoll_wait(queue, limit)))?;
        for (place, Interest { events: ready, data }) in told.iter().enumerate() {
            // SAFETY: the promise of the table's callers: there is room for `limit` records, and no more are told.
            unsafe { memory::write(events.wrapping_add(place), epoll_event { events: *ready, u64: *data })? };
        }
        Ok(told.len() as c_int)
    };
    finish(waited())
}

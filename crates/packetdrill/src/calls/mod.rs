//! The functions of the table: decode, call, encode. Each file is a family.
//!
//! They are C functions whose callers promise what the C declarations say: `userdata` is that of the table and not yet freed, pointers are null or
//! lead to what their types say, and buffers have the lengths given. The reasons at the blocks below refer to that promise.

pub(crate) mod network;
pub(crate) mod options;
pub(crate) mod pipes;
pub(crate) mod readiness;
pub(crate) mod sockets;
pub(crate) mod streams;

use std::{
    ffi::{c_int, c_void},
    sync::Arc,
};

use rumpnet_stack::time::Duration;

use crate::{
    drill::Drill,
    refusal::{Answer, Refusal},
    world::{Patience, World},
};

/// What C gets: -1 and errno, or the answer.
trait ToC {
    const FAILED: Self;
}

impl ToC for c_int {
    const FAILED: Self = -1;
}

impl ToC for isize {
    const FAILED: Self = -1;
}

/// Gives an answer to C.
fn finish<T: ToC>(answer: Answer<T>) -> T {
    answer.unwrap_or_else(|refusal| {
        // SAFETY: the C library's own place for this thread's errno, which it says may be written.
        unsafe { *libc::__errno_location() = refusal.0 };
        T::FAILED
    })
}

/// The drill of a table, held for the time of a call, so that one which is freed lives until those who waited in it have left; EINVAL if its flags
/// were refused.
///
/// # Safety
/// `userdata` is null or that of a table that was not freed.
unsafe fn drill(userdata: *mut c_void) -> Answer<Arc<Drill>> {
    if userdata.is_null() {
        return Err(Refusal::INVALID);
    }
    let drill = userdata.cast_const().cast::<Drill>();
    // SAFETY: not null it is what `begin` made of an Arc<Drill>, of which by the caller's promise one count is still the table's; it is counted
    // once more before it is taken.
    unsafe {
        Arc::increment_strong_count(drill);
        Ok(Arc::from_raw(drill))
    }
}

/// How long poll(2) and epoll_wait(2) wait: milliseconds, for ever if negative.
fn patience_of(timeout: c_int) -> Patience {
    match u64::try_from(timeout) {
        Ok(0) => Patience::None,
        Ok(millis) => Patience::Span(Duration::from_millis(millis)),
        Err(_) => Patience::Forever,
    }
}

/// A wait for which EAGAIN means that the time is over: nothing is ready then.
fn or_none<T: Default>(answer: Answer<T>) -> Answer<T> {
    match answer {
        Err(Refusal::AGAIN) => Ok(T::default()),
        answer => answer,
    }
}

/// Patience for a call that reads.
fn reading(number: c_int, dont_wait: bool) -> impl FnOnce(&World) -> Answer<Patience> {
    move |world| world.patience(number, false, dont_wait)
}

/// Patience for a call that writes.
fn writing(number: c_int, dont_wait: bool) -> impl FnOnce(&World) -> Answer<Patience> {
    move |world| world.patience(number, true, dont_wait)
}

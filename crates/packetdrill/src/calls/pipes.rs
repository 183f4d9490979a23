//! Pipes and what moves bytes between descriptors.

use std::ffi::{c_int, c_uint, c_void};

use libc::{loff_t, size_t, ssize_t};

use super::{drill, finish, reading};
use crate::{
    memory::{self, MAX_COUNT},
    refusal::Refusal,
    world::Patience,
};

/// Flags of splice(2) that there are; all but SPLICE_F_NONBLOCK are hints.
const SPLICE_FLAGS: c_uint =
    libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK | libc::SPLICE_F_MORE | libc::SPLICE_F_GIFT;

pub(crate) unsafe extern "C" fn pipe(userdata: *mut c_void, ends: *mut c_int) -> c_int {
    let opened = || {
        if ends.is_null() {
            return Err(Refusal::FAULT);
        }
        // SAFETY: the promise of the table's callers: there is room for two numbers.
        unsafe {
            let opened = drill(userdata)?.enter(|world| world.pipe())?;
            memory::write(ends.cast::<[c_int; 2]>(), opened)?;
        }
        Ok(0)
    };
    finish(opened())
}

/// splice(2): neither a pipe nor a socket has offsets, so to give one is ESPIPE.
pub(crate) unsafe extern "C" fn splice(
    userdata: *mut c_void,
    from: c_int,
    from_offset: *mut loff_t,
    to: c_int,
    to_offset: *mut loff_t,
    len: size_t,
    flags: c_uint,
) -> ssize_t {
    let moved = || {
        if flags & !SPLICE_FLAGS != 0 {
            return Err(Refusal::INVALID);
        }
        if !from_offset.is_null() || !to_offset.is_null() {
            return Err(Refusal(libc::ESPIPE));
        }
        if len == 0 {
            return Ok(0);
        }
        // SAFETY: the promise of the table's callers.
        let drill = unsafe { drill(userdata)? };
        let dont_wait = flags & libc::SPLICE_F_NONBLOCK != 0;
        let patience = |world: &crate::world::World| match reading(from, dont_wait)(world)? {
            Patience::None => Ok(Patience::None),
            patience => {
                Ok(if world.patience(to, true, false)? == Patience::None { Patience::None } else { patience })
            }
        };
        drill.wait(patience, |world| world.splice(from, to, len.min(MAX_COUNT))).map(|moved| moved as ssize_t)
    };
    finish(moved())
}

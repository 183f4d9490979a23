//! Options and modes.

use std::ffi::{c_int, c_ulong, c_void};

use libc::socklen_t;

use super::{drill, finish};
use crate::{
    memory,
    refusal::{Answer, Refusal},
    world::{Control, is_ioctl_with_input},
};

/// Bytes of an option's value at most.
const MAX_OPTION: u32 = 4096;

/// fcntl(2).
///
/// C declares the third argument variadic, which stable Rust cannot define. In the calling conventions of Linux on x86-64 (System V) and aarch64
/// (AAPCS64) a variadic integer or pointer travels in the register in which a third fixed one would, so a fixed word receives it; when the
/// caller passed none it holds whatever the register held, and commands without an argument do not look at it.
pub(crate) unsafe extern "C" fn fcntl(
    userdata: *mut c_void,
    number: c_int,
    command: c_int,
    argument: usize,
) -> c_int {
    // SAFETY: the promise of the table's callers; `argument` is a mere number, sound whatever it is (see above).
    let drill = unsafe { drill(userdata) };
    // An `int` was passed: the upper half of the word is not defined.
    let argument = i64::from(argument as i32);
    finish(drill.and_then(|drill| drill.enter(|world| world.fcntl(number, command, argument))))
}

/// ioctl(2); of its third argument the same is to be said as of that of [`fcntl`].
pub(crate) unsafe extern "C" fn ioctl(
    userdata: *mut c_void,
    number: c_int,
    request: c_ulong,
    argument: *mut c_void,
) -> c_int {
    let controlled = || {
        // SAFETY: the promise of the table's callers: every request that is known here takes a pointer to an `int`, which is looked at only for
        // those; see `fcntl` for how a variadic pointer arrives.
        unsafe {
            let input = if is_ioctl_with_input(request) {
                memory::read(argument.cast::<c_int>().cast_const())?
            } else {
                0
            };
            match drill(userdata)?.enter(|world| world.ioctl(number, request, input))? {
                Control::Number(count) => memory::write(argument.cast::<c_int>(), count)?,
                Control::Done => {}
            }
        }
        Ok(0)
    };
    finish(controlled())
}

pub(crate) unsafe extern "C" fn getsockopt(
    userdata: *mut c_void,
    number: c_int,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    len: *mut socklen_t,
) -> c_int {
    let told = || -> Answer<c_int> {
        // SAFETY: the promise of the table's callers: `*len` bytes may be written, of which no more are.
        unsafe {
            let drill = drill(userdata)?;
            let room = memory::read(len.cast_const())?;
            if room > i32::MAX as u32 {
                return Err(Refusal::INVALID);
            }
            let bytes = drill.enter(|world| world.option(number, level, name))?;
            let cut = bytes.len().min(room as usize);
            memory::write_bytes(value, &bytes[..cut])?;
            memory::write(len, cut as socklen_t)?;
        }
        Ok(0)
    };
    finish(told())
}

pub(crate) unsafe extern "C" fn setsockopt(
    userdata: *mut c_void,
    number: c_int,
    level: c_int,
    name: c_int,
    value: *const c_void,
    len: socklen_t,
) -> c_int {
    let set = || -> Answer<c_int> {
        if len > MAX_OPTION {
            return Err(Refusal::INVALID);
        }
        // SAFETY: the promise of the table's callers.
        let (drill, value) = unsafe { (drill(userdata)?, memory::read_bytes(value, len as usize)?) };
        drill.enter(|world| world.set_option(number, level, name, &value))?;
        Ok(0)
    };
    finish(set())
}

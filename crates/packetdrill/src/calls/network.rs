//! The network, the clock, and the drill's own beginning and end.

use std::{
    ffi::{CStr, c_char, c_int, c_longlong, c_void},
    ptr,
    sync::Arc,
};

use libc::{size_t, timeval, timezone, useconds_t};
use rumpnet_stack::time::{Duration, Instant};

use super::{drill, finish};
use crate::{
    drill::Drill,
    memory,
    refusal::{Answer, Refusal},
    settings::Settings,
    world::World,
};

/// The greatest IP packet.
const MAX_PACKET: usize = 65_535;

/// A drill by its flags; null, with the reason on the standard error output, if they are refused.
///
/// # Safety
/// `flags` is null or a string that ends with a zero.
pub(crate) unsafe fn begin(flags: *const c_char) -> *mut c_void {
    let text = if flags.is_null() {
        String::new()
    } else {
        // SAFETY: not null, so by the caller's promise a string that ends with a zero.
        unsafe { CStr::from_ptr(flags) }.to_string_lossy().into_owned()
    };
    let world =
        Settings::parse(&text).and_then(|settings| World::new(&settings).map_err(|error| error.to_string()));
    match world {
        Ok(world) => Arc::into_raw(Arc::new(Drill::new(world))).cast_mut().cast(),
        Err(reason) => {
            eprintln!("rumpnet: --so_flags are refused: {reason}");
            ptr::null_mut()
        }
    }
}

pub(crate) unsafe extern "C" fn free(userdata: *mut c_void) {
    if userdata.is_null() {
        return;
    }
    // SAFETY: what `begin` made of an Arc<Drill>; by the promise of the table's callers it is given back once, and no call begins after.
    let drill = unsafe { Arc::from_raw(userdata.cast_const().cast::<Drill>()) };
    drill.close();
}

pub(crate) unsafe extern "C" fn netdev_send(
    userdata: *mut c_void,
    packet: *const c_void,
    len: size_t,
) -> c_int {
    let sent = || -> Answer<c_int> {
        if len > MAX_PACKET {
            return Err(Refusal(libc::EMSGSIZE));
        }
        // SAFETY: the promise of the table's callers.
        let (drill, packet) = unsafe { (drill(userdata)?, memory::read_bytes(packet, len)?) };
        drill.inject(packet);
        Ok(0)
    };
    finish(sent())
}

/// A packet that does not fit the caller's room is cut to it.
pub(crate) unsafe extern "C" fn netdev_receive(
    userdata: *mut c_void,
    buffer: *mut c_void,
    count: *mut size_t,
    time: *mut c_longlong,
) -> c_int {
    let received = || -> Answer<c_int> {
        // SAFETY: the promise of the table's callers: `*count` bytes may be written.
        unsafe {
            let (drill, room) = (drill(userdata)?, memory::read(count.cast_const())?);
            if time.is_null() || buffer.is_null() {
                return Err(Refusal::FAULT);
            }
            let (at, packet) = drill.next_sent().unwrap_or_default();
            let cut = packet.len().min(room);
            memory::write_bytes(buffer, &packet[..cut])?;
            memory::write(count, cut)?;
            memory::write(time, at.as_micros() as c_longlong)?;
        }
        Ok(0)
    };
    finish(received())
}

pub(crate) unsafe extern "C" fn usleep(userdata: *mut c_void, micros: useconds_t) -> c_int {
    // SAFETY: the promise of the table's callers.
    let drill = unsafe { drill(userdata) };
    finish(drill.map(|drill| drill.pass(Duration::from_micros(micros.into()))).map(|()| 0))
}

pub(crate) unsafe extern "C" fn gettimeofday(
    userdata: *mut c_void,
    time: *mut timeval,
    zone: *mut timezone,
) -> c_int {
    let told = || -> Answer<c_int> {
        // SAFETY: the promise of the table's callers.
        unsafe {
            let now: Instant = drill(userdata)?.look();
            if !time.is_null() {
                let (tv_sec, tv_usec) = (now.as_secs() as i64, i64::from(now.subsec_nanos() / 1000));
                memory::write(time, timeval { tv_sec, tv_usec })?;
            }
            if !zone.is_null() {
                // `struct timezone`: minutes west, and the kind of daylight saving. We live at UTC.
                memory::write(zone.cast::<[c_int; 2]>(), [0, 0])?;
            }
        }
        Ok(0)
    };
    finish(told())
}

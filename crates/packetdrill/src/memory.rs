//! The caller's memory: everything that is read from it or written to it goes through here, by copy and without an assumption on alignment.
//!
//! A null pointer where POSIX wants none is EFAULT. Any other pointer must lead to what the C declaration says; that cannot be checked.

use std::{
    ffi::{c_int, c_void},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    ptr,
};

use crate::refusal::{Answer, Refusal};

/// Bytes that one call moves at most, as on Linux (MAX_RW_COUNT).
pub(crate) const MAX_COUNT: usize = 0x7fff_f000;
/// Pieces of a scattered buffer at most (IOV_MAX).
const MAX_PIECES: c_int = 1024;

/// Copies a value in.
///
/// # Safety
/// `pointer` is null or leads to a `T` that may be read; any bytes are a valid `T`.
pub(crate) unsafe fn read<T: Copy>(pointer: *const T) -> Answer<T> {
    if pointer.is_null() {
        return Err(Refusal::FAULT);
    }
    // SAFETY: not null, and by the caller's promise it leads to a readable T, of whatever alignment.
    Ok(unsafe { pointer.read_unaligned() })
}

/// Copies a value out.
///
/// # Safety
/// `pointer` is null or leads to room for a `T` that may be written.
pub(crate) unsafe fn write<T: Copy>(pointer: *mut T, value: T) -> Answer<()> {
    if pointer.is_null() {
        return Err(Refusal::FAULT);
    }
    // SAFETY: not null, and by the caller's promise it leads to writable room for a T, of whatever alignment.
    unsafe { pointer.write_unaligned(value) };
    Ok(())
}

/// Copies bytes in.
///
/// # Safety
/// `pointer` is null or leads to `len` bytes that may be read.
pub(crate) unsafe fn read_bytes(pointer: *const c_void, len: usize) -> Answer<Vec<u8>> {
    if len == 0 {
        return Ok(Vec::new());
    }
    if pointer.is_null() {
        return Err(Refusal::FAULT);
    }
    let mut bytes = vec![0; len];
    // SAFETY: the source is not null and by the caller's promise has `len` readable bytes; the target was just made with as many.
    unsafe { ptr::copy_nonoverlapping(pointer.cast::<u8>(), bytes.as_mut_ptr(), len) };
    Ok(bytes)
}

/// Copies bytes out.
///
/// # Safety
/// `pointer` is null or leads to room for `bytes` that may be written.
pub(crate) unsafe fn write_bytes(pointer: *mut c_void, bytes: &[u8]) -> Answer<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    if pointer.is_null() {
        return Err(Refusal::FAULT);
    }
    // SAFETY: the target is not null and by the caller's promise has room for as many bytes as the source has.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), pointer.cast::<u8>(), bytes.len()) };
    Ok(())
}

/// A piece of the caller's memory.
#[derive(Clone, Copy)]
pub(crate) struct Piece {
    start: *mut c_void,
    len: usize,
}

/// A buffer of the caller's, perhaps scattered.
pub(crate) struct Buffer(Vec<Piece>);

impl Buffer {
    /// One piece; EFAULT if it is null and not empty. More than a call moves is cut.
    pub(crate) fn new(start: *mut c_void, len: usize) -> Answer<Self> {
        if start.is_null() && len > 0 {
            return Err(Refusal::FAULT);
        }
        Ok(Self(vec![Piece { start, len: len.min(MAX_COUNT) }]))
    }

    /// The pieces of `struct iovec`: EINVAL for too many, and for lengths that overflow.
    ///
    /// # Safety
    /// `pieces` is null or leads to `count` records that may be read.
    pub(crate) unsafe fn scattered(pieces: *const libc::iovec, count: c_int) -> Answer<Self> {
        if !(0..=MAX_PIECES).contains(&count) {
            return Err(Refusal::INVALID);
        }
        let mut buffer = Self(Vec::new());
        let mut total = 0usize;
        for place in 0..count as usize {
            if pieces.is_null() {
                return Err(Refusal::FAULT);
            }
            // SAFETY: not null, and by the caller's promise the record at `place` < `count` may be read.
            let piece = unsafe { read(pieces.add(place))? };
            if piece.iov_len > isize::MAX as usize {
                return Err(Refusal::INVALID);
            }
            if piece.iov_base.is_null() && piece.iov_len > 0 {
                return Err(Refusal::FAULT);
            }
            let len = piece.iov_len.min(MAX_COUNT - total);
            total += len;
            buffer.0.push(Piece { start: piece.iov_base, len });
        }
        Ok(buffer)
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|piece| piece.len).sum()
    }

    /// Up to `limit` bytes from place `from` on.
    ///
    /// # Safety
    /// Each piece leads to as many bytes as it says, which may be read.
    pub(crate) unsafe fn gather(&self, mut from: usize, limit: usize) -> Answer<Vec<u8>> {
        let mut bytes = Vec::new();
        for piece in &self.0 {
            let skipped = from.min(piece.len);
            from -= skipped;
            let len = (piece.len - skipped).min(limit - bytes.len());
            if len > 0 {
                // SAFETY: `skipped` + `len` is within the piece, which by the caller's promise may be read.
                bytes.extend(unsafe { read_bytes(piece.start.byte_add(skipped), len)? });
            }
        }
        Ok(bytes)
    }

    /// Copies bytes to place `from` and on, as far as there is room.
    ///
    /// # Safety
    /// Each piece leads to as many bytes as it says, which may be written.
    pub(crate) unsafe fn scatter(&self, mut from: usize, mut bytes: &[u8]) -> Answer<()> {
        for piece in &self.0 {
            let skipped = from.min(piece.len);
            from -= skipped;
            let (now, rest) = bytes.split_at(bytes.len().min(piece.len - skipped));
            if !now.is_empty() {
                // SAFETY: `skipped` and the bytes are within the piece, which by the caller's promise may be written.
                unsafe { write_bytes(piece.start.byte_add(skipped), now)? };
            }
            bytes = rest;
        }
        Ok(())
    }
}

/// An address of the caller's: EINVAL if it is too short, EAFNOSUPPORT if it is not of IPv4.
///
/// # Safety
/// `pointer` is null or leads to `len` bytes that may be read.
pub(crate) unsafe fn read_address(
    pointer: *const libc::sockaddr,
    len: libc::socklen_t,
) -> Answer<SocketAddr> {
    if (len as usize) < size_of::<libc::sa_family_t>() || len > 128 {
        return Err(Refusal::INVALID);
    }
    // SAFETY: the caller's promise is the same, and `len` has been checked to be an address's.
    let family = unsafe { read(pointer.cast::<libc::sa_family_t>())? };
    if c_int::from(family) != libc::AF_INET {
        return Err(Refusal(libc::EAFNOSUPPORT));
    }
    if (len as usize) < size_of::<libc::sockaddr_in>() {
        return Err(Refusal::INVALID);
    }
    // SAFETY: there are at least as many bytes as the record has, and any bytes are a valid one.
    let address = unsafe { read(pointer.cast::<libc::sockaddr_in>())? };
    let ip = Ipv4Addr::from(address.sin_addr.s_addr.to_ne_bytes());
    Ok(SocketAddrV4::new(ip, u16::from_be(address.sin_port)).into())
}

/// Gives an address to the caller, cut to his room, and its whole length. Nothing if he does not want it; EINVAL for a negative room.
///
/// # Safety
/// `pointer` is null or leads to `*len` bytes that may be written; `len` is null or leads to a length that may be read and written.
pub(crate) unsafe fn write_address(
    pointer: *mut libc::sockaddr,
    len: *mut libc::socklen_t,
    address: Option<SocketAddr>,
) -> Answer<()> {
    if pointer.is_null() {
        return Ok(());
    }
    // SAFETY: by the caller's promise the length may be read.
    let room = unsafe { read(len)? };
    if room > i32::MAX as u32 {
        return Err(Refusal::INVALID);
    }
    let bytes = address.map(address_bytes).unwrap_or_default();
    let cut = bytes.len().min(room as usize);
    // SAFETY: at most `*len` bytes are written, and the length; by the caller's promise both may be.
    unsafe {
        write_bytes(pointer.cast(), &bytes[..cut])?;
        write(len, bytes.len() as libc::socklen_t)
    }
}

/// The bytes of a `struct sockaddr_in`.
pub(crate) fn address_bytes(address: SocketAddr) -> Vec<u8> {
    let SocketAddr::V4(address) = address else { return Vec::new() };
    let family = (libc::AF_INET as libc::sa_family_t).to_ne_bytes();
    [&family[..], &address.port().to_be_bytes(), &address.ip().octets(), &[0; 8]].concat()
}

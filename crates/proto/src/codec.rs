//! Messages on the wire between a tool and a server: one postcard value in one SOCK_SEQPACKET message.
//!
//! A message is a [`Call`] or an [`Answer`], preceded by two bytes of [`VERSION`], big endian. Lengths are checked before
//! anything is allocated: a receiver never reads more than [`MAX_MESSAGE`] bytes.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{ControlError, Errno, Reply, Request};

/// The version of the vocabulary; a peer of another version is refused with EPROTO.
pub const VERSION: u16 = 1;

/// The longest message, in bytes.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// A request with the number that its answer will carry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Chosen by the client.
    pub id: u32,
    /// What is wanted.
    pub request: Request,
}

/// The answer to the call of the same number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The call's number.
    pub id: u32,
    /// What came of it.
    pub result: Result<Reply, ControlError>,
}

/// Encodes a message; EMSGSIZE if it would exceed [`MAX_MESSAGE`].
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, Errno> {
    let bytes = VERSION.to_be_bytes().to_vec();
    let bytes = postcard::to_extend(message, bytes).map_err(|_| Errno::Inval)?;
    if bytes.len() > MAX_MESSAGE { Err(Errno::MsgSize) } else { Ok(bytes) }
}

/// Decodes a message: EPROTO for another version, EINVAL for a malformed or over-long one, or one with bytes left over.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Errno> {
    let (version, body) = bytes.split_first_chunk::<2>().ok_or(Errno::Inval)?;
    if u16::from_be_bytes(*version) != VERSION {
        return Err(Errno::Proto);
    }
    if bytes.len() > MAX_MESSAGE {
        return Err(Errno::Inval);
    }
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Ok(message),
        _ => Err(Errno::Inval),
    }
}

/// Appends a value to a stream of bytes: its length in two bytes, big endian, and the value. EMSGSIZE if it is too long for that.
pub fn append<T: Serialize>(stream: &mut Vec<u8>, value: &T) -> Result<(), Errno> {
    let bytes = postcard::to_allocvec(value).map_err(|_| Errno::Inval)?;
    let len = u16::try_from(bytes.len()).map_err(|_| Errno::MsgSize)?;
    stream.extend_from_slice(&len.to_be_bytes());
    stream.extend_from_slice(&bytes);
    Ok(())
}

/// Takes the first value off a stream of bytes; none if it is not all there yet. EINVAL for nonsense.
pub fn take_first<T: DeserializeOwned>(stream: &mut Vec<u8>) -> Result<Option<T>, Errno> {
    let Some((len, rest)) = stream.split_first_chunk::<2>() else { return Ok(None) };
    let len = usize::from(u16::from_be_bytes(*len));
    let Some(bytes) = rest.get(..len) else { return Ok(None) };
    let value = match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => value,
        _ => return Err(Errno::Inval),
    };
    stream.drain(..2 + len);
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    fn call() -> Call {
        Call { id: 7, request: Request::DestroyInterface { name: "virt0".to_string() } }
    }

    #[test]
    fn a_call_survives_the_wire() {
        let bytes = encode(&call()).expect("short");
        assert_eq!(decode::<Call>(&bytes), Ok(call()));
    }

    #[test]
    fn values_of_a_stream_come_out_one_by_one_however_it_was_cut() {
        let mut whole = Vec::new();
        append(&mut whole, &call()).expect("short");
        append(&mut whole, &7_u32).expect("short");
        let mut stream = Vec::new();
        let first = whole.len() - 3;
        for (at, byte) in whole.iter().enumerate() {
            stream.push(*byte);
            let expected = (at + 1 == first).then(call);
            if at < first {
                assert_eq!(take_first::<Call>(&mut stream), Ok(expected), "{at}");
            }
        }
        assert_eq!(take_first::<u32>(&mut stream), Ok(Some(7)));
        assert_eq!((take_first::<u32>(&mut stream), stream.len()), (Ok(None), 0));
        let mut nonsense = [0, 1, 0xff].to_vec();
        assert_eq!(take_first::<Call>(&mut nonsense), Err(Errno::Inval));
        assert_eq!(append(&mut stream, &"x".repeat(1 << 16)), Err(Errno::MsgSize));
    }

    #[test]
    fn another_version_is_a_protocol_error() {
        let mut bytes = encode(&call()).expect("short");
        bytes[1] ^= 1;
        assert_eq!(decode::<Call>(&bytes), Err(Errno::Proto));
    }

    #[test]
    fn truncated_messages_and_left_over_bytes_are_invalid() {
        let mut bytes = encode(&call()).expect("short");
        for length in 0..bytes.len() {
            assert_eq!(decode::<Call>(&bytes[..length]), Err(Errno::Inval), "{length} bytes");
        }
        bytes.push(0);
        assert_eq!(decode::<Call>(&bytes), Err(Errno::Inval));
    }

    #[test]
    fn a_message_over_the_limit_is_not_sent() {
        let name = "x".repeat(MAX_MESSAGE);
        assert_eq!(encode(&Request::DestroyInterface { name }), Err(Errno::MsgSize));
    }
}

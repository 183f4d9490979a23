//! Who a kernel is: its name, and the link addresses that follow from them.
//!
//! A link address is `b2:0a:` and 32 bits of a keyed hash of the machine, the network namespace, the kernel's name and the
//! unit, so that it is the same after a restart and differs between kernels; in one process none is given twice.

use std::{
    collections::BTreeSet,
    hash::Hasher,
    sync::{Mutex, PoisonError},
};

use rumpnet_proto::Errno;
use rumpnet_wire::ethernet::Address;
use siphasher::sip::SipHasher24;

/// The link addresses in use by kernels of this process.
static TAKEN: Mutex<BTreeSet<Address>> = Mutex::new(BTreeSet::new());

/// The first bytes of every link address that is not given by hand: locally administered, as virt(4) has them.
const PREFIX: [u8; 2] = [0xb2, 0x0a];

/// Who a kernel is.
pub(crate) struct Identity {
    pub(crate) name: String,
    /// What tells this machine and network from others.
    pub(crate) place: Vec<u8>,
}

/// A link address that no other kernel of this process has, until it is dropped.
#[derive(Debug)]
pub(crate) struct Claim(Address);

impl Identity {
    /// The address of interface `name`, drawn again as long as somebody else has it.
    pub(crate) fn claim(&self, name: &str) -> Claim {
        (0u64..)
            .map(|attempt| self.candidate(name, attempt))
            .find_map(|address| Claim::of(address).ok())
            .expect("no process has four thousand million interfaces")
    }

    fn candidate(&self, name: &str, attempt: u64) -> Address {
        let mut hasher = SipHasher24::new_with_key(b"rumpnet virt mac");
        for part in [self.place.as_slice(), self.name.as_bytes(), name.as_bytes()] {
            hasher.write_u64(part.len() as u64);
            hasher.write(part);
        }
        hasher.write_u64(attempt);
        let [a, b, c, d, ..] = hasher.finish().to_be_bytes();
        Address([PREFIX[0], PREFIX[1], a, b, c, d])
    }
}

impl Claim {
    /// Claims an address given by hand; EADDRINUSE if another kernel of this process has it.
    pub(crate) fn of(address: Address) -> Result<Self, Errno> {
        let free = TAKEN.lock().unwrap_or_else(PoisonError::into_inner).insert(address);
        if free { Ok(Self(address)) } else { Err(Errno::AddrInUse) }
    }

    pub(crate) const fn address(&self) -> Address {
        self.0
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        TAKEN.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(name: &str) -> Identity {
        Identity { name: name.into(), place: b"machine".to_vec() }
    }

    #[test]
    fn an_address_is_the_same_after_a_restart_and_another_for_another_kernel_or_unit() {
        let first = identity("a").claim("virt0").address();
        assert_eq!(identity("a").claim("virt0").address(), first);
        assert_eq!(first.0[..2], PREFIX);
        for other in [identity("b").claim("virt0"), identity("a").claim("virt1")] {
            assert_ne!(other.address(), first);
        }
    }

    #[test]
    fn an_address_in_use_is_drawn_again_and_free_once_dropped() {
        let one = identity("c").claim("virt0");
        let two = identity("c").claim("virt0");
        assert_ne!(one.address(), two.address());
        assert_eq!(Claim::of(one.address()).expect_err("in use"), Errno::AddrInUse);
        let address = one.address();
        drop(one);
        assert!(Claim::of(address).is_ok());
    }
}

//! Interface names and the grammar of clone names (`virt0` is cloner `virt`, unit 0).

use core::{fmt, str::FromStr};

use arrayvec::ArrayString;
use serde::{Deserialize, Serialize};

use crate::Errno;

/// The name of an interface, at most 15 bytes (IFNAMSIZ without its terminator).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InterfaceName(ArrayString<15>);

/// A name taken apart as the cloning code does: letters, then a unit number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloneName<'a> {
    /// The cloner, such as `virt`.
    pub prefix: &'a str,
    /// The unit number.
    pub unit: u32,
}

impl CloneName<'_> {
    /// Whether interfaces of this cloner stand on a bus named by a link string (shmif(4)): `bus`, and NetBSD's name for it.
    pub fn is_bus(&self) -> bool {
        matches!(self.prefix, "bus" | "shmif")
    }

    /// The highest unit that the cloning code accepts (NetBSD's overflow guard).
    pub const MAX_UNIT: u32 = 2_147_483_639;

    /// Takes `name` apart: one or more non-digits, then one or more digits, nothing after; else EINVAL.
    pub fn parse(name: &str) -> Result<CloneName<'_>, Errno> {
        let split = name.find(|c: char| c.is_ascii_digit()).ok_or(Errno::Inval)?;
        let (prefix, digits) = name.split_at(split);
        if prefix.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Errno::Inval);
        }
        let unit = digits.parse::<u32>().map_err(|_| Errno::Inval)?;
        if unit > Self::MAX_UNIT { Err(Errno::Inval) } else { Ok(CloneName { prefix, unit }) }
    }

    /// The canonical name: `virt00` is named `virt0`.
    pub fn interface_name(&self) -> Result<InterfaceName, Errno> {
        let mut name = ArrayString::new();
        fmt::write(&mut name, format_args!("{}{}", self.prefix, self.unit)).map_err(|_| Errno::Inval)?;
        Ok(InterfaceName(name))
    }
}

impl InterfaceName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for InterfaceName {
    type Err = Errno;

    fn from_str(text: &str) -> Result<Self, Errno> {
        let fits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
        if !fits {
            return Err(Errno::Inval);
        }
        ArrayString::from(text).map(Self).map_err(|_| Errno::Inval)
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_name_is_letters_then_a_unit() {
        assert_eq!(CloneName::parse("virt0"), Ok(CloneName { prefix: "virt", unit: 0 }));
        assert_eq!(CloneName::parse("virt99999").map(|name| name.unit), Ok(99_999));
        assert_eq!(CloneName::parse("virt2147483639").map(|name| name.unit), Ok(CloneName::MAX_UNIT));
    }

    #[test]
    fn leading_zeros_find_the_canonical_unit() {
        let name = CloneName::parse("virt00").expect("a valid name");
        assert_eq!(name.interface_name().expect("short").as_str(), "virt0");
    }

    #[test]
    fn malformed_clone_names_are_invalid() {
        let bad = ["", " ", "virt", "0", "virt-1x", "virt0x", "virt1a", "virt2147483640", "virt4294967296"];
        for name in bad {
            assert_eq!(CloneName::parse(name), Err(Errno::Inval), "{name:?}");
        }
    }

    #[test]
    fn a_name_of_sixteen_bytes_is_refused() {
        assert!("abcdefghijklmno".parse::<InterfaceName>().is_ok());
        assert_eq!("abcdefghijklmnop".parse::<InterfaceName>(), Err(Errno::Inval));
        assert_eq!("a/b".parse::<InterfaceName>(), Err(Errno::Inval));
    }
}

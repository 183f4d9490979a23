//! Bytes read as a script: where they end, everything is zero, so that every input is a whole script.

use std::net::Ipv4Addr;

use rumpnet_wire::ethernet;

/// What is left of the input.
#[derive(Clone, Copy)]
pub struct Script<'a>(pub &'a [u8]);

/// Addresses that matter to the stack under test, so that chance need not find them.
pub const ADDRESSES: [[u8; 4]; 12] = [
    [10, 0, 0, 1],
    [10, 0, 0, 9],
    [10, 0, 0, 10],
    [10, 0, 0, 255],
    [255; 4],
    [224, 0, 0, 1],
    [127, 0, 0, 1],
    [0; 4],
    [192, 0, 2, 1],
    [10, 1, 0, 1],
    [10, 1, 0, 2],
    [10, 0, 0, 50],
];

/// A group that sockets join.
pub const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);

/// Link addresses that matter.
pub const STATIONS: [[u8; 6]; 6] = [
    [0xb2, 0x0a, 0, 0, 0, 1],
    [0xff; 6],
    [2, 0, 0, 0, 0, 9],
    [2, 0, 0, 0, 0, 10],
    [1, 0, 0x5e, 0, 0, 1],
    [0; 6],
];

impl<'a> Script<'a> {
    /// Whether all is read.
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// The next two bytes.
    pub fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// Up to `len` bytes.
    pub fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// One of a few.
    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()]
    }

    /// An address that matters, or any neighbour's.
    pub fn address(&mut self) -> Ipv4Addr {
        match self.byte() {
            127 => GROUP,
            number @ 0..127 => ADDRESSES[usize::from(number) % ADDRESSES.len()].into(),
            number => [10, 0, 0, number].into(),
        }
    }

    /// A station that matters, or any other.
    pub fn station(&mut self) -> ethernet::Address {
        match self.byte() {
            number @ 0..192 => ethernet::Address(STATIONS[usize::from(number) % STATIONS.len()]),
            number => ethernet::Address([2, 0, 0, 0, 1, number]),
        }
    }

    /// Data of a length between 0 and some 60,000 bytes, short ones mostly, that repeat what the script says.
    pub fn data(&mut self) -> Vec<u8> {
        let len = match self.byte() {
            short @ 0..224 => usize::from(short),
            long => usize::from(long - 223) * 1900,
        };
        let pattern = self.take(len.min(16));
        let padded = if pattern.is_empty() { &[0][..] } else { pattern };
        padded.iter().copied().cycle().take(len).collect()
    }
}

//! A shared library that lets the packetdrill tool (Google's, see docs/guide/packetdrill.md) drive a stack in virtual time.
//!
//! The tool loads it (`--so_filename`), calls [`packetdrill_interface_init`], and from then on performs every socket call and every packet
//! through a table of function pointers, the clock included. From the inside out: [`World`] is a stack with descriptors and a clock, without C
//! and without waiting; [`Drill`] lets several threads in, and wait; `memory` reads and writes what C points at; `calls` are the functions of the
//! table, a few lines each.
//!
//! Not here: the format of scripts (the tool reads them; our own runner of them is a test of this crate), IPv6 (EAFNOSUPPORT), dup(2).

mod calls;
mod drill;
mod memory;
mod refusal;
mod settings;
mod table;
mod world;

pub use drill::Drill;
pub use refusal::{Answer, Refusal, name};
pub use settings::Settings;
pub use table::{Interface, packetdrill_interface_init};
pub use world::{Control, Interest, Patience, Taken, World, info_record, state_number};

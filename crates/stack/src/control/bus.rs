//! Interfaces that stand on a bus (shmif(4)): their link string, and whether they are plugged in.
//!
//! The string is only a name here. What it names, and who else is on it, is the shell's affair: it asks first whether the string may
//! be set, finds the bus, and then sets it.

use alloc::string::String;

use rumpnet_proto::{BusReport, ControlError, Errno, Media, Operation};

use super::refuse;
use crate::{Stack, link::interface::Interface};

/// The longest link string, in bytes; a page of 64 interfaces with such strings fits into a message.
const MAX_LINK_STRING: usize = 511;

impl Stack {
    /// Whether an interface's link string could be set to this, or with none be taken away, now.
    ///
    /// ENXIO if there is no such interface, ENOTTY if it stands on no bus, EBUSY while it is up or if it has a string already, ENOENT
    /// if there is none to be taken away, EINVAL for an empty one and E2BIG for one that is too long.
    pub fn may_set_link_string(&self, name: &str, string: Option<&str>) -> Result<(), ControlError> {
        self.determine_link_string(name, string).map_err(refuse(Operation::LinkString, name))
    }

    fn determine_link_string(&self, name: &str, string: Option<&str>) -> Result<(), Errno> {
        let interface = self.link.interfaces.by_name(name)?;
        let bus = interface.bus.as_ref().ok_or(Errno::NoTty)?;
        if interface.is_up() {
            return Err(Errno::Busy);
        }
        match string {
            None if bus.link_string.is_none() => Err(Errno::NoEnt),
            None => Ok(()),
            Some(_) if bus.link_string.is_some() => Err(Errno::Busy),
            Some("" | "mem:") => Err(Errno::Inval),
            Some(string) if string.len() > MAX_LINK_STRING => Err(Errno::TooBig),
            Some(_) => Ok(()),
        }
    }

    pub(super) fn set_link_string(&mut self, name: &str, string: Option<String>) -> Result<(), Errno> {
        self.determine_link_string(name, string.as_deref())?;
        self.bus_mut(name)?.1.link_string = string;
        Ok(())
    }

    pub(super) fn set_media(&mut self, name: &str, media: Media) -> Result<(), Errno> {
        let (index, bus) = self.bus_mut(name)?;
        bus.media = media;
        self.follow_carrier(index);
        Ok(())
    }

    fn bus_mut(&mut self, name: &str) -> Result<(u32, &mut BusReport), Errno> {
        let Interface { index, bus, .. } = self.link.interfaces.by_name_mut(name)?;
        Ok((*index, bus.as_mut().ok_or(Errno::NoTty)?))
    }
}

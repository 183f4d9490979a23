//! What the control vocabulary does to a kernel: one file a family of requests.
//!
//! A refused request changes nothing. Dumps go in pages, so that no call holds the stack for long.

mod address;
mod bus;
mod group;
mod interface;
mod membership;
mod monitor;
mod neighbor;
mod route;
mod socket;
mod statistics;
mod sysctl;

use rumpnet_proto::{CaptureOptions, ControlError, EchoOptions, Errno, Operation, Reply, Request};

use crate::{Stack, capture::Filter, context::Context, slab::Key};

/// Entries in a page of a dump; a page stays below the 64 KiB of a message.
const PAGE: usize = 64;

/// Attaches an operation and its object to an errno.
fn refuse(operation: Operation, object: &str) -> impl FnOnce(Errno) -> ControlError {
    let object = alloc::string::String::from(object);
    move |errno| ControlError::new(operation, object, errno)
}

impl Stack {
    // long: an arm for each request, which says what is asked.
    pub(crate) fn answer(&mut self, request: Request) -> Result<Reply, ControlError> {
        use Operation as Op;
        let done = |()| Reply::Done;
        match request {
            Request::Kernel
            | Request::Halt
            | Request::Messages { .. }
            | Request::Enter { .. }
            | Request::Hosts { .. }
            | Request::Socket(_) => Err(ControlError::new(Op::Server, "", Errno::OpNotSupp)),
            Request::Cloners => Ok(interface::cloners()),
            Request::CreateInterface { name, .. } => self.create_loopback(&name).map(done),
            Request::DestroyInterface { name } => self.destroy_portless(&name).map(done),
            Request::Interfaces { from, reset } => Ok(self.interfaces(from, reset)),
            Request::Interface { name, reset } => {
                self.interface(&name, reset).map_err(refuse(Op::InterfaceStatus, &name))
            }
            Request::SetFlags { name, set, clear } => {
                self.set_flags(&name, set, clear).map(done).map_err(refuse(Op::SetFlags, &name))
            }
            Request::SetMtu { name, mtu } => {
                self.set_mtu(&name, mtu).map(done).map_err(refuse(Op::SetMtu, &name))
            }
            Request::SetMetric { name, metric } => {
                self.set_metric(&name, metric).map(done).map_err(refuse(Op::SetMetric, &name))
            }
            Request::SetCapabilities { name, enable, disable } => self
                .set_capabilities(&name, enable, disable)
                .map(done)
                .map_err(refuse(Op::SetCapabilities, &name)),
            Request::SetLinkString { name, string } => {
                self.set_link_string(&name, string).map(done).map_err(refuse(Op::LinkString, &name))
            }
            Request::SetMedia { name, media } => {
                self.set_media(&name, media).map(done).map_err(refuse(Op::Media, &name))
            }
            Request::AddAddress { name, change } => {
                self.add_address(&name, &change).map(done).map_err(refuse(Op::AddAddress, &name))
            }
            Request::DeleteAddress { name, address } => self.delete_address(&name, address).map(done),
            Request::AddLinkAddress { name, address, active } => self
                .add_link_address(&name, address, active)
                .map(done)
                .map_err(refuse(Op::AddLinkAddress, &name)),
            Request::DeleteLinkAddress { name, address } => self
                .delete_link_address(&name, address)
                .map(done)
                .map_err(refuse(Op::DeleteLinkAddress, &name)),
            Request::Neighbors { after } => Ok(self.neighbors(after)),
            Request::AddNeighbor(change) => self.add_neighbor(&change).map(done),
            Request::DeleteNeighbor { address } => self.delete_neighbor(address).map(done),
            Request::FlushNeighbors { permanent } => Ok(Reply::Value(self.flush_neighbors(permanent))),
            Request::AddRoute { destination, via, attributes } => {
                self.add_route(destination, &via, &attributes).map(done)
            }
            Request::ChangeRoute { destination, via, attributes } => {
                self.change_route(destination, &via, &attributes).map(done)
            }
            Request::DeleteRoute { destination, gateway } => {
                self.delete_route(destination, gateway).map(done)
            }
            Request::Route { destination } => self.route(destination),
            Request::Routes { after } => Ok(self.routes(after)),
            Request::Sockets { after } => Ok(self.sockets_page(after)),
            Request::Groups { after } => Ok(self.groups(after)),
            Request::Statistics => Ok(self.statistics()),
            Request::Sysctl { name, value } => self.sysctl(&name, value).map(Reply::Value),
            Request::SysctlNames => Ok(sysctl::names()),
            Request::EchoOpen(options) => self.open_echo(options),
            Request::EchoSend { echo, sequence } => self.send_echo(echo, sequence).map(done),
            Request::EchoReceive { echo, .. } => {
                self.echo_receive(Key::from(echo)).map(Reply::EchoReplies).map_err(refuse(Op::Echo, ""))
            }
            Request::EchoClose { echo } => {
                self.sockets.echo.close(Key::from(echo)).map(done).map_err(refuse(Op::Echo, ""))
            }
            Request::CaptureOpen(options) => self.open_capture(&options),
            Request::CaptureClose { capture } => self.close_capture(capture),
            Request::MonitorOpen => self.open_monitor(),
            Request::MonitorClose { monitor } => self.close_monitor(monitor),
        }
    }

    fn open_echo(&mut self, options: EchoOptions) -> Result<Reply, ControlError> {
        let object = alloc::format!("{}", options.destination);
        let opened = self.sockets.echo.open(&mut self.cx, &self.link, &self.inet, options);
        let (echo, source) = opened.map_err(refuse(Operation::Echo, &object))?;
        Ok(Reply::Echo { echo: echo.into(), source })
    }

    fn send_echo(&mut self, echo: u64, sequence: u16) -> Result<(), ControlError> {
        let Self { cx, link, inet, sockets, .. } = self;
        sockets.echo.send(cx, link, inet, Key::from(echo), sequence).map_err(refuse(Operation::Echo, ""))
    }

    fn open_capture(&mut self, options: &CaptureOptions) -> Result<Reply, ControlError> {
        let name = options.interface.as_deref().unwrap_or("");
        let index = |name: &str| self.link.interfaces.by_name(name).map(|interface| interface.index);
        let interface = options.interface.as_deref().map(index).transpose();
        let filter = Filter {
            interface: interface.map_err(refuse(Operation::Capture, name))?,
            drops: options.drops,
            snap_len: options.snap_len.unwrap_or(u32::MAX),
            count: options.count.unwrap_or(u64::MAX),
            program: None,
            foreign: true,
            direction: None,
        };
        let opened = self.cx.captures.open(filter, None).ok_or(Errno::MFile);
        let capture = opened.map_err(refuse(Operation::Capture, name))?;
        Ok(Reply::Capture { capture: capture.into() })
    }

    fn close_capture(&mut self, capture: u64) -> Result<Reply, ControlError> {
        let Context { captures, memory, config, .. } = &mut self.cx;
        let closed = captures.close(Key::from(capture), (memory, &config.memory)).ok_or(Errno::BadF);
        let (captured, overruns) = closed.map_err(refuse(Operation::Capture, ""))?;
        Ok(Reply::CaptureEnded { captured, overruns })
    }
}

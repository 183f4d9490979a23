//! Control of a kernel in process: what concerns the host is done here, outside of any lock; the rest is the stack's.

use std::{collections::BTreeMap, sync::Arc, thread, time::Duration};

use rumpnet_host::netlink::HostLink;
use rumpnet_proto::{CloneName, ControlError, CreateOptions, Errno, LinkKind, Operation, Reply, Request};
use rumpnet_stack::{PortConfig, slab::Key};
use rumpnet_wire::ethernet;

use crate::{
    Kernel, closing, errno,
    host_end::{self, descriptor, unusable},
    link::{Link, bus::BusLink},
    port::Port,
    wait::Deadline,
    watch::Watch,
};

impl Kernel {
    /// Answers a control request. Requests that touch the host may take as long as the host does: some 25 ms to close a tap.
    pub fn control(&self, request: Request) -> Result<Reply, ControlError> {
        match request {
            Request::Kernel => Ok(Reply::Kernel(self.info())),
            Request::Halt => {
                self.halt();
                Ok(Reply::Done)
            }
            Request::Messages { since } => {
                let (messages, next) = self.shared.log.page(since);
                Ok(Reply::Messages { messages, next })
            }
            Request::CreateInterface { name, options } => {
                self.create_with(&name, &options).map(|()| Reply::Done)
            }
            Request::DestroyInterface { name } => self.destroy(&name).map(|()| Reply::Done),
            Request::EchoReceive { echo, timeout_ns } => {
                self.echo_receive(echo, Duration::from_nanos(timeout_ns))
            }
            Request::EchoClose { echo } => self.close_waited(Request::EchoClose { echo }, echo),
            Request::CaptureClose { capture } => {
                self.close_waited(Request::CaptureClose { capture }, capture)
            }
            Request::MonitorClose { monitor } => {
                self.close_waited(Request::MonitorClose { monitor }, monitor)
            }
            Request::SetLinkString { name, string } => {
                self.set_link_string(&name, string.as_deref()).map(|()| Reply::Done)
            }
            Request::Interface { ref name, .. } => {
                self.refresh_far_drops_of(name);
                self.ask_stack(request)
            }
            Request::Interfaces { from, .. } => {
                // The first page; the others are of the same listing.
                if from == 0 {
                    self.refresh_far_drops();
                }
                self.ask_stack(request)
            }
            request => self.ask_stack(request),
        }
    }

    fn ask_stack(&self, request: Request) -> Result<Reply, ControlError> {
        self.shared.enter(|stack, now| stack.control(now, request))
    }

    /// Makes an interface (SIOCIFCREATE); `virt<n>` opens the host's `tap<n>`, or makes it.
    ///
    /// EINVAL for a name that no cloner takes, EEXIST, and what the host refuses, with a hint.
    pub fn create_with(&self, name: &str, options: &CreateOptions) -> Result<(), ControlError> {
        let refuse = |errno| ControlError::new(Operation::CreateInterface, name, errno);
        let kind = self.shared.lock().stack.may_create(name).map_err(|error| match error.errno {
            Errno::Inval => {
                error.with_hint("a kind and a number, such as virt0; ifconfig -C lists the kinds")
            }
            _ => error,
        })?;
        if kind == LinkKind::Loopback {
            let request = Request::CreateInterface { name: name.into(), options: CreateOptions::default() };
            return self.ask_stack(request).map(drop);
        }
        if CloneName::parse(name).is_ok_and(|clone| clone.is_bus()) {
            if options.host_end.is_some() {
                return Err(refuse(Errno::Inval).with_hint("it stands on a bus, which linkstr names"));
            }
            return self.attach(name, Box::new(BusLink::default()), options.link_address);
        }
        let end = self.host_ends.determine(name, options.host_end.as_deref(), kind).map_err(refuse)?;
        if let Some(holder) = descriptor(&end).and_then(|number| self.shared.reactor.holder(number)) {
            return Err(refuse(Errno::Busy).with_hint(format!("{end} is the end of {holder}")));
        }
        let link = host_end::open(name, &end, kind)?;
        self.attach(name, Box::new(link), options.link_address)
    }

    /// Makes an interface on a link that the caller has: one end of a channel, or an implementation of its own.
    ///
    /// As [`Self::create_with`]; EINVAL also if the interface is not of the link's kind.
    pub fn attach(
        &self,
        name: &str,
        link: Box<dyn Link>,
        link_address: Option<ethernet::Address>,
    ) -> Result<(), ControlError> {
        let properties = link.properties();
        // The interface is born down, and the host's end shows it.
        link.set_up(false).map_err(|error| unusable(name, &error))?;
        let claim = (properties.kind == LinkKind::Ethernet && link_address.is_none())
            .then(|| self.shared.identity.claim(name));
        let config = PortConfig {
            kind: properties.kind,
            offloads: properties.offloads,
            link_address: link_address.or_else(|| claim.as_ref().map(|claim| claim.address())),
            mtu: properties.mtu,
            max_mtu: properties.max_mtu,
            link_state: link.state(),
            host_end: properties.host_end,
        };
        let port = self.shared.enter_core(|core, now| {
            let number = core.stack.create_interface(now, name, config)?;
            let port = Port::new(self.shared.this.clone(), name, number, link, claim);
            let place = number as usize;
            if core.ports.len() <= place {
                core.ports.resize(place + 1, None);
            }
            core.ports[place] = Some(port.clone());
            Ok(port)
        })?;
        self.shared.reactor.watch_port(&port).map_err(|error| {
            // It was just made, so that it can be destroyed.
            let _undone = self.destroy(name);
            unusable(name, &error)
        })
    }

    /// Says which bus `bus<n>` stands on, or with none that it leaves it (SIOCSLINKSTR): `mem:NAME` is one of this process, anything else
    /// the path of a file.
    ///
    /// ENXIO, ENOTTY for an interface of another kind, EBUSY while it is up or if it is on one already, ENOENT if it is on none, E2BIG, EINVAL,
    /// ENOEXEC for a file that is no bus, and what the host refuses.
    pub fn set_link_string(&self, name: &str, string: Option<&str>) -> Result<(), ControlError> {
        let refuse = |errno| ControlError::new(Operation::LinkString, name, errno);
        self.shared.lock().stack.may_set_link_string(name, string)?;
        let port = self.port(name).ok_or_else(|| refuse(Errno::Nxio))?;
        let request = Request::SetLinkString { name: name.to_owned(), string: string.map(str::to_owned) };
        // Nobody may bring the interface up without a bus: it is told of one last, and that it has none first.
        if string.is_none() {
            self.ask_stack(request.clone())?;
        }
        port.link().set_link_string(string).map_err(|error| match errno::of_io(&error) {
            Errno::NoExec => refuse(Errno::NoExec).with_hint("the file is no bus"),
            number @ (Errno::Busy | Errno::TooBig) => refuse(number),
            number => refuse(number).with_hint(format!("{}: {error}", string.unwrap_or_default())),
        })?;
        if string.is_some() {
            self.ask_stack(request)?;
        }
        self.shared.follow_link(&port);
        Ok(())
    }

    /// Removes an interface and what it held of the host (SIOCIFDESTROY); returns when both are gone.
    ///
    /// EINVAL if no cloner takes the name, ENXIO if there is no such interface, EPERM for `lo0`.
    pub fn destroy(&self, name: &str) -> Result<(), ControlError> {
        let port = self.shared.enter_core(|core, now| {
            let number = core.stack.destroy_interface(now, name)?;
            Ok(number.and_then(|number| core.ports.get_mut(number as usize)?.take()))
        })?;
        if let Some(port) = port {
            self.shared.reactor.forget(&port);
            closing::close_and_wait(port);
        }
        Ok(())
    }

    /// Ends the kernel: connections are reset, all interfaces with a far end are destroyed, side by side, and it is marked as halted.
    ///
    /// [`Self::shutdown_within`] delivers what was sent before.
    pub fn shutdown(&self) {
        self.reset_connections();
        let ports = self.ports();
        let names: Vec<_> = ports.iter().map(|port| port.name.clone()).collect();
        drop(ports);
        thread::scope(|scope| {
            for name in &names {
                // Somebody else may be destroying it, too.
                let spawned = thread::Builder::new().spawn_scoped(scope, || drop(self.destroy(name)));
                if spawned.is_err() {
                    drop(self.destroy(name));
                }
            }
        });
        self.halt();
    }

    fn echo_receive(&self, echo: u64, patience: Duration) -> Result<Reply, ControlError> {
        let key = Key::from(echo);
        let take = || self.shared.enter(|stack, _| stack.echo_receive(key));
        let mut result = take();
        self.shared.wait(
            Deadline::after(Some(patience)),
            |waker| self.shared.lock().echoes.register(key, rumpnet_sockets::Interest::Readable, waker),
            || {
                if result.as_ref().is_ok_and(Vec::is_empty) {
                    result = take();
                }
                !result.as_ref().is_ok_and(Vec::is_empty)
            },
        );
        result.map(Reply::EchoReplies).map_err(|errno| ControlError::new(Operation::Echo, "", errno))
    }

    /// Closes what others may be waiting for, and lets them go on.
    fn close_waited(&self, request: Request, key: u64) -> Result<Reply, ControlError> {
        let reply = self.ask_stack(request);
        let waiting = self.shared.lock().take_waiting(Key::from(key));
        waiting.into_iter().for_each(std::task::Waker::wake);
        reply
    }

    fn ports(&self) -> Vec<Arc<Port>> {
        self.shared.lock().ports.iter().flatten().cloned().collect()
    }

    /// The port of an interface; `bus00` is `bus0` here, too.
    fn port(&self, name: &str) -> Option<Arc<Port>> {
        let unit = CloneName::parse(name).ok();
        self.ports().into_iter().find(|port| CloneName::parse(&port.name).ok() == unit)
    }

    /// What the host has dropped is asked for when somebody looks.
    fn refresh_far_drops_of(&self, name: &str) {
        if let Some(port) = self.port(name)
            && let Some(drops) = port.link().far_drops()
        {
            self.shared.lock().stack.report_host_drops(port.number, drops);
        }
    }

    /// The same for all at once: the host is asked once for each network namespace, however many interfaces there are.
    fn refresh_far_drops(&self) {
        let mut answers: Vec<(Arc<Watch>, BTreeMap<u32, HostLink>)> = Vec::new();
        for port in self.ports() {
            let (Some(watch), Some(index)) = (port.watch.get(), port.link().host_index()) else {
                if let Some(drops) = port.link().far_drops() {
                    self.shared.lock().stack.report_host_drops(port.number, drops);
                }
                continue;
            };
            let known = answers.iter().position(|(asked, _)| Arc::ptr_eq(asked, watch));
            let place = known.unwrap_or_else(|| {
                answers.push((watch.clone(), watch.links().unwrap_or_default()));
                answers.len() - 1
            });
            if let Some(link) = answers[place].1.get(&index) {
                self.shared.lock().stack.report_host_drops(port.number, link.tx_dropped);
            }
        }
    }

    /// The errno of a control error that a reply of another shape would be: a bug of ours, said and not hidden.
    pub(crate) fn unexpected(operation: Operation) -> ControlError {
        ControlError::new(operation, "", Errno::Proto)
    }
}

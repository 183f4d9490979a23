//! `struct packetdrill_interface`: the functions that packetdrill calls, in its order, and how they are filled in.

use std::ffi::{c_char, c_int, c_longlong, c_uint, c_ulong, c_void};

use libc::{
    epoll_event, iovec, loff_t, msghdr, nfds_t, pollfd, size_t, sockaddr, socklen_t, ssize_t, timeval,
    timezone, useconds_t,
};

use crate::calls::{network, options, pipes, readiness, sockets, streams};

macro_rules! table {
    ($($(#[$doc:meta])* $field:ident($($argument:ty),*) $(-> $answer:ty)? = $call:path;)*) => {
        /// What the tool is given; each function's first argument is `userdata`.
        #[repr(C)]
        #[derive(Clone, Copy, Debug)]
        pub struct Interface {
            /// The drill; null if the flags were refused, and then every call answers EINVAL.
            pub userdata: *mut c_void,
            $($(#[$doc])* pub $field: unsafe extern "C" fn(*mut c_void $(, $argument)*) $(-> $answer)?,)*
        }

        impl Interface {
            /// All functions, for one drill.
            pub fn new(userdata: *mut c_void) -> Self {
                Self { userdata, $($field: $call,)* }
            }
        }
    };
}

table! {
    /// Ends the drill, and every call that waits in it.
    free() = network::free;
    /// socket(2)
    socket(c_int, c_int, c_int) -> c_int = sockets::socket;
    /// bind(2)
    bind(c_int, *const sockaddr, socklen_t) -> c_int = sockets::bind;
    /// listen(2)
    listen(c_int, c_int) -> c_int = sockets::listen;
    /// accept(2)
    accept(c_int, *mut sockaddr, *mut socklen_t) -> c_int = sockets::accept;
    /// connect(2)
    connect(c_int, *const sockaddr, socklen_t) -> c_int = sockets::connect;
    /// read(2)
    read(c_int, *mut c_void, size_t) -> ssize_t = streams::read;
    /// readv(2)
    readv(c_int, *const iovec, c_int) -> ssize_t = streams::readv;
    /// recv(2)
    recv(c_int, *mut c_void, size_t, c_int) -> ssize_t = streams::recv;
    /// recvfrom(2)
    recvfrom(c_int, *mut c_void, size_t, c_int, *mut sockaddr, *mut socklen_t) -> ssize_t = streams::recvfrom;
    /// recvmsg(2)
    recvmsg(c_int, *mut msghdr, c_int) -> ssize_t = streams::recvmsg;
    /// write(2)
    write(c_int, *const c_void, size_t) -> ssize_t = streams::write;
    /// writev(2)
    writev(c_int, *const iovec, c_int) -> ssize_t = streams::writev;
    /// send(2)
    send(c_int, *const c_void, size_t, c_int) -> ssize_t = streams::send;
    /// sendto(2)
    sendto(c_int, *const c_void, size_t, c_int, *const sockaddr, socklen_t) -> ssize_t = streams::sendto;
    /// sendmsg(2)
    sendmsg(c_int, *const msghdr, c_int) -> ssize_t = streams::sendmsg;
    /// fcntl(2); its third argument is variadic in C.
    fcntl(c_int, c_int, usize) -> c_int = options::fcntl;
    /// ioctl(2); its third argument is variadic in C.
    ioctl(c_int, c_ulong, *mut c_void) -> c_int = options::ioctl;
    /// close(2)
    close(c_int) -> c_int = sockets::close;
    /// shutdown(2)
    shutdown(c_int, c_int) -> c_int = sockets::shutdown;
    /// getsockopt(2)
    getsockopt(c_int, c_int, c_int, *mut c_void, *mut socklen_t) -> c_int = options::getsockopt;
    /// setsockopt(2)
    setsockopt(c_int, c_int, c_int, *const c_void, socklen_t) -> c_int = options::setsockopt;
    /// poll(2)
    poll(*mut pollfd, nfds_t, c_int) -> c_int = readiness::poll;
    /// An IP packet arrives from the network.
    netdev_send(*const c_void, size_t) -> c_int = network::netdev_send;
    /// The next IP packet that the stack has sent, and when.
    netdev_receive(*mut c_void, *mut size_t, *mut c_longlong) -> c_int = network::netdev_receive;
    /// Time goes on.
    usleep(useconds_t) -> c_int = network::usleep;
    /// What time it is.
    gettimeofday(*mut timeval, *mut timezone) -> c_int = network::gettimeofday;
    /// epoll_create(2)
    epoll_create(c_int) -> c_int = readiness::epoll_create;
    /// epoll_ctl(2)
    epoll_ctl(c_int, c_int, c_int, *mut epoll_event) -> c_int = readiness::epoll_ctl;
    /// epoll_wait(2)
    epoll_wait(c_int, *mut epoll_event, c_int, c_int) -> c_int = readiness::epoll_wait;
    /// pipe(2)
    pipe(*mut c_int) -> c_int = pipes::pipe;
    /// splice(2)
    splice(c_int, *mut loff_t, c_int, *mut loff_t, size_t, c_uint) -> ssize_t = pipes::splice;
}

/// The one symbol that the tool asks for: fills the table by `--so_flags`.
///
/// Flags that are not understood are told on the standard error output, and every call of the table answers EINVAL then: a script must not run
/// under other conditions than it says.
///
/// # Safety
/// `flags` is null or a string that ends with a zero; `table` is null or leads to room for an [`Interface`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn packetdrill_interface_init(flags: *const c_char, table: *mut Interface) {
    // SAFETY: the caller promises the same of `flags`.
    let userdata = unsafe { network::begin(flags) };
    // SAFETY: the caller promises the same of `table`. Without a table there is nobody to tell.
    let _filled = unsafe { crate::memory::write(table, Interface::new(userdata)) };
}

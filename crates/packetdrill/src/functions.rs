//! The functions of the interface: system calls on the machine.

pub(crate) mod control;
mod data;
pub(crate) mod wire;

use std::ffi::{CStr, c_char, c_int};
use std::net::SocketAddr;
use std::sync::OnceLock;

use libc::{sockaddr, socklen_t};
use sunstar_sockets::address::Family;
use sunstar_sockets::calls;
use sunstar_sockets::errno::Errno;

use crate::interface::{Interface, Userdata};
use crate::machine::Machine;
use crate::memory;
use crate::options::WorldOptions;

/// The world of the script that this process runs.
static MACHINE: OnceLock<Machine> = OnceLock::new();

/// The most bytes of an address that are looked at: those of `struct sockaddr_storage`.
const ADDRESS_BYTES: usize = 128;

/// The machine, if a script runs.
pub(crate) fn machine() -> Option<&'static Machine> {
    MACHINE.get()
}

/// Does something on the machine, and tells of errors as system calls do.
pub(crate) fn call<T: From<i8>>(act: impl FnOnce(&'static Machine) -> Result<T, Errno>) -> T {
    let done = machine().ok_or(Errno::BADF).and_then(|machine| {
        let done = act(machine);
        machine.finish();
        done
    });
    done.unwrap_or_else(|error| {
        set_errno(error);
        T::from(-1)
    })
}

fn set_errno(error: Errno) {
    // SAFETY: the location is this thread's own, and lives as long as the thread.
    unsafe { *libc::__errno_location() = error.number().into() };
}

/// An address that a program has handed over, for a socket.
pub(crate) fn read_address(
    machine: &Machine,
    fd: c_int,
    from: *const sockaddr,
    len: socklen_t,
) -> Result<SocketAddr, Errno> {
    let family = machine.with(|sockets, _| sockets.family(fd))?;
    let bytes = memory::read(from.cast(), (len as usize).min(ADDRESS_BYTES))?;
    family.read(&bytes)
}

/// An address for a program, as much as it has room for.
pub(crate) fn write_address(
    family: Family,
    address: Option<SocketAddr>,
    to: *mut sockaddr,
    len: *mut socklen_t,
) -> Result<(), Errno> {
    let Some(address) = address.filter(|_| !to.is_null()) else { return Ok(()) };
    let room = memory::read_value(len.cast_const())? as usize;
    let mut bytes = [0; ADDRESS_BYTES];
    let full = family.write(address, &mut bytes);
    memory::write(to.cast(), &bytes[..full.min(room)])?;
    memory::write(len.cast(), &u32::try_from(full).unwrap_or(0).to_ne_bytes())
}

extern "C" fn free(_: Userdata) {}

extern "C" fn socket(_: Userdata, family: c_int, kind: c_int, protocol: c_int) -> c_int {
    call(|machine| {
        machine.refresh(None);
        machine.with(|sockets, _| sockets.socket(family, kind, protocol))
    })
}

extern "C" fn bind(_: Userdata, fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int {
    call(|machine| {
        let address = read_address(machine, fd, address, len)?;
        machine.refresh(Some(address));
        machine.with(|sockets, _| sockets.bind(fd, address)).map(|()| 0)
    })
}

extern "C" fn listen(_: Userdata, fd: c_int, backlog: c_int) -> c_int {
    call(|machine| {
        machine.refresh(None);
        machine.with(|sockets, _| sockets.listen(fd, backlog)).map(|()| 0)
    })
}

extern "C" fn accept(_: Userdata, fd: c_int, address: *mut sockaddr, len: *mut socklen_t) -> c_int {
    call(|machine| {
        let accepted = calls::accept(machine, fd, 0)?;
        let (family, names) = machine.with(|sockets, _| (sockets.family(accepted), sockets.names(accepted)));
        write_address(family?, names?.1, address, len)?;
        Ok(accepted)
    })
}

extern "C" fn connect(_: Userdata, fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int {
    call(|machine| {
        machine.refresh(None);
        let address = read_address(machine, fd, address, len)?;
        calls::connect(machine, fd, address).map(|()| 0)
    })
}

extern "C" fn close(_: Userdata, fd: c_int) -> c_int {
    if machine().is_none_or(|machine| !machine.with(|sockets, _| sockets.is_open(fd))) {
        // SAFETY: the program asks for it, and the number is none of ours.
        return unsafe { libc::close(fd) };
    }
    call(|machine| calls::close(machine, fd).map(|()| 0))
}

extern "C" fn shutdown(_: Userdata, fd: c_int, how: c_int) -> c_int {
    call(|machine| machine.with(|sockets, now| sockets.shutdown(now, fd, how)).map(|()| 0))
}

/// Fills the structure: the one symbol that packetdrill looks for. `flags` are those of `--so_flags`.
///
/// A second script in the same process gets the world that the first one has left. Options that make no sense end the process, as
/// packetdrill itself does with its own.
///
/// # Safety
/// `flags` must be null or a C string, `interface` must point to room for an [`Interface`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn packetdrill_interface_init(flags: *const c_char, interface: *mut Interface) {
    let flags = if flags.is_null() {
        String::new()
    } else {
        // SAFETY: the caller says that it is a C string.
        unsafe { CStr::from_ptr(flags) }.to_string_lossy().into_owned()
    };
    let options = WorldOptions::parse(&flags).unwrap_or_else(|error| {
        eprintln!("packetdrill plug-in: {error}");
        std::process::exit(2);
    });
    // Programs that a script starts are none of ours.
    // SAFETY: packetdrill has no other thread that looks at the environment when it loads a plug-in.
    unsafe { std::env::remove_var("LD_PRELOAD") };
    MACHINE.get_or_init(|| Machine::new(&options));
    // SAFETY: the caller says that there is room.
    unsafe { interface.write(functions()) };
}

fn functions() -> Interface {
    Interface {
        userdata: std::ptr::null_mut(),
        free,
        socket,
        bind,
        listen,
        accept,
        connect,
        read: data::read,
        readv: data::readv,
        recv: data::recv,
        recvfrom: data::recvfrom,
        recvmsg: data::recvmsg,
        write: data::write,
        writev: data::writev,
        send: data::send,
        sendto: data::sendto,
        sendmsg: data::sendmsg,
        fcntl: control::fcntl,
        ioctl: control::ioctl,
        close,
        shutdown,
        getsockopt: control::getsockopt,
        setsockopt: control::setsockopt,
        poll: control::poll,
        netdev_send: wire::netdev_send,
        netdev_receive: wire::netdev_receive,
        usleep: wire::usleep,
        gettimeofday: wire::gettimeofday,
        epoll_create: control::epoll_create,
        epoll_ctl: control::epoll_ctl,
        epoll_wait: control::epoll_wait,
        pipe: wire::pipe,
        splice: wire::splice,
    }
}

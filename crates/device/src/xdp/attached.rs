//! The program at an interface, as long as somebody needs it.

use std::io;

use sunstar_wire::MacAddr;

use super::bpf::{Link, Mode, Program, SocketMap};
use super::options::XdpError;
use super::steering::{Action, steering};

/// A program that is attached, and where it finds the sockets. It is detached when this is dropped, and by any end of the process.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) sockets: SocketMap,
    pub(super) mode: Mode,
    _link: Link,
}

impl Attached {
    /// Attaches the program to an interface, in its driver if that can run it. No frames are taken before there are sockets.
    pub(super) fn new(name: &str, interface: u32, mac: MacAddr, queues: usize) -> Result<Self, XdpError> {
        let system = |what| move |error| XdpError::System { name: name.to_owned(), what, error };
        let count = u32::try_from(queues).map_err(io::Error::other).map_err(system("counting queues"))?;
        let permission = |error: io::Error| match error.raw_os_error() {
            Some(libc::EPERM) => XdpError::Permission { what: "make maps and programs for the kernel", error },
            _ => system("making a map of sockets")(error),
        };
        let sockets = SocketMap::new(count).map_err(permission)?;
        let program = steering(mac, sockets.descriptor(), Action::Pass as i32);
        let program = program.map_err(io::Error::other).map_err(system("assembling the program"))?;
        let program = Program::load(&program).map_err(|refused| match refused.error.raw_os_error() {
            Some(libc::EPERM) => permission(refused.error),
            _ => XdpError::Program { name: name.to_owned(), error: refused.error, log: refused.log },
        })?;
        let (link, mode) = match program.attach(interface, Mode::Driver) {
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                (program.attach(interface, Mode::Generic), Mode::Generic)
            }
            result => (result, Mode::Driver),
        };
        let name = || name.to_owned();
        let link = link.map_err(|error| match error.raw_os_error() {
            Some(libc::EBUSY | libc::EEXIST) => XdpError::Busy { name: name() },
            Some(libc::EPERM) => XdpError::Permission { what: "attach programs to interfaces", error },
            Some(libc::ERANGE) => XdpError::DriverMtu { name: name(), error },
            Some(libc::ENOSPC) => XdpError::DriverQueues { name: name(), error },
            _ => system("attaching the program")(error),
        })?;
        Ok(Self { sockets, mode, _link: link })
    }
}

//! The program at an interface, as long as somebody needs it.

use std::io;
use std::sync::Arc;

use sunstar_wire::MacAddr;

use super::addresses::AddressMaps;
use super::bpf::{Link, Mode, Program, SocketMap};
use super::options::{XdpError, XdpPorts};
use super::steering::{Action, Sharing, steering};

/// A program that is attached, and where it finds the sockets. It is detached when this is dropped, and by any end of the process.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) sockets: SocketMap,
    pub(super) mode: Mode,
    /// The stack's addresses, if those tell what is its.
    pub(super) addresses: Option<Arc<AddressMaps>>,
    _link: Link,
}

impl Attached {
    /// Attaches the program to an interface, in its driver if that can run it. Of a hardware address that is shared (`ports`) no frames
    /// are taken before there are IP addresses; what comes for those by a queue without a socket is dropped.
    pub(super) fn new(
        name: &str,
        interface: u32,
        mac: MacAddr,
        ports: Option<&XdpPorts>,
        queues: usize,
    ) -> Result<Self, XdpError> {
        let system = |what| move |error| XdpError::System { name: name.to_owned(), what, error };
        let count = u32::try_from(queues).map_err(io::Error::other).map_err(system("counting queues"))?;
        let permission = |error: io::Error| match error.raw_os_error() {
            Some(libc::EPERM) => {
                XdpError::Permission { name: name.to_owned(), what: "make maps and programs for", error }
            }
            _ => system("making maps")(error),
        };
        let sockets = SocketMap::new(count).map_err(permission)?;
        let addresses = ports.map(|_| AddressMaps::new()).transpose().map_err(permission)?;
        let sharing = addresses.as_ref().zip(ports);
        let sharing = sharing.map(|(AddressMaps { v4, v6, .. }, ports)| Sharing {
            v4: v4.descriptor(),
            v6: v6.descriptor(),
            ports,
        });
        // The kernel may have the same IP address, and would refuse what is not its own: to peers that is as if the stack did.
        let missing = if sharing.is_some() { Action::Drop } else { Action::Pass };
        let program = steering(mac, sharing.as_ref(), sockets.descriptor(), missing as i32);
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
            Some(libc::EPERM) => XdpError::Permission { name: name(), what: "attach a program to", error },
            Some(libc::ERANGE) => XdpError::DriverMtu { name: name(), error },
            Some(libc::ENOSPC) => XdpError::DriverQueues { name: name(), error },
            _ => system("attaching the program")(error),
        })?;
        Ok(Self { sockets, mode, addresses: addresses.map(Arc::new), _link: link })
    }
}

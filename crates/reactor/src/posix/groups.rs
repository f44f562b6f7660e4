//! Multicast groups (`ip(7)`, `ipv6(7)`).

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::BorrowedFd;

use rustix::net::sockopt;
use sunstar_net::Error;

use super::error::from_errno;

/// Has a socket receive what is sent to a group.
///
/// # Errors
/// What the kernel says.
pub(crate) fn join(socket: BorrowedFd<'_>, group: IpAddr, scope_id: u32) -> Result<(), Error> {
    match group {
        IpAddr::V4(v4) => sockopt::set_ip_add_membership_with_ifindex(socket, &v4, &Ipv4Addr::UNSPECIFIED, scope_id),
        IpAddr::V6(v6) => sockopt::set_ipv6_add_membership(socket, &v6, scope_id),
    }
    .map_err(from_errno)
}

/// The opposite.
///
/// # Errors
/// What the kernel says.
pub(crate) fn leave(socket: BorrowedFd<'_>, group: IpAddr, scope_id: u32) -> Result<(), Error> {
    match group {
        IpAddr::V4(v4) => sockopt::set_ip_drop_membership_with_ifindex(socket, &v4, &Ipv4Addr::UNSPECIFIED, scope_id),
        IpAddr::V6(v6) => sockopt::set_ipv6_drop_membership(socket, &v6, scope_id),
    }
    .map_err(from_errno)
}

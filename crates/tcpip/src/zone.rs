//! Zones of link-local addresses (RFC 4007): on each link the same address may be another station's.
//!
//! Inside of the stack those with whom we speak are known by addresses that name their link: the number of the interface stands where
//! link-local addresses have zeros (RFC 4291 §2.5.6). So all tables are right without knowing of it. Such an address is never on the wire,
//! where its zeros are, nor do applications see it: they have the number of the link beside the address (`sin6_scope_id`).

use core::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use sunstar_wire::{AddressPair, FourTuple};

use crate::interface::InterfaceId;

/// Whether an address is link-local, and has something where all have zeros: only inside of the stack that means something.
pub(crate) const fn is_marked(address: Ipv6Addr) -> bool {
    address.is_unicast_link_local() && address.segments()[1] != 0
}

/// The address of somebody on a link. Those that mean something everywhere stay as they are.
pub(crate) const fn marked(address: IpAddr, interface: InterfaceId) -> IpAddr {
    match address {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
            let [a, _, c, d, e, f, g, h] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, interface.0, c, d, e, f, g, h))
        }
        _ => address,
    }
}

/// The address as it is on the wire, and on which link it means something, if that is known.
pub(crate) const fn split(address: IpAddr) -> (IpAddr, Option<InterfaceId>) {
    match address {
        IpAddr::V6(v6) if is_marked(v6) => (marked(address, InterfaceId(0)), Some(InterfaceId(v6.segments()[1]))),
        _ => (address, None),
    }
}

/// The address as it is on the wire.
pub(crate) const fn plain(address: IpAddr) -> IpAddr {
    split(address).0
}

/// Both addresses as they are on the wire.
pub(crate) fn plain_pair(addresses: AddressPair) -> AddressPair {
    AddressPair::new(plain(addresses.src()), plain(addresses.dst())).unwrap_or(addresses)
}

/// A flow as it is on the wire, of one that the stack knows.
pub fn plain_flow(flow: &FourTuple) -> FourTuple {
    FourTuple { addresses: plain_pair(flow.addresses), ..*flow }
}

/// The flow of who has sent something by a link.
#[inline]
pub(crate) fn of_sender(flow: FourTuple, interface: InterfaceId) -> FourTuple {
    if flow.addresses.src().is_ipv4() {
        return flow;
    }
    let (src, dst) = (marked(flow.addresses.src(), interface), flow.addresses.dst());
    FourTuple { addresses: AddressPair::new(src, dst).unwrap_or(flow.addresses), ..flow }
}

/// The flow to whom something was sent by a link.
pub(crate) fn to_receiver(flow: FourTuple, interface: InterfaceId) -> FourTuple {
    of_sender(flow.reversed(), interface).reversed()
}

/// An address as applications see it: with the number of its link beside it.
pub(crate) fn shown(address: SocketAddr) -> SocketAddr {
    match split(address.ip()) {
        (IpAddr::V6(v6), Some(interface)) => SocketAddrV6::new(v6, address.port(), 0, u32::from(interface.0)).into(),
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_marked_and_shown() {
        let address: Ipv6Addr = "fe80::1234:5".parse().expect("an address");
        let marked_v6 = marked(address.into(), InterfaceId(3));
        assert_eq!(marked_v6, "fe80:3::1234:5".parse::<IpAddr>().expect("an address"));
        assert_eq!(split(marked_v6), (address.into(), Some(InterfaceId(3))));
        assert_eq!(shown(SocketAddr::new(marked_v6, 80)), SocketAddrV6::new(address, 80, 0, 3).into());
        for other in ["2001:db8::1", "ff02::1", "10.0.0.1", "::1"] {
            let other: IpAddr = other.parse().expect("an address");
            assert_eq!((marked(other, InterfaceId(3)), split(other)), (other, (other, None)));
        }
    }
}

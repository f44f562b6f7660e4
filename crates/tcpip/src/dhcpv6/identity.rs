//! Who a client is, to servers.

use alloc::vec::Vec;

use sunstar_wire::MacAddr;

use crate::tcp::secret::Secret;

/// The type of a DUID that is a UUID (RFC 6355 §4), and of one that is a hardware address (RFC 8415 §11.4).
const DUID_UUID: [u8; 2] = [0, 4];
const DUID_LL: [u8; 2] = [0, 3];
/// Ethernet, as in ARP.
const HARDWARE_ETHERNET: [u8; 2] = [0, 1];

/// A DUID that follows from what names the host, and does not tell it: a DUID-UUID (RFC 6355).
pub fn duid_of_host(secret: [u8; 16]) -> Vec<u8> {
    let mut uuid = Secret::new(secret).uuid();
    // RFC 9562 §5.8: version 8, of the usual variant.
    uuid[6] = uuid[6] & 0x0f | 0x80;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    [&DUID_UUID[..], &uuid].concat()
}

/// A DUID for a host that nothing names: a DUID-LL, of one of its interfaces (RFC 8415 §11.4).
pub fn duid_of_link(mac: MacAddr) -> Vec<u8> {
    [&DUID_LL[..], &HARDWARE_ETHERNET, &mac.0].concat()
}

/// Which of a host's interfaces it is: by its hardware address, and its VLAN, or zero (RFC 8415 §12).
///
/// So hosts that were copied with all that names them differ where their addresses do.
pub fn iaid(mac: MacAddr, vlan: u16) -> u32 {
    let MacAddr([_, _, a, b, c, d]) = mac;
    u32::from_be_bytes([a, b, c, d]) ^ u32::from(vlan).rotate_right(12)
}

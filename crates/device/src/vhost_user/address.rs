//! The address of a stack behind a vhost-user device.

use std::path::Path;

use sunstar_wire::MacAddr;

/// The address that follows from a socket's path, locally administered and of one station. The two sides tell theirs apart by the first
/// octet.
pub(super) fn of_path(path: &Path, first_octet: u8) -> MacAddr {
    // FNV-1a: the same path has the same address, and others most probably have others.
    let bytes = path.as_os_str().as_encoded_bytes();
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    let [a, b, c, d, e, ..] = hash.to_be_bytes();
    MacAddr([first_octet, a, b, c, d, e])
}

/// An address of one station, as in `02:00:00:00:00:01`.
pub(super) fn parse(text: &str) -> Option<MacAddr> {
    let mut octets = [0; 6];
    let mut parts = text.split(':');
    for octet in &mut octets {
        let part = parts.next().filter(|part| part.len() == 2)?;
        *octet = u8::from_str_radix(part, 16).ok()?;
    }
    (parts.next().is_none() && octets[0] & 1 == 0 && octets != [0; 6]).then_some(MacAddr(octets))
}

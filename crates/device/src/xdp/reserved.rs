//! Ports of the stack that the kernel could take for connections of its own, from an address of both.

use std::fs;

use super::options::{XdpPorts, port_range};

/// From which ports the kernel chooses, and which of them it leaves out (ip(7)), for both versions of IP and both protocols.
const CHOSEN: &str = "/proc/sys/net/ipv4/ip_local_port_range";
const RESERVED: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";

/// Says which of the stack's ports the kernel may choose: what comes back to its connections would be the stack's.
pub(super) fn warn_of_chosen(name: &str, ports: &XdpPorts) {
    let (Ok(chosen), Ok(reserved)) = (fs::read_to_string(CHOSEN), fs::read_to_string(RESERVED)) else { return };
    if let Some(port) = first_chosen(ports, &chosen, &reserved) {
        log::warn!(
            "xdp:{name}: the kernel may choose port {port}, which is the stack's, for a connection of its own: \
             net.ipv4.ip_local_reserved_ports keeps it from that"
        );
    }
}

/// The first of these ports that is among those and not among the reserved ones.
fn first_chosen(ports: &XdpPorts, chosen: &str, reserved: &str) -> Option<u16> {
    let mut words = chosen.split_whitespace().map(str::parse::<u16>);
    let (Some(Ok(first)), Some(Ok(last))) = (words.next(), words.next()) else { return None };
    let reserved: Vec<_> = reserved.trim().split(',').filter_map(port_range).collect();
    let is_chosen = |port: &u16| (first..=last).contains(port) && !reserved.iter().any(|range| range.contains(port));
    ports.tcp.iter().chain(&ports.udp).flat_map(Clone::clone).find(is_chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_that_are_not_reserved_may_be_chosen() {
        let ports = XdpPorts { tcp: vec![80..=80, 32_000..=32_999], udp: vec![40_000..=40_000] };
        let first = |chosen, reserved| first_chosen(&ports, chosen, reserved);
        assert_eq!(first("32768\t60999\n", "\n"), Some(32_768));
        assert_eq!(first("32768\t60999\n", "80,32768-32998\n"), Some(32_999));
        assert_eq!(first("32768\t60999\n", "32768-32999\n"), Some(40_000));
        assert_eq!(first("32768\t60999\n", "40000,32000-33000\n"), None);
        assert_eq!(first("10000\t20000\n", "\n"), None);
        assert_eq!(first("1\t65535\n", "\n"), Some(80));
        assert_eq!(first("what", "\n"), None);
    }
}

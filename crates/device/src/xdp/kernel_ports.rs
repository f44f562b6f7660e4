//! Ports of the stack that the kernel uses too, or could take for connections of its own, at an address of both.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use super::options::{XdpPorts, port_range};

#[cfg(test)]
mod tests;

/// From which ports the kernel chooses, and which of them it leaves out (ip(7)), for both versions of IP and both protocols.
const CHOSEN: &str = "/proc/sys/net/ipv4/ip_local_port_range";
const RESERVED: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";

/// Its sockets (proc(5)), in the network namespace of the thread.
const TCP: [&str; 2] = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"];
const UDP: [&str; 2] = ["/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"];

/// What a socket's state is called that is only kept for late segments.
const TIME_WAIT: &str = "06";

/// So many ports are named.
const MAX_NAMED: usize = 8;

/// Says which of the stack's ports the kernel uses, and which one it may choose: what comes there would be the stack's.
pub(super) fn warn(name: &str, ports: &XdpPorts) {
    for (protocol, ports, files) in [("TCP", &ports.tcp, TCP), ("UDP", &ports.udp, UDP)] {
        // There may be no IPv6.
        let sockets = files.map(|file| fs::read_to_string(file).unwrap_or_default());
        let used = used(ports, sockets.iter().flat_map(|sockets| sockets.lines()));
        if !used.is_empty() {
            log::warn!(
                "xdp:{name}: the kernel has sockets at ports of {protocol} that are the stack's, and hears nothing there at addresses of \
                 both: {}",
                listed(&used)
            );
        }
    }
    let (Ok(chosen), Ok(reserved)) = (fs::read_to_string(CHOSEN), fs::read_to_string(RESERVED)) else { return };
    if let Some(port) = first_chosen(ports, &chosen, &reserved) {
        log::warn!(
            "xdp:{name}: the kernel may choose port {port}, which is the stack's, for a connection of its own: \
             net.ipv4.ip_local_reserved_ports keeps it from that"
        );
    }
}

/// The ports that come first, and how many others there are.
fn listed(ports: &BTreeSet<u16>) -> String {
    let named: Vec<String> = ports.iter().take(MAX_NAMED).map(u16::to_string).collect();
    match ports.len().saturating_sub(MAX_NAMED) {
        0 => named.join(", "),
        others => format!("{} and {others} others", named.join(", ")),
    }
}

/// Those of the ports at which there are sockets that somebody else can reach.
fn used<'a>(ports: &[RangeInclusive<u16>], sockets: impl Iterator<Item = &'a str>) -> BTreeSet<u16> {
    let is_ours = |(ip, port): &(IpAddr, u16)| !ip.is_loopback() && ports.iter().any(|range| range.contains(port));
    sockets.filter_map(local).filter(is_ours).map(|(_, port)| port).collect()
}

/// The address of a socket that is there to stay, and its port, as a line of the kernel's tells them: behind the socket's number, in
/// words of 32 bits.
fn local(line: &str) -> Option<(IpAddr, u16)> {
    let mut fields = line.split_whitespace();
    let (local, _remote, state) = (fields.nth(1)?, fields.next()?, fields.next()?);
    let (ip, port) = local.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(ip.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip: IpAddr = match ip.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let mut octets = [0; 16];
            for (nth, octets) in octets.chunks_exact_mut(4).enumerate() {
                octets.copy_from_slice(&word(nth * 8)?);
            }
            Ipv6Addr::from(octets).to_canonical()
        }
        _ => return None,
    };
    Some((ip, u16::from_str_radix(port, 16).ok()?)).filter(|_| state != TIME_WAIT)
}

/// The first of these ports that is among those and not among the reserved ones.
fn first_chosen(ports: &XdpPorts, chosen: &str, reserved: &str) -> Option<u16> {
    let mut words = chosen.split_whitespace().map(str::parse::<u16>);
    let (Some(Ok(first)), Some(Ok(last))) = (words.next(), words.next()) else { return None };
    let reserved: Vec<_> = reserved.trim().split(',').filter_map(port_range).collect();
    let is_chosen = |port: &u16| (first..=last).contains(port) && !reserved.iter().any(|range| range.contains(port));
    ports.tcp.iter().chain(&ports.udp).flat_map(Clone::clone).find(is_chosen)
}

//! From which ports connections are opened where a device has only some of them.

use std::ops::RangeInclusive;

use sunstar_device::XdpPorts;
use sunstar_native::{FreePorts, Spread};

use super::Plan;

impl Plan {
    /// The ports of TCP and of UDP that are chosen from where none is named, if a device has nothing for others: those of its ranges, since a
    /// single port is for who names it.
    pub(super) fn free_ports(&self) -> Option<(FreePorts, FreePorts)> {
        let devices: Vec<&XdpPorts> =
            self.interfaces.iter().filter_map(|interface| interface.device.kind.ports()).collect();
        let is_free = |ranges: &[RangeInclusive<u16>], port: &u16| {
            ranges.iter().any(|range| range.start() < range.end() && range.contains(port))
        };
        let tcp = |port: &u16| devices.iter().all(|ports| is_free(&ports.tcp, port));
        let udp = |port: &u16| devices.iter().all(|ports| is_free(&ports.udp, port));
        let all = 1..=u16::MAX;
        (!devices.is_empty()).then(|| (all.clone().filter(tcp).collect(), all.filter(udp).collect()))
    }

    /// Logs what so many shards lack if ports are chosen from few.
    pub(super) fn warn_of_few_ports(&self, shards: usize, spread: Option<&Spread>) {
        let Some((tcp, udp)) = self.free_ports() else { return };
        let reaches_all = spread.is_none_or(Spread::reaches_all_shards);
        for lack in lacks(tcp.count(), udp.count(), shards, reaches_all) {
            log::warn!("{lack}");
        }
    }
}

/// What is lacking with so many ports of TCP and of UDP. `reaches_all` is whether those of TCP lead to all shards.
fn lacks(tcp: usize, udp: usize, shards: usize, reaches_all: bool) -> Vec<String> {
    let mut lacks = Vec::new();
    match tcp {
        0 => lacks.push(
            "connections can't be opened: no range of ports, as in tcp=20000-20999, is there for TCP at all devices that have ports"
                .to_owned(),
        ),
        _ if !reaches_all => lacks.push(format!(
            "connections from some shards to some addresses can't be opened: ranges for TCP of {tcp} ports are too few for {shards} shards"
        )),
        _ => {}
    }
    match udp {
        0 => lacks.push(
            "sockets of UDP have to name their port, and name service has none: no range of ports, as in udp=20000-20999, is there for UDP at \
             all devices that have ports"
                .to_owned(),
        ),
        _ if udp < shards => lacks.push(format!(
            "some shards have no port of UDP for sockets that name none: ranges of {udp} ports are too few for {shards} shards"
        )),
        _ => {}
    }
    lacks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_is_told() {
        assert!(lacks(1, 1, 1, true).is_empty() && lacks(8, 8, 8, true).is_empty());
        let begins = |lacks: Vec<String>, begins: &[&str]| {
            assert_eq!(lacks.len(), begins.len(), "{lacks:?}");
            assert!(lacks.iter().zip(begins).all(|(lack, begin)| lack.starts_with(begin)), "{lacks:?}");
        };
        begins(lacks(0, 0, 1, true), &["connections can't be opened", "sockets of UDP have to name their port"]);
        // Those that lead nowhere are not told of beside.
        begins(lacks(0, 8, 8, false), &["connections can't be opened"]);
        begins(lacks(7, 7, 8, false), &["connections from some shards", "some shards have no port of UDP"]);
    }
}

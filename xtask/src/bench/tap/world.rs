//! The network: this process's namespace with the load client, and at the other ends of two links the native stack, behind a TAP,
//! and the kernel's, in a namespace of its own behind a pair of virtual Ethernet interfaces; and the native stack by AF_XDP there, behind
//! another pair.

use std::cell::Cell;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::bench::namespace::{Namespace, do_it, words};
use crate::command::program;

/// The TAP, the client's address there, and the native stack's.
pub(super) const TAP: &str = "tap0";
const TAP_PACKETS: u32 = 20_000;
const TAP_CLIENT: &str = "10.9.0.1/24";
pub(super) const NATIVE: &str = "10.9.0.2";
/// The client's side, behind which are the addresses that nobody has.
pub(super) const NATIVE_GATEWAY: &str = "10.9.0.1";
const KERNEL_GATEWAY: &str = "10.8.0.1";
/// The addresses that nobody has (http-load's `syn-flood`).
const STRANGERS: &str = "198.18.0.0/15";
/// The pair, and the addresses there.
const HERE: &str = "veth0";
const THERE: &str = "veth1";
const PAIR_CLIENT: &str = "10.8.0.1/24";
const PAIR_SERVER: &str = "10.8.0.2/24";
const PAIR_NETWORK: &str = "10.8.0.0/24";
pub(super) const KERNEL: &str = "10.8.0.2";
/// The pair for AF_XDP, with one queue, the client's address there, and the native stack's.
const XDP_HERE: &str = "veth2";
pub(super) const XDP_THERE: &str = "veth3";
const XDP_CLIENT: &str = "10.7.0.1/24";
pub(super) const XDP: &str = "10.7.0.2";
pub(super) const XDP_GATEWAY: &str = "10.7.0.1";

const ONE_QUEUE: &str = "numrxqueues 1 numtxqueues 1";

const FIRST_PORT: u16 = 10_000;

/// What Linux has by default; the native stack has it too.
pub(super) const CONGESTION: &str = "cubic";

/// What is needed, and Debian's packages.
pub(super) const PROGRAMS: &[(&str, &str)] =
    &[("nsenter", "util-linux"), ("ip", "iproute2"), ("nft", "nftables"), ("ethtool", "ethtool"), ("tc", "iproute2")];

/// The links and the other namespace. Dropping it ends that; the links end with the namespaces.
pub(super) struct World {
    server: Namespace,
    next_port: Cell<u16>,
}

impl World {
    /// Sets everything up.
    ///
    /// # Errors
    /// If the kernel lacks something, or refuses.
    pub(super) fn new() -> Result<Self> {
        let world = Self { server: Namespace::new()?, next_port: Cell::new(FIRST_PORT) };
        let there = world.server.pid();
        for arguments in [
            "link set lo up".to_owned(),
            format!("tuntap add dev {TAP} mode tap"),
            format!("addr add {TAP_CLIENT} dev {TAP}"),
            // A TAP drops what it has no room for, and by itself it has room for few.
            format!("link set {TAP} txqueuelen {TAP_PACKETS} up"),
            format!("link add {HERE} type veth peer name {THERE} netns {there}"),
            format!("addr add {PAIR_CLIENT} dev {HERE}"),
            format!("link set {HERE} up"),
            format!("link add {XDP_HERE} {ONE_QUEUE} type veth peer name {XDP_THERE} {ONE_QUEUE} netns {there}"),
            format!("addr add {XDP_CLIENT} dev {XDP_HERE}"),
            format!("link set {XDP_HERE} up"),
            // So the stacks look for nobody else when they answer the flood.
            format!("route add blackhole {STRANGERS}"),
        ] {
            do_it(&mut words("ip", &arguments))?;
        }
        // What is sent to those from whom the flood comes ends here without more ado: on a real network others would have it, and here it
        // takes the time of the processor that sends it.
        let chain = |name: &str| {
            format!("chain {name} {{ type filter hook ingress device {name} priority 0; ip daddr {STRANGERS} drop; }}")
        };
        let chains = [TAP, HERE, XDP_HERE].map(chain).join("\n");
        do_it(&mut program("nft", &[&format!("table netdev strangers {{ {chains}\n }}")]))?;
        for arguments in [
            format!("addr add {PAIR_SERVER} dev {THERE}"),
            format!("link set {THERE} up"),
            format!("link set {XDP_THERE} up"),
            // By the route, since a namespace may not choose any as its default.
            format!("route replace {PAIR_NETWORK} dev {THERE} congctl {CONGESTION}"),
            format!("route add default via {KERNEL_GATEWAY}"),
        ] {
            world.server.ip(&arguments)?;
        }
        // With few free ports, looking for one takes long.
        fs::write("/proc/sys/net/ipv4/ip_local_port_range", "1024 65535").context("setting the range of ports")?;
        // So that a rule sees packets of the wire, of which it loses some: what the kernel's TCP sends in large pieces is cut before it
        // enters the pair (GSO, which is on), and not put together again where it comes out.
        let offloads = |name: &str| words("ethtool", &format!("-K {name} tso off gro off"));
        do_it(&mut offloads(HERE))?;
        do_it(&mut world.there(&offloads(THERE)))?;
        Ok(world)
    }

    /// A port where nobody has listened yet. The client's side of connections that are over stays in TIME-WAIT for a minute, and
    /// among thousands of those to the same port the client's kernel looks long for a port of its own.
    pub(super) fn port(&self) -> u16 {
        self.next_port.replace(self.next_port.get() + 1)
    }

    /// The same command in the server's namespace.
    pub(super) fn there(&self, command: &Command) -> Command {
        self.server.command(command)
    }

    /// Lets the pair of interfaces lose so many of a thousand packets, each way. Packets are dropped where they arrive, since a
    /// sender would be told of those that are dropped where they leave.
    ///
    /// # Errors
    /// If the kernel can't.
    pub(super) fn lose(&self, per_mille: u32) -> Result<()> {
        let nft = |name: &str| {
            let rule = match per_mille {
                0 => String::new(),
                _ => format!("iifname {name} numgen random mod 1000 < {per_mille} drop;"),
            };
            let chain = format!("chain in {{ type filter hook prerouting priority -300; {rule} }}");
            program("nft", &[&format!("table ip loss; flush table ip loss; table ip loss {{ {chain}\n }}")])
        };
        do_it(&mut nft(HERE))?;
        do_it(&mut self.there(&nft(THERE)))
    }
}

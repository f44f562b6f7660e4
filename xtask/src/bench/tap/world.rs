//! The network: this process's namespace with the load client, and at the other ends of two links the native stack, behind a TAP,
//! and the kernel's, in a namespace of its own behind a pair of virtual Ethernet interfaces.

use std::cell::Cell;
use std::env;
use std::fs;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::command::{exists, program};

/// Set for a process that is in a namespace of its own already.
const INSIDE: &str = "SUNSTAR_BENCH_INSIDE";
/// Namespaces end with the processes in them; longer than any measurement.
const LIFE_SECONDS: &str = "3600";
const PATIENCE: Duration = Duration::from_secs(5);

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

const FIRST_PORT: u16 = 10_000;

/// What Linux has by default; the native stack has it too.
pub(super) const CONGESTION: &str = "cubic";

/// What is needed, and Debian's packages.
pub(super) const PROGRAMS: &[(&str, &str)] = &[
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("ethtool", "ethtool"),
    ("tc", "iproute2"),
];

/// Whether this process is in a network namespace of its own.
pub(in crate::bench) fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// Runs this command again in a network namespace of its own. It needs these programs, of these packages of Debian's.
///
/// # Errors
/// If there may be no namespace, a program is missing, or the command fails.
pub(in crate::bench) fn enter(programs: &[(&str, &str)]) -> Result<()> {
    for (name, package) in programs {
        ensure!(exists(name), "{name} is not installed (Debian's {package})");
    }
    let mut command = program("unshare", &["--net", "--"]);
    command.arg(env::current_exe()?).args(env::args_os().skip(1)).env(INSIDE, "1");
    let status = command.status().context("running unshare")?;
    ensure!(status.success(), "in a network namespace, which needs root or CAP_NET_ADMIN: {status}");
    Ok(())
}

/// The links and the other namespace. Dropping it ends that; the links end with the namespaces.
pub(super) struct World {
    /// Keeps the namespace.
    holder: Child,
    next_port: Cell<u16>,
}

impl World {
    /// Sets everything up.
    ///
    /// # Errors
    /// If the kernel lacks something, or refuses.
    pub(super) fn new() -> Result<Self> {
        let holder = program("unshare", &["--net", "sleep", LIFE_SECONDS]).spawn().context("running unshare")?;
        let world = Self { holder, next_port: Cell::new(FIRST_PORT) };
        wait_for_namespace(&world.pid())?;
        let there = world.pid();
        for arguments in [
            "link set lo up".to_owned(),
            format!("tuntap add dev {TAP} mode tap"),
            format!("addr add {TAP_CLIENT} dev {TAP}"),
            // A TAP drops what it has no room for, and by itself it has room for few.
            format!("link set {TAP} txqueuelen {TAP_PACKETS} up"),
            format!("link add {HERE} type veth peer name {THERE} netns {there}"),
            format!("addr add {PAIR_CLIENT} dev {HERE}"),
            format!("link set {HERE} up"),
            // What is sent to those from whom the flood comes ends here without more ado.
            format!("route add blackhole {STRANGERS}"),
        ] {
            do_it(&mut words("ip", &arguments))?;
        }
        for arguments in [
            "link set lo up".to_owned(),
            format!("addr add {PAIR_SERVER} dev {THERE}"),
            format!("link set {THERE} up"),
            // By the route, since a namespace may not choose any as its default.
            format!("route replace {PAIR_NETWORK} dev {THERE} congctl {CONGESTION}"),
            format!("route add default via {KERNEL_GATEWAY}"),
        ] {
            do_it(&mut world.there(&words("ip", &arguments)))?;
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

    fn pid(&self) -> String {
        self.holder.id().to_string()
    }

    /// The same command in the server's namespace.
    pub(super) fn there(&self, command: &Command) -> Command {
        inside(&self.pid(), command)
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
            program("nft", &[&format!("flush ruleset; table ip loss {{ {chain}\n }}")])
        };
        do_it(&mut nft(HERE))?;
        do_it(&mut self.there(&nft(THERE)))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}

/// Waits until a process has a network namespace of its own.
///
/// # Errors
/// If it gets none.
pub(super) fn wait_for_namespace(pid: &str) -> Result<()> {
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/net"));
    let ours = namespace("self")?;
    let deadline = Instant::now() + PATIENCE;
    while namespace(pid)? == ours {
        ensure!(Instant::now() < deadline, "no second network namespace is made");
        sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// The same command in the network namespace of a process.
pub(super) fn inside(pid: &str, command: &Command) -> Command {
    let mut entered = program("nsenter", &[&format!("--net=/proc/{pid}/ns/net"), "--"]);
    entered.arg(command.get_program()).args(command.get_args());
    entered
}

pub(in crate::bench) fn words(name: &str, arguments: &str) -> Command {
    program(name, &arguments.split(' ').collect::<Vec<_>>())
}

/// Runs a command.
///
/// # Errors
/// If it fails: what it says.
pub(in crate::bench) fn do_it(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("running {command:?}"))?;
    if output.status.success() {
        return Ok(());
    }
    bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())
}

//! A pair of virtual interfaces, an end of it in each of two network namespaces: Sunstar by AF_XDP at both ends, or at the server's, and
//! the kernel's TCP between the same two interfaces.
//!
//! What a bar asks of AF_XDP is asked of both ends together, since a server alone would be measured by what the kernel's client costs. That
//! is shown beside it.

use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::Result;

use super::contest::{Contest, Contestant};
use super::pair::{ADDRESSES, CPUS, Figures, built, combined};
use super::process::Process;
use super::world;
use crate::bench::namespace::{Namespace, do_it, words};
use crate::command::program;

/// The client's end, here, and the server's, in the other namespace.
const HERE: &str = "veth0";
const THERE: &str = "veth1";
/// The kernel's addresses there: the client's, and the first one of the servers'.
const KERNEL_CLIENT: &str = "10.8.0.1";
const KERNEL_SERVER: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 2);
/// Sunstar's, which is another host at each end.
const CLIENT: &str = "10.8.0.101";
const SERVER: &str = "10.8.0.102";

/// The namespace at the other end.
pub(super) struct Neighbour(Namespace);

impl Neighbour {
    /// Makes it, set up as ours is.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub(super) fn new() -> Result<Self> {
        let namespace = Namespace::new()?;
        for (name, value) in world::SETTINGS {
            let write = format!("echo '{value}' > /proc/sys/net/{name}");
            do_it(&mut namespace.command(&program("sh", &["-c", &write])))?;
        }
        Ok(Self(namespace))
    }

    /// Has a contestant run a contest once, over a new pair: who attaches programs changes what the other end leaves to its device.
    ///
    /// # Errors
    /// If a program can't be started, or fails: what it said.
    pub(super) fn measure(&self, contest: &Contest, contestant: Contestant, seconds: &str) -> Result<Figures> {
        let _pair = Pair::new(&self.0)?;
        match contestant {
            Contestant::Xdp => self.sunstar(contest, seconds),
            Contestant::XdpServer => self.sunstar_server(contest, seconds),
            Contestant::VethBoth => self.kernel_both(contest, seconds),
            Contestant::VethSpinning => self.kernel(contest, seconds, &["--spin"]),
            _ => self.kernel(contest, seconds, &[]),
        }
    }

    fn sunstar(&self, contest: &Contest, seconds: &str) -> Result<Figures> {
        let _server = self.start_sunstar_server(contest)?;
        let mut client = built("sunstar-bypass");
        client.args(["--role", "client", "--server", SERVER, "--seconds", seconds]).args(contest.arguments());
        Process::start(native(&mut client, CPUS[1], HERE, CLIENT), false)?.figures(seconds)
    }

    fn sunstar_server(&self, contest: &Contest, seconds: &str) -> Result<Figures> {
        let _server = self.start_sunstar_server(contest)?;
        let mut client = kernel("client", CPUS[1], SERVER, 1, contest.arguments());
        Process::start(client.args(["--spin", "--seconds", seconds]), false)?.figures(seconds)
    }

    fn start_sunstar_server(&self, contest: &Contest) -> Result<Process> {
        let mut server = built("sunstar-bypass");
        server.args(["--role", "server"]).args(contest.arguments());
        Process::start(&self.0.command(native(&mut server, CPUS[0], THERE, SERVER)), true)
    }

    /// epoll: an end on each processor.
    fn kernel(&self, contest: &Contest, seconds: &str, more: &[&str]) -> Result<Figures> {
        let end = |role, cpu| {
            let mut command = kernel(role, cpu, &kernel_server(0), ADDRESSES, contest.arguments());
            command.args(more).args(["--seconds", seconds]);
            command
        };
        let _server = Process::start(&self.0.command(&end("server", CPUS[0])), true)?;
        Process::start(&end("client", CPUS[1]), false)?.figures(seconds)
    }

    /// epoll: a process for either end on each processor, with its part of the connections.
    fn kernel_both(&self, contest: &Contest, seconds: &str) -> Result<Figures> {
        let pairs = contest.pairs(CPUS.len());
        let addresses = ADDRESSES / pairs;
        let end = |role, place: usize| {
            let server = kernel_server(place * addresses);
            let mut command = kernel(role, CPUS[place], &server, addresses, contest.arguments_of(pairs));
            command.args(["--seconds", seconds]);
            command
        };
        let places = 0..pairs;
        let servers = places.clone().map(|place| Process::start(&self.0.command(&end("server", place)), true));
        let _servers = servers.collect::<Result<Vec<_>>>()?;
        let clients = places.map(|place| Process::start(&end("client", place), false));
        let clients = clients.collect::<Result<Vec<_>>>()?;
        let figures = clients.into_iter().map(|client| client.figures(seconds)).collect::<Result<Vec<_>>>()?;
        // A processor is busy with both of its ends.
        let both = |of: Figures| Figures { client_busy: of.client_busy + of.server_busy, ..of };
        Ok(combined(&figures.into_iter().map(both).collect::<Vec<_>>()))
    }
}

/// The interfaces. Dropping them deletes both.
struct Pair;

impl Pair {
    fn new(there: &Namespace) -> Result<Self> {
        let queues = "numrxqueues 1 numtxqueues 1";
        let link = format!("link add {HERE} {queues} type veth peer name {THERE} {queues} netns {}", there.pid());
        do_it(&mut words("ip", &link))?;
        let pair = Self;
        do_it(&mut words("ip", &format!("addr add {KERNEL_CLIENT}/24 dev {HERE}")))?;
        do_it(&mut words("ip", &format!("link set {HERE} up")))?;
        for place in 0..ADDRESSES {
            there.ip(&format!("addr add {}/24 dev {THERE}", kernel_server(place)))?;
        }
        there.ip(&format!("link set {THERE} up"))?;
        Ok(pair)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        // They end with the namespaces anyway.
        drop(do_it(&mut words("ip", &format!("link del {HERE}"))));
    }
}

/// The address of a server of the kernel's.
fn kernel_server(place: usize) -> String {
    Ipv4Addr::from_bits(KERNEL_SERVER.to_bits() + u32::try_from(place).unwrap_or(0)).to_string()
}

fn kernel(role: &str, cpu: usize, server: &str, addresses: usize, arguments: Vec<String>) -> Command {
    let mut command = built("kernel-tcp");
    command.args(["--role", role, "--cpu", &cpu.to_string(), "--server", server]);
    command.args(["--addresses", &addresses.to_string()]).args(arguments);
    command
}

/// A program of Sunstar's at an interface. It looks at no checksums that come: what lies between the ends is memory, and the kernel's TCP leaves
/// its own to a device that fills none in.
fn native<'a>(command: &'a mut Command, cpu: usize, interface: &str, address: &str) -> &'a Command {
    command.args(["--smp", "1", "--cpuset", &cpu.to_string(), "--prometheus-port", "0"]);
    command.args(["--blocked-reactor-notify-ms", "0", "--network-stack", "native"]);
    command.args(["--device", &format!("xdp:{interface},checksum=ignore"), "--host-ipv4-addr", address]);
    command
}

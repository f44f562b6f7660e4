//! Hosts whose network is Sunstar's own TCP/IP, over simulated wires.

mod checks;
mod configuration;
mod gateway;
mod options;

use std::future::Future;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sunstar_device::{Capabilities, MAX_VLAN, Queue};
use sunstar_executor::{Executor, JoinHandle, TaskBuilder};
use sunstar_native::{Frames, InterfaceId, Network, SharedDevice, Spread};
use sunstar_net::socket;
use sunstar_packet::{Pool, PoolOptions};
use sunstar_wire::MacAddr;

pub use gateway::GatewayOptions;
pub use options::NativeOptions;

use crate::ether::{Ether, LanId, LinkCounters, LinkId, LinkOptions, NicId, PortOptions};
use crate::failure::Failure;
use crate::host::{self, Host, Phase, ShardState};
use crate::sim::Sim;
use crate::trace::Record;

/// Room for headers before what is received.
const HEADROOM_BYTES: usize = 64;

/// Bytes of an Ethernet header with tags.
const LINK_HEADER_BYTES: usize = 22;

/// What makes a host's main function run.
type Main = dyn Fn(&Executor) -> JoinHandle<()>;

/// What a host with a native network has beside what all hosts have.
pub(crate) struct Native {
    options: NativeOptions,
    nics: Vec<NicId>,
    links: Vec<LinkId>,
    addresses: Vec<Ipv4Addr>,
    main: Box<Main>,
    /// Those of its shards, while it runs.
    shards: Vec<NativeShard>,
}

/// A shard's network, and the frames in which it receives.
struct NativeShard {
    network: Network,
    /// Its interface of the first device.
    first: InterfaceId,
    pools: Vec<Rc<Pool>>,
}

impl Sim {
    /// Adds a local network: a switch, to which hosts and other switches are joined.
    pub fn lan(&mut self) -> LanId {
        self.ether.add_lan()
    }

    /// Joins two local networks by a link: from the first to the second it behaves as `there`, and as `back` the other way. There must be
    /// one way between any two hosts, and no more: switches don't look for circles.
    pub fn trunk(&mut self, lans: [LanId; 2], there: LinkOptions, back: LinkOptions) -> LinkId {
        // The first half of a link leads to its first end.
        self.ether.add_trunk(lans, [back, there])
    }

    /// Adds a host with a native network, on whose shard 0 `main` runs; and runs again after each [restart](Sim::restart). Otherwise it
    /// is as those of [`Sim::host`].
    ///
    /// Its address on the first device is told by [`resolve`](crate::resolve): 10.0.0.1 for the first host, 10.0.0.2 for the second, and
    /// so on; on the second device it begins with 11. Beside it is one of IPv6 ([`resolve_v6`](crate::resolve_v6)), if the device takes
    /// packets of 1,280 bytes.
    ///
    /// # Panics
    /// As [`Sim::host`]; and if the options name no device, more queues than shards, a VLAN that can't be, or a gateway of several shards.
    pub fn native_host<F, M>(&mut self, name: &str, options: NativeOptions, main: F) -> Host
    where
        F: Fn() -> M + 'static,
        M: Future<Output = ()> + 'static,
    {
        self.add_native(name, options, false, main)
    }

    /// The same for a host that serves the others, as in [`Sim::background_host`].
    ///
    /// # Panics
    /// As [`Sim::native_host`].
    pub fn native_background_host<F, M>(&mut self, name: &str, options: NativeOptions, main: F) -> Host
    where
        F: Fn() -> M + 'static,
        M: Future<Output = ()> + 'static,
    {
        self.add_native(name, options, true, main)
    }

    fn add_native<F, M>(&mut self, name: &str, options: NativeOptions, is_background: bool, main: F) -> Host
    where
        F: Fn() -> M + 'static,
        M: Future<Output = ()> + 'static,
    {
        assert!(!options.ports.is_empty(), "a host with a network has a device");
        assert!(options.ports.iter().all(|port| (1..=options.shards).contains(&port.queues)), "a queue is a shard's");
        let is_vlan = |port: &PortOptions| port.vlan.is_none_or(|vlan| (1..=MAX_VLAN).contains(&vlan));
        assert!(options.ports.iter().all(is_vlan), "VLANs are numbered from 1 to {MAX_VLAN}");
        assert!(options.gateway.is_none() || options.shards == 1, "a gateway has one shard");
        let number = self.hosts.len();
        let (mut nics, mut links) = (Vec::new(), Vec::new());
        for (port, port_options) in options.ports.iter().enumerate() {
            let (nic, link) = self.ether.add_nic(number, mac(number, port), port_options.clone());
            nics.push(nic);
            links.push(link);
        }
        let main = Rc::new(main);
        let start = move |executor: &Executor| {
            let main = Rc::clone(&main);
            executor.enter(|| TaskBuilder::new().name("main").spawn(async move { main().await }))
        };
        let host = self.add_state(name, options.shards, is_background);
        let addresses = (0..options.ports.len()).map(|port| address(host.ip, port)).collect();
        let (main, shards) = (Box::new(start), Vec::new());
        self.hosts[number].native = Some(Native { options, nics, links, addresses, main, shards });
        self.start_native(number);
        host
    }

    /// Installs the networks of a host's new shards, and starts its main function.
    fn start_native(&mut self, number: usize) {
        let state = &mut self.hosts[number];
        let shards = &self.shards[state.shards.clone()];
        let Some(native) = &mut state.native else { return };
        native.install(&self.ether, shards);
        state.main = shards.first().and_then(|shard| shard.executor.as_ref()).map(|executor| (native.main)(executor));
    }

    /// Ends a host at once: it forgets everything, says nothing to anybody, and does not answer. Answers whether it was running.
    ///
    /// # Errors
    /// If tasks of it have panicked, or something that belongs to it is held by others.
    ///
    /// # Panics
    /// If there is no host with this name and a native network.
    pub fn crash(&mut self, name: &str) -> Result<bool, crate::SimError> {
        let number = self.native_number(name);
        if self.hosts[number].phase != Phase::Running {
            return Ok(false);
        }
        self.world.note(&Record::HostCrashed { host: number });
        let failures = self.end_native(number);
        self.hosts[number].phase = Phase::Crashed;
        failures.into_iter().next().map_or(Ok(true), |failure| Err(self.error(failure)))
    }

    /// Ends the shards of a host of which nothing may leave any more.
    pub(crate) fn end_native(&mut self, number: usize) -> Vec<Failure> {
        let state = &mut self.hosts[number];
        if let Some(native) = &mut state.native {
            native.nics.iter().for_each(|nic| self.ether.turn_off(*nic));
            native.shards.clear();
        }
        let shards = &mut self.shards[state.shards.clone()];
        let failures = host::stop(state, shards);
        shards.iter_mut().for_each(|shard| shard.deadline = None);
        failures
    }

    /// Starts a host again that has crashed, with nothing but its addresses, its devices and its main function. Answers whether it had
    /// crashed.
    ///
    /// # Panics
    /// If there is no host with this name and a native network.
    pub fn restart(&mut self, name: &str) -> bool {
        let number = self.native_number(name);
        if self.hosts[number].phase != Phase::Crashed {
            return false;
        }
        self.world.note(&Record::HostRestarted { host: number });
        let count = self.hosts[number].shards.len();
        let shards = self.add_shards(number, count);
        let state = &mut self.hosts[number];
        (state.shards, state.phase) = (shards, Phase::Running);
        self.start_native(number);
        true
    }

    /// Keeps hosts apart: what those of one group send does not reach those of the other, in both directions, until
    /// [`Sim::reunite`] or [`Sim::heal`].
    ///
    /// # Panics
    /// If there is no host with one of these names.
    pub fn partition(&mut self, one: &[&str], other: &[&str]) {
        self.block(one, other, true);
        self.block(other, one, true);
    }

    /// Keeps what `from` send from `to`, but not what those send: a link that is broken in one direction.
    ///
    /// # Panics
    /// As [`Sim::partition`].
    pub fn partition_one_way(&mut self, from: &[&str], to: &[&str]) {
        self.block(from, to, true);
    }

    /// Lets hosts reach each other that were kept apart.
    ///
    /// # Panics
    /// As [`Sim::partition`].
    pub fn reunite(&mut self, one: &[&str], other: &[&str]) {
        self.block(one, other, false);
        self.block(other, one, false);
    }

    fn block(&mut self, from: &[&str], to: &[&str], is_blocked: bool) {
        self.world.note(&Record::LinksChanged);
        for from in from.iter().map(|name| self.native_number(name)) {
            for to in to.iter().map(|name| self.native_number(name)) {
                self.ether.block(from, to, is_blocked);
            }
        }
    }

    /// Ends all partitions, and what happens by chance on links: from now on they only take their time.
    pub fn heal(&mut self) {
        self.world.note(&Record::LinksChanged);
        self.ether.heal();
    }

    /// Changes how a link behaves from now on, in both directions one after the other. What is under way arrives as it would have.
    pub fn change_link(&mut self, link: LinkId, change: impl FnMut(&mut LinkOptions)) {
        self.world.note(&Record::LinksChanged);
        self.ether.change(link, change);
    }

    /// The cable of a host's device.
    ///
    /// # Panics
    /// If there is no host with this name and a native network, or it has no such device.
    pub fn link_of(&self, name: &str, port: usize) -> LinkId {
        let native = self.hosts[self.native_number(name)].native.as_ref();
        native.and_then(|native| native.links.get(port).copied()).expect("the host has the device")
    }

    /// What has happened on a link, by direction: from the host, or the second local network, and to it.
    pub fn link_counters(&self, link: LinkId) -> [LinkCounters; 2] {
        self.ether.counters_of(link)
    }

    /// The networks of a host's shards, to see what they count and how full they are; none while the host is down.
    ///
    /// # Panics
    /// If there is no host with this name and a native network.
    pub fn networks_of(&self, name: &str) -> impl Iterator<Item = &Network> {
        let native = self.hosts[self.native_number(name)].native.as_ref();
        native.into_iter().flat_map(|native| &native.shards).map(|shard| &shard.network)
    }

    /// Demands that the world ends within so much time from now on: progress, after [`Sim::heal`].
    pub fn limit_time(&mut self, rest: Duration) {
        self.options.time_limit = (self.now() - sunstar_executor::Instant::ORIGIN) + rest;
    }

    #[track_caller]
    fn native_number(&self, name: &str) -> usize {
        let is_meant = |state: &host::HostState| state.host.name == name && state.native.is_some();
        let number = self.hosts.iter().position(is_meant);
        number.unwrap_or_else(|| panic!("there is no host {name} with a native network"))
    }
}

impl Native {
    /// Installs a network on each shard.
    fn install(&mut self, ether: &Rc<Ether>, shards: &[ShardState]) {
        let mut spread: Option<Arc<Spread>> = None;
        // What all shards know of the devices that they share.
        let mut devices: Vec<(SharedDevice, Option<Capabilities>)> = Vec::new();
        for (index, shard) in shards.iter().enumerate() {
            let Some(executor) = &shard.executor else { continue };
            executor.enter(|| {
                if shards.len() > 1 && index == 0 {
                    let all = spread.insert(Spread::new());
                    devices.extend(self.options.ports.iter().map(|port| (all.add_device(port.queues), None)));
                }
                let mut network = Network::new(self.options.network);
                if let Some(spread) = &spread {
                    network = network.with_spread(Arc::clone(spread));
                }
                let (mut pools, mut first) = (Vec::new(), None);
                for (port, options) in self.options.ports.iter().enumerate() {
                    let queue = (index < options.queues).then(|| {
                        let pool = Rc::new(pool(options));
                        pools.push(Rc::clone(&pool));
                        let queue = ether.queue(self.nics[port], Rc::clone(&shard.io), index, Rc::clone(&pool));
                        let queue = Box::new(Frames::new(queue, pool, options.pool_frames));
                        self.behind(port, options.vlan, queue)
                    });
                    let interface = match (devices.get_mut(port), queue) {
                        (Some((device, capabilities)), Some(queue)) => {
                            *capabilities = Some(queue.capabilities().clone());
                            network.add_shared_queue("nic", device.attach(queue), None)
                        }
                        (Some((device, capabilities)), None) => {
                            let known = capabilities.clone().expect("shard 0 has a queue");
                            network.add_shared_queue("nic", device.attach_without_queue(known), None)
                        }
                        (None, queue) => network.add_queue("nic", queue.expect("the only shard has a queue"), None),
                    };
                    let interface = interface.expect("there is room for interfaces");
                    first = first.or(Some(interface));
                    self.add_addresses(&network, interface, port);
                }
                network.start();
                socket::install(Rc::new(network.clone()));
                let first = first.expect("a host with a network has a device");
                self.shards.push(NativeShard { network, first, pools });
            });
        }
        if let Some(executor) = shards.first().and_then(|shard| shard.executor.as_ref()) {
            executor.enter(|| self.configure());
        }
    }
}

/// The address of IPv6 that goes with one of IPv4: a unique local one, fd00:PORT::HOST.
pub(crate) fn address_v6(address: Ipv4Addr) -> Ipv6Addr {
    let [net, rest @ ..] = address.octets().map(u16::from);
    Ipv6Addr::new(0xfd00, net, 0, 0, 0, 0, rest[0], rest[1] << 8 | rest[2])
}

fn pool(options: &PortOptions) -> Pool {
    let frame_bytes = options.mtu_bytes + LINK_HEADER_BYTES;
    let options = PoolOptions { frame_bytes, headroom_bytes: HEADROOM_BYTES, limit_frames: options.pool_frames };
    Pool::new(options).expect("there is memory for a slab of frames")
}

/// The hardware address of a host's device.
fn mac(host: usize, port: usize) -> MacAddr {
    let [high, low] = u16::try_from(host).unwrap_or(u16::MAX).to_be_bytes();
    MacAddr([2, 0, 0, u8::try_from(port).unwrap_or(u8::MAX), high, low])
}

/// The address of a host's device, of which the first one has `first`.
fn address(first: Ipv4Addr, port: usize) -> Ipv4Addr {
    let [net, rest @ ..] = first.octets();
    let net = net.saturating_add(u8::try_from(port).unwrap_or(u8::MAX));
    Ipv4Addr::new(net, rest[0], rest[1], rest[2])
}

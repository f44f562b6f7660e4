//! Hosts that are configured by others: leases of DHCP and prefixes of a router that are to be prolonged, VLANs, and packet filters. The
//! gateway crashes and comes back like all hosts.

use std::future::pending;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sunstar_executor::combine::with_timeout;
use sunstar_executor::invoke_on_all;
use sunstar_executor::timer::sleep;
use sunstar_native::Network;
use sunstar_native::filter::{Direction, Filtered, Verdict};
use sunstar_net::Address;
use sunstar_net::socket::{DatagramOptions, stack};
use sunstar_packet::Buffer;

use super::sweep::world_with;
use crate::tests::support::*;
use crate::{
    GatewayOptions, NativeOptions, Parts, PortOptions, Random, Report, Sim, SimError, for_each_seed_minimised,
};

/// Few in the ordinary run; `cargo xtask sim` tries others.
#[test]
fn sim_sweep_configured_hosts() {
    for_each_seed_minimised(0..12, world);
}

/// The stream of random numbers of the configuration.
const CONFIGURATION: u64 = 3_100;

/// What is asked at this port the filters of servers answer.
const FILTERED_PORT: u16 = 9;

/// A host without an address asks for one again within this time.
const LONGEST_SILENCE: Duration = Duration::from_secs(90);

fn world(seed: u64, parts: &Parts) -> Result<Report, SimError> {
    world_with(seed, parts, Some(Configured::drawn(seed, parts)))
}

/// How the hosts of a world are configured.
#[derive(Clone)]
pub(super) struct Configured {
    vlan: Option<u16>,
    gateway: GatewayOptions,
    /// One packet of so many is dropped by filters, while there are faults.
    filtered: Option<u64>,
    is_healed: Arc<AtomicBool>,
}

/// What the filters of a host do.
#[derive(Clone)]
pub(super) struct Filters {
    seed: u64,
    one_of: u64,
    is_healed: Arc<AtomicBool>,
}

impl Configured {
    fn drawn(seed: u64, parts: &Parts) -> Self {
        let mut random = Random::stream(seed, CONFIGURATION);
        let vlan = u16::try_from(random.between(1, 4_094)).ok().filter(|_| random.below(2) == 0);
        // What is shorter no host takes for an address of its own.
        let mut time = || Some(Duration::from_secs(random.between(20, 120))).filter(|_| random.below(4) != 0);
        let (lease, prefix_lifetime) = (time(), time());
        let filtered = Some(random.between(8, 200)).filter(|_| random.below(2) == 0);
        let gateway = GatewayOptions {
            lease: lease.filter(|_| parts.next("leases")),
            prefix_lifetime: prefix_lifetime.filter(|_| parts.next("prefixes")),
        };
        Self {
            vlan: vlan.filter(|_| parts.next("the VLAN")),
            gateway,
            filtered: filtered.filter(|_| parts.next("filters")),
            is_healed: Arc::default(),
        }
    }

    /// Has a host ask for what it was given by hand, as the seed says.
    pub(super) fn adjust(&self, options: &mut NativeOptions, seed: u64, host: u64, has_v6: bool) {
        let mut random = Random::stream(seed, CONFIGURATION + host);
        options.ports.iter_mut().for_each(|port| port.vlan = self.vlan);
        options.asks_dhcp = self.gateway.lease.is_some() && random.below(4) != 0;
        options.follows_routers = self.gateway.prefix_lifetime.is_some() && has_v6 && random.below(4) != 0;
    }

    /// Adds the host that gives addresses; answers its name.
    pub(super) fn add_gateway(&self, sim: &mut Sim, mut options: NativeOptions) -> String {
        options.shards = 1;
        for port in &mut options.ports {
            (port.queues, port.vlan) = (1, self.vlan);
        }
        options.gateway = Some(self.gateway);
        sim.native_background_host("gateway", options, pending);
        "gateway".to_owned()
    }

    pub(super) fn filters(&self, seed: u64, host: u64) -> Option<Filters> {
        self.filtered.map(|one_of| Filters { seed: seed ^ host << 32, one_of, is_healed: Arc::clone(&self.is_healed) })
    }

    pub(super) fn heal(&self) {
        self.is_healed.store(true, Ordering::Relaxed);
    }

    /// The longest that anything is given for.
    fn longest(&self) -> Duration {
        self.gateway.lease.max(self.gateway.prefix_lifetime).unwrap_or(Duration::from_secs(1))
    }

    /// When all that was given before the faults ended has been prolonged, or given anew.
    pub(super) async fn settle(&self) {
        sleep(2 * self.longest() + LONGEST_SILENCE).await;
    }

    /// All of that takes so long for each host.
    pub(super) fn patience(&self) -> Duration {
        20 * self.longest() + 2 * LONGEST_SILENCE
    }

    /// Demands that a stream lives on while addresses are prolonged, and that filters answer.
    pub(super) async fn hold(&self, to: &Address) {
        let stream = connect(to).await.expect("the server is reached");
        for number in 0..32_u8 {
            write(&stream, vec![number; 500]).await.expect("addresses are prolonged");
            let mut count = 0;
            while count < 500 {
                let bytes = read(&stream).await.expect("addresses are prolonged");
                assert!(!bytes.is_empty() && bytes.iter().all(|byte| *byte == number));
                count += bytes.len();
            }
            sleep(self.longest() / 8).await;
        }
        stream.shutdown();
        assert_eq!(read_all(&stream).await.map(|rest| rest.len()), Ok(0));
        if self.filtered.is_some() {
            ask_filter(to).await;
        }
    }
}

/// Asks what no socket answers.
async fn ask_filter(server: &Address) {
    let ip = server.inet().expect("it is an address of IP").ip();
    let any: std::net::IpAddr = if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = stack().unwrap().bind(&Address::Inet((any, 0).into()), &DatagramOptions::default()).unwrap();
    for _ in 0..5 {
        socket.enqueue("who are you".into(), Some(&Address::Inet((ip, FILTERED_PORT).into())));
        if let Ok(answer) = with_timeout(Duration::from_secs(5), receive(&socket)).await {
            assert_eq!(answer.expect("nobody refuses").0, b"a filter"[..]);
            return;
        }
    }
    panic!("no filter of {server} answers");
}

/// Installs the filters of a host on all its shards.
pub(super) async fn install(filters: Option<Filters>) {
    let Some(filters) = filters else { return };
    let installed = invoke_on_all(move || {
        let filters = filters.clone();
        async move {
            let network = Network::current().expect("each shard has one");
            for direction in [Direction::Input, Direction::Output] {
                let Filters { seed, one_of, is_healed } = filters.clone();
                let mut random = Random::stream(seed, CONFIGURATION);
                let dropping = move |_: &mut Filtered<'_>| {
                    let is_dropped = random.below(one_of) == 0 && !is_healed.load(Ordering::Relaxed);
                    if is_dropped { Verdict::Drop } else { Verdict::Pass }
                };
                network.add_filter(direction, dropping).expect("it is the first one");
            }
            let answering = |packet: &mut Filtered<'_>| match packet.udp() {
                Some(request) if request.dst.port() == FILTERED_PORT => {
                    packet.answer_udp(Buffer::from_static(b"a filter").into())
                }
                _ => Verdict::Pass,
            };
            network.add_filter(Direction::Input, answering).expect("it is the second one");
        }
    });
    // A host that goes meanwhile needs none.
    drop(installed.await);
}

const LEASE: Duration = Duration::from_secs(60);

/// A world with a gateway, and a server and a client that have nothing from the beginning.
fn with_gateway(vlan: Option<u16>) -> Sim {
    let mut sim = Sim::new(5);
    let lan = sim.lan();
    let options = || {
        let mut port = PortOptions::new(lan);
        port.vlan = vlan;
        NativeOptions { asks_dhcp: true, follows_routers: true, ..NativeOptions::new([port]) }
    };
    let gateway = GatewayOptions { lease: Some(LEASE), prefix_lifetime: Some(LEASE) };
    let gateway = NativeOptions { asks_dhcp: false, follows_routers: false, gateway: Some(gateway), ..options() };
    sim.native_background_host("gateway", gateway, pending);
    sim.native_background_host("server", options(), || super::sweep::serve(None));
    sim.native_host("client", options(), client);
    sim
}

/// Holds a stream over each version of IP for twenty leases.
async fn client() {
    const PORT: u16 = 7;
    sleep(LEASE / 2).await;
    let v6 = crate::resolve_v6("server").expect("there is one");
    assert_ne!(v6.segments()[7], 2, "it has made its own");
    for to in [at("server", PORT), Address::Inet((v6, PORT).into())] {
        let stream = connect(&to).await.expect("it is reached");
        for _ in 0..40 {
            write(&stream, "question").await.expect("addresses are prolonged");
            assert!(!read(&stream).await.expect("addresses are prolonged").is_empty());
            sleep(LEASE / 2).await;
        }
    }
}

#[test]
fn streams_live_on_while_addresses_are_prolonged() {
    for vlan in [None, Some(100)] {
        with_gateway(vlan).run().unwrap();
    }
}

#[test]
fn addresses_outlive_a_gateway_that_restarts_and_no_longer_silence() {
    let mut sim = with_gateway(Some(7));
    sim.run_for(3 * LEASE).unwrap();
    sim.crash("gateway").unwrap();
    sim.run_for(LEASE / 4).unwrap();
    sim.restart("gateway");
    sim.run().unwrap();

    let mut sim = with_gateway(Some(7));
    sim.run_for(3 * LEASE).unwrap();
    sim.crash("gateway").unwrap();
    sim.limit_time(10 * LEASE);
    let error = sim.run().unwrap_err();
    assert!(error.to_string().contains("addresses are prolonged"), "{error}");
}

#[test]
fn hosts_of_other_vlans_are_not_reached() {
    let mut sim = Sim::new(5);
    let lan = sim.lan();
    for (name, vlan) in [("server", Some(8)), ("other", None)] {
        let mut port = PortOptions::new(lan);
        port.vlan = vlan;
        sim.native_background_host(name, NativeOptions::new([port]), || super::sweep::serve(None));
    }
    let mut port = PortOptions::new(lan);
    port.vlan = Some(8);
    sim.native_host("client", NativeOptions::new([port]), || async {
        assert!(connect(&at("server", 7)).await.is_ok());
        assert!(connect(&at("other", 7)).await.is_err());
    });
    sim.run().unwrap();
}

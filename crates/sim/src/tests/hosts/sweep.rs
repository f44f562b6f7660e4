//! The scenario that is swept over seeds: servers and clients with native networks on wires that misbehave, hosts that crash and come
//! back, partitions. Then all is healed, and progress is demanded.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;
use std::time::Duration;

use sunstar_executor::combine::with_timeout;
use sunstar_executor::message::ShardId;
use sunstar_executor::timer::sleep;
use sunstar_executor::{current, invoke_on_all, spawn, submit_to};
use sunstar_net::socket::{DatagramOptions, DatagramSocket, Keepalive, stack};
use sunstar_net::{Address, Error, ListenerOptions, StreamOption, TcpListener, TcpStream};

use crate::tests::hosts::configured::{self, Configured};
use crate::tests::support::*;
use crate::tests::sweep::{pattern, pause, read_back, send, size};
use crate::{
    LanId, LinkOptions, NativeOptions, Parts, Random, Report, Sim, SimError, SimOptions, for_each_seed_minimised,
    resolve_v6,
};

const PORT: u16 = 7;

/// From the end of all faults on, conversations end within this time: as long as TCP tries to reach those who are gone.
const PATIENCE: Duration = Duration::from_secs(1_800);

/// Who finds a peer silent asks whether it is there.
const KEEPALIVE: Keepalive = Keepalive { idle: Duration::from_secs(10), interval: Duration::from_secs(5), probes: 4 };

/// Few in the ordinary run; `cargo xtask sim` tries others.
#[test]
fn sim_sweep_hosts() {
    for_each_seed_minimised(0..20, world);
}

/// The streams of random numbers of this scenario.
const SHAPE: u64 = 3_000;
const FAULTS: u64 = 3_001;
const HOSTS: u64 = 4_000;

/// Who there is, by name.
struct Names {
    gateway: Option<String>,
    servers: Vec<String>,
    clients: Vec<String>,
}

impl Names {
    fn all(&self) -> Vec<&str> {
        self.servers.iter().chain(&self.clients).chain(&self.gateway).map(String::as_str).collect()
    }
}

/// Runs the world of a seed.
pub(super) fn world(seed: u64, parts: &Parts) -> Result<Report, SimError> {
    world_with(seed, parts, None)
}

/// The same, where hosts may be configured in other ways than by hand.
pub(super) fn world_with(seed: u64, parts: &Parts, configured: Option<Configured>) -> Result<Report, SimError> {
    let mut random = Random::stream(seed, SHAPE);
    let mut sim = Sim::with_options(seed, SimOptions::drawn(seed));
    let lans = lans(&mut sim, &mut random, parts);
    let is_healed = Rc::new(Cell::new(false));
    let has_v6 = random.below(2) == 0;
    let mut names = Names {
        gateway: None,
        servers: (0..random.between(1, 2)).map(|number| format!("server-{number}")).collect(),
        clients: (0..random.between(1, 3)).map(|number| format!("client-{number}")).collect(),
    };
    for (number, name) in (HOSTS..).zip(&names.servers) {
        let mut options = options(&lans, seed, number, has_v6, parts);
        configured.iter().for_each(|configured| configured.adjust(&mut options, seed, number, has_v6));
        let filters = configured.as_ref().and_then(|configured| configured.filters(seed, number));
        sim.native_background_host(name, options, move || serve(filters.clone()));
    }
    if let Some(configured) = &configured {
        let options = options(&lans, seed, HOSTS + 200, has_v6, parts);
        names.gateway = Some(configured.add_gateway(&mut sim, options));
    }
    for (number, name) in (HOSTS + 100..).zip(&names.clients) {
        let mut options = options(&lans, seed, number, has_v6, parts);
        configured.iter().for_each(|configured| configured.adjust(&mut options, seed, number, has_v6));
        let count = Random::stream(seed, number + 500).between(1, 6);
        let clients = (0..count).filter(|client| parts.next(format_args!("task {client} of {name}"))).collect();
        let plan = Plan {
            seed,
            host: number,
            clients,
            servers: names.servers.clone(),
            has_v6,
            is_healed: Rc::clone(&is_healed),
            configured: configured.clone(),
        };
        sim.native_host(name, options, move || run_clients(plan.clone()));
    }
    disturb(&mut sim, seed, &names, parts)?;
    sim.heal();
    is_healed.set(true);
    configured.iter().for_each(Configured::heal);
    names.all().into_iter().for_each(|name| {
        sim.restart(name);
    });
    sim.limit_time(PATIENCE + configured.as_ref().map_or(Duration::ZERO, Configured::patience));
    sim.run()
}

/// One local network, or two with a trunk between them.
fn lans(sim: &mut Sim, random: &mut Random, parts: &Parts) -> Vec<LanId> {
    let mut lans = vec![sim.lan()];
    if random.below(3) == 0 {
        lans.push(sim.lan());
        let [there, back] = [LinkOptions::drawn(random), LinkOptions::drawn(random)];
        let is_bad = parts.next("faults of the trunk");
        let [there, back] = [there, back].map(|link| if is_bad { link } else { link.healed() });
        sim.trunk([lans[0], lans[1]], there, back);
    }
    lans
}

fn options(lans: &[LanId], seed: u64, number: u64, has_v6: bool, parts: &Parts) -> NativeOptions {
    let mut random = Random::stream(seed, number);
    let lan = lans[random.index(lans.len())];
    let mut options = NativeOptions::drawn(&mut random, lan);
    if has_v6 {
        options.ports.iter_mut().for_each(|port| port.mtu_bytes = port.mtu_bytes.max(1_280));
    }
    if !parts.next(format_args!("faults of the cable of host {number}")) {
        for port in &mut options.ports {
            (port.up, port.down) = (port.up.healed(), port.down.healed());
        }
    }
    options
}

/// Lets time pass, in which hosts crash and are kept apart, links change, and what is large vanishes on them.
fn disturb(sim: &mut Sim, seed: u64, names: &Names, parts: &Parts) -> Result<(), SimError> {
    let count = Random::stream(seed, FAULTS).between(0, 12);
    let all = names.all();
    for number in 0..count {
        let mut random = Random::stream(seed, FAULTS + 7 * (number + 1));
        let (one, other) = (all[random.index(all.len())], all[random.index(all.len())]);
        sim.run_for(Duration::from_micros(1 << random.between(8, 24)))?;
        let what = random.below(8);
        if !parts.next(format_args!("fault {number}: kind {what}, {one}, {other}")) {
            continue;
        }
        match what {
            0 => drop(sim.crash(one)?),
            1 => drop(sim.restart(one)),
            2 => {
                sim.crash(one)?;
                sim.restart(one);
            }
            3 => sim.partition(&[one], &[other]),
            4 => sim.partition_one_way(&[one], &[other]),
            5 => {
                // Until all is healed, or the weather changes.
                let most = usize::try_from(random.between(68, 1_499)).unwrap();
                sim.change_link(sim.link_of(one, 0), |link| link.black_hole_bytes = Some(most));
            }
            6 => sim.change_link(sim.link_of(one, 0), |link| *link = LinkOptions::drawn(&mut random)),
            _ => sim.reunite(&[one], &[other]),
        }
    }
    Ok(())
}

/// Sends back what comes, on all shards.
pub(super) async fn serve(filters: Option<configured::Filters>) {
    configured::install(filters).await;
    let serving = invoke_on_all(move || async {
        drop(spawn(serve_datagrams(Ipv4Addr::UNSPECIFIED.into())));
        drop(spawn(serve_datagrams(Ipv6Addr::UNSPECIFIED.into())));
        drop(spawn(serve_streams(Ipv6Addr::UNSPECIFIED.into())));
        serve_streams(Ipv4Addr::UNSPECIFIED.into()).await;
    });
    assert!(serving.await.is_err(), "it is stopped before it ends");
}

async fn serve_streams(at: IpAddr) {
    let options = ListenerOptions { ipv6_only: true, ..ListenerOptions::default() };
    let mut listener = TcpListener::bind((at, PORT).into(), options).await.unwrap();
    while let Ok(stream) = listener.accept().await {
        drop(spawn(echo(stream)));
    }
}

async fn echo(mut stream: TcpStream) -> Result<(), Error> {
    stream.set_option(StreamOption::Keepalive(Some(KEEPALIVE)))?;
    loop {
        let bytes = stream.read().await?;
        if bytes.is_empty() {
            stream.shutdown();
            return stream.flush().await;
        }
        stream.write(bytes).await?;
    }
}

fn bind_at(at: IpAddr, port: u16) -> Rc<dyn DatagramSocket> {
    stack().unwrap().bind(&Address::Inet((at, port).into()), &DatagramOptions::default()).unwrap()
}

async fn serve_datagrams(at: IpAddr) -> Result<(), Error> {
    if current::shard_id() != ShardId::new(0) {
        return Ok(());
    }
    let socket = bind_at(at, PORT);
    loop {
        let (bytes, from) = receive(&socket).await?;
        socket.enqueue(bytes, Some(&from));
    }
}

/// What the clients of a host do.
#[derive(Clone)]
struct Plan {
    seed: u64,
    host: u64,
    clients: Vec<u64>,
    servers: Vec<String>,
    has_v6: bool,
    is_healed: Rc<Cell<bool>>,
    configured: Option<Configured>,
}

async fn run_clients(plan: Plan) {
    let filters = plan.configured.as_ref().and_then(|configured| configured.filters(plan.seed, plan.host));
    configured::install(filters).await;
    let mut clients = Vec::new();
    for &number in &plan.clients {
        let mut random = Random::stream(plan.seed, (plan.host << 16) + number);
        let shard = ShardId::all(current::shard_count()).nth(random.index(current::shard_count())).unwrap();
        let servers = plan.servers.clone();
        let has_v6 = plan.has_v6;
        clients.push(spawn(submit_to(shard, move || client(random, servers, has_v6))));
    }
    for client in clients {
        client.await.unwrap().unwrap();
    }
    // What goes wrong while there are faults may; afterwards nothing may.
    while !plan.is_healed.get() {
        sleep(Duration::from_secs(1)).await;
    }
    let mut random = Random::stream(plan.seed, plan.host << 32);
    if let Some(configured) = &plan.configured {
        configured.settle().await;
    }
    for server in &plan.servers {
        let to = address(server, plan.has_v6, &mut random);
        reach(&to, &mut random).await;
        if let Some(configured) = &plan.configured {
            configured.hold(&to).await;
        }
    }
}

/// A server's address, of either version of IP.
fn address(server: &str, has_v6: bool, random: &mut Random) -> Address {
    if has_v6 && random.below(2) == 0 {
        Address::Inet((resolve_v6(server).unwrap(), PORT).into())
    } else {
        at(server, PORT)
    }
}

/// Demands that a server is reached, now that nothing is in the way: what was left of earlier faults is over after a while.
async fn reach(server: &Address, random: &mut Random) {
    let mut outcome = Err(Error::TimedOut);
    for _ in 0..10 {
        outcome = converse(server, Duration::from_secs(60), random).await;
        if outcome.is_ok() {
            return;
        }
        sleep(Duration::from_secs(30)).await;
    }
    panic!("{server} is not reached: {outcome:?}");
}

/// What may go wrong on such a network.
fn is_expected(error: Error) -> bool {
    matches!(
        error,
        Error::ConnectionRefused
            | Error::ConnectionReset
            | Error::ConnectionAborted
            | Error::TimedOut
            | Error::HostUnreachable
            // An address of IPv6 is a second old before it is used.
            | Error::NetworkUnreachable
            // Nor is one there before DHCP has ended, or a router has spoken.
            | Error::AddressNotAvailable
    )
}

async fn client(mut random: Random, servers: Vec<String>, has_v6: bool) {
    for _ in 0..random.between(1, 4) {
        pause(&mut random).await;
        let to = address(&servers[random.index(servers.len())], has_v6, &mut random);
        if random.below(5) == 0 {
            exchange_datagrams(&to, &mut random).await;
            continue;
        }
        let patience = Duration::from_micros(random.below(20_000_000));
        if let Err(error) = converse(&to, patience, &mut random).await {
            assert!(is_expected(error), "{error}");
        }
    }
}

/// Sends bytes and compares what comes back.
async fn converse(to: &Address, patience: Duration, random: &mut Random) -> Result<(), Error> {
    let Ok(stream) = with_timeout(patience, connect(to)).await else { return Err(Error::TimedOut) };
    let stream = stream?;
    stream.set_option(StreamOption::Keepalive(Some(KEEPALIVE)))?;
    stream.set_option(StreamOption::UserTimeout(Some(Duration::from_secs(60))))?;
    let key = random.next_u64();
    let total = size(random, 18);
    stream.set_option(StreamOption::SendQueueBytes(1 << random.between(0, 16)))?;
    let read_bytes = Rc::new(Cell::new(0));
    let reader = spawn(read_back(Rc::clone(&stream), key, Rc::clone(&read_bytes), random.clone()));
    let sent = send(&stream, key, total, random).await;
    match random.below(8) {
        0 => stream.abort(),
        1 => {
            reader.abort();
            drop(reader.await);
            return sent;
        }
        _ => stream.shutdown(),
    }
    match reader.await.expect("the reader does not panic") {
        Err(Error::ConnectionAborted) => Ok(()),
        Err(error) => Err(error),
        Ok(()) => {
            assert!(sent.is_err() || read_bytes.get() == total, "{} of {total} bytes came back", read_bytes.get());
            sent
        }
    }
}

/// Sends some datagrams: what comes back was sent.
async fn exchange_datagrams(to: &Address, random: &mut Random) {
    let is_v6 = to.inet().is_some_and(|to| to.is_ipv6());
    let any = if is_v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let socket = bind_at(any, 0);
    let key = random.next_u64();
    for _ in 0..random.between(1, 5) {
        let len = size(random, 13);
        let bytes: Vec<u8> = (0..len).map(|at| pattern(key, at)).collect();
        socket.enqueue(bytes.into(), Some(to));
        pause(random).await;
    }
    let patience = Duration::from_millis(500);
    while let Ok(Ok((bytes, _))) = with_timeout(patience, receive(&socket)).await {
        assert!((0..).zip(bytes.iter()).all(|(at, &byte)| byte == pattern(key, at)), "a datagram was changed");
    }
}

//! Attackers on the wire beside clients, by either version of IP: those notice nothing, what an attacker can take is bounded, and counters
//! name it.

use std::cell::Cell;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;
use std::time::Duration;

use sunstar_executor::timer::{now, sleep};
use sunstar_executor::{invoke_on_all, spawn};
use sunstar_native::Network;
use sunstar_net::{Address, Error, ListenerOptions, StreamOption, TcpListener, TcpStream};
use sunstar_tcpip::drops::{DropReason, Drops};
use sunstar_tcpip::stack::{self, Levels, NeighbourLimits, ReassemblyLimits};
use sunstar_tcpip::tcp::sockets::Counters;

use super::attacker::{Attack, Attacker, Target};
use crate::tests::support::*;
use crate::{
    LanId, LinkOptions, NativeOptions, PortOptions, Random, Report, Sim, SimError, SimOptions, StationId,
    for_each_seed, resolve_v6,
};

const PORT: u16 = 7;
const MILLISECOND: Duration = Duration::from_millis(1);

/// For so long the attack goes on, and so many frames it sends in each millisecond.
const ATTACK_MS: u32 = 100;
const FRAMES_PER_MS: u64 = 100;
const FRAMES: u64 = FRAMES_PER_MS * ATTACK_MS as u64;

/// Addresses of IPv6 are asked for before they are used (RFC 4862 §5.4).
const SETTLED: Duration = Duration::from_secs(2);

/// What a client does, and within which time: as long as without an attack, but for what a round takes longer with so many frames.
const CONVERSATIONS: u32 = 20;
const MOST: Duration = Duration::from_millis(20);

/// How long the server waits for a peer that takes nothing.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// What the attacker asks for, and gets back.
const REQUEST_BYTES: u16 = 1_400;

/// Less than by default, so that floods are soon over.
const HALF_OPEN: usize = 64;
const NEIGHBOURS: usize = 64;
const FRAGMENTS: ReassemblyLimits = ReassemblyLimits { packets: 32, bytes: 1 << 20 };
const GROWTH_BYTES: u64 = 1 << 20;
/// What connections that are let go may hold; all that is attacked holds less.
const SEND_BYTES: u64 = 1 << 20;

/// For so many neighbours to whom it answers a shard asks in the time of an attack, and for some clients.
const QUESTIONS: u64 = 64 + ATTACK_MS as u64 / 10 + 10;

const ATTACKS: u64 = Attack::ALL.len() as u64;

/// Each attack by either version on one shard, and by either on one or several; `cargo xtask sim` tries others.
#[test]
fn sim_sweep_attacks() {
    for_each_seed(0..4 * ATTACKS, world);
}

fn world(seed: u64) -> Result<Report, SimError> {
    let attack = Attack::ALL[usize::try_from(seed % ATTACKS).expect("few")];
    let mut random = Random::stream(seed, 5_000);
    let round = seed / ATTACKS;
    let is_v6 = if round < 4 { round % 2 == 1 } else { random.below(2) == 0 };
    let shards = 1 + usize::from(round >= 2) * random.index(3);
    let mut sim = Sim::with_options(seed, SimOptions::default());
    let lan = sim.lan();
    let victim = sim.native_background_host("server", server_options(lan, shards, &mut random), serve).ip;
    let slowest = Rc::new(Cell::new(Duration::ZERO));
    let of_version = |ip| if is_v6 { IpAddr::V6(crate::native::address_v6(ip)) } else { IpAddr::V4(ip) };
    let clients: Vec<IpAddr> = (0..random.between(1, 3))
        .map(|number| {
            let (slowest, random) = (Rc::clone(&slowest), Random::stream(seed, 5_001 + number));
            let options = NativeOptions::new([PortOptions::new(lan)]);
            let client = move || run_client(Rc::clone(&slowest), random.clone());
            of_version(sim.native_host(&format!("client-{number}"), options, client).ip)
        })
        .collect();
    let request = vec![b'x'; REQUEST_BYTES.into()];
    let victim = of_version(victim);
    let target = Target { victim, port: PORT, clients, request, answer_bytes: REQUEST_BYTES.into() };
    let station = sim.station(lan, &LinkOptions::default());
    let mut attacker = Attacker::new(attack, sim.station_address(station), target, random.next_u64());
    sim.run_for(SETTLED)?;
    begin(&mut sim, station, &mut attacker)?;
    for _ in 0..ATTACK_MS {
        (0..FRAMES_PER_MS).for_each(|_| attacker.send());
        carry(&mut sim, station, &mut attacker);
        sim.run_for(MILLISECOND)?;
        sim.networks_of("server").for_each(|network| check_bounds(attack, &network.levels()));
    }
    // Who asks for little gets no more, but for what each shard asks all of the link.
    let traffic = attacker.traffic;
    let most = traffic.sent + QUESTIONS * shards as u64;
    assert!(traffic.sent >= FRAMES && traffic.heard <= most, "{attack:?}: {traffic:?}");
    assert!(attack != Attack::SmallSegments || traffic.largest >= Attack::LEAST_SEGMENT, "{traffic:?}");
    // The server gives up those who take nothing.
    sim.run_for(2 * USER_TIMEOUT)?;
    let seen = Seen::all(&sim);
    check(attack, &seen);
    assert!(slowest.get() <= MOST, "{attack:?}: a conversation took {:?}", slowest.get());
    sim.limit_time(Duration::from_secs(60));
    sim.run()
}

/// Sends what the attacker has for the wire, and lets it have what has come.
fn carry(sim: &mut Sim, station: StationId, attacker: &mut Attacker) {
    while let Some(frame) = sim.received_frame(station) {
        attacker.hear(&frame);
    }
    while let Some(frame) = attacker.next_frame() {
        sim.send_frame(station, &frame);
    }
}

/// The attacker finds the victim and opens its connections.
fn begin(sim: &mut Sim, station: StationId, attacker: &mut Attacker) -> Result<(), SimError> {
    attacker.ask();
    for _ in 0..5 {
        carry(sim, station, attacker);
        sim.run_for(10 * MILLISECOND)?;
        carry(sim, station, attacker);
        // Each shard of the victim asks where it is, and then answers; some of what waits for that is lost.
        attacker.open();
    }
    assert!(attacker.is_ready(), "the victim has answered");
    attacker.confirm();
    Ok(())
}

/// With small tables, so that they are filled.
fn server_options(lan: LanId, shards: usize, random: &mut Random) -> NativeOptions {
    let mut port = PortOptions::new(lan);
    port.queues = 1 + random.index(shards);
    let mut options = NativeOptions { shards, ..NativeOptions::new([port]) };
    options.network.tcp.user_timeout = Some(USER_TIMEOUT);
    let limits = &mut options.network.limits;
    limits.tcp.half_open = u32::try_from(HALF_OPEN).expect("few");
    limits.tcp.growth_bytes = GROWTH_BYTES;
    limits.tcp.send_bytes = SEND_BYTES;
    limits.neighbours = NeighbourLimits { neighbours: NEIGHBOURS, waiting_packets: 8 };
    limits.reassembly = FRAGMENTS;
    options
}

/// What a shard of the server holds while it is attacked: the attacker's part of it, and room for the clients'.
fn check_bounds(attack: Attack, levels: &Levels) {
    let tcp = levels.tcp;
    let connections = usize::from(attack.connections());
    let bounds = [
        (tcp.half_open, HALF_OPEN),
        (tcp.connections, connections + HALF_OPEN),
        (tcp.replies, 1_024),
        (usize::try_from(tcp.growth_bytes).expect("little"), 1 << 20),
        // Beside what clients are sent.
        (usize::try_from(tcp.send_bytes).expect("little"), (connections + 3) * usize::from(4 * REQUEST_BYTES)),
        // Of those who were made up half as many as there are places.
        (levels.neighbours, NEIGHBOURS / 2 + 8),
        (levels.incomplete_packets, FRAGMENTS.packets),
        (levels.incomplete_bytes, FRAGMENTS.bytes),
        (levels.outgoing_packets, 4_096),
        (levels.header_frames, 4_096),
    ];
    for (number, (level, most)) in bounds.into_iter().enumerate() {
        assert!(level <= most, "{attack:?}: level {number} is {level} of {most}: {levels:?}");
    }
}

/// What a shard of the server has counted, and what it holds in the end.
#[derive(Debug)]
struct Seen {
    tcp: Counters,
    stack: stack::Counters,
    drops: Drops,
    levels: Levels,
}

impl Seen {
    fn all(sim: &Sim) -> Vec<Self> {
        let of = |network: &Network| {
            let levels = network.levels();
            network.with_stack(|stack| Self {
                tcp: stack.tcp_counters(),
                stack: stack.counters(),
                drops: *stack.drops(),
                levels,
            })
        };
        sim.networks_of("server").map(of).collect()
    }
}

/// Counters name the attack, whichever shards have met it, and nothing is left of it.
fn check(attack: Attack, seen: &[Seen]) {
    let sum = |of: fn(&Counters) -> u64| seen.iter().map(|shard| of(&shard.tcp)).sum::<u64>();
    let stack = |of: fn(&stack::Counters) -> u64| seen.iter().map(|shard| of(&shard.stack)).sum::<u64>();
    let dropped = |reason| seen.iter().map(|shard| shard.drops.count(reason)).sum::<u64>();
    let left = seen.iter().map(|shard| shard.levels.tcp.connections).sum::<usize>();
    let connections = u64::from(attack.connections());
    let is_named = match attack {
        Attack::Syns => sum(|tcp| tcp.cookies_sent) > 0 && stack(|stack| stack.answers_sent_back) > 0,
        Attack::LikeSums => {
            // As many as are remembered, if all of them were put at the same place.
            let longest = seen.iter().map(|shard| shard.tcp.longest_probe).max();
            sum(|tcp| tcp.cookies_sent) > 0 && longest < Some(HALF_OPEN as u64 / 4 * 3)
        }
        Attack::OwnSyns => sum(|tcp| tcp.cookies_sent) > FRAMES / 2,
        Attack::Acknowledgements => {
            // Each shard 10,000 a second, and 1,000 at once, for a tenth of a second.
            let sent = sum(|tcp| tcp.resets_sent);
            sent <= 2_100 * seen.len() as u64 && sent + sum(|tcp| tcp.resets_suppressed) >= FRAMES
        }
        Attack::OutOfWindow => {
            sum(|tcp| tcp.challenges_suppressed) > FRAMES / 10
                && sum(|tcp| tcp.resets_sent + tcp.resets_suppressed) > FRAMES / 10
        }
        Attack::TinySegments => sum(|tcp| tcp.pieces_refused) > FRAMES / 10,
        Attack::Reports => sum(|tcp| tcp.reports_refused) > 0 && sum(|tcp| tcp.timed_out) == connections,
        Attack::SmallSegments => sum(|tcp| tcp.small_mss_raised) >= connections,
        Attack::ClosedWindows => sum(|tcp| tcp.timed_out) == connections && left == 0,
        Attack::Fragments => dropped(DropReason::FragmentMemory) > FRAMES / 10 * 9,
        Attack::Neighbours => stack(|stack| stack.neighbours_displaced) > FRAMES / 10 * 4,
    };
    assert!(is_named, "{attack:?}: {seen:?}");
    assert!(left <= usize::from(attack.connections()), "{attack:?}: {left} connections are left: {seen:?}");
}

/// Sends back what comes, by either version of IP.
async fn serve() {
    let serving = invoke_on_all(|| async {
        let everywhere = (Ipv6Addr::UNSPECIFIED, PORT).into();
        let mut listener = TcpListener::bind(everywhere, ListenerOptions::default()).await.unwrap();
        while let Ok(stream) = listener.accept().await {
            drop(spawn(echo(stream)));
        }
    });
    assert!(serving.await.is_err(), "it is stopped before it ends");
}

async fn echo(mut stream: TcpStream) -> Result<(), Error> {
    stream.set_option(StreamOption::UserTimeout(Some(USER_TIMEOUT)))?;
    loop {
        let bytes = stream.read().await?;
        if bytes.is_empty() {
            stream.shutdown();
            return stream.flush().await;
        }
        stream.write(bytes).await?;
    }
}

/// Asks again and again, on new connections by either version of IP, for as long as the attack goes on; all are answered.
async fn run_client(slowest: Rc<Cell<Duration>>, mut random: Random) {
    let servers = [at("server", PORT), Address::Inet((resolve_v6("server").unwrap(), PORT).into())];
    // Some clients find the attack under way.
    sleep(SETTLED + Duration::from_micros(random.below(150_000))).await;
    for _ in 0..CONVERSATIONS {
        let begin = now();
        let server = &servers[random.index(2)];
        let stream = connect(server).await.unwrap_or_else(|error| panic!("{server} is not reached: {error}"));
        let bytes = usize::try_from(random.between(1, 4_000)).unwrap();
        write(&stream, vec![b'c'; bytes]).await.unwrap();
        stream.shutdown();
        assert_eq!(read_all(&stream).await.unwrap().len(), bytes);
        slowest.set(slowest.get().max(now() - begin));
        sleep(Duration::from_micros(random.below(10_000))).await;
    }
}

//! Attackers on the wire beside clients: those notice nothing, what an attacker can take is bounded, and counters name it.

use std::cell::{Cell, RefCell};
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use sunstar_executor::timer::{now, sleep};
use sunstar_executor::{invoke_on_all, spawn};
use sunstar_native::Network;
use sunstar_net::{Error, ListenerOptions, StreamOption, TcpListener, TcpStream};
use sunstar_tcpip::drops::DropReason;
use sunstar_tcpip::stack::{NeighbourLimits, ReassemblyLimits};
use sunstar_tcpip::tcp::sockets::Counters;

use super::attacker::{Attack, Attacker};
use crate::tests::support::*;
use crate::{
    LanId, LinkOptions, NativeOptions, PortOptions, Random, Report, Sim, SimError, SimOptions, for_each_seed, resolve,
};

const PORT: u16 = 7;
const MILLISECOND: Duration = Duration::from_millis(1);

/// For so long the attack goes on, and so many frames it sends in each millisecond.
const ATTACK_MS: u32 = 100;
const FRAMES_PER_MS: u64 = 100;

/// What a client does, and within which time: as long as without an attack, but for what a round takes longer with so many frames.
const CONVERSATIONS: u32 = 20;
const MOST: Duration = Duration::from_millis(20);

/// How long the server waits for a peer that takes nothing.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Each attack twice, on one shard and on one or several; `cargo xtask sim` tries others.
#[test]
fn sim_sweep_attacks() {
    for_each_seed(0..2 * Attack::ALL.len() as u64, world);
}

/// What the server's stacks have counted.
#[derive(Debug, Default)]
struct Seen {
    tcp: Counters,
    sent_back: u64,
    fragments: u64,
    connections: usize,
    neighbours: usize,
}

fn world(seed: u64) -> Result<Report, SimError> {
    let attack = Attack::ALL[usize::try_from(seed % Attack::ALL.len() as u64).expect("few")];
    let mut random = Random::stream(seed, 5_000);
    let mut sim = Sim::with_options(seed, SimOptions::default());
    let lan = sim.lan();
    let shards = 1 + usize::from(seed >= 10) * random.index(3);
    let seen = Rc::new(RefCell::new(Seen::default()));
    let told = Rc::clone(&seen);
    let server = server_options(lan, shards, &mut random);
    let victim = sim.native_background_host("server", server, move || serve(Rc::clone(&told)));
    let slowest = Rc::new(Cell::new(Duration::ZERO));
    let clients: Vec<Ipv4Addr> = (0..random.between(1, 3))
        .map(|number| {
            let (slowest, random) = (Rc::clone(&slowest), Random::stream(seed, 5_001 + number));
            let options = NativeOptions::new([PortOptions::new(lan)]);
            sim.native_host(&format!("client-{number}"), options, move || {
                run_client(Rc::clone(&slowest), random.clone())
            })
            .ip
        })
        .collect();
    let station = sim.station(lan, &LinkOptions::default());
    let mut attacker = Attacker::new(station, (victim.ip, PORT), clients, attack, random);
    attacker.begin(&mut sim);
    for _ in 0..ATTACK_MS {
        for _ in 0..FRAMES_PER_MS {
            attacker.send(&mut sim);
        }
        sim.run_for(MILLISECOND)?;
    }
    // The server gives up those who take nothing.
    sim.run_for(2 * USER_TIMEOUT)?;
    if shards == 1 {
        check(attack, &seen.borrow());
    }
    assert!(slowest.get() <= MOST, "{attack:?}: a conversation took {:?}", slowest.get());
    sim.limit_time(Duration::from_secs(60));
    sim.run()
}

/// With small tables, so that they are filled.
fn server_options(lan: LanId, shards: usize, random: &mut Random) -> NativeOptions {
    let mut port = PortOptions::new(lan);
    port.queues = 1 + random.index(shards);
    let mut options = NativeOptions { shards, ..NativeOptions::new([port]) };
    options.network.tcp.user_timeout = Some(USER_TIMEOUT);
    let limits = &mut options.network.limits;
    limits.tcp.half_open = 64;
    limits.neighbours = NeighbourLimits { neighbours: 64, waiting_packets: 8 };
    limits.reassembly = ReassemblyLimits { packets: 32, bytes: 1 << 20 };
    options
}

/// Counters name the attack, and nothing is left of it.
fn check(attack: Attack, seen: &Seen) {
    let tcp = seen.tcp;
    let is_named = match attack {
        Attack::Syns | Attack::LikeSums => tcp.cookies_sent > 0 && seen.sent_back > 0,
        Attack::OwnSyns => tcp.cookies_sent > 5_000,
        Attack::Acknowledgements => {
            // 10,000 a second, and 1,000 at once, for a tenth of a second.
            tcp.resets_sent <= 2_100 && tcp.resets_sent + tcp.resets_suppressed >= 10_000
        }
        Attack::TinySegments => tcp.pieces_refused > 0,
        Attack::Reports => tcp.reports_refused > 0,
        Attack::Fragments => seen.fragments > 9_000,
        Attack::OutOfWindow | Attack::ClosedWindows | Attack::Neighbours => true,
    };
    assert!(is_named, "{attack:?}: {seen:?}");
    assert!(seen.neighbours <= 64, "{attack:?}: {seen:?}");
    if attack == Attack::ClosedWindows {
        assert!(tcp.accepted >= 100 && seen.connections < 50, "{seen:?}");
    }
}

async fn serve(seen: Rc<RefCell<Seen>>) {
    drop(spawn(watch(seen)));
    let serving = invoke_on_all(|| async {
        let mut listener = TcpListener::bind(([0, 0, 0, 0], PORT).into(), ListenerOptions::default()).await.unwrap();
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

async fn watch(seen: Rc<RefCell<Seen>>) {
    loop {
        let network = Network::current().expect("there is one");
        let levels = network.levels();
        let (tcp, sent_back, fragments) = network.with_stack(|stack| {
            let drops = stack.drops();
            (stack.tcp_counters(), stack.counters().answers_sent_back, drops.count(DropReason::FragmentMemory))
        });
        let neighbours = levels.neighbours.max(seen.borrow().neighbours);
        *seen.borrow_mut() = Seen { tcp, sent_back, fragments, connections: levels.tcp.connections, neighbours };
        sleep(10 * MILLISECOND).await;
    }
}

/// Asks again and again, on new connections, for as long as the attack goes on; all are answered.
async fn run_client(slowest: Rc<Cell<Duration>>, mut random: Random) {
    let server = resolve("server").unwrap();
    // All shards of the server listen by then. Some clients find the attack under way.
    sleep(10 * MILLISECOND + Duration::from_micros(random.below(100_000))).await;
    for _ in 0..CONVERSATIONS {
        let begin = now();
        let stream =
            connect(&at("server", PORT)).await.unwrap_or_else(|error| panic!("{server} is not reached: {error}"));
        let bytes = usize::try_from(random.between(1, 4_000)).unwrap();
        write(&stream, vec![b'c'; bytes]).await.unwrap();
        stream.shutdown();
        assert_eq!(read_all(&stream).await.unwrap().len(), bytes);
        slowest.set(slowest.get().max(now() - begin));
        sleep(Duration::from_micros(random.below(10_000))).await;
    }
}

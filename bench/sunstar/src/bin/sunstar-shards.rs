//! Two hosts in one process, each with as many shards as there are cores, joined by a device in memory that has a queue for each shard:
//! `sunstar-shards SHARDS SECONDS [LINKS]`. Messages of 64 bytes go back and forth on connections whose two ends are on the same shard, so
//! nothing is forwarded, and shards could disturb each other only by what they share.
//!
//! LINKS says what the queues are to the stack: `shared`, as with two shards or more, ends of one device, so that it is looked for each
//! packet whose it is; or `apart`, as with one shard, devices of their own, so that nothing is in common but the process.
//! `sunstar-shards scaling` prints what two processors could gain at best ([`sunstar_bench_common::floor::scaling`]).

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use sunstar_bench_common::floor::scaling;
use sunstar_bench_common::tcp::{REQUEST, RESPONSE};
use sunstar_device::{LinkOptions, LinkQueue, link};
use sunstar_executor::current::{shard_count, shard_id};
use sunstar_executor::timer::sleep;
use sunstar_executor::{ShardId, invoke_on_all, local, spawn, submit_to};
use sunstar_native::{Network, NetworkOptions, Prefix, SharedDevice, Spread};
use sunstar_net::{ListenerOptions, TcpListener, TcpStream, socket};
use sunstar_packet::Buffer;
use sunstar_reactor::{Config, CpuSet, run};

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const PORT: u16 = 80;
/// Connections of each shard.
const CONNECTIONS: usize = 64;
/// After so many connections on other shards something is wrong with the hash.
const MOST_TRIES: usize = 1_000;
const WARM_UP: Duration = Duration::from_millis(300);
const SCALING_TIME: Duration = Duration::from_millis(300);
const WORKS: &str = "a link without losses can do this";

/// What a shard has.
struct Here {
    messages: Cell<u64>,
    networks: [Rc<Network>; 2],
}

/// What all shards have done until now.
#[derive(Clone, Copy, Default)]
struct Sums {
    messages: u64,
    forwarded: u64,
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1).peekable();
    if words.peek().is_some_and(|word| word == "scaling") {
        println!(r#"{{"scaling":{:.3}}}"#, scaling(&[0, 1], SCALING_TIME));
        return ExitCode::SUCCESS;
    }
    let shards = words.next().and_then(|word| word.parse::<u32>().ok()).filter(|shards| (1..=64).contains(shards));
    let seconds =
        words.next().and_then(|word| word.parse::<f64>().ok()).filter(|seconds| (0.0..=600.0).contains(seconds));
    let shares = match words.next().as_deref() {
        None => shards.map(|shards| shards > 1),
        Some("shared") => Some(true),
        Some("apart") => Some(false),
        Some(_) => None,
    };
    let (Some(shards), Some(seconds), Some(shares)) = (shards, seconds, shares) else {
        eprintln!("usage: sunstar-shards SHARDS SECONDS [shared|apart], or sunstar-shards scaling");
        return ExitCode::FAILURE;
    };
    let mut cpuset = CpuSet::default();
    (0..shards).for_each(|core| cpuset.insert(core));
    let config = Config { smp: usize::try_from(shards).ok(), cpuset: Some(cpuset), ..Config::default() };
    let (time, sums) = match run(config, move || measure(Duration::from_secs_f64(seconds), shares)) {
        Ok(outcome) => outcome,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let rate = sums.messages as f64 / time.as_secs_f64();
    println!(r#"{{"shards":{shards},"messages":{rate:.1},"forwarded":{}}}"#, sums.forwarded);
    ExitCode::SUCCESS
}

async fn measure(time: Duration, shares: bool) -> (Duration, Sums) {
    let shards = shard_count();
    let devices = shares.then(|| [shared(shards), shared(shards)]);
    invoke_on_all(move || start(devices)).await.expect("all shards run");
    invoke_on_all(open).await.expect("all shards run");
    sleep(WARM_UP).await;
    let (begun, before) = (Clock::now(), sums().await);
    sleep(time).await;
    let (time, after) = (begun.elapsed(), sums().await);
    let forwarded = after.forwarded - before.forwarded;
    (time, Sums { messages: after.messages - before.messages, forwarded })
}

/// How a host is spread over the shards.
type Shared = (Arc<Spread>, SharedDevice);

fn shared(queues: usize) -> Shared {
    let spread = Spread::new();
    let device = spread.add_device(queues);
    (spread, device)
}

/// Joins the current shard's queues of both hosts, and has the server listen.
async fn start(devices: Option<[Shared; 2]>) {
    let [client_device, server_device] = devices.map_or([None, None], |devices| devices.map(Some));
    let (here, there) = link(LinkOptions::default());
    let server = host(there, SERVER, server_device);
    let listener = TcpListener::bind(SocketAddr::from((SERVER, PORT)), ListenerOptions::default()).await;
    spawn(serve(listener.expect("the port is free")));
    let client = host(here, CLIENT, client_device);
    local::set(Rc::new(Here { messages: Cell::new(0), networks: [client, server] }));
}

/// A host's part on this shard. What listens and connects from here on does so there.
fn host(queue: LinkQueue, address: Ipv4Addr, shared: Option<Shared>) -> Rc<Network> {
    let network = Network::new(NetworkOptions::DEFAULT);
    let (network, interface) = match shared {
        None => {
            let interface = network.add_queue("link", Box::new(queue), None);
            (network, interface)
        }
        Some((spread, device)) => {
            let network = network.with_spread(spread);
            let interface = network.add_shared_queue("link", device.attach(Box::new(queue)), None);
            (network, interface)
        }
    };
    let prefix = Prefix::new(IpAddr::V4(address), 24).expect("24 bits are fewer than 32");
    network.add_address(interface.expect("there is room"), prefix).expect("a station's address");
    network.start();
    let network = Rc::new(network);
    socket::install(Rc::clone(&network) as Rc<dyn socket::Stack>);
    network
}

/// Tells each connection on which shard it is, and answers its requests.
async fn serve(mut listener: TcpListener) {
    while let Ok(mut stream) = listener.accept().await {
        spawn(async move {
            let response = Buffer::copy_from_slice(&RESPONSE);
            let mut reply = Buffer::from(vec![here_byte()]);
            while stream.write(reply).await.is_ok() && has_come(&mut stream, &REQUEST).await {
                reply = response.clone();
            }
        });
    }
}

fn here_byte() -> u8 {
    u8::try_from(shard_id().index()).expect("there are at most 64 shards")
}

/// Reads a message; false if the stream has ended.
async fn has_come(stream: &mut TcpStream, expected: &[u8]) -> bool {
    let mut came = 0;
    while came < expected.len() {
        match stream.read().await {
            Ok(bytes) if !bytes.is_empty() => {
                assert_eq!(expected.get(came..came + bytes.len()), Some(&bytes[..]), "it is what was sent");
                came += bytes.len();
            }
            _ => return false,
        }
    }
    true
}

/// Opens the current shard's connections, and then uses them: what is in which order in memory and in the queues is the same then, however
/// many shards there are.
async fn open() {
    let here = local::get::<Here>().expect("it was set before");
    let mut streams = Vec::new();
    while streams.len() < CONNECTIONS {
        streams.push(connect().await);
    }
    for mut stream in streams {
        let here = Rc::clone(&here);
        spawn(async move {
            let request = Buffer::copy_from_slice(&REQUEST);
            while stream.write(request.clone()).await.is_ok() && has_come(&mut stream, &RESPONSE).await {
                here.messages.set(here.messages.get() + 1);
            }
        });
    }
}

/// A connection whose other end is here too: the port was chosen for the answers to come here, and the server's hash is another one.
async fn connect() -> TcpStream {
    for _ in 0..MOST_TRIES {
        let mut stream = TcpStream::connect(SocketAddr::from((SERVER, PORT))).await.expect(WORKS);
        let told = stream.read().await.expect(WORKS);
        if told[..] == [here_byte()] {
            return stream;
        }
    }
    panic!("of {MOST_TRIES} connections none has both ends on this shard");
}

async fn sums() -> Sums {
    let mut sums = Sums::default();
    for shard in ShardId::all(shard_count()) {
        let of_shard = submit_to(shard, || async {
            let here = local::get::<Here>().expect("it was set before");
            let forwarded = here.networks.iter().map(|network| {
                let counters = network.spread_counters();
                counters.rx_forwarded + counters.tx_forwarded
            });
            Sums { messages: here.messages.get(), forwarded: forwarded.sum() }
        });
        let of_shard = of_shard.await.expect("all shards run");
        sums.messages += of_shard.messages;
        sums.forwarded += of_shard.forwarded;
    }
    sums
}

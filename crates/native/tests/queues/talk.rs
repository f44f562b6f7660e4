//! What two hosts say to each other, each shard to the same one of the other host.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sunstar_device::FlowHash;
use sunstar_executor::current::{shard_count, shard_id};
use sunstar_executor::timer::sleep;
use sunstar_executor::{ShardId, spawn, submit_to};
use sunstar_native::{
    Network, NetworkOptions, Prefix, SharedDevice, SharedQueue, Spread, SpreadCounters, SpreadOptions, Watch,
};
use sunstar_net::{Error, ListenerOptions, TcpListener, TcpStream, UdpSocket, socket};

/// The hosts' addresses.
pub(crate) const HOSTS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)];

const PORT: u16 = 80;
/// Where each shard takes datagrams, if its number is added.
const DATAGRAMS: u16 = 1_000;
const CONNECTIONS: usize = 20;
const MESSAGE: [u8; 64] = [7; 64];
const PAUSE: Duration = Duration::from_millis(10);

/// How a host is spread over the shards, with a queue for each.
#[derive(Clone)]
pub(crate) struct Shared {
    spread: Arc<Spread>,
    pub(crate) device: SharedDevice,
}

impl Shared {
    /// For the current host; without a hash the shards have one that nobody knows.
    pub(crate) fn new(rss: Option<FlowHash>, queues: usize) -> Self {
        let spread = Spread::with_options(SpreadOptions { rss, ..SpreadOptions::default() });
        let device = spread.add_device(queues);
        Self { spread, device }
    }

    /// Makes the current shard's network at an end of the device.
    pub(crate) fn start(&self, end: SharedQueue, watch: Option<Box<dyn Watch>>, address: Ipv4Addr) -> Rc<Network> {
        let network = Network::new(NetworkOptions::DEFAULT).with_spread(Arc::clone(&self.spread));
        let interface = network.add_shared_queue("device", end, watch).expect("there is room");
        let prefix = Prefix::new(IpAddr::V4(address), 24).expect("24 bits are fewer than 32");
        network.add_address(interface, prefix).expect("a station's");
        network.start();
        Rc::new(network)
    }
}

fn here() -> u8 {
    u8::try_from(shard_id().index()).expect("there are few")
}

/// The current shard tells who connects which one it is, and sends back what comes.
pub(crate) async fn serve(network: &Rc<Network>, address: Ipv4Addr) {
    socket::install(Rc::clone(network) as Rc<dyn socket::Stack>);
    let mut listener = TcpListener::bind((address, PORT).into(), ListenerOptions::default()).await.expect("it is free");
    socket::install(Rc::clone(network) as Rc<dyn socket::Stack>);
    let mut datagrams = UdpSocket::bind((address, DATAGRAMS + u16::from(here())).into()).expect("it is free");
    drop(spawn(async move {
        while let Ok(mut stream) = listener.accept().await {
            drop(spawn(async move {
                stream.write(vec![here()]).await?;
                loop {
                    let bytes = stream.read().await?;
                    if bytes.is_empty() {
                        return Ok::<(), Error>(());
                    }
                    stream.write(bytes).await?;
                }
            }));
        }
    }));
    drop(spawn(async move {
        while let Ok((bytes, from)) = datagrams.recv_from().await {
            datagrams.send_to(bytes, from).await.expect("there is a way");
        }
    }));
}

/// Opens connections from the current shard, and sends datagrams; answers how many connections had their other end on another shard.
pub(crate) async fn talk(network: &Rc<Network>, from: Ipv4Addr, to: Ipv4Addr) -> usize {
    let elsewhere = connect(network, to).await;
    exchange_datagrams(network, from, to).await;
    elsewhere
}

/// Opens connections from the current shard; answers how many had their other end on another shard.
pub(crate) async fn connect(network: &Rc<Network>, to: Ipv4Addr) -> usize {
    let mut elsewhere = 0;
    let mut streams = Vec::new();
    while streams.len() < CONNECTIONS {
        socket::install(Rc::clone(network) as Rc<dyn socket::Stack>);
        let mut stream = match TcpStream::connect(SocketAddr::from((to, PORT))).await {
            Ok(stream) => stream,
            // The other host has just begun.
            Err(_) => {
                sleep(PAUSE).await;
                continue;
            }
        };
        elsewhere += usize::from(read(&mut stream, 1).await != [here()]);
        streams.push(stream);
    }
    for stream in &mut streams {
        stream.write(MESSAGE.to_vec()).await.expect("it is open");
        assert_eq!(read(stream, MESSAGE.len()).await, MESSAGE);
    }
    elsewhere
}

/// Sends datagrams from the current shard to the same one of the other host.
pub(crate) async fn exchange_datagrams(network: &Rc<Network>, from: Ipv4Addr, to: Ipv4Addr) {
    socket::install(Rc::clone(network) as Rc<dyn socket::Stack>);
    let mut datagrams = UdpSocket::bind((from, 0).into()).expect("one is free");
    for _ in 0..CONNECTIONS {
        let to = SocketAddr::from((to, DATAGRAMS + u16::from(here())));
        datagrams.send_to(MESSAGE.to_vec(), to).await.expect("there is a way");
        assert_eq!(datagrams.recv_from().await.expect("it is sent back").0, MESSAGE);
    }
}

/// What two hosts have counted of whom a shard has both.
pub(crate) fn both(networks: &[Rc<Network>; 2]) -> SpreadCounters {
    let [one, other] = networks.each_ref().map(|network| network.spread_counters());
    SpreadCounters {
        rx_forwarded: one.rx_forwarded + other.rx_forwarded,
        rx_told: one.rx_told + other.rx_told,
        tx_forwarded: one.tx_forwarded + other.tx_forwarded,
        dropped: one.dropped + other.dropped,
    }
}

async fn read(stream: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < len {
        let more = stream.read().await.expect("it is open");
        assert!(!more.is_empty(), "it ends too early");
        bytes.extend_from_slice(&more);
    }
    bytes
}

/// What all shards have counted together.
pub(crate) async fn sum(of_shard: fn() -> SpreadCounters) -> SpreadCounters {
    let mut sum = SpreadCounters::default();
    for shard in ShardId::all(shard_count()) {
        let of = submit_to(shard, move || async move { of_shard() }).await.expect("it runs");
        sum.rx_forwarded += of.rx_forwarded;
        sum.rx_told += of.rx_told;
        sum.tx_forwarded += of.tx_forwarded;
        sum.dropped += of.dropped;
    }
    sum
}

/// Checks what two hosts have counted who were to forward nothing.
#[track_caller]
pub(crate) fn assert_nothing_is_forwarded(counted: SpreadCounters, elsewhere: usize) {
    assert_eq!((counted.rx_forwarded, counted.tx_forwarded, counted.dropped), (0, 0, 0));
    assert!(counted.rx_told > 0, "where the other host is all shards have to know");
    assert_eq!(elsewhere, 0, "both ends of a connection are on the same shard");
}

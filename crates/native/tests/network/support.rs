//! Two hosts and what they do with sockets.

use std::future::{Future, poll_fn};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use sunstar_device::{Fault, FaultOptions, LinkOptions, Queue, link};
use sunstar_native::{InterfaceId, Network, NetworkOptions, Prefix, SharedQueue, Spread};
use sunstar_net::socket::{
    ConnectOptions, DatagramOptions, DatagramSocket, Detached, ListenOptions, ListenSocket, Stack, StreamSocket,
    install, stack,
};
use sunstar_net::{Address, Error};
use sunstar_packet::Buffer;
use sunstar_sim::Sim;

pub(crate) type Stream = Rc<dyn StreamSocket>;
pub(crate) type Listener = Rc<dyn ListenSocket>;

pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

/// How the hosts are joined.
#[derive(Clone, Default)]
pub(crate) struct Wire {
    pub(crate) link: LinkOptions,
    pub(crate) faults: FaultOptions,
    pub(crate) options: NetworkOptions,
}

/// A port of the server.
pub(crate) fn server(port: u16) -> Address {
    Address::Inet(SocketAddr::from((SERVER, port)))
}

/// All addresses of this host.
pub(crate) fn any(port: u16) -> Address {
    Address::Inet(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
}

/// Makes a network of the current shard's, and installs it.
pub(crate) fn start(queue: impl Queue + 'static, address: Ipv4Addr, options: NetworkOptions) -> Network {
    start_network(Network::new(options), queue, address)
}

/// The same with a network that was made.
pub(crate) fn start_network(network: Network, queue: impl Queue + 'static, address: Ipv4Addr) -> Network {
    let interface = network.add_queue("link", Box::new(queue), None).expect("there is room");
    add_address(&network, interface, address);
    run(network)
}

/// The same for the server, one of whose shards this is, at an address for each of its devices.
pub(crate) fn start_spread(spread: &Arc<Spread>, queues: Vec<(SharedQueue, Ipv4Addr)>) {
    start_network_spread(Network::new(NetworkOptions::DEFAULT), spread, queues);
}

/// The same with that network.
pub(crate) fn start_network_spread(network: Network, spread: &Arc<Spread>, queues: Vec<(SharedQueue, Ipv4Addr)>) {
    let network = network.with_spread(Arc::clone(spread));
    for (queue, address) in queues {
        let interface = network.add_shared_queue("link", queue, None).expect("there is room");
        add_address(&network, interface, address);
    }
    run(network);
}

/// Makes a network with several devices, and installs it.
pub(crate) fn start_over(queues: Vec<(Box<dyn Queue>, Ipv4Addr)>) -> Network {
    let network = Network::new(NetworkOptions::DEFAULT);
    for (queue, address) in queues {
        let interface = network.add_queue("link", queue, None).expect("there is room");
        add_address(&network, interface, address);
    }
    run(network)
}

fn add_address(network: &Network, interface: InterfaceId, address: Ipv4Addr) {
    let prefix = Prefix::new(IpAddr::V4(address), 24).expect("24 bits are fewer than 32");
    network.add_address(interface, prefix).expect("a station's");
}

fn run(network: Network) -> Network {
    network.start();
    install(Rc::new(network.clone()));
    network
}

/// The current shard's network, and its first interface but loopback.
pub(crate) fn native() -> (Network, InterfaceId) {
    let network = Network::current().expect("one is started");
    let interface = network.with_stack(|stack| stack.routes().next().expect("it has an address").interface);
    (network, interface)
}

/// Runs a server and a client to their ends.
pub(crate) fn pair<S, C>(server: impl FnOnce() -> S + 'static, client: impl FnOnce() -> C + 'static)
where
    S: Future<Output = ()> + 'static,
    C: Future<Output = ()> + 'static,
{
    pair_over(&Wire::default(), server, client);
}

/// The same over another wire.
pub(crate) fn pair_over<S, C>(wire: &Wire, server: impl FnOnce() -> S + 'static, client: impl FnOnce() -> C + 'static)
where
    S: Future<Output = ()> + 'static,
    C: Future<Output = ()> + 'static,
{
    let (here, there) = link(wire.link);
    let (here, there) = (Fault::new(here, wire.faults, 0), Fault::new(there, wire.faults, 1));
    let mut sim = Sim::new(1);
    let options = wire.options;
    sim.host("server", 1, move || {
        start(here, SERVER, options);
        server()
    });
    sim.host("client", 1, move || {
        start(there, CLIENT, options);
        client()
    });
    sim.run().expect("the world ends well");
}

pub(crate) fn network() -> Rc<dyn Stack> {
    stack().expect("one is installed")
}

pub(crate) fn listen(port: u16) -> Listener {
    network().listen(&any(port), &ListenOptions::default()).expect("the port is free")
}

pub(crate) async fn accept_detached(listener: &Listener) -> Result<Detached, Error> {
    poll_fn(|cx| listener.poll_accept(cx)).await
}

pub(crate) async fn accept(listener: &Listener) -> Stream {
    attach(accept_detached(listener).await.expect("one comes"))
}

pub(crate) fn attach(stream: Detached) -> Stream {
    network().attach(stream).expect("it is of this shard")
}

pub(crate) async fn connect(to: &Address) -> Result<Stream, Error> {
    network().connect(to, &ConnectOptions::default()).await
}

pub(crate) async fn read(stream: &Stream) -> Result<Buffer, Error> {
    poll_fn(|cx| stream.poll_read(cx)).await
}

pub(crate) async fn writable(stream: &Stream) -> Result<(), Error> {
    poll_fn(|cx| stream.poll_writable(cx)).await
}

pub(crate) async fn write(stream: &Stream, bytes: impl Into<Buffer>) -> Result<(), Error> {
    writable(stream).await?;
    stream.enqueue(bytes.into());
    Ok(())
}

pub(crate) async fn flush(stream: &Stream) -> Result<(), Error> {
    poll_fn(|cx| stream.poll_flush(cx)).await
}

pub(crate) async fn detach(stream: &Stream) -> Result<Detached, Error> {
    poll_fn(|cx| stream.poll_detach(cx)).await
}

/// Reads to the end.
pub(crate) async fn read_all(stream: &Stream) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    loop {
        let bytes = read(stream).await?;
        if bytes.is_empty() {
            return Ok(all);
        }
        all.extend_from_slice(&bytes);
    }
}

/// Reads so many bytes, and no more than come with the last of them.
pub(crate) async fn read_bytes(stream: &Stream, count: usize) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    while all.len() < count {
        let bytes = read(stream).await?;
        if bytes.is_empty() {
            break;
        }
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}

pub(crate) fn bind(port: u16) -> Rc<dyn DatagramSocket> {
    network().bind(&any(port), &DatagramOptions::default()).expect("the port is free")
}

pub(crate) async fn receive(socket: &Rc<dyn DatagramSocket>) -> Result<(Buffer, Address), Error> {
    poll_fn(|cx| socket.poll_receive(cx)).await
}

/// Bytes that say where they are.
pub(crate) fn pattern(offset: usize, len: usize) -> Vec<u8> {
    (offset..offset + len).map(|place| u8::try_from(place % 251).expect("it is below 251")).collect()
}

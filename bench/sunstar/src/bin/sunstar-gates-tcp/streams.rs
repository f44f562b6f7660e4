//! What applications use: two networks on one shard, a link between them, and a task at each end of a connection.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use sunstar_bench_common::gates::Work;
use sunstar_device::{LinkOptions, LinkQueue, link};
use sunstar_executor::{Executor, ExecutorConfig, spawn};
use sunstar_native::{Network, NetworkOptions, Prefix};
use sunstar_net::{ListenerOptions, TcpListener, TcpStream, socket};
use sunstar_packet::Buffer;

use super::by_hand::ByHand;

const WORKS: &str = "a link in memory loses nothing";
const MESSAGE: [u8; 64] = [7; 64];
const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), 80);

/// 64 bytes, and as many in return. Each side is a task that waits for the other one.
pub(super) fn ask_and_answer() -> Work {
    in_tasks(|listener| drop(spawn(serve(listener))), |done| drop(spawn(ask(done))))
}

/// Connections that come and go at the same time.
const COMING: usize = 16;

/// A connection that is opened for 64 bytes, and as many in return, and closed.
pub(super) fn connect_and_close() -> Work {
    let begin = |listener| drop(spawn(serve_all(listener)));
    in_tasks(begin, |done| (0..COMING).for_each(|_| drop(spawn(come_and_go(Rc::clone(&done))))))
}

/// What tasks of a server and of clients do until they have done it so many times.
fn in_tasks(serve: fn(TcpListener), ask: fn(Rc<Cell<u64>>)) -> Work {
    let platform = ByHand::default();
    platform.now.set(platform.now.get() + Duration::from_secs(1));
    let executor = Executor::new(ExecutorConfig::default(), Box::new(platform.clone()));
    let done = Rc::new(Cell::new(0));
    let tally = Rc::clone(&done);
    executor.spawn(async move {
        let (here, there) = link(LinkOptions { mtu_bytes: 1_500, ..LinkOptions::default() });
        host(there, 2);
        let listener = TcpListener::bind(SERVER, ListenerOptions::default()).await.expect("the port is free");
        serve(listener);
        host(here, 1);
        ask(tally);
    });
    Box::new(move |count| {
        let goal = done.get() + count;
        while done.get() < goal {
            executor.round();
            platform.now.set(platform.now.get() + Duration::from_micros(1));
        }
    })
}

/// Starts a host. What listens and connects from here on does so there.
fn host(queue: LinkQueue, last: u8) {
    let network = Network::new(NetworkOptions::DEFAULT);
    let interface = network.add_queue("link", Box::new(queue), None).expect("there is room");
    let address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
    let prefix = Prefix::new(address, 24).expect("24 bits are fewer than 32");
    network.add_address(interface, prefix).expect("a station's address");
    network.start();
    socket::install(Rc::new(network));
}

async fn serve(mut listener: TcpListener) {
    let mut stream = listener.accept().await.expect(WORKS);
    loop {
        read(&mut stream).await;
        stream.write(Buffer::from_static(&MESSAGE)).await.expect(WORKS);
    }
}

async fn ask(done: Rc<Cell<u64>>) {
    let mut stream = TcpStream::connect(SERVER).await.expect("it listens");
    loop {
        stream.write(Buffer::from_static(&MESSAGE)).await.expect(WORKS);
        read(&mut stream).await;
        done.set(done.get() + 1);
    }
}

async fn serve_all(mut listener: TcpListener) {
    loop {
        let mut stream = listener.accept().await.expect(WORKS);
        spawn(async move {
            while !stream.read().await.expect(WORKS).is_empty() {
                stream.write(Buffer::from_static(&MESSAGE)).await.expect(WORKS);
            }
        });
    }
}

async fn come_and_go(done: Rc<Cell<u64>>) {
    loop {
        let mut stream = TcpStream::connect(SERVER).await.expect("it listens");
        stream.write(Buffer::from_static(&MESSAGE)).await.expect(WORKS);
        read(&mut stream).await;
        done.set(done.get() + 1);
    }
}

async fn read(stream: &mut TcpStream) {
    let bytes = stream.read().await.expect(WORKS);
    assert_eq!(bytes, MESSAGE[..], "all of it");
}

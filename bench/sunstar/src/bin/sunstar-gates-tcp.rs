//! The gates of TCP: `sunstar-gates-tcp NAME`, or `--list`. Two stacks, Ethernet between them, and nothing else; or two networks of one
//! shard, as applications have them. Both ends are counted.

#[path = "../../../../crates/http/tests/replay/by_hand.rs"]
mod by_hand;
#[path = "sunstar-gates-tcp/streams.rs"]
mod streams;

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use sunstar_bench_common::gates::{self, Gate, Work};
use sunstar_packet::{Buffer, Packet};
use sunstar_tcpip::interface::{Capabilities, InterfaceId, InterfaceOptions, Link};
use sunstar_tcpip::prefix::Prefix;
use sunstar_tcpip::stack::{Limits, Stack};
use sunstar_tcpip::tcp::connection::Options;
use sunstar_tcpip::tcp::sockets::{ListenerId, SocketId};
use sunstar_tcpip::time::Instant;
use sunstar_wire::MacAddr;

const GATES: [Gate; 5] = [
    ("net_connect", streams::connect_and_close),
    ("net_round_trip", streams::ask_and_answer),
    ("tcp_accept", || in_world(open_and_close)),
    ("tcp_round_trip", || in_world(ask_and_answer)),
    ("tcp_segment", || in_world(send_full_segments)),
];

fn main() -> ExitCode {
    gates::main(&GATES)
}

/// What does something so many times in a world of its own.
fn in_world(work: fn(&mut World, u64)) -> Work {
    let world = RefCell::new(World::new());
    Box::new(move |count| work(&mut world.borrow_mut(), count))
}

const CLIENT: usize = 0;
const SERVER: usize = 1;
const WORKS: &str = "two stacks on a lossless link can do this";

/// Two hosts.
struct World {
    now: Instant,
    stacks: [Stack; 2],
    link: InterfaceId,
    burst: Vec<Packet>,
    listener: ListenerId,
    /// The ends of an open connection.
    ends: [SocketId; 2],
}

impl World {
    fn new() -> Self {
        let now = Instant::from_micros(1_000_000);
        let mut hosts = [1, 2].map(|last| {
            let mut stack = Stack::new([last; 16], Limits::DEFAULT);
            let link = Link::Ethernet(MacAddr([2, 0, 0, 0, 0, last]));
            let options = InterfaceOptions { link, mtu: 1_500, capabilities: Capabilities::default() };
            let link = stack.add_interface(options).expect(WORKS);
            let address = Prefix::new(address(last).ip(), 24).expect("24 bits are fewer than 32");
            stack.add_address(now, link, address).expect(WORKS);
            (stack, link)
        });
        let listener = hosts[SERVER].0.listen(address(2), 1_024, OPTIONS).expect(WORKS);
        let client = hosts[CLIENT].0.connect(now, None, address(2), OPTIONS).expect(WORKS);
        let (link, stacks) = (hosts[0].1, hosts.map(|(stack, _)| stack));
        let mut world = Self { now, stacks, link, burst: Vec::new(), listener, ends: [client; 2] };
        world.exchange();
        world.ends[SERVER] = world.stacks[SERVER].tcp().accept(listener).expect(WORKS);
        world
    }

    /// Takes what one host sends to the other one, as a burst.
    fn carry(&mut self, from: usize) -> bool {
        while let Some((_, packet)) = self.stacks[from].poll_transmit(self.now) {
            self.burst.push(packet);
        }
        let is_any = !self.burst.is_empty();
        self.stacks[1 - from].handle_packets(self.now, self.link, &mut self.burst);
        self.burst.clear();
        while self.stacks[1 - from].poll_event().is_some() {}
        is_any
    }

    /// Lets both send until neither has anything to send.
    fn exchange(&mut self) {
        while self.carry(CLIENT) | self.carry(SERVER) {}
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        for stack in &mut self.stacks {
            if stack.deadline().is_some_and(|deadline| deadline <= self.now) {
                stack.handle_timeout(self.now);
            }
        }
    }

    /// Reads what has come, and answers how many bytes that was.
    fn read(&mut self, host: usize, end: SocketId) -> usize {
        std::iter::from_fn(|| self.stacks[host].tcp().receive(end)).map(|bytes| bytes.len()).sum()
    }
}

/// As servers have it, on an Ethernet.
const OPTIONS: Options = Options { is_no_delay: true, ..Options::DEFAULT };

fn address(last: u8) -> SocketAddr {
    (IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)), 80).into()
}

/// 64 bytes, and as many in return, with which the acknowledgement goes.
fn ask_and_answer(world: &mut World, count: u64) {
    let message = Buffer::from_static(&[7; 64]);
    for _ in 0..count {
        for from in [CLIENT, SERVER] {
            let (here, there) = (world.ends[from], world.ends[1 - from]);
            world.stacks[from].tcp().send(here, message.clone()).expect(WORKS);
            world.carry(from);
            assert_eq!(world.read(1 - from, there), message.len(), "all of it");
        }
        world.pass(Duration::from_micros(2));
    }
}

/// Full segments of a stream, eight of them in a burst and acknowledged together. An operation is one segment, sent and received.
fn send_full_segments(world: &mut World, count: u64) {
    const BURST: u64 = 8;
    let bytes = Buffer::from_static(&[7; 8 * 1_448]);
    let [client, server] = world.ends;
    for _ in 0..count / BURST {
        world.stacks[CLIENT].tcp().send(client, bytes.clone()).expect(WORKS);
        world.carry(CLIENT);
        assert_eq!(world.read(SERVER, server), bytes.len(), "all of it");
        world.carry(SERVER);
        world.pass(Duration::from_micros(10));
    }
}

/// A connection that is opened, accepted, ended by the client and then by the server.
fn open_and_close(world: &mut World, count: u64) {
    for _ in 0..count {
        let now = world.now;
        let client = world.stacks[CLIENT].connect(now, None, address(2), OPTIONS).expect(WORKS);
        world.exchange();
        let server = world.stacks[SERVER].tcp().accept(world.listener).expect(WORKS);
        world.stacks[CLIENT].tcp().release(now, client);
        world.exchange();
        world.stacks[SERVER].tcp().release(now, server);
        world.exchange();
        // As many are remembered as come within a minute.
        world.pass(Duration::from_millis(10));
    }
}

//! Two stacks and a wire between them, on a virtual clock.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::collections::VecDeque;

use sunstar_packet::Packet;
use sunstar_wire::MacAddr;

use crate::interface::{Capabilities, InterfaceId, InterfaceOptions, Link};
use crate::prefix::Prefix;
use crate::stack::{Limits, Stack};
use crate::tcp::connection::{Options, State};
use crate::tcp::sockets::{ListenerId, SocketId};
use crate::tcp::test_stream::data;
use crate::time::Instant;

/// What becomes of the n-th packet: after so long it arrives, as often as there are delays.
pub(super) type Fate = Box<dyn FnMut(&Packet) -> Vec<Duration>>;

pub(super) struct Host {
    pub(super) stack: Stack,
    pub(super) link: InterfaceId,
    arriving: VecDeque<(Instant, Packet)>,
    pub(super) fate: Fate,
    /// Bytes of each packet that left.
    pub(super) sent: Vec<usize>,
    pub(super) received: u32,
}

pub(super) struct World {
    pub(super) now: Instant,
    pub(super) hosts: [Host; 2],
}

pub(super) const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)];

pub(super) fn mac(host: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, host])
}

pub(super) fn ethernet(host: u8) -> InterfaceOptions {
    InterfaceOptions { link: Link::Ethernet(mac(host)), ..bare() }
}

pub(super) fn bare() -> InterfaceOptions {
    InterfaceOptions { link: Link::Ip, mtu: 1_500, capabilities: Capabilities::default() }
}

pub(super) fn address(host: usize, port: u16) -> SocketAddr {
    SocketAddr::new(ADDRESSES[host].into(), port)
}

pub(super) fn clone_of(packet: &Packet) -> Packet {
    let mut copy = Packet::new();
    for buffer in packet.buffers() {
        copy.push_back(buffer.clone()).expect("as many as before");
    }
    copy.offload = packet.offload;
    copy
}

/// A chance that is the same in each run.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(2) + 1)
    }

    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

impl World {
    pub(super) fn new(interfaces: [InterfaceOptions; 2]) -> Self {
        Self::with_limits(interfaces, Limits::DEFAULT)
    }

    pub(super) fn with_limits(interfaces: [InterfaceOptions; 2], limits: Limits) -> Self {
        let now = Instant::from_micros(1_000_000);
        let mut index = 0;
        let hosts = interfaces.map(|options| {
            let mut stack = Stack::new([index; 16], limits);
            let link = stack.add_interface(options).expect("there is room");
            let prefix = Prefix::new(IpAddr::V4(ADDRESSES[usize::from(index)]), 24).expect("32 bits");
            stack.add_address(now, link, prefix).expect("it is a station's");
            index += 1;
            let fate: Fate = Box::new(|_| vec![Duration::from_millis(5)]);
            Host { stack, link, arriving: VecDeque::new(), fate, sent: Vec::new(), received: 0 }
        });
        Self { now, hosts }
    }

    /// Loses one packet of so many, duplicates and reorders others.
    pub(super) fn disturb(&mut self, one_of: u64) {
        for (seed, host) in (7..).zip(&mut self.hosts) {
            let mut dice = Dice::new(seed);
            host.fate = Box::new(move |_| {
                let usual = Duration::from_millis(5);
                match dice.roll(one_of) {
                    0 => vec![],
                    1 => vec![usual, usual],
                    2 => vec![usual + Duration::from_millis(2)],
                    _ => vec![usual],
                }
            });
        }
    }

    pub(super) fn stack(&mut self, host: usize) -> &mut Stack {
        &mut self.hosts[host].stack
    }

    /// Sends what is to be sent.
    pub(super) fn transmit(&mut self) {
        for from in 0..2 {
            while let Some((id, packet)) = self.hosts[from].stack.poll_transmit(self.now) {
                let host = &mut self.hosts[from];
                assert_eq!(id, host.link);
                host.sent.push(packet.len());
                let delays = (host.fate)(&packet);
                for delay in delays {
                    let when = self.now + delay;
                    let arriving = &mut self.hosts[1 - from].arriving;
                    let at = arriving.partition_point(|(other, _)| *other <= when);
                    arriving.insert(at, (when, clone_of(&packet)));
                }
            }
        }
    }

    /// Lets happen what happens next, if that is not after `end`.
    fn step(&mut self, end: Instant) -> bool {
        self.transmit();
        let arrivals = self.hosts.iter().filter_map(|host| host.arriving.front().map(|(when, _)| *when));
        let deadlines = self.hosts.iter().filter_map(|host| host.stack.deadline());
        let Some(next) = arrivals.chain(deadlines).min().filter(|next| *next <= end) else { return false };
        self.now = self.now.max(next);
        for host in &mut self.hosts {
            let count = host.arriving.partition_point(|(when, _)| *when <= self.now);
            let burst = host.arriving.drain(..count).map(|(_, packet)| packet);
            host.stack.handle_packets(self.now, host.link, burst);
            host.stack.handle_timeout(self.now);
        }
        self.transmit();
        true
    }

    pub(super) fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.step(end) {}
        self.now = end;
    }

    pub(super) fn run_until(&mut self, mut is_done: impl FnMut(&mut Self) -> bool) {
        let end = self.now + Duration::from_secs(600);
        while !is_done(self) {
            assert!(self.step(end), "nothing happens any more at {:?}: {:?}", self.now, self.hosts[1].stack.drops());
        }
    }

    pub(super) fn listen(&mut self, options: Options) -> ListenerId {
        self.stack(1).listen((Ipv4Addr::UNSPECIFIED, 80).into(), 8, options).expect("the port is free")
    }

    pub(super) fn connect(&mut self, options: Options) -> SocketId {
        let now = self.now;
        self.stack(0).connect(now, None, address(1, 80), options).expect("there is a way")
    }

    pub(super) fn state(&mut self, host: usize, id: SocketId) -> State {
        self.stack(host).tcp().connection(id).expect("it is ours").state()
    }

    /// Opens a connection from the first to the second host.
    pub(super) fn connected(&mut self, options: Options) -> [SocketId; 2] {
        let listener = self.listen(options);
        let client = self.connect(options);
        let mut server = None;
        self.run_until(|world| {
            server = world.stack(1).tcp().accept(listener);
            server.is_some()
        });
        [client, server.expect("it was accepted")]
    }

    /// Sends so many bytes from the first host to the second, which verifies them.
    pub(super) fn transfer(&mut self, [client, server]: [SocketId; 2], bytes: u32) {
        let mut sent = 0;
        let goal = self.hosts[1].received + bytes;
        let begin = self.hosts[1].received;
        self.run_until(|world| {
            while sent < bytes {
                let len = (bytes - sent).min(5_000);
                if world.stack(0).tcp().send(client, data(begin + sent, len as usize)).is_err() {
                    break;
                }
                sent += len;
            }
            while let Some(part) = world.stack(1).tcp().receive(server) {
                let at = world.hosts[1].received;
                assert_eq!(part, data(at, part.len()), "at {at}");
                world.hosts[1].received += u32::try_from(part.len()).expect("short");
            }
            world.hosts[1].received == goal
        });
    }
}

//! Two hosts and a wire between them, on a virtual clock. One host is Sunstar's stack, the other one somebody else's.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use sunstar_tcpip::time::Instant;

/// The version of IP that is spoken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Version {
    V4,
    V6,
}

pub(crate) const VERSIONS: [Version; 2] = [Version::V4, Version::V6];

/// The hosts.
pub(crate) const OURS: usize = 0;
pub(crate) const THEIRS: usize = 1;

/// Bytes of the largest IP packet on the wire.
pub(crate) const MTU: u16 = 1_500;

/// How long a packet is on its way.
const DELAY: Duration = Duration::from_millis(1);

/// What does not happen in this virtual time, longer than any timer of TCP, never happens.
const PATIENCE: Duration = Duration::from_secs(600);

impl Version {
    /// The address of a host.
    pub(crate) fn address(self, host: usize) -> IpAddr {
        match (self, host) {
            (Self::V4, OURS) => Ipv4Addr::new(192, 0, 2, 1).into(),
            (Self::V4, _) => Ipv4Addr::new(192, 0, 2, 2).into(),
            (Self::V6, OURS) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
            (Self::V6, _) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2).into(),
        }
    }

    /// How long the prefixes of these addresses are.
    pub(crate) fn prefix_len(self) -> u8 {
        if self == Self::V4 { 24 } else { 64 }
    }
}

/// The address of a host on the wire.
pub(crate) fn mac(host: usize) -> [u8; 6] {
    [2, 0, 0, 0, 0, u8::from(host == THEIRS) + 1]
}

/// A host with its TCP/IP stack and at most one connection.
pub(crate) trait Host {
    /// A frame has come.
    fn take(&mut self, now: Instant, frame: &[u8]);

    /// Does what is due, and hands out what is to leave.
    fn turn(&mut self, now: Instant, send: &mut dyn FnMut(Vec<u8>));

    /// When there is something to do though nothing comes.
    fn deadline(&mut self, now: Instant) -> Option<Instant>;

    /// Waits for one connection.
    fn listen(&mut self, port: u16);

    /// Connects a port to one of the other host's.
    fn connect(&mut self, now: Instant, from: u16, to: u16);

    /// Whether bytes can be exchanged, or could.
    fn is_open(&mut self) -> bool;

    /// Hands over as many bytes as there is room for.
    fn send(&mut self, bytes: &[u8]) -> usize;

    /// What has come.
    fn receive(&mut self, bytes: &mut Vec<u8>);

    /// Whether the other side's stream has ended, and all of it was received.
    fn has_ended(&mut self) -> bool;

    /// Ends our stream.
    fn end(&mut self, now: Instant);

    /// Resets the connection.
    fn abort(&mut self, now: Instant);

    /// Whether the other side has reset the connection, or refused it.
    fn is_reset(&mut self) -> bool;

    /// Whether nothing is left to be sent or to be acknowledged.
    fn is_over(&mut self) -> bool;
}

/// What happens to packets by chance, in thousandths.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Faults {
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) late: u64,
    pub(crate) damaged: u64,
}

/// Both hosts, and what is on the wire.
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) hosts: [Box<dyn Host>; 2],
    /// What is on its way to each.
    arriving: [VecDeque<(Instant, Vec<u8>)>; 2],
    faults: Faults,
    dice: u64,
}

impl World {
    pub(crate) fn new(ours: Box<dyn Host>, theirs: Box<dyn Host>, faults: Faults) -> Self {
        let now = Instant::from_micros(1_000_000);
        Self { now, hosts: [ours, theirs], arriving: Default::default(), faults, dice: 0x9e37_79b9_7f4a_7c15 }
    }

    /// Whether something happens that does so in so many of a thousand cases.
    fn happens(&mut self, thousandths: u64) -> bool {
        self.roll(1_000) < thousandths
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        (self.dice >> 16) % sides
    }

    /// Sends a frame on its way.
    fn dispatch(&mut self, to: usize, mut frame: Vec<u8>) {
        let Faults { lost, duplicated, late, damaged } = self.faults;
        if self.happens(lost) {
            return;
        }
        let mut when = self.now + DELAY;
        if self.happens(late) {
            when = when + Duration::from_micros(self.roll(5_000));
        }
        if self.happens(duplicated) {
            self.enqueue(to, when, frame.clone());
        }
        if self.happens(damaged) {
            // Behind the Ethernet header, whose checksum the hardware looks at.
            let behind = 14..frame.len() as u64;
            let at = behind.start + self.roll(behind.end - behind.start);
            let bit = self.roll(8);
            frame[usize::try_from(at).expect("short")] ^= 1 << bit;
        }
        self.enqueue(to, when, frame);
    }

    fn enqueue(&mut self, to: usize, when: Instant, frame: Vec<u8>) {
        let queue = &mut self.arriving[to];
        let at = queue.partition_point(|(other, _)| *other <= when);
        queue.insert(at, (when, frame));
    }

    /// Lets both do what is to be done.
    fn turn(&mut self) {
        for host in [OURS, THEIRS] {
            let mut frames = Vec::new();
            self.hosts[host].turn(self.now, &mut |frame| frames.push(frame));
            frames.into_iter().for_each(|frame| self.dispatch(1 - host, frame));
        }
    }

    /// Lets happen what happens next.
    fn step(&mut self) {
        self.turn();
        let arrivals = self.arriving.iter().filter_map(|queue| queue.front().map(|(when, _)| *when)).min();
        let deadlines: Vec<Instant> = self.hosts.iter_mut().filter_map(|host| host.deadline(self.now)).collect();
        let next = deadlines.into_iter().chain(arrivals).min();
        // Who is late is asked again a moment later, so that time goes on.
        let next = next.unwrap_or(self.now + PATIENCE);
        self.now = next.max(self.now + Duration::from_micros(1));
        for host in [OURS, THEIRS] {
            while self.arriving[host].front().is_some_and(|(when, _)| *when <= self.now) {
                let Some((_, frame)) = self.arriving[host].pop_front() else { break };
                self.hosts[host].take(self.now, &frame);
            }
        }
        self.turn();
    }

    /// Goes on until something is so, which has to come.
    pub(crate) fn run_until(&mut self, what: &str, mut is_so: impl FnMut(&mut Self) -> bool) {
        let end = self.now + PATIENCE;
        while !is_so(self) {
            assert!(self.now < end, "not in {PATIENCE:?}: {what}");
            self.step();
        }
    }

    pub(crate) fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.step();
        }
    }

    pub(crate) fn host(&mut self, host: usize) -> &mut dyn Host {
        &mut *self.hosts[host]
    }
}

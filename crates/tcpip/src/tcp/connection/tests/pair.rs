//! Two connections and a wire between them.

use core::time::Duration;
use std::collections::VecDeque;

use sunstar_wire::{Seq, TcpFlags};

use crate::tcp::connection::{Connection, Options, Outgoing, Reply, Segment, State};
use crate::tcp::test_stream::data;
use crate::time::Instant;

/// What becomes of a segment on its way: it arrives so many times, so much later.
pub(super) type Fate = Box<dyn FnMut(&Outgoing) -> Vec<Duration>>;

/// A connection, and what is on the way to it.
pub(super) struct End {
    pub(super) connection: Connection,
    arriving: VecDeque<(Instant, Segment)>,
    pub(super) fate: Fate,
    /// Bytes that the application has still to hand over, and those that it has received.
    to_send: u32,
    sent: u32,
    pub(super) received: u32,
    pub(super) segments: u32,
    /// Up to which number the other side may send, as far as this one has told.
    edge: Option<Seq>,
    scale: u8,
}

/// Two ends, the first of which has opened the connection, on a virtual clock.
pub(super) struct Pair {
    pub(super) now: Instant,
    pub(super) ends: [End; 2],
    mss: u32,
}

/// After so much virtual time something has gone wrong.
const PATIENCE: Duration = Duration::from_secs(3_600);

impl Pair {
    /// A pair with one-way delays of 10 ms and no losses. The server's connection begins with the client's SYN, as if both had
    /// opened: SYNs cross.
    pub(super) fn new(client: Options, server: Options) -> Self {
        let now = Instant::from_micros(1_000_000);
        let end = |options, iss| End {
            connection: Connection::connect(now, Options::into(options), Seq::new(iss), iss),
            arriving: VecDeque::new(),
            fate: Box::new(|_| vec![Duration::from_millis(10)]),
            to_send: 0,
            sent: 0,
            received: 0,
            segments: 0,
            edge: None,
            scale: 0,
        };
        Self { now, ends: [end(client, u32::MAX - 5_000), end(server, 77)], mss: u32::from(client.mss) }
    }

    pub(super) fn established() -> Self {
        let mut pair = Self::new(Options::DEFAULT, Options::DEFAULT);
        pair.run_until(|pair| pair.ends.iter().all(|end| end.connection.state() == State::Established));
        pair
    }

    /// Lets an end send so many bytes.
    pub(super) fn send(&mut self, end: usize, bytes: u32) {
        self.ends[end].to_send += bytes;
    }

    /// Runs until a condition holds.
    pub(super) fn run_until(&mut self, mut is_done: impl FnMut(&Self) -> bool) {
        let begin = self.now;
        while !is_done(self) {
            assert!(
                self.now - begin < PATIENCE,
                "stuck at {:?}: {:#?}",
                self.now,
                self.ends.each_ref().map(|end| &end.connection)
            );
            assert!(
                self.step(),
                "nothing will ever happen at {:?}: {:#?}",
                self.now,
                self.ends.each_ref().map(|end| &end.connection)
            );
        }
    }

    pub(super) fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.next().is_some_and(|next| next <= end) && self.step() {}
        self.now = end;
    }

    /// When something happens next.
    fn next(&self) -> Option<Instant> {
        let arrivals = self.ends.iter().filter_map(|end| end.arriving.front().map(|(when, _)| *when));
        let deadlines = self.ends.iter().filter_map(|end| end.connection.deadline());
        arrivals.chain(deadlines).min().map(|next| next.max(self.now))
    }

    /// Lets happen what happens next, and answers whether there was anything.
    pub(super) fn step(&mut self) -> bool {
        self.work();
        let Some(next) = self.next() else { return false };
        self.now = next;
        for end in &mut self.ends {
            while end.arriving.front().is_some_and(|(when, _)| *when <= self.now) {
                let (_, segment) = end.arriving.pop_front().expect("there is one");
                let reply = end.connection.handle_segment(self.now, segment);
                assert_eq!(reply, Reply::None);
            }
            end.connection.handle_timeout(self.now);
        }
        self.work();
        true
    }

    /// Lets both applications work, and sends what is to be sent.
    fn work(&mut self) {
        for index in 0..2 {
            let end = &mut self.ends[index];
            while let Some(bytes) = end.connection.receive() {
                assert_eq!(bytes, data(end.received, bytes.len()), "at {}", end.received);
                end.received += u32::try_from(bytes.len()).expect("short");
            }
            while end.to_send > 0 && end.connection.sendable() > 0 {
                let len = end.to_send.min(5_000);
                end.connection.send(data(end.sent, len as usize)).expect("there is room");
                end.sent += len;
                end.to_send -= len;
            }
            while let Some(outgoing) = self.ends[index].connection.poll_transmit(self.now, self.mss) {
                self.carry(index, outgoing);
            }
            self.ends[index].connection.grow(u64::MAX);
        }
    }

    /// Nobody sends beyond the window that the other side has told, whether it was heard or not (but for what is sent again).
    fn check(&mut self, from: usize, outgoing: &Outgoing) {
        let header = &outgoing.header;
        let is_syn = header.flags.contains(TcpFlags::SYN);
        let end = header.seq + u32::try_from(outgoing.payload.concat().len()).expect("short");
        if let Some(edge) = self.ends[1 - from].edge.filter(|_| !is_syn) {
            assert!(end.is_at_or_before(edge), "{header:?} ends at {end}, beyond {edge}");
        }
        let this = &mut self.ends[from];
        if let Some(scale) = header.options.window_scale.filter(|_| is_syn) {
            this.scale = scale.shift();
        }
        if header.flags.contains(TcpFlags::ACK) {
            let edge = header.ack + (u32::from(header.window) << if is_syn { 0 } else { this.scale });
            this.edge = Some(this.edge.map_or(edge, |known| known.max(edge)));
        }
    }

    fn carry(&mut self, from: usize, outgoing: Outgoing) {
        self.check(from, &outgoing);
        let end = &mut self.ends[from];
        end.segments += 1;
        let delays = (end.fate)(&outgoing);
        let arriving = &mut self.ends[1 - from].arriving;
        for delay in delays {
            let when = self.now + delay;
            let segment = Segment { header: outgoing.header, payload: outgoing.payload.clone() };
            let at = arriving.partition_point(|(other, _)| *other <= when);
            arriving.insert(at, (when, segment));
        }
    }
}

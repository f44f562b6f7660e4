//! What happened, in order: as a digest always, as text on demand.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::SocketAddrV4;
use std::time::Duration;

use sunstar_executor::Instant;
use sunstar_net::Error;

use crate::random::mix;

/// Receives the lines of a trace.
pub(crate) type Sink = Box<dyn FnMut(&str)>;

/// Which host, and which of its shards. Hosts are numbered in the order in which they were made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) host: usize,
    pub(crate) shard: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.shard)
    }
}

/// A direction of a connection, by who sends: the side that connected, or the one that was connected to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Client,
    Server,
}

impl Side {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// A direction of a connection in a trace: `7>` is from the client, `7<` from the server.
#[derive(Clone, Copy)]
pub(crate) struct Direction {
    pub(crate) connection: u64,
    pub(crate) from: Side,
}

impl Direction {
    fn word(self) -> u64 {
        self.connection << 1 | u64::from(self.from == Side::Server)
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.connection, if self.from == Side::Client { '>' } else { '<' })
    }
}

/// Something that happened.
#[derive(Clone, Copy)]
pub(crate) enum Record {
    Round { place: Place, was_busy: bool },
    MainEnded { host: usize },
    HostStopped { host: usize },
    Listen { place: Place, address: SocketAddrV4 },
    Bind { place: Place, address: SocketAddrV4 },
    Connect { connection: u64, from: SocketAddrV4, to: SocketAddrV4, delay: Duration },
    Established { connection: u64 },
    ConnectAgain { connection: u64, after: Duration },
    Attach { place: Place, direction: Direction },
    Detach { direction: Direction },
    Send { direction: Direction, bytes: usize, delay: Duration },
    Arrive { direction: Direction, bytes: usize, content: u64 },
    Window { direction: Direction, bytes: usize },
    End { direction: Direction },
    Injected { direction: Direction },
    Failed { direction: Direction, error: Error },
    Closed { direction: Direction },
    Datagram { from: SocketAddrV4, to: SocketAddrV4, bytes: usize, delay: Duration },
    DatagramLost { from: SocketAddrV4, to: SocketAddrV4, bytes: usize },
    DatagramArrived { to: SocketAddrV4, bytes: usize, content: u64 },
    DatagramDropped { to: SocketAddrV4, bytes: usize },
    Frame { direction: usize, bytes: usize, head: u64, was_taken: bool },
    HostCrashed { host: usize },
    HostRestarted { host: usize },
    LinksChanged,
}

impl Record {
    /// What the digest takes in: the kind, and what tells one record of the kind from another.
    fn words(&self) -> [u64; 4] {
        match *self {
            Self::Round { place, was_busy } => [1, place.host as u64, place.shard as u64, u64::from(was_busy)],
            Self::MainEnded { host } => [2, host as u64, 0, 0],
            Self::HostStopped { host } => [3, host as u64, 0, 0],
            Self::Listen { place, address } => [4, place.host as u64, place.shard as u64, socket(address)],
            Self::Bind { place, address } => [5, place.host as u64, place.shard as u64, socket(address)],
            Self::Connect { connection, from, to, delay } => {
                [6, connection, mix(socket(from)) ^ socket(to), nanos(delay)]
            }
            Self::Established { connection } => [7, connection, 0, 0],
            Self::ConnectAgain { connection, after } => [8, connection, nanos(after), 0],
            Self::Attach { place, direction } => [9, place.host as u64, place.shard as u64, direction.word()],
            Self::Detach { direction } => [10, direction.word(), 0, 0],
            Self::Send { direction, bytes, delay } => [11, direction.word(), bytes as u64, nanos(delay)],
            Self::Arrive { direction, bytes, content } => [12, direction.word(), bytes as u64, content],
            Self::Window { direction, bytes } => [13, direction.word(), bytes as u64, 0],
            Self::End { direction } => [14, direction.word(), 0, 0],
            Self::Injected { direction } => [15, direction.word(), 0, 0],
            Self::Failed { direction, error } => [16, direction.word(), error_word(error), 0],
            Self::Closed { direction } => [17, direction.word(), 0, 0],
            Self::Datagram { from, to, bytes, delay } => {
                [18, mix(socket(from)) ^ socket(to), bytes as u64, nanos(delay)]
            }
            Self::DatagramLost { from, to, bytes } => [19, mix(socket(from)) ^ socket(to), bytes as u64, 0],
            Self::DatagramArrived { to, bytes, content } => [20, socket(to), bytes as u64, content],
            Self::DatagramDropped { to, bytes } => [21, socket(to), bytes as u64, 0],
            Self::Frame { direction, bytes, head, was_taken } => {
                [22 + u64::from(was_taken) * 100, direction as u64, bytes as u64, head]
            }
            Self::HostCrashed { host } => [23, host as u64, 0, 0],
            Self::HostRestarted { host } => [24, host as u64, 0, 0],
            Self::LinksChanged => [25, 0, 0, 0],
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Round { place, was_busy } => write!(f, "round {place} {}", if *was_busy { "busy" } else { "idle" }),
            Self::MainEnded { host } => write!(f, "main-ended {host}"),
            Self::HostStopped { host } => write!(f, "host-stopped {host}"),
            Self::Listen { place, address } => write!(f, "listen {place} {address}"),
            Self::Bind { place, address } => write!(f, "bind {place} {address}"),
            Self::Connect { connection, from, to, delay } => {
                write!(f, "connect {connection} {from} {to} delay {}", nanos(*delay))
            }
            Self::Established { connection } => write!(f, "established {connection}"),
            Self::ConnectAgain { connection, after } => write!(f, "connect-again {connection} in {}", nanos(*after)),
            Self::Attach { place, direction } => write!(f, "attach {direction} {place}"),
            Self::Detach { direction } => write!(f, "detach {direction}"),
            Self::Send { direction, bytes, delay } => write!(f, "send {direction} {bytes} delay {}", nanos(*delay)),
            Self::Arrive { direction, bytes, content } => write!(f, "arrive {direction} {bytes} {content:016x}"),
            Self::Window { direction, bytes } => write!(f, "window {direction} {bytes}"),
            Self::End { direction } => write!(f, "end {direction}"),
            Self::Injected { direction } => write!(f, "inject-reset {direction}"),
            Self::Failed { direction, error } => write!(f, "failed {direction} {error}"),
            Self::Closed { direction } => write!(f, "closed {direction}"),
            Self::Datagram { from, to, bytes, delay } => {
                write!(f, "datagram {from} {to} {bytes} delay {}", nanos(*delay))
            }
            Self::DatagramLost { from, to, bytes } => write!(f, "datagram-lost {from} {to} {bytes}"),
            Self::DatagramArrived { to, bytes, content } => write!(f, "datagram-arrived {to} {bytes} {content:016x}"),
            Self::DatagramDropped { to, bytes } => write!(f, "datagram-dropped {to} {bytes}"),
            Self::Frame { direction, bytes, head, was_taken } => {
                let what = if *was_taken { "frame" } else { "frame-dropped" };
                let way = if direction % 2 == 0 { '>' } else { '<' };
                write!(f, "{what} {}{way} {bytes} {head:016x}", direction / 2)
            }
            Self::HostCrashed { host } => write!(f, "host-crashed {host}"),
            Self::HostRestarted { host } => write!(f, "host-restarted {host}"),
            Self::LinksChanged => write!(f, "links-changed"),
        }
    }
}

/// The digest of all records, and where their text goes.
pub(crate) struct Trace {
    digest: Cell<u64>,
    sink: RefCell<Option<Sink>>,
}

impl Trace {
    pub(crate) fn new(seed: u64) -> Self {
        Self { digest: Cell::new(mix(seed)), sink: RefCell::new(None) }
    }

    pub(crate) fn set_sink(&self, sink: Sink) {
        *self.sink.borrow_mut() = Some(sink);
    }

    /// Lets the sink go, which writes out what it holds.
    pub(crate) fn close(&self) {
        let sink = self.sink.take();
        drop(sink);
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest.get()
    }

    #[inline]
    pub(crate) fn note(&self, at: Instant, record: &Record) {
        let digest =
            record.words().iter().fold(fold(self.digest.get(), at.as_nanos()), |digest, &word| fold(digest, word));
        self.digest.set(digest);
        if let Some(sink) = self.sink.borrow_mut().as_mut() {
            sink(&format!("{} {record}", at.as_nanos()));
        }
    }
}

/// The digest after one more word.
#[inline]
fn fold(digest: u64, word: u64) -> u64 {
    let product = (digest ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ (product >> 32)
}

/// A number that stands for the content of a message.
pub(crate) fn content(bytes: &[u8]) -> u64 {
    let mut chunks = bytes.chunks_exact(8);
    let mut digest = bytes.len() as u64;
    for chunk in &mut chunks {
        digest = fold(digest, u64::from_le_bytes(chunk.try_into().expect("a chunk of 8 bytes")));
    }
    chunks.remainder().iter().fold(digest, |digest, &byte| fold(digest, u64::from(byte)))
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn socket(address: SocketAddrV4) -> u64 {
    u64::from(address.ip().to_bits()) << 16 | u64::from(address.port())
}

/// A number for the errors that streams of this network fail with.
fn error_word(error: Error) -> u64 {
    match error {
        Error::ConnectionRefused => 1,
        Error::ConnectionReset => 2,
        Error::ConnectionAborted => 3,
        Error::TimedOut => 4,
        Error::HostUnreachable => 5,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    #[test]
    fn the_digest_sees_time_kind_and_every_field() {
        let digest = |at: u64, record: &Record| {
            let trace = Trace::new(0);
            trace.note(Instant::from_nanos(at), record);
            trace.digest()
        };
        let direction = Direction { connection: 1, from: Side::Client };
        let back = Direction { connection: 1, from: Side::Server };
        let send = |direction, bytes, delay| Record::Send { direction, bytes, delay: Duration::from_nanos(delay) };
        let base = digest(1, &send(direction, 2, 3));
        for other in [
            digest(2, &send(direction, 2, 3)),
            digest(1, &send(back, 2, 3)),
            digest(1, &send(direction, 3, 3)),
            digest(1, &send(direction, 2, 4)),
            digest(1, &Record::End { direction }),
        ] {
            assert_ne!(base, other);
        }
        assert_eq!(base, digest(1, &send(direction, 2, 3)));
        assert_ne!(content(b"12345678a"), content(b"12345678b"));
        assert_ne!(content(b"a"), content(b"a\0"));
    }

    #[test]
    fn lines_say_what_happened() {
        let lines = Rc::new(RefCell::new(Vec::new()));
        let trace = Trace::new(0);
        let sink = Rc::clone(&lines);
        trace.set_sink(Box::new(move |line| sink.borrow_mut().push(line.to_owned())));
        let place = Place { host: 1, shard: 0 };
        trace.note(Instant::from_nanos(7), &Record::Round { place, was_busy: true });
        trace.note(Instant::from_nanos(8), &Record::End { direction: Direction { connection: 3, from: Side::Server } });
        assert_eq!(*lines.borrow(), ["7 round 1/0 busy", "8 end 3<"]);
    }
}

//! TCP with both ends on one core: the loops, written once for all stacks that are asked instead of awaited.
//!
//! A stack says how its words are called ([`Ends`]). Each request, response and byte of a bulk transfer is read, and compared with
//! what was sent. What is asynchronous has loops of its own, of the same shape.

pub mod linux;
mod pattern;

use std::time::{Duration, Instant};

use crate::measure::{Reporter, pin, sample_batches_blocking};
pub use pattern::Pattern;

/// Bytes of a request, and of a response.
pub const MESSAGE: usize = 64;
/// A request, each byte of which differs.
pub const REQUEST: [u8; MESSAGE] = {
    let (mut bytes, mut place, mut byte) = ([0; MESSAGE], 0, 0);
    while place < MESSAGE {
        bytes[place] = byte;
        (place, byte) = (place + 1, byte + 1);
    }
    bytes
};
/// A response, each byte of which differs from the request's.
pub const RESPONSE: [u8; MESSAGE] = {
    let (mut bytes, mut place) = (REQUEST, 0);
    while place < MESSAGE {
        bytes[place] = !bytes[place];
        place += 1;
    }
    bytes
};
/// Connections that are open in the benchmarks of many.
pub const MANY: usize = 1_000;
/// Connections that come and go at a time.
pub const COMING: usize = 32;
/// Bytes that one write of a bulk transfer offers.
pub const CHUNK: usize = 64 * 1024;
/// How long nothing may happen before a run is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that connects.
    Client,
    /// The one that was listening.
    Server,
}

/// What a stack has to tell about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The client's end is open.
    Connected(usize),
    /// There is something to be read, or the end of the stream.
    Readable(Side, usize),
    /// What could not be taken before can be taken now.
    Writable(Side, usize),
}

/// Which link the ends have between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Ethernet's packets.
    Mtu1500,
    /// The longest that IP knows, or that the stack hands to a device that cuts.
    Segments64K,
}

/// Both ends of a number of connections, on one thread.
///
/// A client's end is known by its slot, which is free again when it is closed. The server's ends have numbers of their own, as small as
/// those in use allow.
pub trait Ends {
    /// Ends with room for so many connections at once.
    fn new(slots: usize, link: Link) -> Self;
    /// Begins to connect a free slot.
    fn connect(&mut self, slot: usize);
    /// Moves what there is to be moved, and tells what has happened. It may tell too much.
    fn turn(&mut self, events: &mut Vec<Event>);
    /// Sends what can be taken at once, and answers how much that was.
    fn send(&mut self, side: Side, slot: usize, bytes: &[u8]) -> usize;
    /// Hands what has come to `read`, at most `most` bytes, and answers how much that was; `None` at the end of the stream.
    fn receive(&mut self, side: Side, slot: usize, most: usize, read: impl FnMut(&[u8])) -> Option<usize>;
    /// Closes one end; what is under way still arrives.
    fn close(&mut self, side: Side, slot: usize);
}

/// The benchmarks of one stack.
#[macro_export]
macro_rules! tcp_entries {
    ($peer:literal, $ends:ty) => {
        [
            $crate::cli::Entry::new($peer, "tcp_rr", $crate::tcp::one::<$ends>),
            $crate::cli::Entry::new($peer, "tcp_rr_1000", $crate::tcp::one_of_many::<$ends>),
            $crate::cli::Entry::new($peer, "tcp_rr_1000_all", $crate::tcp::all_of_many::<$ends>),
            $crate::cli::Entry::new($peer, "tcp_connect", $crate::tcp::connects::<$ends>),
            $crate::cli::Entry::new($peer, "tcp_bulk_1500", $crate::tcp::bulk_1500::<$ends>),
            $crate::cli::Entry::new($peer, "tcp_bulk_64k", $crate::tcp::bulk_64k::<$ends>),
        ]
    };
}

/// Request and response on one connection.
pub fn one<E: Ends>(reporter: Reporter) {
    round_trips::<E>(reporter, 1, 1);
}

/// Request and response on one connection after the other, many open.
pub fn one_of_many<E: Ends>(reporter: Reporter) {
    round_trips::<E>(reporter, MANY, 1);
}

/// Request and response on all of many connections at a time.
pub fn all_of_many<E: Ends>(reporter: Reporter) {
    round_trips::<E>(reporter, MANY, MANY);
}

/// Connect, request, response, close.
pub fn connects<E: Ends>(reporter: Reporter) {
    pin(0);
    let mut talk = Talk::new(E::new(COMING, Link::Mtu1500), COMING);
    for slot in 0..COMING {
        talk.ends.connect(slot);
    }
    talk.comes_and_goes = true;
    reporter.nanos_per_op(sample_batches_blocking(reporter.plan.target, |count| talk.answers(count)));
}

/// A stream in packets of 1,500 bytes; an operation is a KiB.
pub fn bulk_1500<E: Ends>(reporter: Reporter) {
    bulk::<E>(reporter, Link::Mtu1500);
}

/// A stream in segments of up to 64 KiB; an operation is a KiB.
pub fn bulk_64k<E: Ends>(reporter: Reporter) {
    bulk::<E>(reporter, Link::Segments64K);
}

fn round_trips<E: Ends>(reporter: Reporter, open: usize, at_once: usize) {
    pin(0);
    let mut talk = Talk::new(E::new(open, Link::Mtu1500), open);
    talk.open(open);
    for slot in 0..at_once {
        talk.say(Side::Client, slot);
    }
    talk.stride = if at_once < open { 1 } else { 0 };
    reporter.nanos_per_op(sample_batches_blocking(reporter.plan.target, |count| talk.answers(count)));
}

/// Requests and responses on the connections of a stack.
struct Talk<E> {
    ends: E,
    clock: Patience,
    events: Vec<Event>,
    /// How many bytes of a request have come to each of the server's ends, and of a response to each of the client's.
    came: [Vec<usize>; 2],
    messages: [[u8; MESSAGE]; 2],
    connected: usize,
    answered: u64,
    /// How far from the connection that was answered the next request goes.
    stride: usize,
    /// Whether each connection is for one request.
    comes_and_goes: bool,
}

impl<E: Ends> Talk<E> {
    fn new(ends: E, slots: usize) -> Self {
        Self {
            ends,
            clock: Patience::default(),
            events: Vec::new(),
            came: [vec![0; slots], vec![0; slots]],
            messages: [REQUEST, RESPONSE],
            connected: 0,
            answered: 0,
            stride: 0,
            comes_and_goes: false,
        }
    }

    /// Connects one after the other, as not every stack takes a thousand at once.
    fn open(&mut self, slots: usize) {
        for slot in 0..slots {
            self.ends.connect(slot);
            self.until(|talk| talk.connected > slot);
        }
    }

    fn say(&mut self, side: Side, slot: usize) {
        let message = &self.messages[usize::from(side == Side::Server)];
        assert_eq!(self.ends.send(side, slot, message), MESSAGE, "there is room for a message");
    }

    /// Waits for at least so many, and answers how many there were.
    fn answers(&mut self, count: u64) -> u64 {
        let before = self.answered;
        self.until(|talk| talk.answered >= before + count);
        self.answered - before
    }

    fn until(&mut self, is_over: impl Fn(&Self) -> bool) {
        while !is_over(self) {
            let mut events = std::mem::take(&mut self.events);
            self.ends.turn(&mut events);
            self.clock.saw(!events.is_empty());
            for event in events.drain(..) {
                self.handle(event);
            }
            self.events = events;
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Connected(slot) => {
                self.connected += 1;
                if self.comes_and_goes {
                    self.say(Side::Client, slot);
                }
            }
            Event::Readable(side, slot) => self.read(side, slot),
            Event::Writable(..) => {}
        }
    }

    fn read(&mut self, side: Side, slot: usize) {
        let place = usize::from(side == Side::Client);
        let expected = &self.messages[place];
        if slot >= self.came[place].len() {
            self.came[place].resize(slot + 1, 0);
        }
        let came = &mut self.came[place][slot];
        let got = self.ends.receive(side, slot, MESSAGE - *came, |bytes| {
            assert_eq!(bytes, &expected[*came..*came + bytes.len()], "it is what was sent");
            *came += bytes.len();
        });
        if got.is_none() {
            assert!(side == Side::Server && self.comes_and_goes, "nobody closes");
            self.ends.close(side, slot);
        } else if *came == MESSAGE {
            *came = 0;
            self.came_whole(side, slot);
        }
    }

    fn came_whole(&mut self, side: Side, slot: usize) {
        if side == Side::Server {
            self.say(side, slot);
            return;
        }
        self.answered += 1;
        if self.comes_and_goes {
            self.ends.close(side, slot);
            self.ends.connect(slot);
        } else {
            self.say(side, (slot + self.stride) % self.came[1].len());
        }
    }
}

fn bulk<E: Ends>(reporter: Reporter, link: Link) {
    pin(0);
    let mut flood = Flood {
        ends: E::new(1, link),
        clock: Patience::default(),
        events: Vec::new(),
        pattern: Pattern::default(),
        sent: 0,
        came: 0,
    };
    flood.ends.connect(0);
    reporter.nanos_per_op(sample_batches_blocking(reporter.plan.target, |count| flood.kibs(count)));
}

/// A stream as fast as it goes.
struct Flood<E> {
    ends: E,
    clock: Patience,
    events: Vec<Event>,
    pattern: Pattern,
    sent: u64,
    came: u64,
}

impl<E: Ends> Flood<E> {
    /// Waits for at least so many KiB, and answers how many there were.
    fn kibs(&mut self, count: u64) -> u64 {
        let before = self.came;
        while self.came < before + count * 1024 {
            let mut events = std::mem::take(&mut self.events);
            self.ends.turn(&mut events);
            self.clock.saw(!events.is_empty());
            for event in events.drain(..) {
                match event {
                    Event::Connected(slot) | Event::Writable(Side::Client, slot) => self.write(slot),
                    Event::Readable(Side::Server, slot) => self.read(slot),
                    Event::Readable(..) | Event::Writable(..) => {}
                }
            }
            self.events = events;
        }
        (self.came - before) / 1024
    }

    fn write(&mut self, slot: usize) {
        loop {
            let taken = self.ends.send(Side::Client, slot, self.pattern.at(self.sent));
            self.sent += taken as u64;
            if taken < CHUNK {
                return;
            }
        }
    }

    fn read(&mut self, slot: usize) {
        loop {
            let (pattern, came) = (&self.pattern, &mut self.came);
            let got = self.ends.receive(Side::Server, slot, CHUNK, |bytes| {
                assert!(bytes == &pattern.at(*came)[..bytes.len()], "it is what was sent");
                *came += bytes.len() as u64;
            });
            match got.expect("nobody closes") {
                CHUNK => {}
                _ => return,
            }
        }
    }
}

/// Notices that nothing happens any more.
#[derive(Default)]
struct Patience(Option<Instant>);

impl Patience {
    fn saw(&mut self, something: bool) {
        if something {
            self.0 = None;
        } else {
            let since = *self.0.get_or_insert_with(Instant::now);
            assert!(since.elapsed() < PATIENCE, "nothing happens any more");
        }
    }
}

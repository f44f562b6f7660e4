//! A connection between two hosts, or within one.

use std::cell::{Cell, RefCell};
use std::net::SocketAddrV4;
use std::rc::Rc;
use std::time::Duration;

use sunstar_net::Error;
use sunstar_packet::Buffer;

use super::half::{Half, Holder, Item, WakerSlot};
use super::{Event as NetworkEvent, Network, add, subtract};
use crate::trace::{Direction, Record, Side, content};
use crate::world::{Event, ShardIo};

/// How long a closed side may go on to send what was left, before it is reset.
const LINGER: Duration = Duration::from_secs(60);

/// A connection. It lives for as long as a socket has one of its sides or something of it is under way.
pub(crate) struct Connection {
    pub(super) number: u64,
    pub(super) network: Rc<Network>,
    pub(super) is_local: bool,
    /// How often it was asked for in vain.
    pub(super) attempts: Cell<u32>,
    ends: [End; 2],
    halves: RefCell<[Half; 2]>,
}

/// What of a side does not change while it sends and receives, and who waits for it.
pub(super) struct End {
    pub(super) address: SocketAddrV4,
    pub(super) host: usize,
    pub(super) io: RefCell<Option<Rc<ShardIo>>>,
    pub(super) reader: WakerSlot,
    pub(super) writer: WakerSlot,
    pub(super) flusher: WakerSlot,
    pub(super) detacher: WakerSlot,
}

impl End {
    pub(super) fn new(address: SocketAddrV4, host: usize) -> Self {
        Self {
            address,
            host,
            io: RefCell::default(),
            reader: WakerSlot::default(),
            writer: WakerSlot::default(),
            flusher: WakerSlot::default(),
            detacher: WakerSlot::default(),
        }
    }

    /// Lets whoever waits look again.
    fn wake(&self, slot: &WakerSlot) {
        if let (Some(waker), Some(io)) = (slot.take(), self.io.borrow().as_ref()) {
            io.wake(waker);
        }
    }

    pub(super) fn wake_all(&self) {
        [&self.reader, &self.writer, &self.flusher, &self.detacher].into_iter().for_each(|slot| self.wake(slot));
    }
}

impl Connection {
    /// A connection that is being asked for. The client's port is free again when it is dropped.
    pub(super) fn new(network: &Rc<Network>, client: End, server: End) -> Rc<Self> {
        let number = network.next_connection.get();
        network.next_connection.set(number + 1);
        add(&network.gauges.connections, 1);
        let window = network.options.window_bytes.max(1);
        let connection = Rc::new(Self {
            number,
            network: Rc::clone(network),
            is_local: client.host == server.host,
            attempts: Cell::new(0),
            ends: [client, server],
            halves: RefCell::new([Half::new(window), Half::new(window)]),
        });
        network.connections.borrow_mut().insert(number, Rc::downgrade(&connection));
        connection
    }

    pub(super) fn end(&self, side: Side) -> &End {
        &self.ends[side as usize]
    }

    pub(super) fn direction(&self, from: Side) -> Direction {
        Direction { connection: self.number, from }
    }

    pub(super) fn note(&self, record: &Record) {
        self.network.world.note(record);
    }

    /// Runs `f` with a side and the other one. It may not wake or drop what is not the network's own.
    pub(super) fn with<R>(&self, side: Side, f: impl FnOnce(&mut Half, &mut Half) -> R) -> R {
        let [client, server] = &mut *self.halves.borrow_mut();
        match side {
            Side::Client => f(client, server),
            Side::Server => f(server, client),
        }
    }

    /// Puts something on its way to the other side, behind what is under way already.
    pub(super) fn send(self: &Rc<Self>, from: Side, half: &mut Half, item: Item) -> Duration {
        let world = &self.network.world;
        let delay = self.network.delay(self.is_local);
        let at = (world.now() + delay).max(half.last_arrival);
        half.last_arrival = at;
        if planted::is("early_segment") && half.wire.len() == 2 {
            half.wire.push_front(item);
        } else {
            half.wire.push_back(item);
        }
        world.schedule(at, Event::Network(NetworkEvent::Arrival(Rc::clone(self), from)));
        at - world.now()
    }

    /// Tells the shard that a side has something to send.
    pub(super) fn list(self: &Rc<Self>, side: Side, half: &mut Half) -> Option<Rc<ShardIo>> {
        let io = self.end(side).io.borrow().clone()?;
        (!std::mem::replace(&mut half.is_listed, true)).then_some(io)
    }

    /// Sends as much of a side's queue as the window takes.
    pub(crate) fn transmit(self: &Rc<Self>, side: Side) {
        let mut done = Vec::new();
        let (is_writable, is_empty, is_flushed) = self.with(side, |half, other| {
            half.is_listed = false;
            while half.sendable_bytes() > 0 && half.failure.is_none() {
                self.send_segment(side, half, other, &mut done);
            }
            if half.queued_bytes == 0 && half.is_shut_down && !half.is_end_sent && half.failure.is_none() {
                half.is_end_sent = true;
                self.send(side, half, Item::End);
                self.note(&Record::End { direction: self.direction(side) });
            }
            (half.queued_bytes < half.queue_limit_bytes, half.queued_bytes == 0, half.is_flushed())
        });
        drop(done);
        let end = self.end(side);
        for (slot, is_due) in [(&end.writer, is_writable), (&end.flusher, is_flushed), (&end.detacher, is_empty)] {
            if is_due {
                end.wake(slot);
            }
        }
    }

    fn send_segment(self: &Rc<Self>, side: Side, half: &mut Half, other: &mut Half, done: &mut Vec<Buffer>) {
        let network = &self.network;
        let options = &network.options;
        let mut len = half.sendable_bytes().min(options.segment_bytes.max(1));
        let is_split = len > 1 && options.split.happens(&mut network.random());
        if is_split {
            len = 1 + network.random().index(len - 1);
        }
        let mut bytes = half.take_queued(len, done);
        half.outstanding_bytes += len;
        if planted::is("split_drops_byte") && is_split {
            bytes.pop();
        }
        if !self.is_local && options.reset.happens(&mut network.random()) {
            network.count(|counters| counters.injected_resets += 1);
            self.note(&Record::Injected { direction: self.direction(side) });
            self.send(side, half, Item::Reset);
            self.send(side.other(), other, Item::Reset);
            return;
        }
        network.count(|counters| {
            counters.segments += 1;
            counters.stream_bytes += len as u64;
        });
        let delay = self.send(side, half, Item::Data(bytes));
        self.note(&Record::Send { direction: self.direction(side), bytes: len, delay });
    }

    /// The next thing that a side has sent arrives at the other.
    pub(super) fn arrive(self: &Rc<Self>, from: Side) {
        let to = from.other();
        let Some(item) = self.with(from, |half, _| half.wire.pop_front()) else { return };
        match item {
            Item::Granted => self.granted(),
            Item::Refused => self.fail(to, Error::ConnectionRefused),
            Item::Data(bytes) => self.arrive_data(to, bytes),
            Item::Window(bytes) => self.open_window(to, bytes),
            Item::End => {
                self.with(to, |half, _| half.has_end_arrived = true);
                self.end(to).wake(&self.end(to).reader);
            }
            Item::Reset => self.fail(to, Error::ConnectionReset),
        }
    }

    fn arrive_data(self: &Rc<Self>, to: Side, bytes: Vec<u8>) {
        let content = content(&bytes);
        self.note(&Record::Arrive { direction: self.direction(to.other()), bytes: bytes.len(), content });
        let is_unwanted = self.with(to, |half, _| {
            if half.failure.is_some() {
                return false;
            }
            let is_unwanted = half.holder == Holder::Nobody;
            if !is_unwanted {
                half.arrived.push_back(bytes);
            }
            is_unwanted
        });
        if is_unwanted {
            self.reset(to);
        } else if !planted::is("lost_reader_wake") {
            self.end(to).wake(&self.end(to).reader);
        }
    }

    fn open_window(self: &Rc<Self>, side: Side, bytes: usize) {
        self.note(&Record::Window { direction: self.direction(side), bytes });
        let io = self.with(side, |half, _| {
            half.outstanding_bytes -= bytes;
            self.list(side, half)
        });
        if let Some(io) = io {
            io.list(Rc::clone(self), side);
        }
    }

    /// The client learns that it is connected.
    fn granted(self: &Rc<Self>) {
        let is_given_up = self.with(Side::Client, |half, _| {
            half.is_established = true;
            half.holder == Holder::Nobody
        });
        if is_given_up {
            self.reset(Side::Client);
        } else {
            self.note(&Record::Established { connection: self.number });
            self.end(Side::Client).wake(&self.end(Side::Client).reader);
        }
    }

    /// A side learns that the connection is over.
    pub(super) fn fail(&self, side: Side, error: Error) {
        let queue = self.with(side, |half, _| half.failure.is_none().then(|| half.fail(error)));
        let Some(queue) = queue else { return };
        drop(queue);
        self.note(&Record::Failed { direction: self.direction(side), error });
        self.end(side).wake_all();
    }

    /// Ends both directions from one side, at once, and tells the other.
    pub(super) fn reset(self: &Rc<Self>, side: Side) {
        let queue = self.with(side, |half, _| {
            if half.failure.is_some() {
                return None;
            }
            half.arrived.clear();
            let queue = half.fail(Error::ConnectionAborted);
            self.send(side, half, Item::Reset);
            Some(queue)
        });
        let Some(queue) = queue else { return };
        drop(queue);
        self.note(&Record::Failed { direction: self.direction(side), error: Error::ConnectionAborted });
        self.end(side).wake_all();
    }

    /// Nobody has this side any more. What is in the send queue is still sent, for a limited time; but bytes that nobody has
    /// read reset the connection, as those do that arrive from now on.
    pub(super) fn close(self: &Rc<Self>, side: Side) {
        self.note(&Record::Closed { direction: self.direction(side) });
        let (has_unread, io, must_linger) = self.with(side, |half, _| {
            half.holder = Holder::Nobody;
            half.is_shut_down = true;
            let io = if half.is_flushed() || half.failure.is_some() { None } else { self.list(side, half) };
            (!half.arrived.is_empty(), io, half.queued_bytes > 0)
        });
        let end = self.end(side);
        for slot in [&end.reader, &end.writer, &end.flusher, &end.detacher] {
            drop(slot.take());
        }
        if has_unread {
            self.reset(side);
            return;
        }
        match io {
            Some(io) => io.list(Rc::clone(self), side),
            // It never had a shard: nothing but the end is to be sent.
            None if end.io.borrow().is_none() => self.transmit(side),
            None => {}
        }
        if must_linger {
            let world = &self.network.world;
            world.schedule(world.now() + LINGER, Event::Network(NetworkEvent::Lingered(Rc::downgrade(self), side)));
        }
    }

    /// A closed side has had its time.
    pub(super) fn lingered(self: &Rc<Self>, side: Side) {
        if !self.with(side, |half, _| half.is_flushed()) {
            self.reset(side);
        }
    }

    /// What tasks wait for.
    pub(super) fn waits(&self) -> Vec<String> {
        let mut waits = Vec::new();
        for side in [Side::Client, Side::Server] {
            let (end, other) = (self.end(side), self.end(side.other()));
            let slots =
                [(&end.reader, "read"), (&end.writer, "write"), (&end.flusher, "flush"), (&end.detacher, "detach")];
            for (slot, operation) in slots {
                if slot.is_waited_for() {
                    let (here, there) = (end.address, other.address);
                    waits.push(format!("{operation} on connection {} at {here} with {there}", self.number));
                }
            }
        }
        waits
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let client = self.end(Side::Client);
        self.network.with_host(client.host, |host| host.disconnected(client.address.port()));
        self.network.connections.borrow_mut().remove(&self.number);
        subtract(&self.network.gauges.connections, 1);
    }
}

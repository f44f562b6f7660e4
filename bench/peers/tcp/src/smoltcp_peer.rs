//! smoltcp over an in-memory link: two interfaces with a socket set each.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};
use std::time::Instant as Clock;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, DeviceCapabilities, Medium};
use smoltcp::socket::tcp::{self, State};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr, Ipv4Address};
use sunstar_bench_common::tcp::{Ends, Event, Link, Side};

const PORT: u16 = 80;
const CLIENT: Ipv4Address = Ipv4Address::new(10, 0, 0, 1);
const SERVER: Ipv4Address = Ipv4Address::new(10, 0, 0, 2);
/// The first local port.
const EPHEMERAL: u16 = 20_000;
/// Sockets that listen in addition to those that are open, and packets that the link holds: as many as Sunstar's.
const SPARE: usize = 64;
const QUEUE: usize = 64;
const ETHERNET_HEADER: usize = 14;
/// Bytes of a socket's buffer, each way: for messages, and for a stream.
const FEW: usize = 4 * 1024;
const MUCH: usize = 1024 * 1024;

/// Both interfaces.
pub(crate) struct Smoltcp {
    begin: Clock,
    client: Host,
    server: Host,
    /// Which of the client's sockets each slot has.
    slots: Vec<usize>,
    next_port: u16,
}

struct Host {
    interface: Interface,
    wire: Wire,
    sockets: SocketSet<'static>,
    ends: Vec<End>,
    /// Those whose wakers were called.
    woken: Arc<Mutex<Vec<usize>>>,
    /// Those that may be used again.
    free: Vec<usize>,
    buffer: usize,
}

struct End {
    handle: SocketHandle,
    waker: Waker,
    slot: usize,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Open,
    /// The application is done with it.
    Closing,
}

struct Bell {
    woken: Arc<Mutex<Vec<usize>>>,
    end: usize,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.woken.lock().expect("nobody panics").push(self.end);
    }
}

impl Host {
    fn new(address: Ipv4Address, number: u8, mtu: usize, wire: Wire, buffer: usize) -> Self {
        let mut wire = Wire { mtu: mtu + ETHERNET_HEADER, ..wire };
        let mac = EthernetAddress([2, 0, 0, 0, 0, number]);
        let config = Config::new(HardwareAddress::Ethernet(mac));
        let mut interface = Interface::new(config, &mut wire, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(IpAddress::Ipv4(address), 24)).expect("room for one");
        });
        let sockets = SocketSet::new(Vec::new());
        Self { interface, wire, sockets, ends: Vec::new(), woken: Arc::default(), free: Vec::new(), buffer }
    }

    /// A socket that is closed.
    fn socket(&mut self) -> usize {
        if let Some(end) = self.free.pop() {
            return end;
        }
        let buffer = || tcp::SocketBuffer::new(vec![0; self.buffer]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        let handle = self.sockets.add(socket);
        let end = self.ends.len();
        let waker = Waker::from(Arc::new(Bell { woken: self.woken.clone(), end }));
        self.ends.push(End { handle, waker, slot: 0, phase: Phase::Open });
        self.arm(end);
        end
    }

    fn arm(&mut self, end: usize) {
        let End { handle, waker, .. } = &self.ends[end];
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(*handle);
        socket.register_recv_waker(waker);
        socket.register_send_waker(waker);
    }

    fn get(&mut self, end: usize) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(self.ends[end].handle)
    }

    fn poll(&mut self, now: Instant) {
        self.interface.poll(now, &mut self.wire, &mut self.sockets);
    }

    fn woken(&self) -> Vec<usize> {
        let mut woken = std::mem::take(&mut *self.woken.lock().expect("nobody panics"));
        woken.sort_unstable();
        woken.dedup();
        woken
    }
}

impl Smoltcp {
    fn host(&mut self, side: Side, slot: usize) -> (&mut Host, usize) {
        match side {
            Side::Client => (&mut self.client, self.slots[slot]),
            Side::Server => (&mut self.server, slot),
        }
    }

    fn listen(&mut self, end: usize) {
        self.server.ends[end].phase = Phase::Open;
        self.server.get(end).listen(PORT).expect("it is closed");
        self.server.arm(end);
    }

    fn tell_client(&mut self, end: usize, events: &mut Vec<Event>) {
        self.client.arm(end);
        let (state, slot) = (self.client.get(end).state(), self.client.ends[end].slot);
        match self.client.ends[end].phase {
            Phase::Connecting if state == State::Established => {
                self.client.ends[end].phase = Phase::Open;
                events.push(Event::Connected(slot));
            }
            Phase::Connecting => {}
            Phase::Open => tell(self.client.get(end), Side::Client, slot, events),
            Phase::Closing if matches!(state, State::TimeWait | State::Closed) => {
                // Nobody waits here for twice the lifetime of a segment: it has no place to put that but a whole socket.
                self.client.get(end).abort();
                self.client.ends[end].phase = Phase::Open;
                self.client.free.push(end);
            }
            Phase::Closing => {}
        }
    }

    fn tell_server(&mut self, end: usize, events: &mut Vec<Event>) {
        self.server.arm(end);
        if self.server.ends[end].phase == Phase::Closing {
            if self.server.get(end).state() == State::Closed {
                self.listen(end);
            }
        } else if self.server.get(end).state() != State::Listen {
            tell(self.server.get(end), Side::Server, end, events);
        }
    }
}

fn tell(socket: &tcp::Socket<'_>, side: Side, slot: usize, events: &mut Vec<Event>) {
    if socket.can_recv() || !socket.may_recv() {
        events.push(Event::Readable(side, slot));
    }
    if socket.can_send() {
        events.push(Event::Writable(side, slot));
    }
}

impl Ends for Smoltcp {
    fn new(slots: usize, link: Link) -> Self {
        let mtu = if link == Link::Mtu1500 { 1_500 } else { usize::from(u16::MAX) };
        let buffer = if slots == 1 { MUCH } else { FEW };
        let (here, there) = Wire::pair();
        let mut ends = Self {
            begin: Clock::now(),
            client: Host::new(CLIENT, 1, mtu, here, buffer),
            server: Host::new(SERVER, 2, mtu, there, buffer),
            slots: vec![0; slots],
            next_port: EPHEMERAL,
        };
        // As many as come at once in addition to those that are open.
        for _ in 0..slots + SPARE {
            let end = ends.server.socket();
            ends.listen(end);
        }
        ends
    }

    fn connect(&mut self, slot: usize) {
        let end = self.client.socket();
        self.slots[slot] = end;
        self.client.ends[end].slot = slot;
        self.client.ends[end].phase = Phase::Connecting;
        self.next_port = self.next_port.checked_add(1).unwrap_or(EPHEMERAL);
        let Host { interface, sockets, ends, .. } = &mut self.client;
        let socket = sockets.get_mut::<tcp::Socket<'_>>(ends[end].handle);
        socket.connect(interface.context(), (SERVER, PORT), self.next_port).expect("it is closed");
        self.client.arm(end);
    }

    fn turn(&mut self, events: &mut Vec<Event>) {
        let now = Instant::from_micros(i64::try_from(self.begin.elapsed().as_micros()).expect("a short time"));
        self.client.poll(now);
        self.server.poll(now);
        for end in self.server.woken() {
            self.tell_server(end, events);
        }
        for end in self.client.woken() {
            self.tell_client(end, events);
        }
    }

    fn send(&mut self, side: Side, slot: usize, bytes: &[u8]) -> usize {
        let (host, end) = self.host(side, slot);
        host.get(end).send_slice(bytes).expect("it is open")
    }

    fn receive(&mut self, side: Side, slot: usize, most: usize, mut read: impl FnMut(&[u8])) -> Option<usize> {
        let (host, end) = self.host(side, slot);
        let socket = host.get(end);
        if !socket.can_recv() {
            return (socket.may_recv() || matches!(socket.state(), State::Listen | State::SynReceived)).then_some(0);
        }
        let mut got = 0;
        // The buffer is a ring: what has come may lie in two pieces.
        while got < most && socket.can_recv() {
            got += socket
                .recv(|bytes| {
                    let bytes = &bytes[..bytes.len().min(most - got)];
                    read(bytes);
                    (bytes.len(), bytes.len())
                })
                .expect("there is something");
        }
        Some(got)
    }

    fn close(&mut self, side: Side, slot: usize) {
        let (host, end) = self.host(side, slot);
        host.ends[end].phase = Phase::Closing;
        host.get(end).close();
    }
}

/// One end of the link: frames that have come, and those of the other end. Memory goes round.
struct Wire {
    mtu: usize,
    incoming: Frames,
    outgoing: Frames,
    spare: Rc<RefCell<Vec<Vec<u8>>>>,
}

type Frames = Rc<RefCell<VecDeque<Vec<u8>>>>;

impl Wire {
    fn pair() -> (Self, Self) {
        let (one, other) = (Frames::default(), Frames::default());
        let spare = Rc::default();
        let here = Self { mtu: 0, incoming: one.clone(), outgoing: other.clone(), spare: Rc::clone(&spare) };
        (here, Self { mtu: 0, incoming: other, outgoing: one, spare })
    }
}

impl phy::Device for Wire {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Room<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, Room<'_>)> {
        let frame = self.incoming.borrow_mut().pop_front()?;
        Some((Received { frame, wire: self }, Room(self)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Room<'_>> {
        (self.outgoing.borrow().len() < QUEUE).then_some(Room(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.mtu;
        capabilities
    }
}

struct Received<'a> {
    frame: Vec<u8>,
    wire: &'a Wire,
}

impl phy::RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        let answer = f(&self.frame);
        self.wire.spare.borrow_mut().push(self.frame);
        answer
    }
}

struct Room<'a>(&'a Wire);

impl phy::TxToken for Room<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut frame = self.0.spare.borrow_mut().pop().unwrap_or_default();
        // Memory that was used before is not cleared.
        if frame.len() < length {
            frame.resize(length, 0);
        }
        frame.truncate(length);
        let answer = f(&mut frame);
        self.0.outgoing.borrow_mut().push_back(frame);
        answer
    }
}

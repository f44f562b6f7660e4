//! smoltcp as a host.

use std::collections::VecDeque;

use smoltcp::iface::{Config, Interface, PollResult, SocketHandle, SocketSet};
use smoltcp::phy::{self, DeviceCapabilities, Medium};
use smoltcp::socket::tcp::{self, CongestionControl, RecvError, State};
use smoltcp::time::Instant as SmolInstant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};
use sunstar_tcpip::time::Instant;

use super::world::{Host, MTU, OURS, THEIRS, Version, mac};

const ETHERNET_HEADER: usize = 14;
/// Bytes of the socket's buffers.
const BUFFER: usize = 128 * 1024;

pub(crate) struct Smoltcp {
    interface: Interface,
    wire: Wire,
    sockets: SocketSet<'static>,
    socket: SocketHandle,
    version: Version,
    was_open: bool,
    has_aborted: bool,
    has_connected: bool,
}

fn at(now: Instant) -> SmolInstant {
    SmolInstant::from_micros(i64::try_from(now.as_micros()).expect("a short time"))
}

impl Smoltcp {
    pub(crate) fn new(now: Instant, version: Version, congestion: CongestionControl) -> Self {
        let mut wire = Wire::default();
        let config = Config::new(HardwareAddress::Ethernet(EthernetAddress(mac(THEIRS))));
        let mut interface = Interface::new(config, &mut wire, at(now));
        interface.update_ip_addrs(|addresses| {
            let address = IpCidr::new(version.address(THEIRS).into(), version.prefix_len());
            addresses.push(address).expect("room for one");
        });
        let buffer = || tcp::SocketBuffer::new(vec![0; BUFFER]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.set_congestion_control(congestion);
        let mut sockets = SocketSet::new(Vec::new());
        let socket = sockets.add(socket);
        Self { interface, wire, sockets, socket, version, was_open: false, has_aborted: false, has_connected: false }
    }

    fn socket(&mut self) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(self.socket)
    }
}

impl Host for Smoltcp {
    fn take(&mut self, _: Instant, frame: &[u8]) {
        self.wire.came.push_back(frame.to_vec());
    }

    fn turn(&mut self, now: Instant, send: &mut dyn FnMut(Vec<u8>)) {
        while self.interface.poll(at(now), &mut self.wire, &mut self.sockets) == PollResult::SocketStateChanged {}
        self.was_open |= self.socket().may_send();
        self.wire.leaving.drain(..).for_each(send);
    }

    fn deadline(&mut self, now: Instant) -> Option<Instant> {
        let deadline = self.interface.poll_at(at(now), &self.sockets)?;
        Some(Instant::from_micros(u64::try_from(deadline.total_micros()).expect("after the origin")))
    }

    fn listen(&mut self, port: u16) {
        self.socket().listen(port).expect("it is closed");
    }

    fn connect(&mut self, _: Instant, from: u16, to: u16) {
        self.has_connected = true;
        let to = (self.version.address(OURS), to);
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(self.socket);
        socket.connect(self.interface.context(), to, from).expect("it is closed");
    }

    fn is_open(&mut self) -> bool {
        self.was_open |= self.socket().may_send();
        self.was_open
    }

    fn send(&mut self, bytes: &[u8]) -> usize {
        if self.socket().can_send() { self.socket().send_slice(bytes).expect("there is room") } else { 0 }
    }

    fn receive(&mut self, bytes: &mut Vec<u8>) {
        while self.socket().can_recv() {
            let took = self.socket().recv(|part| {
                bytes.extend_from_slice(part);
                (part.len(), ())
            });
            took.expect("there is something");
        }
    }

    fn has_ended(&mut self) -> bool {
        self.socket().recv(|_| (0, ())) == Err(RecvError::Finished)
    }

    fn end(&mut self, _: Instant) {
        self.socket().close();
    }

    fn abort(&mut self, _: Instant) {
        self.has_aborted = true;
        self.socket().abort();
    }

    fn is_reset(&mut self) -> bool {
        // Of a listener that was reset before it was open there is nothing to see.
        let began = self.was_open || self.has_connected;
        began && !self.has_aborted && self.socket().state() == State::Closed && !self.has_ended()
    }

    fn is_over(&mut self) -> bool {
        matches!(self.socket().state(), State::Closed | State::TimeWait)
    }
}

/// Frames that have come, and that are to leave.
#[derive(Default)]
struct Wire {
    came: VecDeque<Vec<u8>>,
    leaving: VecDeque<Vec<u8>>,
}

impl phy::Device for Wire {
    type RxToken<'a> = Came;
    type TxToken<'a> = Room<'a>;

    fn receive(&mut self, _: SmolInstant) -> Option<(Came, Room<'_>)> {
        let frame = self.came.pop_front()?;
        Some((Came(frame), Room(self)))
    }

    fn transmit(&mut self, _: SmolInstant) -> Option<Room<'_>> {
        Some(Room(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = usize::from(MTU) + ETHERNET_HEADER;
        capabilities
    }
}

struct Came(Vec<u8>);

impl phy::RxToken for Came {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

struct Room<'a>(&'a mut Wire);

impl phy::TxToken for Room<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut frame = vec![0; length];
        let answer = f(&mut frame);
        self.0.leaving.push_back(frame);
        answer
    }
}

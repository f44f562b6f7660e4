//! The floor: two stacks that are called directly, as smoltcp is, without tasks, devices or sockets between them and the loops.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Instant as Clock;

use sunstar_bench_common::tcp::{Ends, Event, Link, Side};
use sunstar_packet::{Buffer, Packet};
use sunstar_tcpip::interface::{Capabilities, InterfaceId, InterfaceOptions, Link as LinkKind};
use sunstar_tcpip::prefix::Prefix;
use sunstar_tcpip::stack::{Event as Told, Limits, Stack};
use sunstar_tcpip::tcp::connection::{Options, State};
use sunstar_tcpip::tcp::sockets::{Event as TcpTold, SocketId};
use sunstar_tcpip::time::Instant;
use sunstar_wire::MacAddr;

use super::{CLIENT, PORT, SERVER};

const WORKS: &str = "two stacks on a lossless link can do this";
/// Packets that go over the link at a time.
const BURST: usize = 64;
/// Ports in turn, so that the local ones of each are not used up by what lingers in TIME-WAIT.
const PORTS: u16 = 64;

/// Both stacks.
pub(super) struct Stacks {
    begin: Clock,
    now: Instant,
    hosts: [Stack; 2],
    link: InterfaceId,
    options: Rc<Options>,
    opened: u16,
    burst: Vec<Packet>,
    /// What each slot of the client's and each number of the server's names.
    ids: [Vec<Option<SocketId>>; 2],
    /// The client's slots by the small numbers of its sockets.
    slots: Vec<usize>,
    /// Which of the client's slots are open.
    is_open: Vec<bool>,
    /// Bytes that were taken out of a stack and not read.
    rest: Option<(Side, usize, Buffer)>,
}

const fn place(side: Side) -> usize {
    match side {
        Side::Client => 0,
        Side::Server => 1,
    }
}

fn put<T: Default>(table: &mut Vec<T>, at: usize, value: T) {
    if at >= table.len() {
        table.resize_with(at + 1, T::default);
    }
    table[at] = value;
}

fn host(last: u8, address: Ipv4Addr, mtu: u16, now: Instant) -> (Stack, InterfaceId) {
    let mut stack = Stack::new([last; 16], Limits::DEFAULT);
    let link = LinkKind::Ethernet(MacAddr([2, 0, 0, 0, 0, last]));
    let options = InterfaceOptions { link, mtu, capabilities: Capabilities::default() };
    let link = stack.add_interface(options).expect(WORKS);
    let prefix = Prefix::new(IpAddr::V4(address), 24).expect("24 bits are fewer than 32");
    stack.add_address(now, link, prefix).expect(WORKS);
    (stack, link)
}

impl Stacks {
    fn carry(&mut self, from: usize) {
        loop {
            while self.burst.len() < BURST {
                let mut packet = Packet::new();
                if self.hosts[from].transmit_into(self.now, &mut packet).is_none() {
                    break;
                }
                self.burst.push(packet);
            }
            if self.burst.is_empty() {
                return;
            }
            self.hosts[1 - from].handle_packets(self.now, self.link, &mut self.burst);
            self.burst.clear();
        }
    }

    fn tell(&mut self, side: Side, events: &mut Vec<Event>) {
        while let Some(event) = self.hosts[place(side)].poll_event() {
            match event {
                Told::Tcp(TcpTold::Socket(id)) => self.tell_of(side, id, events),
                Told::Tcp(TcpTold::Listener(listener)) => {
                    while let Some(id) = self.hosts[1].tcp().accept(listener) {
                        put(&mut self.ids[1], id.index(), Some(id));
                        self.tell_of(Side::Server, id, events);
                    }
                }
                _ => {}
            }
        }
    }

    fn tell_of(&mut self, side: Side, id: SocketId, events: &mut Vec<Event>) {
        let slot = if side == Side::Client { self.slots[id.index()] } else { id.index() };
        if self.ids[place(side)][slot] != Some(id) {
            return;
        }
        let Some(connection) = self.hosts[place(side)].tcp().connection(id) else { return };
        if side == Side::Client && !self.is_open[slot] {
            if connection.state() == State::Established {
                self.is_open[slot] = true;
                events.push(Event::Connected(slot));
            }
            return;
        }
        if connection.receivable() > 0 || connection.is_at_end() {
            events.push(Event::Readable(side, slot));
        }
        if connection.unacknowledged() < connection.send_capacity() {
            events.push(Event::Writable(side, slot));
        }
    }
}

impl Ends for Stacks {
    fn new(slots: usize, link: Link) -> Self {
        let mtu = if link == Link::Mtu1500 { 1_500 } else { u16::MAX };
        let now = Instant::from_micros(1_000_000);
        let options = Rc::new(Options { is_no_delay: true, mss: u16::MAX, ..Options::DEFAULT });
        let [(client, _), (mut server, link)] = [host(1, CLIENT, mtu, now), host(2, SERVER, mtu, now)];
        let at = |port| SocketAddr::from((SERVER, PORT + port));
        for port in 0..PORTS {
            server.listen(at(port), 1_024, Rc::clone(&options)).expect(WORKS);
        }
        Self {
            begin: Clock::now(),
            now,
            hosts: [client, server],
            link,
            options,
            opened: 0,
            burst: Vec::new(),
            ids: [vec![None; slots], Vec::new()],
            slots: Vec::new(),
            is_open: vec![false; slots],
            rest: None,
        }
    }

    fn connect(&mut self, slot: usize) {
        self.opened = (self.opened + 1) % PORTS;
        let to = SocketAddr::from((SERVER, PORT + self.opened));
        let id = self.hosts[0].connect(self.now, None, to, Rc::clone(&self.options)).expect(WORKS);
        put(&mut self.slots, id.index(), slot);
        self.ids[0][slot] = Some(id);
        self.is_open[slot] = false;
    }

    fn turn(&mut self, events: &mut Vec<Event>) {
        let passed = u64::try_from(self.begin.elapsed().as_micros()).expect("a short time");
        self.now = Instant::from_micros(1_000_000 + passed);
        for host in &mut self.hosts {
            if host.deadline().is_some_and(|deadline| deadline <= self.now) {
                host.handle_timeout(self.now);
            }
        }
        self.carry(0);
        self.carry(1);
        self.tell(Side::Server, events);
        self.tell(Side::Client, events);
    }

    fn send(&mut self, side: Side, slot: usize, bytes: &[u8]) -> usize {
        let id = self.ids[place(side)][slot].expect(WORKS);
        let tcp = self.hosts[place(side)].tcp();
        let connection = tcp.connection(id).expect(WORKS);
        let room = connection.send_capacity().saturating_sub(connection.unacknowledged()) as usize;
        let len = bytes.len().min(room);
        if len > 0 {
            tcp.send(id, Buffer::copy_from_slice(&bytes[..len])).expect(WORKS);
        }
        len
    }

    fn receive(&mut self, side: Side, slot: usize, most: usize, mut read: impl FnMut(&[u8])) -> Option<usize> {
        let id = self.ids[place(side)][slot]?;
        let tcp = self.hosts[place(side)].tcp();
        let mut got = 0;
        while got < most {
            let kept = self.rest.take_if(|(of, at, _)| (*of, *at) == (side, slot)).map(|(.., rest)| rest);
            let Some(mut bytes) = kept.or_else(|| tcp.receive(id)) else { break };
            let part = bytes.split_to(bytes.len().min(most - got));
            read(&part);
            got += part.len();
            if !bytes.is_empty() {
                self.rest = Some((side, slot, bytes));
            }
        }
        let is_at_end = got == 0 && tcp.connection(id).is_none_or(|connection| connection.is_at_end());
        (!is_at_end).then_some(got)
    }

    fn close(&mut self, side: Side, slot: usize) {
        if let Some(id) = self.ids[place(side)][slot].take() {
            self.hosts[place(side)].tcp().release(self.now, id);
        }
    }
}

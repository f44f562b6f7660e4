//! The gates of TCP/IP: `sunstar-gates-tcpip NAME`, or `--list`. Packets come from IP on, with checksums that a device has verified.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use sunstar_bench_common::gates::{self, GateOnce, OPERATIONS, WorkOnce};
use sunstar_packet::{Buffer, Checksum, Packet};
use sunstar_tcpip::interface::{Capabilities, InterfaceId, InterfaceOptions, Link};
use sunstar_tcpip::prefix::Prefix;
use sunstar_tcpip::stack::{Limits, Stack};
use sunstar_tcpip::tcp::connection::Options;
use sunstar_tcpip::tcp::sockets::{ListenerId, SocketId};
use sunstar_tcpip::time::Instant;
use sunstar_wire::checksum::{Fill, Sum};
use sunstar_wire::{
    IpProtocol, Ipv4Header, Ipv4Packet, Seq, TcpFlags, TcpHeader, TcpOptions, TcpSegment, TcpTimestamps, WindowScale,
};

/// So many packets come at once.
const BURST: usize = 32;
const MSS: u32 = 1_448;

const US: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

const GATES: [GateOnce; 3] = [
    // A full segment in order: received, read by the application, and every second one acknowledged.
    ("tcpip_data", receive_data),
    // An acknowledgement of one segment of many that are in flight.
    ("tcpip_ack", receive_acks),
    // A connection that a stranger opens, from its SYN until it is accepted.
    ("tcpip_accept", accept),
];

/// Whose cache lines are counted: the same for one connection, and for so many that nothing of any stays in a small cache.
const LINES: [GateOnce; 4] = [
    // A small segment in order, read and acknowledged.
    ("tcpip_data_near", || scattered(1, false)),
    ("tcpip_data_far", || scattered(FAR, false)),
    // The same with an answer, which the next one acknowledges.
    ("tcpip_request_near", || scattered(1, true)),
    ("tcpip_request_far", || scattered(FAR, true)),
];

/// Connections of which nothing stays in a small cache.
const FAR: u32 = 5_000;

fn main() -> ExitCode {
    gates::main_once(&GATES, &LINES)
}

/// A stack that listens, and what the other side sends it.
struct Host {
    stack: Stack,
    interface: InterfaceId,
    listener: ListenerId,
    now: Instant,
}

impl Host {
    fn new() -> Self {
        let now = Instant::from_micros(1_000_000);
        let mut stack = Stack::new([7; 16], Limits::DEFAULT);
        let options = InterfaceOptions { link: Link::Ip, mtu: 1_500, capabilities: Capabilities::default() };
        let interface = stack.add_interface(options).expect("the first one");
        let prefix = Prefix::new(IpAddr::V4(US), 24).expect("32 bits");
        stack.add_address(now, interface, prefix).expect("it is a station's");
        let options = Options { send_capacity: 64 << 20, ..Options::DEFAULT };
        let local = SocketAddr::from((US, 80));
        let listener = stack.listen(local, OPERATIONS as usize, options).expect("the port is free");
        Self { stack, interface, listener, now }
    }

    fn gets(&mut self, burst: impl IntoIterator<Item = Packet>) {
        self.stack.handle_packets(self.now, self.interface, burst);
    }

    /// The header of the segment that leaves.
    fn sends(&mut self) -> Option<TcpHeader> {
        let (_, packet) = self.stack.poll_transmit(self.now)?;
        let bytes = packet.buffers().concat();
        let ip = Ipv4Packet::parse(&bytes).expect("it was built");
        Some(TcpSegment::parse(ip.payload()).expect("it was built").header())
    }

    /// Drops what leaves.
    fn transmit(&mut self) {
        while self.stack.poll_transmit(self.now).is_some() {}
    }

    /// Opens a connection with the first port.
    fn open(&mut self) -> (SocketId, Seq) {
        self.gets([syn(0)]);
        let iss = self.sends().expect("an answer").seq;
        self.gets([ack(0, iss + 1)]);
        (self.stack.tcp().accept(self.listener).expect("it is open"), iss)
    }
}

/// The first number of the other side's connections.
const ISS: Seq = Seq::new(100);

fn header(index: u32, flags: TcpFlags, seq: Seq, ack: Seq) -> TcpHeader {
    let (low, high) = (index % 50_000, index / 50_000);
    let src_port = 10_000 + u16::try_from(low).unwrap_or(0) + u16::try_from(high).unwrap_or(0);
    let timestamps = Some(TcpTimestamps { tsval: 1, tsecr: 1 });
    let options = TcpOptions { timestamps, ..TcpOptions::default() };
    TcpHeader { flags, seq, ack, window: u16::MAX, options, ..TcpHeader::new(src_port, 80) }
}

fn packet(header: &TcpHeader, payload: &Buffer) -> Packet {
    let tcp = header.to_bytes(Fill::Partial(Sum::ZERO));
    let ip = Ipv4Header::new(IpProtocol::TCP, PEER, US).to_bytes(tcp.len() + payload.len()).expect("it is short");
    let mut packet = Packet::from(Buffer::copy_from_slice(&[&ip[..], &tcp].concat()));
    if !payload.is_empty() {
        packet.push_back(payload.clone()).expect("the second one");
    }
    packet.offload.checksum = Checksum::Verified;
    packet
}

fn syn(index: u32) -> Packet {
    let mut syn = header(index, TcpFlags::SYN, ISS, Seq::default());
    syn.options.mss = 1_460.try_into().ok();
    syn.options.window_scale = Some(WindowScale::new(12));
    syn.options.is_sack_permitted = true;
    packet(&syn, &Buffer::new())
}

fn ack(index: u32, number: Seq) -> Packet {
    packet(&header(index, TcpFlags::ACK, ISS + 1, number), &Buffer::new())
}

fn receive_data() -> WorkOnce {
    let mut host = Host::new();
    let (id, iss) = host.open();
    let payload = Buffer::copy_from_slice(&[0x5a; 1_448]);
    let segment = |at: u32| packet(&header(0, TcpFlags::ACK, ISS + 1 + at * MSS, iss + 1), &payload);
    let mut segments: Vec<Packet> = (0..OPERATIONS + 64).rev().map(segment).collect();
    let mut receive = move |count: usize| {
        let mut left = count;
        while left > 0 {
            let burst = segments.split_off(segments.len() - left.min(BURST));
            left -= burst.len();
            host.gets(burst.into_iter().rev());
            while let Some(data) = host.stack.tcp().receive(id) {
                black_box(&data);
            }
            host.transmit();
        }
        assert_eq!(host.stack.drops().total(), 0, "all count");
    };
    // Beyond those that are acknowledged at once.
    receive(64);
    Box::new(move || receive(OPERATIONS as usize))
}

fn receive_acks() -> WorkOnce {
    let mut host = Host::new();
    let (id, iss) = host.open();
    let payload = Buffer::copy_from_slice(&[0x5a; 1_448]);
    let (mut queued, mut acked) = (0, 0);
    // Slow start, until enough is in flight.
    loop {
        let cwnd = host.stack.tcp().connection(id).map_or(0, |connection| connection.info(host.now).snd_cwnd);
        // More than the window takes, or it would not grow.
        let wanted = if cwnd >= OPERATIONS { OPERATIONS } else { cwnd + 1 };
        (queued..wanted).for_each(|_| host.stack.tcp().send(id, payload.clone()).expect("there is room"));
        host.transmit();
        if cwnd >= OPERATIONS {
            break;
        }
        // An acknowledgement of more than eight segments lets the window grow by no more (RFC 9406 §4.2).
        let acks = (acked + 1..=acked + cwnd).step_by(8).chain([acked + cwnd]);
        host.gets(acks.map(|acked| ack(0, iss + 1 + acked * MSS)));
        (queued, acked) = (wanted - cwnd, acked + cwnd);
    }
    let acks: Vec<Packet> = (1..=OPERATIONS).map(|more| ack(0, iss + 1 + (acked + more) * MSS)).collect();
    Box::new(move || {
        let mut acks = acks.into_iter();
        while acks.len() > 0 {
            host.gets(acks.by_ref().take(BURST));
            host.transmit();
        }
        assert_eq!(host.stack.tcp().connection(id).map(|connection| connection.unacknowledged()), Some(0));
    })
}

/// Segments that come one by one, each for another one of so many connections.
fn scattered(connections: u32, answers: bool) -> WorkOnce {
    const LEN: u32 = 64;
    let mut host = Host::new();
    let payload = Buffer::copy_from_slice(&[0x5a; LEN as usize]);
    let open = |index| {
        host.gets([syn(index)]);
        let iss = host.sends().expect("an answer").seq;
        host.gets([ack(index, iss + 1)]);
        (host.stack.tcp().accept(host.listener).expect("it is open"), iss)
    };
    let open: Vec<(SocketId, Seq)> = (0..connections).map(open).collect();
    while host.stack.poll_event().is_some() {}
    let warm_up = OPERATIONS.min(connections * 4);
    let segment = |at: u32| {
        let (index, round) = (at % connections, at / connections);
        let (id, iss) = open[index as usize];
        let number = iss + 1 + if answers { round * LEN } else { 0 };
        (id, packet(&header(index, TcpFlags::ACK, ISS + 1 + round * LEN, number), &payload))
    };
    let segments: Vec<(SocketId, Packet)> = (0..warm_up + OPERATIONS).map(segment).collect();
    let mut segments = segments.into_iter();
    let mut receive = move |count: u32| {
        for (id, segment) in segments.by_ref().take(count as usize) {
            host.gets([segment]);
            while host.stack.poll_event().is_some() {}
            while let Some(data) = host.stack.tcp().receive(id) {
                black_box(&data);
            }
            if answers {
                host.stack.tcp().send(id, payload.clone()).expect("there is room");
            }
            host.transmit();
        }
        assert_eq!(host.stack.drops().total(), 0, "all count");
    };
    receive(warm_up);
    Box::new(move || receive(OPERATIONS))
}

fn accept() -> WorkOnce {
    // The same key and the same time give the same numbers.
    let mut rehearsal = Host::new();
    let numbers = (0..OPERATIONS).map(|index| {
        rehearsal.gets([syn(index)]);
        let answer = rehearsal.sends().expect("an answer");
        rehearsal.gets([ack(index, answer.seq + 1)]);
        rehearsal.stack.tcp().accept(rehearsal.listener).expect("it is open");
        answer.seq + 1
    });
    let packets: Vec<[Packet; 2]> =
        (0..).zip(numbers).map(|(index, number)| [syn(index), ack(index, number)]).collect();
    let mut host = Host::new();
    Box::new(move || {
        for [syn, ack] in packets {
            host.gets([syn]);
            host.transmit();
            host.gets([ack]);
            black_box(host.stack.tcp().accept(host.listener).expect("it is open"));
            while host.stack.poll_event().is_some() {}
            host.transmit();
        }
    })
}

//! Very many clients at the other end of a link, of whom nothing is kept: what each has to say follows from what is said to it.
//!
//! A client is a number, which its address and port say. Its initial sequence number and its request are made from that. What only
//! the server knows, its own sequence number, is in every segment of it; when a connection is to be asked, it is provoked to say it again
//! by a segment from before the window, as by a probe of keep-alive (RFC 9293 §3.8.4). So the request answers an acknowledgement.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::task::Context;

use sunstar_device::{Capabilities, Counters, Offloads, Queue, QueueError, Readiness};
use sunstar_executor::Instant;
use sunstar_packet::{Buffer, Packet};
use sunstar_wire::checksum::{Fill, Sum, pseudo_header_v4};
use sunstar_wire::{
    Arp, ArpOperation, EtherType, EthernetFrame, EthernetHeader, IpProtocol, Ipv4Header, Ipv4Packet, MacAddr, Seq,
    TcpFlags, TcpHeader, TcpOptions, TcpSegment, TcpTimestamps, Vlan,
};

/// Addresses of the clients: the first of so many, those that are for benchmarks (RFC 2544), and their ports.
const CLIENTS: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
const CLIENT_BITS: u32 = 17;
const FIRST_PORT: u32 = 1_024;
/// So many clients there may be.
pub(super) const MOST: u32 = (65_536 - FIRST_PORT) << CLIENT_BITS;

/// Who answers for all of them on the link, and the server.
const GATEWAY_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const SERVER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
pub(super) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(super) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub(super) const PORT: u16 = 80;

/// Clients at a time of whom an answer is awaited.
const AT_A_TIME: u32 = 256;
/// Bytes of a request and of a response.
pub(super) const MESSAGE: usize = 64;
const WINDOW: u16 = 0xffff;

/// What the server has to answer to a request.
pub(super) fn response_to(request: &[u8; MESSAGE]) -> [u8; MESSAGE] {
    request.map(|byte| byte.rotate_left(3) ^ 0x5a)
}

/// What a client asks: different from what all others do, in all its bytes.
fn request_of(client: u32) -> [u8; MESSAGE] {
    let mut state = u64::from(client) ^ 0x9e37_79b9_7f4a_7c15;
    let mut bytes = [0; MESSAGE];
    bytes[..4].copy_from_slice(&client.to_be_bytes());
    for chunk in bytes[4..].chunks_mut(4) {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        chunk.copy_from_slice(&state.to_be_bytes()[..4]);
    }
    bytes
}

fn isn_of(client: u32) -> u32 {
    client.wrapping_mul(0x9e37_79b1)
}

fn address_of(client: u32) -> (Ipv4Addr, u16) {
    let address = CLIENTS.to_bits() | (client & ((1 << CLIENT_BITS) - 1));
    let port = u16::try_from(FIRST_PORT + (client >> CLIENT_BITS)).expect("there are no more clients than have ports");
    (address.into(), port)
}

fn client_at(address: Ipv4Addr, port: u16) -> u32 {
    (address.to_bits() & ((1 << CLIENT_BITS) - 1)) | ((u32::from(port) - FIRST_PORT) << CLIENT_BITS)
}

/// What the clients are to do, and what became of it.
#[derive(Default)]
pub(super) struct Orders {
    /// Clients that are to connect, and that are to ask.
    pub(super) to_connect: Cell<u32>,
    pub(super) to_ask: Cell<u32>,
    /// Of those: who has begun, and who is done.
    connecting: Cell<u32>,
    pub(super) connected: Cell<u32>,
    asking: Cell<u32>,
    pub(super) answered: Cell<u32>,
    /// Resets, ends, and answers that are wrong.
    pub(super) failures: Cell<u32>,
    /// Who has an answer: a bit for each, so that none counts twice.
    has_answer: RefCell<Vec<u64>>,
}

impl Orders {
    /// Takes note of a client's answer.
    fn answer(&self, client: u32, is_right: bool) {
        let mut has_answer = self.has_answer.borrow_mut();
        let (word, bit) = (client as usize / 64, 1_u64 << (client % 64));
        if word >= has_answer.len() {
            has_answer.resize(word + 1, 0);
        }
        let is_new = has_answer[word] & bit == 0;
        has_answer[word] |= bit;
        add(&self.answered, u32::from(is_right && is_new));
        add(&self.failures, u32::from(!is_right));
    }

    /// The next segment that no segment of the server asks for.
    fn next(&self, now_ms: u32) -> Option<Buffer> {
        let begin = |begun: &Cell<u32>, done: &Cell<u32>, wanted: &Cell<u32>| {
            let client = begun.get();
            let may = client < wanted.get() && client - done.get() < AT_A_TIME;
            may.then(|| begun.set(client + 1)).map(|()| client)
        };
        if let Some(client) = begin(&self.connecting, &self.connected, &self.to_connect) {
            return Some(syn(client, now_ms));
        }
        let client = begin(&self.asking, &self.answered, &self.to_ask)?;
        Some(segment(client, isn_of(client), 0, TcpFlags::ACK, [now_ms, 0], &[]))
    }
}

fn add(number: &Cell<u32>, more: u32) {
    number.set(number.get() + more);
}

/// The device of the server at whose other end the clients are.
pub(super) struct Clients {
    orders: Rc<Orders>,
    capabilities: Capabilities,
    /// What they say because of what was said to them.
    replies: VecDeque<Buffer>,
    counters: Counters,
}

impl Clients {
    pub(super) fn new(orders: Rc<Orders>) -> Self {
        let (tx, rx) = (Offloads::NONE, Offloads::NONE);
        let capabilities = Capabilities { mac: SERVER_MAC, mtu_bytes: 1_500, queues: 1, tx, rx, rss: None };
        Self { orders, capabilities, replies: VecDeque::new(), counters: Counters::default() }
    }

    fn hear(&mut self, frame: &[u8], now_ms: u32) -> Option<()> {
        let frame = EthernetFrame::parse(frame).ok()?;
        if frame.header().ethertype == EtherType::ARP {
            let arp = Arp::parse(frame.payload()).ok()?;
            if arp.operation == ArpOperation::Request && arp.tpa == GATEWAY {
                self.replies.push_back(framed(EtherType::ARP, &[&arp.reply(GATEWAY_MAC).to_bytes()]));
            }
            return Some(());
        }
        let packet = Ipv4Packet::parse(frame.payload()).ok()?;
        let segment = TcpSegment::parse(packet.payload()).ok()?;
        let reply = self.answer(client_at(packet.dst(), segment.dst_port()), &segment, now_ms)?;
        self.replies.push_back(reply);
        Some(())
    }

    /// What a client says to a segment, if anything.
    fn answer(&self, client: u32, heard: &TcpSegment<'_>, now_ms: u32) -> Option<Buffer> {
        let flags = heard.flags();
        if flags.contains(TcpFlags::RST) || flags.contains(TcpFlags::FIN) {
            add(&self.orders.failures, 1);
            return None;
        }
        let timestamps = [now_ms, heard.options().timestamps.map_or(0, |theirs| theirs.tsval)];
        let (begin, next) = (isn_of(client).wrapping_add(1), heard.seq().value());
        let say = |seq, ack, payload: &[u8]| Some(segment(client, seq, ack, TcpFlags::ACK, timestamps, payload));
        if flags.contains(TcpFlags::SYN) {
            add(&self.orders.connected, 1);
            return say(begin, next.wrapping_add(1), &[]);
        }
        let response = heard.payload();
        if !response.is_empty() {
            self.orders.answer(client, response == response_to(&request_of(client)));
            let len = u32::try_from(response.len()).unwrap_or(u32::MAX);
            return say(heard.ack().value(), next.wrapping_add(len), &[]);
        }
        // It has heard nothing yet, so it was provoked.
        if heard.ack().value() == begin { say(begin, next, &request_of(client)) } else { None }
    }
}

impl Queue for Clients {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn rx_burst(&mut self, now: Instant, out: &mut VecDeque<Packet>, max: usize) -> Result<usize, QueueError> {
        let now_ms = milliseconds(now);
        let next = std::iter::from_fn(|| self.replies.pop_front().or_else(|| self.orders.next(now_ms)));
        let before = out.len();
        out.extend(next.take(max).map(Packet::from));
        self.counters.rx_packets += (out.len() - before) as u64;
        Ok(out.len() - before)
    }

    fn tx_burst(&mut self, now: Instant, packets: &mut VecDeque<Packet>) -> Result<usize, QueueError> {
        let count = packets.len();
        let mut bytes = [0; 2_048];
        for packet in packets.drain(..) {
            let whole = &mut bytes[..packet.len()];
            packet.copy_to_slice(0, whole).expect("it is as long as the packet");
            self.hear(whole, milliseconds(now));
        }
        self.counters.tx_packets += count as u64;
        Ok(count)
    }

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Readiness<'_> {
        let orders = &self.orders;
        let is_done = orders.connected.get() >= orders.to_connect.get() && orders.answered.get() >= orders.to_ask.get();
        // While anything is to be done, it is polled.
        if self.replies.is_empty() && is_done { Readiness::Woken } else { Readiness::Ready }
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

fn milliseconds(now: Instant) -> u32 {
    // A clock of timestamps, which turns over.
    u32::try_from(now.as_nanos() / 1_000_000 % (1 << 31)).unwrap_or_default() + 1
}

fn syn(client: u32, now_ms: u32) -> Buffer {
    let options = TcpOptions {
        mss: std::num::NonZeroU16::new(1_460),
        window_scale: Some(sunstar_wire::WindowScale::new(7)),
        is_sack_permitted: true,
        timestamps: Some(TcpTimestamps { tsval: now_ms, tsecr: 0 }),
        ..TcpOptions::default()
    };
    packet(client, isn_of(client), 0, TcpFlags::SYN, options, &[])
}

fn segment(client: u32, seq: u32, ack: u32, flags: TcpFlags, [tsval, tsecr]: [u32; 2], payload: &[u8]) -> Buffer {
    let options = TcpOptions { timestamps: Some(TcpTimestamps { tsval, tsecr }), ..TcpOptions::default() };
    packet(client, seq, ack, flags, options, payload)
}

fn packet(client: u32, seq: u32, ack: u32, flags: TcpFlags, options: TcpOptions, payload: &[u8]) -> Buffer {
    let (src, src_port) = address_of(client);
    let (seq, ack) = (Seq::new(seq), Seq::new(ack));
    let header = TcpHeader { src_port, dst_port: PORT, seq, ack, flags, window: WINDOW, urgent_pointer: 0, options };
    let len = header.header_len() + payload.len();
    let covered = u16::try_from(len).expect("it is a short packet");
    let sum = pseudo_header_v4(src, SERVER, IpProtocol::TCP, covered) + Sum::of(payload);
    let ip = Ipv4Header::new(IpProtocol::TCP, src, SERVER).to_bytes(len).expect("it is a short packet");
    framed(EtherType::IPV4, &[&ip, &header.to_bytes(Fill::Complete(sum)), payload])
}

fn framed(ethertype: EtherType, parts: &[&[u8]]) -> Buffer {
    let header = EthernetHeader { dst: SERVER_MAC, src: GATEWAY_MAC, vlan: Vlan::Untagged, ethertype };
    let (mut bytes, mut len) = ([0; 256], 0);
    for part in [&header.to_bytes()[..]].iter().chain(parts) {
        bytes[len..len + part.len()].copy_from_slice(part);
        len += part.len();
    }
    Buffer::copy_from_slice(&bytes[..len])
}

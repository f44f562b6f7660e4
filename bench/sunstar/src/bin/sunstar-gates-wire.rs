//! The gates of the headers on the wire: `sunstar-gates-wire NAME`, or `--list`.

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::process::ExitCode;

use sunstar_bench_common::gates::{self, Gate};
use sunstar_wire::checksum::{Fill, Sum, pseudo_header_v4};
use sunstar_wire::toeplitz::{MICROSOFT_KEY, Toeplitz};
use sunstar_wire::{
    AddressPair, EtherType, EthernetFrame, EthernetHeader, FourTuple, IpProtocol, Ipv4Header, Ipv4Packet, MacAddr, Seq,
    TcpFlags, TcpHeader, TcpOptions, TcpSegment, TcpTimestamps, Vlan,
};

const GATES: [Gate; 4] = [
    ("wire_sum", || Box::new(add_up_payload)),
    ("wire_parse", || Box::new(read_headers)),
    ("wire_build", || Box::new(build_headers)),
    ("wire_hash", || Box::new(hash_flow)),
];

fn main() -> ExitCode {
    gates::main(&GATES)
}

const SRC: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const DST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// Adds up what a segment of a full Ethernet frame carries.
fn add_up_payload(count: u64) {
    let payload = [0xa5_u8; 1460];
    for _ in 0..count {
        black_box(Sum::of(black_box(&payload)).partial());
    }
}

/// Reads the headers of a segment without payload from Ethernet on, with the checksum of IPv4 and the timestamps.
fn read_headers(count: u64) {
    let frame = headers(1, Sum::ZERO);
    for _ in 0..count {
        black_box(read(black_box(&frame)));
    }
}

/// What a connection wants to know of a segment.
fn read(frame: &[u8]) -> Option<(FourTuple, Seq, Seq, TcpFlags, u16, TcpTimestamps)> {
    let frame = EthernetFrame::parse(frame).ok()?;
    let ip = Ipv4Packet::parse(frame.payload()).ok()?;
    if frame.ethertype() != EtherType::IPV4 || ip.protocol() != IpProtocol::TCP || !ip.has_valid_checksum() {
        return None;
    }
    let tcp = TcpSegment::parse(ip.payload()).ok()?;
    let flow = FourTuple { addresses: ip.addresses(), src_port: tcp.src_port(), dst_port: tcp.dst_port() };
    Some((flow, tcp.seq(), tcp.ack(), tcp.flags(), tcp.window(), tcp.lone_timestamps()?))
}

/// Builds the headers of a segment of 1,448 bytes, whose sum is known.
fn build_headers(count: u64) {
    let payload = Sum::of(&[0xa5; 1448]);
    for i in 0..count {
        black_box(headers(black_box(u32::try_from(i).unwrap_or_default()), payload));
    }
}

fn headers(tsval: u32, payload: Sum) -> [u8; 66] {
    let options = TcpOptions { timestamps: Some(TcpTimestamps { tsval, tsecr: 2 }), ..TcpOptions::default() };
    let tcp =
        TcpHeader { seq: Seq::new(tsval), flags: TcpFlags::ACK, window: 501, options, ..TcpHeader::new(80, 49_152) };
    let rest = pseudo_header_v4(SRC, DST, IpProtocol::TCP, 1480) + payload;
    let tcp = tcp.to_bytes(Fill::Complete(rest));
    let ip = Ipv4Header::new(IpProtocol::TCP, SRC, DST).to_bytes(tcp.len()).expect("it is short");
    let addresses = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
    let ethernet =
        EthernetHeader { dst: addresses.0, src: addresses.1, vlan: Vlan::Untagged, ethertype: EtherType::IPV4 };
    let ethernet = ethernet.to_bytes();
    let mut frame = [0; 66];
    frame[..14].copy_from_slice(&ethernet);
    frame[14..34].copy_from_slice(&ip);
    frame[34..].copy_from_slice(&tcp);
    frame
}

/// Hashes an IPv4 flow.
fn hash_flow(count: u64) {
    static RSS: Toeplitz = Toeplitz::new(&MICROSOFT_KEY);
    let addresses = AddressPair::V4 { src: SRC, dst: DST };
    for _ in 0..count {
        black_box(RSS.hash_flow(black_box(FourTuple { addresses, src_port: 80, dst_port: 49_152 })));
    }
}

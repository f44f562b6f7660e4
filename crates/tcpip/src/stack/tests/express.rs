//! The short way of packets that come in ends where the long one does, whatever is wrong with them.

use core::borrow::BorrowMut;
use core::net::{IpAddr, Ipv6Addr};

use proptest::collection::vec;
use proptest::prelude::*;
use sunstar_packet::{Buffer, Packet};
use sunstar_wire::checksum::{Fill, Sum, pseudo_header};
use sunstar_wire::{
    AddressPair, EtherType, EthernetHeader, IpProtocol, Ipv4Header, Ipv6Header, Seq, TcpFlags, TcpHeader, TcpOptions,
    TcpTimestamps, Vlan,
};

use super::world::{ADDRESSES, address, ethernet, mac};
use crate::configuration::Change;
use crate::interface::InterfaceId;
use crate::prefix::Prefix;
use crate::stack::{Limits, Stack};
use crate::tcp::connection::Options;
use crate::time::Instant;

const ADDRESSES_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2)];

/// A frame of the other host, with wrong bytes, and more of them behind it.
#[derive(Clone, Debug)]
struct Frame {
    is_v6: bool,
    flags: u16,
    seq: u32,
    has_timestamps: bool,
    payload: Vec<u8>,
    /// Places and what they become, before and after the checksums are made.
    damage: Vec<(usize, u8)>,
    padding: usize,
    /// Where it is cut into two buffers.
    cut: usize,
}

fn frame() -> impl Strategy<Value = Frame> {
    let flags = prop_oneof![Just(0x10_u16), Just(0x02), Just(0x18), any::<u16>().prop_map(|bits| bits & 0x3f)];
    let damage = prop_oneof![4 => Just(vec![]), 3 => vec((0..90_usize, any::<u8>()), 1..3)];
    let padding = prop_oneof![4 => Just(0_usize), 1 => 1..9_usize];
    let cut = prop_oneof![Just(usize::MAX), Just(66_usize), 0..120_usize];
    let parts = (any::<bool>(), flags, 0..4_u32, any::<bool>(), vec(any::<u8>(), 0..40), damage, padding, cut);
    parts.prop_map(|(is_v6, flags, seq, has_timestamps, payload, damage, padding, cut)| Frame {
        is_v6,
        flags,
        seq,
        has_timestamps,
        payload,
        damage,
        padding,
        cut,
    })
}

impl Frame {
    fn packet(&self) -> Packet {
        let [dst, src] = ADDRESSES;
        let timestamps = self.has_timestamps.then_some(TcpTimestamps { tsval: 1, tsecr: 0 });
        let options = TcpOptions { timestamps, ..TcpOptions::default() };
        let flags = TcpFlags::from_bits(self.flags);
        let header = TcpHeader { flags, seq: Seq::new(self.seq), options, ..TcpHeader::new(1_000, 80) };
        let len = header.header_len() + self.payload.len();
        let (src_v6, dst_v6) = (ADDRESSES_V6[1], ADDRESSES_V6[0]);
        let addresses = match self.is_v6 {
            false => AddressPair::V4 { src, dst },
            true => AddressPair::V6 { src: src_v6, dst: dst_v6 },
        };
        let pseudo = pseudo_header(addresses, IpProtocol::TCP, u32::try_from(len).unwrap_or(0));
        let tcp = header.to_bytes(Fill::Complete(pseudo + Sum::of(&self.payload)));
        let ip = match self.is_v6 {
            false => Ipv4Header::new(IpProtocol::TCP, src, dst).to_bytes(len).expect("it is short").to_vec(),
            true => Ipv6Header::new(IpProtocol::TCP, src_v6, dst_v6).to_bytes(len).expect("it is short").to_vec(),
        };
        let ethertype = if self.is_v6 { EtherType::IPV6 } else { EtherType::IPV4 };
        let ethernet = EthernetHeader { dst: mac(1), src: mac(2), vlan: Vlan::Untagged, ethertype }.to_bytes();
        let mut bytes = [&ethernet[..], &ip, &tcp, &self.payload, &vec![0; self.padding]].concat();
        for (at, byte) in &self.damage {
            if let Some(place) = bytes.get_mut(*at) {
                *place = *byte;
            }
        }
        let (front, back) = bytes.split_at(self.cut.min(bytes.len()));
        let mut packet = Packet::from(Buffer::copy_from_slice(front));
        packet.push_back(Buffer::copy_from_slice(back)).expect("the second one");
        packet
    }
}

fn host() -> (Stack, InterfaceId) {
    let now = Instant::default();
    let mut stack = Stack::new([7; 16], Limits::DEFAULT);
    let link = stack.add_interface(ethernet(1)).expect("the first one");
    let prefix = Prefix::new(IpAddr::V4(ADDRESSES[0]), 24).expect("24 bits");
    stack.add_address(now, link, prefix).expect("a station's");
    let address_v6 = Prefix::new(ADDRESSES_V6[0], 64).expect("128 bits");
    stack.apply(now, &Change::AddAddress { interface: link, address: address_v6 }).expect("a station's");
    stack.listen((ADDRESSES_V6[0], 80).into(), 8, Options::DEFAULT).expect("the port is free");
    stack.listen(address(0, 80), 8, Options::DEFAULT).expect("the port is free");
    (stack, link)
}

/// Takes packets in without the short way.
fn handle_thoroughly(stack: &mut Stack, now: Instant, link: InterfaceId, burst: &mut [Packet]) {
    for packet in burst {
        stack.counters.received += 1;
        if let Err(reason) = stack.input(now, link, packet.borrow_mut()) {
            stack.drops.add(reason);
        }
    }
    stack.end_batch(now);
}

proptest! {
    #[test]
    fn the_short_way_ends_where_the_long_one_does(
        frames in vec(frame(), 1..12), later in vec(frame(), 0..6), is_moved in any::<bool>(),
    ) {
        let now = Instant::from_micros(1_000_000);
        let (mut quick, link) = host();
        let (mut thorough, _) = host();
        let packets = || frames.iter().map(Frame::packet).collect::<Vec<_>>();
        quick.prefetch(link, &packets(), |_| {});
        quick.handle_packets(now, link, packets());
        handle_thoroughly(&mut thorough, now, link, &mut packets());
        if is_moved {
            // What has been known of hosts is no longer so.
            let gone = Change::RemoveAddress { interface: link, address: IpAddr::V4(ADDRESSES[0]) };
            for stack in [&mut quick, &mut thorough] {
                stack.apply(now, &gone).expect("it is there");
            }
        }
        let packets = || later.iter().map(Frame::packet).collect::<Vec<_>>();
        quick.handle_packets(now, link, packets());
        handle_thoroughly(&mut thorough, now, link, &mut packets());
        prop_assert_eq!(quick.counters(), thorough.counters());
        prop_assert_eq!(format!("{:?}", quick.drops()), format!("{:?}", thorough.drops()));
        prop_assert_eq!(format!("{:?}", quick.tcp), format!("{:?}", thorough.tcp));
        prop_assert_eq!(format!("{:?}", quick.outgoing), format!("{:?}", thorough.outgoing));
    }
}

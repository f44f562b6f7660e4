//! The program that tells frames of the stack from those of the kernel.
//!
//! The stack has a hardware address of its own at the interface, as another host on the same wire: then what comes for that address is
//! its. Or it has the kernel's: then it has of what comes for that address what is for its IP addresses, and of that perhaps only some
//! ports. All else goes the kernel's way. What comes for everybody goes there too, and the kernel hands out copies of it (`group.rs`): a
//! program can't give one frame to two.

use std::ops::RangeInclusive;
use std::os::fd::RawFd;

use sunstar_wire::{EtherType, IpProtocol, MacAddr};

use super::assembler::{AssembleError, Assembler, Condition, Instruction, Label, Register, Width};
use super::options::XdpPorts;
use Register::{R0, R1, R2, R3, R4, R6, R7, R8, R9};

#[cfg(test)]
mod tests;

/// What a program answers (`enum xdp_action`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(super) enum Action {
    /// Is thrown away.
    Drop = 1,
    /// Goes on to the kernel.
    Pass = 2,
}

// Functions of the kernel.
const MAP_LOOKUP: i32 = 1;
const REDIRECT_MAP: i32 = 51;

// Offsets in what a program begins with, `struct xdp_md`.
const DATA: i16 = 0;
const DATA_END: i16 = 4;
const RX_QUEUE_INDEX: i16 = 16;

/// Bytes of an Ethernet header without tags, and, counted from its beginning, of it with the shortest header of either version of IP.
const ETHERNET_BYTES: i32 = 14;
const V4_BYTES: i32 = ETHERNET_BYTES + 20;
const V6_BYTES: i32 = ETHERNET_BYTES + 40;

// Offsets in a frame.
const ETHERTYPE: i16 = 12;
const V4_LENGTH: i16 = 14;
const V4_FRAGMENT: i16 = 20;
const V4_PROTOCOL: i16 = 23;
const V4_DST: i32 = 30;
const V6_NEXT_HEADER: i16 = 20;
const V6_DST: i32 = 38;

/// Whether there are more fragments, and where this one begins (RFC 791 §3.1): zero of a whole packet.
const FRAGMENT_BITS: u16 = 0x3fff;

/// In the header of TCP or UDP, of which so much has to be there.
const DST_PORT: i16 = 2;
const PORTS_BYTES: i32 = 4;

/// What of the frames for the kernel's hardware address is the stack's.
pub(super) struct Sharing<'a> {
    /// Maps of its addresses, by their descriptors.
    pub(super) v4: RawFd,
    pub(super) v6: RawFd,
    /// Without any, all that is for those.
    pub(super) ports: &'a XdpPorts,
}

/// A program that redirects frames for `mac`, or what is the stack's among them, to the socket that `map` has for the queue, and answers
/// `missing` if there is none. Other frames it lets pass.
pub(super) fn steering(
    mac: MacAddr,
    sharing: Option<&Sharing<'_>>,
    map: RawFd,
    missing: i32,
) -> Result<Vec<Instruction>, AssembleError> {
    let MacAddr([a, b, c, d, e, f]) = mac;
    let mut asm = Assembler::default();
    let (take, pass) = (asm.label(), asm.label());
    asm.copy(R6, R1);
    asm.load(Width::Word, R7, R6, DATA);
    asm.load(Width::Word, R8, R6, DATA_END);
    reaches(&mut asm, R7, ETHERNET_BYTES, pass);
    asm.load(Width::Word, R3, R7, 0);
    asm.jump32(Condition::NotEqual, R3, u32::from_ne_bytes([a, b, c, d]), pass);
    asm.load(Width::Half, R3, R7, 4);
    asm.jump32(Condition::NotEqual, R3, u16::from_ne_bytes([e, f]).into(), pass);
    if let Some(sharing) = sharing {
        by_address(&mut asm, sharing, take, pass);
    }
    asm.bind(take);
    // bpf_redirect_map(map, queue, missing)
    asm.load(Width::Word, R2, R6, RX_QUEUE_INDEX);
    asm.load_map(R1, map);
    asm.set(R3, missing);
    asm.call(REDIRECT_MAP);
    asm.exit();
    asm.bind(pass);
    asm.set(R0, Action::Pass as i32);
    asm.exit();
    asm.finish()
}

/// Goes on if so many bytes from an address on are there: the verifier lets nobody look at what may lie beyond the end.
fn reaches(asm: &mut Assembler, from: Register, bytes: i32, pass: Label) {
    asm.copy(R4, from);
    asm.add(R4, bytes);
    asm.jump(Condition::Greater, R4, R8, pass);
}

/// Goes to `take` or `pass`, or on to what is to be taken.
fn by_address(asm: &mut Assembler, sharing: &Sharing<'_>, take: Label, pass: Label) {
    let has_ports = !sharing.ports.is_empty();
    let (v6, ports) = (asm.label(), asm.label());
    asm.load(Width::Half, R3, R7, ETHERTYPE);
    asm.jump32(Condition::Equal, R3, in_frame(EtherType::IPV6.value()), v6);
    asm.jump32(Condition::NotEqual, R3, in_frame(EtherType::IPV4.value()), pass);

    reaches(asm, R7, V4_BYTES, pass);
    look_up(asm, sharing.v4, V4_DST, pass);
    if has_ports {
        jump_if_whole(asm, take);
        // Only the first of several fragments has ports, and who has put them together must have had them all.
        asm.load(Width::Half, R3, R7, V4_FRAGMENT);
        asm.jump32(Condition::AnyBit, R3, in_frame(FRAGMENT_BITS), pass);
        asm.load(Width::Byte, R2, R7, V4_PROTOCOL);
        // Options may lie between (RFC 791 §3.1): the header's length is told in words.
        asm.load(Width::Byte, R3, R7, V4_LENGTH);
        asm.and(R3, 0xf);
        asm.jump32(Condition::Less, R3, 5, pass);
        asm.shift_left(R3, 2);
        asm.copy(R9, R7);
        asm.add_register(R9, R3);
        asm.add(R9, ETHERNET_BYTES);
        asm.go(ports);
    } else {
        asm.go(take);
    }

    asm.bind(v6);
    reaches(asm, R7, V6_BYTES, pass);
    look_up(asm, sharing.v6, V6_DST, pass);
    if has_ports {
        jump_if_whole(asm, take);
        asm.load(Width::Byte, R2, R7, V6_NEXT_HEADER);
        asm.copy(R9, R7);
        asm.add(R9, V6_BYTES);
        asm.bind(ports);
        by_port(asm, sharing.ports, take, pass);
    }
}

/// The address of what is known of the IP address at that place of the frame comes into the first register.
fn look_up(asm: &mut Assembler, map: RawFd, dst: i32, pass: Label) {
    // bpf_map_lookup_elem(map, key)
    asm.copy(R2, R7);
    asm.add(R2, dst);
    asm.load_map(R1, map);
    asm.call(MAP_LOOKUP);
    asm.jump_if_zero(R0, pass);
}

/// All that is for some addresses is taken.
fn jump_if_whole(asm: &mut Assembler, take: Label) {
    asm.load(Width::Word, R3, R0, 0);
    asm.jump32(Condition::NotEqual, R3, 0, take);
}

/// Takes what is for the ports, the protocol being in one register and the address of its header in another one.
fn by_port(asm: &mut Assembler, ports: &XdpPorts, take: Label, pass: Label) {
    let tcp = asm.label();
    reaches(asm, R9, PORTS_BYTES, pass);
    asm.load(Width::Half, R3, R9, DST_PORT);
    asm.half_from_network(R3);
    asm.jump32(Condition::Equal, R2, IpProtocol::TCP.0.into(), tcp);
    asm.jump32(Condition::NotEqual, R2, IpProtocol::UDP.0.into(), pass);
    among(asm, &ports.udp, take);
    asm.go(pass);
    asm.bind(tcp);
    among(asm, &ports.tcp, take);
    asm.go(pass);
}

/// Goes on if the port is in none of those ranges.
fn among(asm: &mut Assembler, ranges: &[RangeInclusive<u16>], take: Label) {
    for range in ranges {
        let (first, last) = (u32::from(*range.start()), u32::from(*range.end()));
        if first == last {
            asm.jump32(Condition::Equal, R3, first, take);
            continue;
        }
        let next = asm.label();
        asm.jump32(Condition::Less, R3, first, next);
        asm.jump32(Condition::LessOrEqual, R3, last, take);
        asm.bind(next);
    }
}

/// What a number of the network is when it is loaded as it lies there.
fn in_frame(number: u16) -> u32 {
    u16::from_ne_bytes(number.to_be_bytes()).into()
}

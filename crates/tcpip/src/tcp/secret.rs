//! What strangers must not be able to guess.

use core::hash::Hasher;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use siphasher::sip::SipHasher13;
use sunstar_wire::{AddressPair, FourTuple, IpProtocol, MacAddr, Seq};

use crate::time::Instant;

#[cfg(test)]
mod tests;

/// A key of the stack, drawn when it starts, and what follows from it by SipHash, a function for just that.
#[derive(Clone, Copy)]
pub struct Secret([u64; 2]);

/// So that the same tuple gives unrelated values for unrelated purposes. What follows from some of the numbers outlives the program: a
/// number stays that of its purpose, and that of a purpose that is no more (1) is not given to another one.
#[derive(Clone, Copy)]
enum Purpose {
    Flow = 0,
    TimestampOffset = 2,
    Port = 3,
    UdpPort = 4,
    Identification = 5,
    Draw = 6,
    /// Networks know hosts by it.
    Interface = 7,
    Seed = 8,
    CookieBase = 9,
    Cookie = 10,
    /// DHCPv6 servers know hosts by it.
    Uuid = 11,
}

impl core::fmt::Debug for Secret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Secret")
    }
}

/// The hash of a flow. Of its halves neither tells anything about the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FlowHash(u64);

impl FlowHash {
    /// Where the flow lies in the table of connections, which nobody is told.
    pub(super) fn slot(self) -> u32 {
        low_half(self.0)
    }

    /// The first number of a connection that sends as this flow (RFC 6528 §3): later connections of the same ports begin later, by one
    /// each 4 µs, and those of others tell nothing about it.
    pub(super) fn initial_sequence(self, now: Instant) -> Seq {
        Seq::new(low_half((self.0 >> 32).wrapping_add(now.as_micros() / 4)))
    }
}

impl Secret {
    /// A key of 16 random bytes.
    pub fn new(key: [u8; 16]) -> Self {
        let [low, high] = [0, 8].map(|at| u64::from_le_bytes(core::array::from_fn(|byte| key[at + byte])));
        Self([low, high])
    }

    /// What follows for a flow, as we send it.
    pub(super) fn flow_hash(&self, flow: &FourTuple) -> FlowHash {
        FlowHash(self.hash(Purpose::Flow, flow))
    }

    /// What makes a number of ours a SYN cookie (RFC 4987 §3.6): what is the same for all of a flow, and what is not for another number of
    /// theirs, or at another time.
    pub(super) fn cookie(&self, flow: &FourTuple, irs: Seq, slot: u32) -> [u32; 2] {
        let [_, high] = self.0;
        // What is hashed first is a key for the rest.
        let key = [self.hash(Purpose::Cookie, flow), high ^ Purpose::Cookie as u64];
        let both = (u64::from(irs.value()) << 32) | u64::from(slot);
        [low_half(self.hash(Purpose::CookieBase, flow)), low_half(sip_13_of_12_bytes(key, both, 0))]
    }

    /// What is added to our clock in timestamps (RFC 7323 §5.4). It is one for each pair of addresses, so that of two connections
    /// between them the later one has the later timestamps, whatever its ports (RFC 6191).
    pub(super) fn timestamp_offset(&self, flow: &FourTuple) -> u32 {
        let addresses = FourTuple { addresses: flow.addresses, src_port: 0, dst_port: 0 };
        low_half(self.hash(Purpose::TimestampOffset, &addresses))
    }

    /// From where on ports are tried for connections to a destination (RFC 6056 §3.3.3): the source port does not count.
    pub(super) fn port_offset(&self, flow: &FourTuple) -> u64 {
        self.hash(Purpose::Port, &FourTuple { src_port: 0, ..*flow })
    }

    /// The `count`-th port to be tried for a UDP socket at an address: none tells anything about the next one.
    pub(crate) fn udp_port(&self, local: IpAddr, count: u32) -> u32 {
        let [a, b, c, d] = count.to_be_bytes();
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let addresses = AddressPair::new(local, local).unwrap_or(UNSPECIFIED);
        low_half(self.hash(Purpose::UdpPort, &FourTuple { addresses, src_port: high, dst_port: low }))
    }

    /// From where the identifications of packets between two addresses are counted, and in which of several counters.
    pub(crate) fn identification(&self, addresses: AddressPair, protocol: IpProtocol) -> u32 {
        let flow = FourTuple { addresses, src_port: protocol.0.into(), dst_port: 0 };
        low_half(self.hash(Purpose::Identification, &flow))
    }

    /// A number that follows from how many were drawn before.
    pub(crate) fn draw(&self, draws: &mut u64) -> u64 {
        *draws = draws.wrapping_add(1);
        let [low, high] = self.0;
        let mut hasher = SipHasher13::new_with_keys(low, high ^ Purpose::Draw as u64);
        hasher.write(&draws.to_be_bytes());
        hasher.finish()
    }

    /// A number that stands for the key, and does not tell it.
    pub(crate) fn uuid(&self) -> [u8; 16] {
        let [low, high] = self.0;
        let half = |which: u8| {
            let mut hasher = SipHasher13::new_with_keys(low, high ^ Purpose::Uuid as u64);
            hasher.write(&[which]);
            hasher.finish().to_be_bytes()
        };
        let halves = [half(0), half(1)];
        core::array::from_fn(|at| halves[at / 8][at % 8])
    }

    /// The lower half of a station's address in a network of IPv6 (RFC 7217 §5): the same each time, another one in each network.
    pub(crate) fn interface_identifier(&self, network: Ipv6Addr, mac: MacAddr, retries: u8) -> u64 {
        let [low, high] = self.0;
        for count in 0..=u8::MAX {
            let mut hasher = SipHasher13::new_with_keys(low, high ^ Purpose::Interface as u64);
            hasher.write(&network.octets()[..8]);
            hasher.write(&mac.0);
            hasher.write(&[retries, count]);
            let identifier = hasher.finish();
            // RFC 5453: those of all routers and of anycast.
            if identifier != 0 && identifier < 0xfdff_ffff_ffff_ff80 {
                return identifier;
            }
        }
        1
    }

    /// For something that needs chances of its own.
    pub(crate) fn seed(&self, now: Instant, which: usize) -> u64 {
        let [a, b, c, d, e, f, g, h] = now.as_micros().to_be_bytes();
        let addresses = AddressPair::V4 { src: [a, b, c, d].into(), dst: [e, f, g, h].into() };
        let src_port = u16::try_from(which).unwrap_or(u16::MAX);
        self.hash(Purpose::Seed, &FourTuple { addresses, src_port, dst_port: 0 })
    }

    fn hash(&self, purpose: Purpose, flow: &FourTuple) -> u64 {
        let [low, high] = self.0;
        let key = [low, high ^ purpose as u64];
        let ports = (u32::from(flow.src_port) << 16) | u32::from(flow.dst_port);
        match flow.addresses {
            AddressPair::V4 { src, dst } => {
                let addresses = (u64::from(src.to_bits()) << 32) | u64::from(dst.to_bits());
                sip_13_of_12_bytes(key, addresses.swap_bytes(), ports.swap_bytes())
            }
            AddressPair::V6 { src, dst } => {
                let mut hasher = SipHasher13::new_with_keys(key[0], key[1]);
                hasher.write(&src.octets());
                hasher.write(&dst.octets());
                hasher.write(&ports.to_be_bytes());
                hasher.finish()
            }
        }
    }
}

/// SipHash-1-3 of twelve bytes, which each segment needs: the first eight and the last four of them as numbers whose lowest byte is the
/// first one.
#[inline]
fn sip_13_of_12_bytes([low, high]: [u64; 2], first: u64, last: u32) -> u64 {
    const LEN: u64 = 12 << 56;
    let [a, b, c, d] = [0x736f_6d65_7073_6575, 0x646f_7261_6e64_6f6d, 0x6c79_6765_6e65_7261, 0x7465_6462_7974_6573];
    let mut state = [a ^ low, b ^ high, c ^ low, d ^ high];
    for word in [first, LEN | u64::from(last)] {
        state[3] ^= word;
        state = sip_round(state);
        state[0] ^= word;
    }
    state[2] ^= 0xff;
    (0..3).for_each(|_| state = sip_round(state));
    state[0] ^ state[1] ^ state[2] ^ state[3]
}

#[inline]
const fn sip_round([mut a, mut b, mut c, mut d]: [u64; 4]) -> [u64; 4] {
    a = a.wrapping_add(b);
    b = b.rotate_left(13) ^ a;
    a = a.rotate_left(32);
    c = c.wrapping_add(d);
    d = d.rotate_left(16) ^ c;
    a = a.wrapping_add(d);
    d = d.rotate_left(21) ^ a;
    c = c.wrapping_add(b);
    b = b.rotate_left(17) ^ c;
    c = c.rotate_left(32);
    [a, b, c, d]
}

/// Of no packet.
const UNSPECIFIED: AddressPair = AddressPair::V4 { src: Ipv4Addr::UNSPECIFIED, dst: Ipv4Addr::UNSPECIFIED };

fn low_half(hash: u64) -> u32 {
    let [.., a, b, c, d] = hash.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

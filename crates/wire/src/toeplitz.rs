//! The Toeplitz hash by which network cards spread flows over queues (receive side scaling).
//!
//! Each bit of the input that is set adds the 32 bits of the key that begin at the same place. So the hash of an input is
//! the sum (exclusive or) of the hashes of its parts, and a [`Toeplitz`] keeps those of all halves of bytes at all places.
//!
//! ```
//! use core::net::Ipv4Addr;
//! use sunstar_wire::toeplitz::Toeplitz;
//! use sunstar_wire::{AddressPair, FourTuple};
//!
//! static RSS: Toeplitz = Toeplitz::new(&sunstar_wire::toeplitz::MICROSOFT_KEY);
//! let addresses = AddressPair::V4 { src: Ipv4Addr::new(66, 9, 149, 187), dst: Ipv4Addr::new(161, 142, 100, 80) };
//! assert_eq!(RSS.hash_addresses(addresses), 0x323e_8fc2);
//! assert_eq!(RSS.hash_flow(FourTuple { addresses, src_port: 2794, dst_port: 1766 }), 0x51cc_c178);
//! ```

use crate::addresses::{AddressPair, FourTuple};

/// Bytes of a key.
pub const KEY_BYTES: usize = 40;

/// The longest input that a key is enough for: two IPv6 addresses and two ports.
const INPUT_BYTES: usize = 36;

/// The key of Microsoft's published test vectors, which many drivers use by default.
pub const MICROSOFT_KEY: [u8; KEY_BYTES] = [
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b,
    0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac,
    0x01, 0xfa,
];

/// A key with which both directions of a flow have the same hash: 16 bits over and over (Woo and Park, 2012).
///
/// Ports and parts of addresses can cancel each other, so it spreads worse, and who may choose addresses can do much about it.
pub const SYMMETRIC_KEY: [u8; KEY_BYTES] = {
    let mut key = [0x6d; KEY_BYTES];
    let mut at = 1;
    while at < KEY_BYTES {
        key[at] = 0x5a;
        at += 2;
    }
    key
};

/// The hash of every value of half a byte at one place.
type Hashes = [u32; 16];

/// A key, prepared: 4.5 KiB of tables.
#[derive(Clone, Debug)]
pub struct Toeplitz {
    /// Of the upper and the lower half of each byte of the input.
    tables: [[Hashes; 2]; INPUT_BYTES],
}

impl Toeplitz {
    /// Prepares a key.
    pub const fn new(key: &[u8; KEY_BYTES]) -> Self {
        let mut tables = [[[0; 16]; 2]; INPUT_BYTES];
        let mut at = 0;
        while at < INPUT_BYTES {
            // The upper half begins at the byte, the lower one four bits later.
            let [a, b, c, d, e] = [key[at], key[at + 1], key[at + 2], key[at + 3], key[at + 4]];
            let window = u64::from_be_bytes([a, b, c, d, e, 0, 0, 0]);
            tables[at] = [hashes(window), hashes(window << 4)];
            at += 1;
        }
        Self { tables }
    }

    /// The hash of a packet without ports (of other protocols than TCP and UDP, and of fragments).
    pub fn hash_addresses(&self, addresses: AddressPair) -> u32 {
        match addresses {
            AddressPair::V4 { src, dst } => self.hash_at(0, &src.octets()) ^ self.hash_at(4, &dst.octets()),
            AddressPair::V6 { src, dst } => self.hash_at(0, &src.octets()) ^ self.hash_at(16, &dst.octets()),
        }
    }

    /// The hash of a packet of TCP or UDP.
    pub fn hash_flow(&self, flow: FourTuple) -> u32 {
        let ports_at = match flow.addresses {
            AddressPair::V4 { .. } => 8,
            AddressPair::V6 { .. } => 32,
        };
        self.hash_addresses(flow.addresses)
            ^ self.hash_at(ports_at, &flow.src_port.to_be_bytes())
            ^ self.hash_at(ports_at + 2, &flow.dst_port.to_be_bytes())
    }

    /// What bytes at some place add to the hash of an input.
    fn hash_at(&self, at: usize, bytes: &[u8]) -> u32 {
        let tables = self.tables[at..].iter();
        bytes.iter().zip(tables).fold(0, |hash, (byte, [upper, lower])| {
            hash ^ upper[usize::from(byte >> 4)] ^ lower[usize::from(byte & 0xf)]
        })
    }
}

/// The hashes of half a byte at the place where the key goes on with the upper 35 bits of `window`.
const fn hashes(window: u64) -> Hashes {
    let mut hashes = [0; 16];
    let mut value = 0;
    while value < 16 {
        let mut bit = 0;
        while bit < 4 {
            if value & (8 >> bit) != 0 {
                hashes[value] ^= ((window << bit) >> 32) as u32;
            }
            bit += 1;
        }
        value += 1;
    }
    hashes
}

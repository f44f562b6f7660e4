//! The Toeplitz hash: Microsoft's vectors ("Verifying the RSS hash calculation"), and a plain way to compute it.

use core::net::SocketAddr;

use crate::toeplitz::{KEY_BYTES, MICROSOFT_KEY, SYMMETRIC_KEY, Toeplitz};
use crate::{AddressPair, FourTuple};

pub(super) static SYMMETRIC: Toeplitz = Toeplitz::new(&SYMMETRIC_KEY);

/// Destination, source, hash of the addresses, hash with the ports.
const VECTORS: [(&str, &str, u32, u32); 8] = [
    ("161.142.100.80:1766", "66.9.149.187:2794", 0x323e_8fc2, 0x51cc_c178),
    ("65.69.140.83:4739", "199.92.111.2:14230", 0xd718_262a, 0xc626_b0ea),
    ("12.22.207.184:38024", "24.19.198.95:12898", 0xd2d0_a5de, 0x5c2b_394a),
    ("209.142.163.6:2217", "38.27.205.30:48228", 0x8298_9176, 0xafc7_327f),
    ("202.188.127.2:1303", "153.39.163.191:44251", 0x5d18_09c5, 0x10e8_28a2),
    ("[3ffe:2501:200:3::1]:1766", "[3ffe:2501:200:1fff::7]:2794", 0x2cc1_8cd5, 0x4020_7d3d),
    ("[ff02::1]:4739", "[3ffe:501:8::260:97ff:fe40:efab]:14230", 0x0f0c_461c, 0xdde5_1bbf),
    ("[fe80::200:f8ff:fe21:67cf]:38024", "[3ffe:1900:4545:3:200:f8ff:fe21:67cf]:44251", 0x4b61_e985, 0x02d1_feef),
];

fn flow(src: &str, dst: &str) -> FourTuple {
    let (src, dst): (SocketAddr, SocketAddr) = (src.parse().unwrap(), dst.parse().unwrap());
    let addresses = AddressPair::new(src.ip(), dst.ip()).unwrap();
    FourTuple { addresses, src_port: src.port(), dst_port: dst.port() }
}

#[test]
fn the_published_vectors_hold() {
    let toeplitz = Toeplitz::new(&MICROSOFT_KEY);
    for (dst, src, of_addresses, of_flow) in VECTORS {
        let flow = flow(src, dst);
        assert_eq!(toeplitz.hash_addresses(flow.addresses), of_addresses, "{src} to {dst}");
        assert_eq!(toeplitz.hash_flow(flow), of_flow, "{src} to {dst}");
        check(&MICROSOFT_KEY, flow);
    }
}

#[test]
fn only_a_symmetric_key_hashes_both_ways_alike() {
    let microsoft = Toeplitz::new(&MICROSOFT_KEY);
    for (dst, src, ..) in VECTORS {
        let flow = flow(src, dst);
        assert_eq!(SYMMETRIC.hash_flow(flow), SYMMETRIC.hash_flow(flow.reversed()));
        assert_ne!(microsoft.hash_flow(flow), microsoft.hash_flow(flow.reversed()));
    }
}

/// Compares the hashes from tables with those from bits.
pub(super) fn check(key: &[u8; KEY_BYTES], flow: FourTuple) {
    let mut input = vec![];
    match flow.addresses {
        AddressPair::V4 { src, dst } => input.extend([src.octets(), dst.octets()].concat()),
        AddressPair::V6 { src, dst } => input.extend([src.octets(), dst.octets()].concat()),
    }
    let toeplitz = Toeplitz::new(key);
    assert_eq!(toeplitz.hash_addresses(flow.addresses), bitwise(key, &input));
    input.extend([flow.src_port.to_be_bytes(), flow.dst_port.to_be_bytes()].concat());
    assert_eq!(toeplitz.hash_flow(flow), bitwise(key, &input));
}

/// The definition: for each bit that is set, the 32 bits of the key from there on.
fn bitwise(key: &[u8; KEY_BYTES], input: &[u8]) -> u32 {
    let bit = |bytes: &[u8], at: usize| u32::from(bytes.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1));
    let window = |at: usize| (at..at + 32).fold(0, |window, at| window << 1 | bit(key, at));
    (0..input.len() * 8).filter(|&at| bit(input, at) == 1).fold(0, |hash, at| hash ^ window(at))
}

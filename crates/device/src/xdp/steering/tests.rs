use std::io;

use super::super::addresses::AddressMaps;
use super::super::bpf::{Program, SocketMap};
use super::*;

const MAC: MacAddr = MacAddr([0x02, 0x12, 0x34, 0x56, 0x78, 0x9a]);
const PASS: u32 = 2;
/// What the program answers here for its own frames, as there are no sockets: to send them back (`XDP_TX`).
const OURS: u32 = 3;

/// The program, if this process may load any.
fn program() -> Option<Program> {
    allowed(SocketMap::new(1).and_then(|map| load(None, &map)))
}

/// What was made, if this process may.
fn allowed<T>(made: io::Result<T>) -> Option<T> {
    match made {
        Ok(made) => Some(made),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && std::env::var_os("CI").is_none() => {
            eprintln!("not run: programs for the kernel need root: {error}");
            None
        }
        Err(error) => panic!("the program can't be loaded: {error}"),
    }
}

fn load(sharing: Option<&Sharing<'_>>, map: &SocketMap) -> io::Result<Program> {
    let program = steering(MAC, sharing, map.descriptor(), OURS.cast_signed()).unwrap();
    Program::load(&program).map_err(|refused| {
        assert!(refused.log.is_empty(), "{}", refused.log);
        refused.error
    })
}

fn frame(dst: [u8; 6], len: usize) -> Vec<u8> {
    let mut frame = dst.to_vec();
    frame.extend([0x02, 0, 0, 0, 0, 1, 0x08, 0x00]);
    frame.resize(len, 0);
    frame
}

#[test]
fn frames_for_the_stack_are_taken_and_others_pass() {
    let Some(program) = program() else { return };
    for len in [14, 60, 1_514] {
        assert_eq!(program.run(&frame(MAC.0, len), u32::try_from(len).unwrap()).unwrap(), OURS, "{len}");
    }
    assert_eq!(program.run(&frame([0xff; 6], 60), 60).unwrap(), PASS);
    assert_eq!(program.run(&frame([0x33, 0x33, 0xff, 0x56, 0x78, 0x9a], 60), 60).unwrap(), PASS);
    for byte in 0..6 {
        let mut other = MAC.0;
        other[byte] ^= 0x10;
        assert_eq!(program.run(&frame(other, 60), 60).unwrap(), PASS, "{byte}");
    }
}

#[test]
fn frames_without_a_whole_header_pass() {
    let Some(program) = program() else { return };
    for end in 0..14 {
        assert_eq!(program.run(&frame(MAC.0, 14), end).unwrap(), PASS, "{end}");
    }
    assert_eq!(program.run(&frame(MAC.0, 15), 14).unwrap(), OURS);
}

#[test]
fn a_program_without_sense_is_refused_with_the_reason() {
    if program().is_none() {
        return;
    }
    let mut asm = Assembler::default();
    asm.load(Width::Word, R2, R1, DATA);
    asm.load(Width::Word, R0, R2, 0);
    asm.exit();
    let refused = Program::load(&asm.finish().unwrap()).unwrap_err();
    assert_eq!(refused.error.kind(), io::ErrorKind::PermissionDenied);
    assert!(refused.log.contains("invalid access to packet"), "{}", refused.log);
}

const OWN_V4: [u8; 4] = [192, 0, 2, 7];
const OTHER_V4: [u8; 4] = [192, 0, 2, 8];
const OWN_V6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
const OTHER_V6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 7];
/// One of which all is the stack's, whatever its ports.
const WHOLE_V6: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// Where the hardware address is shared, and those addresses are the stack's.
struct Shared {
    program: Program,
    maps: AddressMaps,
}

impl Shared {
    /// With those ports, if this process may load programs.
    fn new(ports: &XdpPorts) -> Option<Self> {
        allowed(AddressMaps::new().and_then(|maps| {
            let sharing = Sharing { v4: maps.v4.descriptor(), v6: maps.v6.descriptor(), ports };
            let program = load(Some(&sharing), &SocketMap::new(1)?)?;
            maps.v4.put(OWN_V4, ports.is_empty())?;
            maps.v6.put(OWN_V6, ports.is_empty())?;
            maps.v6.put(WHOLE_V6, true)?;
            Ok(Self { program, maps })
        }))
    }

    /// Whether the stack has a frame.
    fn takes(&self, frame: &[u8]) -> bool {
        self.takes_first(frame, frame.len())
    }

    /// Whether it has one of which there is only the beginning.
    fn takes_first(&self, frame: &[u8], end: usize) -> bool {
        match self.program.run(frame, u32::try_from(end).unwrap()).unwrap() {
            OURS => true,
            PASS => false,
            other => panic!("{other}"),
        }
    }
}

fn ports(tcp: &[RangeInclusive<u16>], udp: &[RangeInclusive<u16>]) -> XdpPorts {
    XdpPorts { tcp: tcp.to_vec(), udp: udp.to_vec() }
}

/// A frame of that type for the hardware address.
fn ethernet(ethertype: u16, content: &[u8]) -> Vec<u8> {
    [&MAC.0[..], &[0x02, 0, 0, 0, 0, 1], &ethertype.to_be_bytes(), content].concat()
}

/// A header of TCP or UDP as far as the ports, in something that is long enough for either. The port of the source is none that matters.
fn transport(port: u16) -> Vec<u8> {
    let mut header = [9_999_u16.to_be_bytes(), port.to_be_bytes()].concat();
    header.resize(20, 0);
    header
}

/// A packet of IPv4 with so many words of options, and what is said of fragments.
fn v4(dst: [u8; 4], protocol: u8, words: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let [high, low] = fragment.to_be_bytes();
    let fixed = [0x45 + words, 0, 0, 0, 0, 1, high, low, 64, protocol, 0, 0, 198, 51, 100, 1];
    let options = vec![1; usize::from(words) * 4];
    ethernet(0x0800, &[&fixed, &dst[..], &options, payload].concat())
}

fn v6(dst: [u8; 16], next_header: u8, payload: &[u8]) -> Vec<u8> {
    let fixed = [0x60, 0, 0, 0, 0, 0, next_header, 64];
    ethernet(0x86dd, &[&fixed, &OTHER_V6[..], &dst, payload].concat())
}

#[test]
fn all_that_is_for_its_addresses_is_taken_of_a_shared_hardware_address() {
    let Some(shared) = Shared::new(&XdpPorts::default()) else { return };
    for protocol in [ICMP, TCP, UDP, 132] {
        for (words, fragment) in [(0, 0), (10, 0), (0, 0x4000), (0, 0x2000), (0, 0x00b9), (1, 0x20b9)] {
            let what = (protocol, words, fragment);
            assert!(shared.takes(&v4(OWN_V4, protocol, words, fragment, &transport(80))), "{what:?}");
            assert!(!shared.takes(&v4(OTHER_V4, protocol, words, fragment, &transport(80))), "{what:?}");
        }
    }
    for next_header in [TCP, UDP, ICMPV6, 0, 43, 44, 60, 59] {
        for address in [OWN_V6, WHOLE_V6] {
            assert!(shared.takes(&v6(address, next_header, &transport(80))), "{next_header}");
        }
        assert!(!shared.takes(&v6(OTHER_V6, next_header, &transport(80))), "{next_header}");
    }
    // Its own are addresses it sends from, too; that makes nothing its.
    let mut sent = v4(OTHER_V4, UDP, 0, 0, &transport(80));
    sent[26..30].copy_from_slice(&OWN_V4);
    assert!(!shared.takes(&sent));
}

#[test]
fn what_is_for_other_hardware_addresses_or_no_ip_passes() {
    for ports in [XdpPorts::default(), ports(&[1..=u16::MAX], &[1..=u16::MAX])] {
        let Some(shared) = Shared::new(&ports) else { return };
        for frame in [v4(OWN_V4, TCP, 0, 0, &transport(80)), v6(OWN_V6, TCP, &transport(80))] {
            assert!(shared.takes(&frame));
            let with_mac = |mac: [u8; 6]| [&mac[..], &frame[6..]].concat();
            for mac in [[0xff; 6], [0x33, 0x33, 0, 0, 0, 1], [0x02, 0x12, 0x34, 0x56, 0x78, 0x9b]] {
                assert!(!shared.takes(&with_mac(mac)), "{mac:?}");
            }
            // Tags of either kind, and what would be the stack's without them.
            for tag in [0x8100_u16, 0x88a8] {
                let tagged = [&frame[..12], &tag.to_be_bytes(), &[0, 5], &frame[12..]].concat();
                assert!(!shared.takes(&tagged), "{tag:x}");
            }
        }
        // Answers of ARP are for both.
        let mut arp = ethernet(0x0806, &[0, 1, 8, 0, 6, 4, 0, 2]);
        arp.resize(60, 0);
        arp[38..42].copy_from_slice(&OWN_V4);
        assert!(!shared.takes(&arp));
        // The same bytes are an address only where they say so.
        let mut others = v4(OWN_V4, TCP, 0, 0, &transport(80));
        others[12..14].copy_from_slice(&0x88cc_u16.to_be_bytes());
        assert!(!shared.takes(&others));
    }
}

#[test]
fn addresses_come_and_go() {
    let Some(shared) = Shared::new(&XdpPorts::default()) else { return };
    let (v4, v6) = (v4(OTHER_V4, UDP, 0, 0, &transport(80)), v6(OTHER_V6, UDP, &transport(80)));
    for _ in 0..2 {
        assert!(!shared.takes(&v4) && !shared.takes(&v6));
        shared.maps.v4.put(OTHER_V4, true).unwrap();
        assert!(shared.takes(&v4) && !shared.takes(&v6));
        shared.maps.v6.put(OTHER_V6, true).unwrap();
        assert!(shared.takes(&v4) && shared.takes(&v6));
        for _ in 0..2 {
            shared.maps.v4.remove(OTHER_V4).unwrap();
            shared.maps.v6.remove(OTHER_V6).unwrap();
        }
    }
}

#[test]
fn with_ports_only_those_are_taken() {
    let given = ports(&[80..=80, 8_000..=8_999, 443..=443], &[53..=53, 1..=2, 65_535..=65_535]);
    let Some(shared) = Shared::new(&given) else { return };
    for port in [0, 1, 2, 3, 52, 53, 54, 79, 80, 81, 443, 7_999, 8_000, 8_500, 8_999, 9_000, 20_480, 65_534, 65_535] {
        for (protocol, ranges) in [(TCP, &given.tcp), (UDP, &given.udp)] {
            let is_ours = ranges.iter().any(|range| range.contains(&port));
            let header = transport(port);
            for words in [0, 1, 10] {
                let takes = shared.takes(&v4(OWN_V4, protocol, words, 0, &header));
                assert_eq!(takes, is_ours, "{protocol} {port} behind {words} words");
            }
            assert_eq!(shared.takes(&v6(OWN_V6, protocol, &header)), is_ours, "{protocol} {port} over IPv6");
            assert!(!shared.takes(&v4(OTHER_V4, protocol, 0, 0, &header)));
            assert!(!shared.takes(&v6(OTHER_V6, protocol, &header)));
            assert!(shared.takes(&v6(WHOLE_V6, protocol, &header)), "ports do not matter");
        }
    }
    for others in [ICMP, 132, 136] {
        assert!(!shared.takes(&v4(OWN_V4, others, 0, 0, &transport(80))), "{others}");
    }
    for others in [ICMPV6, 0, 43, 44, 60, 132] {
        assert!(!shared.takes(&v6(OWN_V6, others, &transport(80))), "{others}");
    }
    // What must not be cut may be taken; pieces are the kernel's.
    assert!(shared.takes(&v4(OWN_V4, TCP, 0, 0x4000, &transport(80))));
    for fragment in [0x2000, 0x0001, 0x00b9, 0x1fff, 0x20b9, 0x6000] {
        assert!(!shared.takes(&v4(OWN_V4, TCP, 0, fragment, &transport(80))), "{fragment:x}");
    }
    // A header that claims to be shorter than any is.
    for words in 0..5 {
        let mut short = v4(OWN_V4, TCP, 0, 0, &transport(80));
        short[14] = 0x40 + words;
        assert!(!shared.takes(&short), "{words}");
    }
}

#[test]
fn ports_of_one_protocol_are_not_those_of_another() {
    for (given, protocol) in [(ports(&[80..=80], &[]), TCP), (ports(&[], &[80..=80]), UDP)] {
        let Some(shared) = Shared::new(&given) else { return };
        for other in [TCP, UDP] {
            assert_eq!(shared.takes(&v4(OWN_V4, other, 0, 0, &transport(80))), other == protocol);
            assert_eq!(shared.takes(&v6(OWN_V6, other, &transport(80))), other == protocol);
        }
    }
}

#[test]
fn as_many_ports_as_there_may_be_are_verified() {
    let ranges: Vec<RangeInclusive<u16>> = (0..64).map(|n| n * 1_000 + 1..=n * 1_000 + 999).collect();
    let Some(shared) = Shared::new(&ports(&ranges, &ranges)) else { return };
    for port in [1, 999, 1_000, 1_001, 63_000, 63_001, 63_999, 64_000] {
        let is_ours = port % 1_000 != 0;
        assert_eq!(shared.takes(&v4(OWN_V4, TCP, 0, 0, &transport(port))), is_ours, "{port}");
        assert_eq!(shared.takes(&v6(OWN_V6, UDP, &transport(port))), is_ours, "{port}");
    }
}

#[test]
fn what_ends_too_early_passes() {
    let needed = |shared: &Shared, frame: &[u8]| {
        let first = (0..=frame.len()).find(|&end| shared.takes_first(frame, end)).unwrap();
        assert!((first..=frame.len()).all(|end| shared.takes_first(frame, end)));
        first
    };
    let Some(shared) = Shared::new(&XdpPorts::default()) else { return };
    assert_eq!(needed(&shared, &v4(OWN_V4, TCP, 3, 0, &transport(80))), 34);
    assert_eq!(needed(&shared, &v6(OWN_V6, TCP, &transport(80))), 54);
    let Some(shared) = Shared::new(&ports(&[80..=80], &[])) else { return };
    assert_eq!(needed(&shared, &v4(OWN_V4, TCP, 0, 0, &transport(80))), 38);
    assert_eq!(needed(&shared, &v4(OWN_V4, TCP, 3, 0, &transport(80))), 50);
    assert_eq!(needed(&shared, &v6(OWN_V6, TCP, &transport(80))), 58);
}

//! Floods of packets over a TAP, from addresses that nobody has, with clients beside them.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket};

use super::client::{Client, HELLO};
use super::files;
use super::metrics::{figure, metrics_by, values, wait_for_figure};
use super::namespace::{in_namespace, ip};
use super::server::{Httpd, Setup, command, with_each_backend};

const STACK: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const GATEWAY: &str = "10.9.0.1";
/// Packets of a flood, and how long it may take.
const PACKETS: u32 = 10_000;
pub(super) const FUSE: Duration = Duration::from_secs(20);
const IP_BYTES: usize = 20;
/// Protocols.
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// What may be in the server's tables at most, whatever comes, and by how much its memory may have grown: twice what all that is
/// bounded takes.
const UNACKNOWLEDGED: &str = "sunstar_tcp_unacknowledged_bytes";
const BOUNDS: [(&str, &str, f64); 9] = [
    ("sunstar_tcp_connections", "kind=\"open\"", 64.0),
    ("sunstar_tcp_connections", "kind=\"half_open\"", 16_384.0),
    ("sunstar_tcp_orphaned_connections", "", 64.0),
    (UNACKNOWLEDGED, "", 1_048_576.0),
    ("sunstar_tcp_waiting_replies", "", 1_024.0),
    ("sunstar_tcpip_neighbours", "", 1_024.0),
    ("sunstar_tcpip_incomplete_packets", "", 256.0),
    ("sunstar_tcpip_incomplete_bytes", "", 4_194_304.0),
    ("sunstar_tcpip_waiting_packets", "", 4_096.0),
];
pub(super) const GROWTH_KIB: u64 = 32 << 10;
/// What a connection may hold before it has shown that it can use more, and a part of the file that waits for it.
const HELD_BYTES: u32 = 512 << 10;

/// Whom an attacker knows of: the server's port, and who has a connection to it.
#[derive(Clone, Copy)]
struct Target {
    port: u16,
    client: SocketAddrV4,
}

/// The server's tables are as full as they may be at most, where so many connections ask for much and take none of it.
pub(super) fn check_bounds(client: &mut Client, hoarders: u16) {
    let text = metrics_by(client);
    for (name, label, most) in BOUNDS {
        let shards = values(&text, name, label);
        let held = if name == UNACKNOWLEDGED { f64::from(hoarders) * f64::from(HELD_BYTES) } else { 0.0 };
        let most = held.max(most);
        assert!(!shards.is_empty() && shards.iter().all(|value| *value <= most), "{name} {label} is {shards:?}");
    }
}

/// An IP packet, of which the kernel completes the header.
fn packet(from: Ipv4Addr, identification: u16, fragment: u16, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; IP_BYTES];
    packet[0] = 0x45;
    packet[4..6].copy_from_slice(&identification.to_be_bytes());
    packet[6..8].copy_from_slice(&fragment.to_be_bytes());
    packet[8..10].copy_from_slice(&[64, protocol]);
    packet[12..16].copy_from_slice(&from.octets());
    packet[16..20].copy_from_slice(&STACK.octets());
    packet.extend_from_slice(payload);
    packet
}

/// A segment without data, from a port of nobody's.
fn segment(from: Ipv4Addr, number: u32, port: u16, flags: u8) -> Vec<u8> {
    let [a, b, ..] = mixed(number);
    segment_of(SocketAddrV4::new(from, u16::from_be_bytes([a | 0x80, b])), number, port, flags, &[])
}

/// The bytes of a number, so that all of them differ from those of the next one.
fn mixed(number: u32) -> [u8; 4] {
    number.wrapping_mul(0x9e37_79b1).to_be_bytes()
}

/// A segment whose numbers are guessed.
fn segment_of(from: SocketAddrV4, number: u32, port: u16, flags: u8, payload: &[u8]) -> Vec<u8> {
    let [a, b, c, d] = mixed(number);
    let ([src_high, src_low], [high, low]) = (from.port().to_be_bytes(), port.to_be_bytes());
    let mut tcp = vec![src_high, src_low, high, low, a, b, c, d, d, c, b, a, 5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0];
    tcp.extend_from_slice(payload);
    let mut packet = packet(*from.ip(), 0, 0, TCP, &tcp);
    // The addresses, the protocol and the length belong to the sum (RFC 9293 §3.1).
    let words = packet[12..].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let len = u32::try_from(tcp.len()).expect("a short segment");
    let sum = words.sum::<u32>() + u32::from(TCP) + len;
    let folded = (sum & 0xffff) + (sum >> 16);
    let [.., high, low] = (!(folded + (folded >> 16))).to_be_bytes();
    packet[36..38].copy_from_slice(&[high, low]);
    packet
}

/// Sends that many packets as they are made, a few at a time.
fn flood(make: impl Fn(u32) -> Vec<u8>) {
    let raw = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::RAW)).expect("it is root's");
    let to = SocketAddrV4::new(STACK, 0);
    for number in 0..PACKETS {
        // What the queue does not take is lost, as on any line.
        let _ = sendto(&raw, &make(number), SendFlags::empty(), &to);
        if number % 50 == 0 {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Makes a TAP, and a command that runs httpd behind it.
fn native(setup: Setup) -> Command {
    ip("tuntap add dev tap0 mode tap");
    ip(&format!("addr add {GATEWAY}/8 dev tap0"));
    ip("link set tap0 txqueuelen 10000 up");
    let mut command = command(setup);
    command.args(["--network-stack", "native", "--device", "tap:tap0", "--host-ipv4-addr", &STACK.to_string()]);
    command.args(["--netmask-ipv4-addr", "255.0.0.0", "--gw-ipv4-addr", GATEWAY]);
    command
}

/// A client that keeps its connection and one that opens another for each request are served while packets come that `make` makes.
/// Meanwhile nothing of the server is fuller than it may be, and `look` finds in its figures what the attack was.
fn beside(
    setup: Setup,
    make: impl Fn(u32, Target) -> Vec<u8> + Send + Sync + Copy + 'static,
    look: impl Fn(SocketAddr),
) {
    let httpd = Httpd::run(&mut native(setup));
    let address = httpd.address;
    let stream = TcpStream::connect(address).expect("it listens");
    let SocketAddr::V4(client) = stream.local_addr().expect("it is connected") else { unreachable!("it is IPv4") };
    let target = Target { port: address.port(), client };
    let mut kept = Client::over(stream).expect("it is connected");
    assert_eq!(kept.get("/").expect("it answers").body, HELLO);
    let before_kib = httpd.resident_kib();
    thread::scope(|scope| {
        let attacker = scope.spawn(move || flood(|number| make(number, target)));
        let begun = Instant::now();
        let mut served = 0;
        while !attacker.is_finished() {
            assert_eq!(kept.get("/").expect("it answers").body, HELLO);
            let mut new = Client::connect(address).expect("it listens");
            assert_eq!(new.get("/").expect("it answers").body, HELLO);
            if served % 20 == 0 {
                check_bounds(&mut kept, 0);
            }
            served += 1;
            assert!(begun.elapsed() < FUSE, "the flood does not end; {served} were served");
        }
        assert!(served > 0);
    });
    check_bounds(&mut kept, 0);
    let grown_kib = httpd.resident_kib().saturating_sub(before_kib);
    assert!(grown_kib < GROWTH_KIB, "{grown_kib} KiB more than before");
    look(address);
    httpd.stop();
    ip("link delete tap0");
}

fn alone(test: impl Fn(Setup) + Copy + Send + 'static) {
    with_each_backend(|setup| in_namespace(move || test(Setup { shards: 1, ..setup })));
}

/// Somebody of very many, behind the gateway.
fn stranger(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 0)) + number)
}

#[test]
fn clients_are_served_beside_a_flood_of_syns() {
    alone(|setup| {
        beside(
            setup,
            |number, target| segment(stranger(number), number, target.port, 2),
            |address| {
                assert!(figure(address, "sunstar_tcp_cookies_sent_total", "") > 1_000.0);
                assert!(figure(address, "sunstar_tcp_cookies_accepted_total", "") > 0.0);
            },
        );
    });
}

#[test]
fn clients_are_served_beside_a_flood_of_acknowledgements() {
    alone(|setup| {
        beside(
            setup,
            |number, target| segment(stranger(number), number, target.port, 16),
            |address| {
                assert!(figure(address, "sunstar_tcp_resets_sent_total", "") > 1_000.0);
            },
        );
    });
}

#[test]
fn clients_are_served_beside_a_flood_of_fragments() {
    const MORE: u16 = 1 << 13;
    alone(|setup| {
        let make = |number: u32, _| {
            let [.., high, low] = number.to_be_bytes();
            packet(stranger(number), u16::from_be_bytes([high, low]) | 1, MORE, UDP, &[0; 64])
        };
        beside(setup, make, |address| {
            assert!(figure(address, "sunstar_tcpip_drops_total", "fragment_memory") > 1_000.0);
        });
    });
}

/// Their addresses are of the link, so that somebody would have to be asked for each.
#[test]
fn clients_are_served_beside_a_flood_of_neighbours_who_are_not_there() {
    alone(|setup| {
        let nobody = |number| Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 77, 0, 0)) + number);
        beside(
            setup,
            move |number, target| segment(nobody(number), number, target.port, 2),
            |address| {
                assert!(figure(address, "sunstar_tcpip_answers_sent_back_total", "") > 1_000.0);
            },
        );
    });
}

/// Somebody guesses at the numbers of a client's connection: with all flags, with data and without. It goes on, and is hardly heard
/// (RFC 5961).
#[test]
fn a_client_is_served_beside_forged_segments_of_its_connection() {
    alone(|setup| {
        let make = |number: u32, target: Target| {
            // ACK, RST, SYN, and RST with ACK.
            let flags = [16, 4, 2, 20][number as usize % 4];
            let payload = if number % 8 < 4 { &[0; 100][..] } else { &[] };
            segment_of(target.client, number, target.port, flags, payload)
        };
        beside(setup, make, |address| {
            assert!(figure(address, "sunstar_tcp_suppressed_challenges_total", "") > 1_000.0);
            assert_eq!(figure(address, "sunstar_tcp_resets_sent_total", ""), 0.0);
        });
    });
}

#[test]
fn clients_are_served_beside_a_flood_of_datagrams_for_nobody() {
    alone(|setup| {
        let make = |number: u32, _| {
            let [a, b, c, d] = mixed(number);
            // Length 8, and no checksum.
            packet(stranger(number), 0, 0, UDP, &[a, b, c | 0x80, d, 0, 8, 0, 0])
        };
        beside(setup, make, |address| {
            assert!(figure(address, "sunstar_tcpip_drops_total", "udp_no_port") > 1_000.0);
            assert!(figure(address, "sunstar_tcpip_icmp_errors_suppressed_total", "") > 1_000.0);
        });
    });
}

#[test]
fn clients_are_served_beside_a_flood_of_echoes() {
    alone(|setup| {
        let make = |number: u32, _| {
            let [a, b, c, d] = mixed(number);
            let word = |high, low| u32::from(u16::from_be_bytes([high, low]));
            let sum = 0x0800 + word(a, b) + word(c, d);
            let folded = (sum & 0xffff) + (sum >> 16);
            let [.., high, low] = (!(folded + (folded >> 16))).to_be_bytes();
            packet(stranger(number), 0, 0, ICMP, &[8, 0, high, low, a, b, c, d])
        };
        beside(setup, make, |address| {
            assert!(figure(address, "sunstar_tcpip_drops_total", "icmp_echo") > 1_000.0);
        });
    });
}

/// Packets of which two fragments overlap are given up, and remembered until their time is over.
#[test]
fn clients_are_served_beside_fragments_that_overlap() {
    const MORE: u16 = 1 << 13;
    alone(|setup| {
        let make = |number: u32, _| {
            let [.., high, low] = (number / 2).to_be_bytes();
            // From the first byte on, and from the eighth: each of 64 bytes.
            let fragment = MORE | u16::try_from(number % 2).expect("a bit");
            packet(stranger(number / 2), u16::from_be_bytes([high, low]) | 1, fragment, UDP, &[0; 64])
        };
        beside(setup, make, |address| {
            assert!(figure(address, "sunstar_tcpip_drops_total", "fragment_overlap") > 1_000.0);
        });
    });
}

/// Who asks for much and reads none of it holds what his connection may hold, and no more; it is free when he is gone.
#[test]
fn clients_are_served_beside_those_who_read_nothing() {
    const HOARDERS: u32 = 100;
    alone(|setup| {
        let root = files::root("hoarders");
        let httpd = Httpd::run(native(setup).arg("--root").arg(&root));
        let address = httpd.address;
        let unacknowledged = || figure(address, "sunstar_tcp_unacknowledged_bytes", "");
        let hoarders: Vec<Client> = (0..HOARDERS)
            .map(|_| {
                let mut client = Client::connect(address).expect("it listens");
                client.send(b"GET /file/large HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is taken");
                client
            })
            .collect();
        let begun = Instant::now();
        while unacknowledged() < f64::from(HOARDERS * 1_000) {
            assert!(begun.elapsed() < FUSE, "they do not hold anything");
        }
        for _ in 0..50 {
            let mut client = Client::connect(address).expect("it listens");
            assert_eq!(client.get("/").expect("it answers").body, HELLO);
            let held = unacknowledged();
            assert!(held <= f64::from(HOARDERS * HELD_BYTES), "{held} bytes");
        }
        hoarders.into_iter().for_each(Client::reset);
        wait_for_figure(address, "sunstar_tcp_connections", "kind=\"open\"", 1.0);
        assert!(unacknowledged() < f64::from(HELD_BYTES), "what asks has something under way");
        httpd.stop();
        ip("link delete tap0");
    });
}

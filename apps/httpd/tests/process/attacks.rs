//! Floods of packets over a TAP, from addresses that nobody has, with clients beside them.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket};

use super::client::{Client, HELLO};
use super::metrics::figure;
use super::namespace::{in_namespace, ip};
use super::server::{Httpd, Setup, command, with_each_backend};

const STACK: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const GATEWAY: &str = "10.9.0.1";
/// Packets of a flood, and how long it may take.
const PACKETS: u32 = 10_000;
const FUSE: Duration = Duration::from_secs(20);
const IP_BYTES: usize = 20;

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

/// A segment without data.
fn segment(from: Ipv4Addr, number: u32, port: u16, flags: u8) -> Vec<u8> {
    const TCP: u8 = 6;
    let [a, b, c, d] = number.wrapping_mul(0x9e37_79b1).to_be_bytes();
    let [high, low] = port.to_be_bytes();
    let tcp = [a | 0x80, b, high, low, a, b, c, d, d, c, b, a, 5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0];
    let mut packet = packet(from, 0, 0, TCP, &tcp);
    // The addresses, the protocol and the length belong to the sum (RFC 9293 §3.1).
    let words = packet[12..].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum = words.sum::<u32>() + u32::from(TCP) + 20;
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

/// A client that keeps its connection and one that opens another for each request are served while packets come that `make` makes.
fn beside(setup: Setup, make: impl Fn(u32, u16) -> Vec<u8> + Send + Sync + Copy + 'static, look: impl Fn(SocketAddr)) {
    ip("tuntap add dev tap0 mode tap");
    ip(&format!("addr add {GATEWAY}/8 dev tap0"));
    ip("link set tap0 txqueuelen 10000 up");
    let mut command = command(setup);
    command.args(["--network-stack", "native", "--device", "tap:tap0", "--host-ipv4-addr", &STACK.to_string()]);
    command.args(["--netmask-ipv4-addr", "255.0.0.0", "--gw-ipv4-addr", GATEWAY]);
    let httpd = Httpd::run(&mut command);
    let address = httpd.address;
    let mut kept = Client::connect(address).expect("it listens");
    thread::scope(|scope| {
        let attacker = scope.spawn(move || flood(|number| make(number, address.port())));
        let begun = Instant::now();
        let mut served = 0;
        while !attacker.is_finished() {
            assert_eq!(kept.get("/").expect("it answers").body, HELLO);
            let mut new = Client::connect(address).expect("it listens");
            assert_eq!(new.get("/").expect("it answers").body, HELLO);
            served += 1;
            assert!(begun.elapsed() < FUSE, "the flood does not end; {served} were served");
        }
        assert!(served > 0);
    });
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
            |number, port| segment(stranger(number), number, port, 2),
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
            |number, port| segment(stranger(number), number, port, 16),
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
            packet(stranger(number), u16::from_be_bytes([high, low]) | 1, MORE, 17, &[0; 64])
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
            move |number, port| segment(nobody(number), number, port, 2),
            |address| {
                assert!(figure(address, "sunstar_tcpip_drops_total", "neighbour_") > 1_000.0);
            },
        );
    });
}

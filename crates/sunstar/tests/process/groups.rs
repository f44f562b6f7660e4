//! Multicast groups of the native stack, with the kernel on the other side of a TAP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::thread::sleep;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, ipproto, recvfrom, sendto, socket, sockopt};
use rustix::process::Signal;

use super::Running;
use super::namespace::{in_namespace, ip};

const KERNEL: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const STACK: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const STACK_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 5, 0, 0, 0, 2);
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 7);

/// What did not come by then never comes.
const TRIES: usize = 100;

/// A router's ear for IGMP, by the kernel.
struct Router(OwnedFd);

impl Router {
    fn new() -> Self {
        let socket = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::IGMP)).expect("it is allowed");
        for group in [Ipv4Addr::new(224, 0, 0, 22), Ipv4Addr::new(224, 0, 0, 2), GROUP] {
            sockopt::set_ip_add_membership(&socket, &group, &KERNEL).expect("there is such an interface");
        }
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(Duration::from_millis(200)))
            .expect("it can be set");
        Self(socket)
    }

    /// Waits until the stack says this to a group.
    fn hears(&self, kind: u8, to: Ipv4Addr) {
        assert!(self.hears_within(TRIES, kind, to), "nothing of kind {kind:#x} came to {to}");
    }

    fn hears_within(&self, tries: usize, kind: u8, to: Ipv4Addr) -> bool {
        let mut bytes = [0; 200];
        (0..tries).any(|_| {
            let Ok((len, ..)) = recvfrom(&self.0, &mut bytes[..], RecvFlags::empty()) else { return false };
            let header = usize::from(bytes[0] & 15) * 4;
            len > header && bytes[12..20] == [STACK.octets(), to.octets()].concat() && bytes[header] == kind
        })
    }

    /// Asks until the stack says that it listens to a group. Of all who listen only the first one answers, and the kernel is one of them, so
    /// each time it may have been the kernel (RFC 2236 §3).
    fn asks_until_told_of(&self, group: Ipv4Addr) {
        let is_told = (0..TRIES).any(|_| {
            self.asks();
            self.hears_within(8, 0x16, group)
        });
        assert!(is_told, "the stack does not tell of {group}");
    }

    /// Asks for all groups, in IGMPv2, to be answered within a second.
    fn asks(&self) {
        let to = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 1), 0);
        let query = [0x11, 10, 0xee, 0xf5, 0, 0, 0, 0];
        sendto(&self.0, &query, SendFlags::empty(), &to).expect("there is a way");
    }
}

/// Sends to a group, and answers who has sent it back.
fn ask(socket: &UdpSocket, group: IpAddr, word: &[u8]) -> Option<SocketAddr> {
    socket.send_to(word, (group, 9)).expect("there is a way");
    let mut bytes = [0; 100];
    let (len, from) = socket.recv_from(&mut bytes).ok()?;
    assert_eq!(&bytes[..len], word);
    Some(from)
}

fn ask_until_answered(socket: &UdpSocket, group: IpAddr, word: &[u8]) -> SocketAddr {
    // It is not known yet where we are.
    let answer = (0..TRIES).find_map(|_| ask(socket, group, word));
    answer.unwrap_or_else(|| panic!("nobody answers for {group}"))
}

/// RFC 1112 §7.1, RFC 3376 §7.2, RFC 2236 §3, §6.
#[test]
fn groups_are_joined_and_left() {
    in_namespace(|| {
        ip("tuntap add dev tap0 mode tap");
        ip(&format!("addr add {KERNEL}/24 dev tap0"));
        ip("addr add 2001:db8:0:5::1/64 dev tap0 nodad");
        ip("link set tap0 up");
        ip("route add 224.0.0.0/4 dev tap0");
        let router = Router::new();
        let (own, own_v6) = (STACK.to_string(), format!("{STACK_V6}/64"));
        let (group, group_v6) = (GROUP.to_string(), GROUP_V6.to_string());
        let running = Running::start(&[
            "--play",
            "gather",
            "--word",
            &group,
            "--word",
            &group_v6,
            "--network-stack",
            "native",
            "--device",
            "tap:tap0",
            "--host-ipv4-addr",
            &own,
            "--host-ipv6-addr",
            &own_v6,
        ]);
        router.hears(0x22, Ipv4Addr::new(224, 0, 0, 22));
        let client = UdpSocket::bind((KERNEL, 0)).expect("there are ports");
        client.set_read_timeout(Some(Duration::from_millis(300))).expect("it is no zero");
        assert_eq!(ask_until_answered(&client, GROUP.into(), b"hello"), (STACK, 9).into());
        router.asks_until_told_of(GROUP);
        assert_eq!(ask_until_answered(&client, GROUP.into(), b"leave"), (STACK, 9).into());
        router.hears(0x17, Ipv4Addr::new(224, 0, 0, 2));
        assert_eq!(ask(&client, GROUP.into(), b"hello"), None);

        let client = UdpSocket::bind("[2001:db8:0:5::1]:0").expect("there are ports");
        client.set_read_timeout(Some(Duration::from_millis(300))).expect("it is no zero");
        assert_eq!(ask_until_answered(&client, GROUP_V6.into(), b"hello"), (STACK_V6, 9).into());
        assert_eq!(ask_until_answered(&client, GROUP_V6.into(), b"leave"), (STACK_V6, 9).into());
        sleep(Duration::from_millis(10));
        assert_eq!(ask(&client, GROUP_V6.into(), b"hello"), None);
        running.signal(Signal::TERM);
        assert_eq!(running.end().0, Some(0));
    });
}

//! httpd on the native stack over IPv6, with the kernel as its peer, in a network namespace for each test.

use std::fs;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, bind, ipproto, recvfrom, sendto, socket, sockopt};

use super::client::{Client, HELLO};
use super::files::{content, root};
use super::namespace::{in_namespace, ip};
use super::native::exercise;
use super::server::{Httpd, PATIENCE, Setup, command};

pub(super) const KERNEL: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 5, 0, 0, 0, 1);
const STACK: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 5, 0, 0, 0, 2);
pub(super) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

const ECHO_REQUEST: u8 = 128;
const ECHO_REPLY: u8 = 129;

/// Runs a test in a namespace with a TAP, of which the kernel's end has an address.
fn with_tap(test: impl FnOnce() + Send + 'static) {
    in_namespace(|| {
        make_tap(1_500, "");
        test();
    });
}

fn make_tap(mtu: usize, more: &str) {
    ip(&format!("tuntap add dev tap0 mode tap{more}"));
    ip(&format!("link set tap0 mtu {mtu} up"));
    ip(&format!("addr add {KERNEL}/64 dev tap0 nodad"));
}

fn native(shards: usize, more: &[&str]) -> Command {
    let mut command = command(Setup { backend: "epoll", shards });
    command.args(["--network-stack", "native", "--dhcp", "0"]).args(more);
    command
}

/// A command that runs httpd at an address that is given.
fn given(shards: usize, device: &str, address: Ipv6Addr) -> Command {
    native(shards, &["--device", device, "--host-ipv6-addr", &format!("{address}/64")])
}

/// Asks for echoes as ping does.
pub(super) struct Ping {
    socket: OwnedFd,
    interface: u32,
}

impl Ping {
    pub(super) fn new(from: Ipv6Addr) -> Self {
        let socket = socket(AddressFamily::INET6, SocketType::RAW, Some(ipproto::ICMPV6)).expect("it is allowed");
        bind(&socket, &SocketAddrV6::new(from, 0, 0, 0)).expect("it is ours");
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(Duration::from_millis(200)))
            .expect("it can be set");
        let index = fs::read_to_string("/sys/class/net/tap0/ifindex");
        // The files are those of another namespace, perhaps.
        let interface = index.ok().and_then(|index| index.trim().parse().ok());
        Self { socket, interface: interface.unwrap_or(2) }
    }

    /// Who answers first beside ourselves.
    pub(super) fn ask(&self, to: Ipv6Addr, body: &[u8]) -> Option<Ipv6Addr> {
        let request = [&[ECHO_REQUEST, 0, 0, 0, 0, 7, 0, 9], body].concat();
        let scope = if to.is_multicast() { self.interface } else { 0 };
        sendto(&self.socket, &request, SendFlags::empty(), &SocketAddrV6::new(to, 0, 0, scope)).ok()?;
        let deadline = Instant::now() + Duration::from_secs(1);
        let mut bytes = vec![0; 70_000];
        while Instant::now() < deadline {
            let Ok((len, _, Some(from))) = recvfrom(&self.socket, &mut bytes[..], RecvFlags::empty()) else { continue };
            let from = SocketAddrV6::try_from(from).expect("of IPv6");
            let reply = [&[ECHO_REPLY, 0], &bytes[2..4], &request[4..]].concat();
            if *from.ip() != KERNEL && bytes[..len] == reply {
                return Some(*from.ip());
            }
        }
        None
    }
}

/// dnsmasq as a router, while it runs.
struct Router(Child);

impl Router {
    fn start() -> Self {
        let mut command = Command::new("/usr/sbin/dnsmasq");
        command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--interface=tap0", "--user=root"]);
        command.args(["--bind-interfaces", "--pid-file=", "--leasefile-ro", "--enable-ra"]);
        command.args(["--dhcp-range=2001:db8:0:5::,ra-only,64,600", "--dhcp-option=option6:dns-server,[2001:db8::53]"]);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("dnsmasq is installed"))
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn httpd_serves_over_ipv6_at_every_mtu() {
    in_namespace(|| {
        let root = root("ipv6");
        for mtu in [1_280, 1_500, 9_000] {
            for offload in ["on", "off"] {
                make_tap(mtu, "");
                let mut command = given(1, &format!("tap:tap0,offload={offload}"), STACK);
                let httpd = Httpd::run(command.arg("--root").arg(&root));
                assert_eq!(httpd.address.ip(), STACK, "it listens at the stack's own address");
                exercise(httpd.address, &content(3_000_000));
                httpd.stop();
                ip("link delete tap0");
            }
        }
    });
}

#[test]
fn all_shards_serve_over_ipv6() {
    in_namespace(|| {
        let root = root("ipv6-shards");
        make_tap(1_500, " multi_queue");
        for queues in [1, 3] {
            let mut command = given(3, &format!("tap:tap0,queues={queues}"), STACK);
            let httpd = Httpd::run(command.arg("--root").arg(&root));
            exercise(httpd.address, &content(3_000_000));
            httpd.stop();
        }
    });
}

/// Also in fragments, both ways.
#[test]
fn echoes_come_back_over_ipv6() {
    with_tap(|| {
        let httpd = Httpd::run(&mut given(1, "tap:tap0", STACK));
        let ping = Ping::new(KERNEL);
        for len in [0, 56, 1_452, 1_453, 9_000, 60_000] {
            assert_eq!(ping.ask(STACK, &content(len)), Some(STACK), "{len} bytes");
        }
        assert_eq!(ping.ask(ALL_NODES, b"who is there"), Some(STACK));
        httpd.stop();
    });
}

#[test]
fn an_address_that_somebody_has_is_not_taken() {
    with_tap(|| {
        let output = given(1, "tap:tap0", KERNEL).args(["--port", "0"]).output().expect("it can be started");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains(&format!("another station has --host-ipv6-addr {KERNEL}")), "{errors}");
        assert_eq!(output.status.code(), Some(1));
    });
}

/// A router that somebody else has written configures the stack, on all shards.
#[test]
fn routers_configure_the_stack() {
    with_tap(|| {
        let _router = Router::start();
        let mut addresses = Vec::new();
        for shards in [1, 3] {
            let httpd = Httpd::run(&mut native(shards, &["--device", "tap:tap0", "--slaac", "1", "--address", "::"]));
            let ping = Ping::new(KERNEL);
            let deadline = Instant::now() + PATIENCE;
            let address = loop {
                let found = ping.ask(ALL_NODES, b"who is there").filter(|found| !found.is_unicast_link_local());
                if let Some(address) = found {
                    break address;
                }
                assert!(Instant::now() < deadline, "no address");
                sleep(Duration::from_millis(100));
            };
            assert_eq!(address.segments()[..4], KERNEL.segments()[..4]);
            addresses.push(address);
            for _ in 0..20 {
                let to = SocketAddr::new(address.into(), httpd.address.port());
                let mut client = Client::connect(to).expect("it listens");
                assert_eq!(client.get("/").expect("it answers").body, HELLO);
            }
            httpd.stop();
        }
    });
}

#[test]
fn options_of_ipv6_are_checked() {
    for (options, reason) in [
        (&["--host-ipv6-addr", "2001:db8::1"][..], "is no address with the length of its prefix"),
        (&["--host-ipv6-addr", "ff02::1/64"], "no host can have that address"),
        (&["--host-ipv6-addr", "tap7=2001:db8::1/64"], "there is no --device of that name"),
        (&["--host-ipv6-addr", "2001:db8::1/64", "--gw-ipv6-addr", "2001:db8:1::1"], "is neither link-local nor"),
    ] {
        let output = native(1, &["--device", "tap:tap0"]).args(options).output().expect("it can be started");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains(reason), "{errors}");
        assert_eq!(output.status.code(), Some(2));
    }
}

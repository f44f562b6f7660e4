//! httpd on the native stack over a TAP with clients and routers of others: by the thousands, over IPv6, and configured by radvd.

use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::client::{Client, HELLO, REQUEST};
use super::crowd::connect_from_each;
use super::files::{content, root};
use super::ipv6::{ALL_NODES, KERNEL as KERNEL_V6, Ping};
use super::metrics::{figure, wait_for_figure};
use super::namespace::{in_namespace, ip};
use super::native::exercise;
use super::server::{Httpd, PATIENCE, Setup, command, only_crowd, room, with_each_backend};
use super::tools::run;

const KERNEL_V4: &str = "10.9.0.1";
const STACK_V4: &str = "10.9.0.2";

/// Makes a TAP whose kernel's end has addresses of both versions.
fn make_tap() {
    ip("tuntap add dev tap0 mode tap");
    // What overflows before the stack would only be late.
    ip("link set tap0 txqueuelen 10000 up");
    ip(&format!("addr add {KERNEL_V4}/24 dev tap0"));
    ip(&format!("addr add {KERNEL_V6}/64 dev tap0 nodad"));
}

fn native(setup: Setup, more: &[&str]) -> Httpd {
    let mut command = command(setup);
    command.args(["--network-stack", "native", "--device", "tap:tap0", "--dhcp", "0"]).args(more);
    Httpd::run(&mut command)
}

/// Connections that are open at the same time, if the system allows that many.
const CROWD: u64 = 10_000;

/// They come from so many addresses.
const SOURCES: u64 = 4;

/// Ten thousand connections from several addresses are served and go, by ends and by resets, and nothing is left of them.
fn ten_thousand_come_and_go(setup: Setup, listens_at: &[&str], sources: &[IpAddr]) {
    let httpd = native(setup, listens_at);
    let each = room(CROWD) / SOURCES;
    let mut clients: Vec<Client> = connect_from_each(sources, each, httpd.address);
    clients.iter_mut().for_each(|client| client.send(REQUEST).expect("it is connected"));
    clients.iter_mut().for_each(|client| assert_eq!(client.answer().expect("it answers").body, HELLO));
    let open = figure(httpd.address, "sunstar_tcp_connections", "kind=\"open\"");
    assert!(open >= clients.len() as f64, "{open} of {}", clients.len());
    for (number, client) in clients.into_iter().enumerate() {
        if number % 2 == 0 { client.reset() } else { drop(client) }
    }
    for (kind, left) in [("open", 1.0), ("half_open", 0.0)] {
        // The connection that asks is one.
        wait_for_figure(httpd.address, "sunstar_tcp_connections", &format!("kind=\"{kind}\""), left);
    }
    wait_for_figure(httpd.address, "sunstar_http_connections_live", "", 1.0);
    let log = httpd.stop();
    assert!(!log.contains("WARN"), "{log}");
}

#[test]
fn ten_thousand_connections_from_several_addresses_leave_nothing() {
    in_namespace(|| {
        let _alone = only_crowd();
        make_tap();
        let v4: Vec<IpAddr> = (11..).take(4).map(|last| IpAddr::from([10, 9, 0, last])).collect();
        let v6: Vec<IpAddr> =
            (0x11..).take(4).map(|last| Ipv6Addr::new(0x2001, 0xdb8, 0, 5, 0, 0, 0, last).into()).collect();
        v4.iter().for_each(|address| ip(&format!("addr add {address}/24 dev tap0")));
        v6.iter().for_each(|address| ip(&format!("addr add {address}/64 dev tap0 nodad")));
        let at = [["--host-ipv4-addr", STACK_V4], ["--host-ipv6-addr", "2001:db8:0:5::2/64"]];
        for ((backend, sources), at) in [("epoll", v4), ("io_uring", v6)].into_iter().zip(at) {
            ten_thousand_come_and_go(Setup { backend, shards: 2 }, &at, &sources);
        }
    });
}

#[test]
fn httpd_serves_over_ipv6_with_each_driver() {
    with_each_backend(|setup| {
        in_namespace(move || {
            make_tap();
            let root = root("ipv6-drivers");
            let folder = root.to_str().expect("temporary paths are text");
            let httpd = native(setup, &["--host-ipv6-addr", "2001:db8:0:5::2/64", "--root", folder]);
            exercise(httpd.address, &content(3_000_000));
            httpd.stop();
        });
    });
}

#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn programs_are_served_over_ipv6() {
    with_each_backend(|setup| {
        in_namespace(move || {
            make_tap();
            let httpd = native(setup, &["--host-ipv6-addr", "2001:db8:0:5::2/64"]);
            assert!(httpd.url("/").contains("[2001:db8:0:5::2]"), "{}", httpd.url("/"));
            assert_eq!(run("curl", &["-6", "-g", "-sS", &httpd.url("/")]), "Hello world\n");
            let upload = ["-6", "-g", "-sS", "-d", &"x".repeat(100_000), &httpd.url("/count")];
            assert_eq!(run("curl", &upload), "100000\n");
            let report = run("wrk", &["-t", "1", "-c", "64", "-d", "1s", &httpd.url("/")]);
            assert!(!report.contains("Socket errors") && !report.contains("Non-2xx"), "{report}");
            httpd.stop();
        });
    });
}

/// radvd while it runs, and its files.
struct Radvd {
    child: Child,
    _folder: TempDir,
}

impl Radvd {
    /// A default router that gives addresses, an MTU, a route and a server of names.
    fn start() -> Self {
        fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").expect("the namespace is ours");
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| folder.path().join(name).display().to_string();
        let config = "interface tap0 {
            AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; AdvLinkMTU 1400;
            prefix 2001:db8:0:5::/64 { AdvOnLink on; AdvAutonomous on; };
            RDNSS 2001:db8::53 { };
        };";
        fs::write(file("conf"), config).expect("it can be written");
        let mut command = Command::new("/usr/sbin/radvd");
        command.args(["-n", "-C", &file("conf"), "-p", &file("pid"), "-m", "stderr"]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Self { child: child.expect("radvd can be started"), _folder: folder }
    }
}

impl Drop for Radvd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address that the stack has made of what the router said, once it has one.
fn configured_address() -> Ipv6Addr {
    let ping = Ping::new(KERNEL_V6);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = ping.ask(ALL_NODES, b"who is there").filter(|found| !found.is_unicast_link_local());
        if let Some(address) = found {
            return address;
        }
        assert!(Instant::now() < deadline, "no address");
        sleep(Duration::from_millis(100));
    }
}

#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn radvd_configures_the_stack() {
    with_each_backend(|setup| {
        in_namespace(move || {
            make_tap();
            // Who is not on the link: answers to him take the default route.
            ip("link set lo up");
            ip("addr add 2001:db8:77::1/128 dev lo nodad");
            let _router = Radvd::start();
            let httpd = native(setup, &["--slaac", "1", "--address", "::"]);
            let address = configured_address();
            assert_eq!(address.segments()[..4], KERNEL_V6.segments()[..4]);
            let to = SocketAddr::new(address.into(), httpd.address.port());
            assert_eq!(Client::connect(to).expect("it listens").get("/").expect("it answers").body, HELLO);
            for mut client in connect_from_each(&["2001:db8:77::1".parse().expect("an address")], 20, to) {
                assert_eq!(client.get("/").expect("it answers").body, HELLO);
            }
            let listened = figure(to, "sunstar_tcpip_router_advertisements_received_total", "");
            assert!(listened >= 1.0, "{listened}");
            let log = httpd.stop();
            assert!(log.contains("name servers: [2001:db8::53]"), "{log}");
        });
    });
}

//! httpd on the native stack whose addresses other people's DHCPv6 servers give, in a network namespace for each test.

use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;

use rustix::process::Signal;

use super::client::{Client, HELLO};
use super::dhcp::{Server, wait_until};
use super::metrics::figure;
use super::namespace::{in_namespace, ip};
use super::server::{Httpd, Setup, command};

const KERNEL: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 6, 0, 0, 0, 1);
const SHARDS: Setup = Setup { backend: "epoll", shards: 2 };

/// Runs a test in a namespace with a TAP that has addresses.
fn with_tap(test: impl FnOnce() + Send + 'static) {
    in_namespace(|| {
        ip("tuntap add dev tap0 mode tap");
        ip(&format!("addr add {KERNEL}/64 dev tap0 nodad"));
        ip("addr add fe80::1/64 dev tap0 nodad");
        ip("link set tap0 up");
        test();
    });
}

/// httpd without IPv4.
fn httpd(more: &[&str]) -> Httpd {
    let mut command = command(SHARDS);
    command.args(["--network-stack", "native", "--device", "tap:tap0", "--dhcp", "0"]).args(more);
    Httpd::run(&mut command)
}

fn hello(address: SocketAddr) {
    assert_eq!(Client::connect(address).expect("it listens").get("/").expect("it answers").body, HELLO);
}

/// dnsmasq, which gives addresses from ::50 on and says so as a router.
fn dnsmasq(range: &str, more: &[&str]) -> Server {
    let more: Vec<String> = more.iter().map(|more| (*more).to_owned()).collect();
    let range = format!("--dhcp-range={range}");
    Server::start("/usr/sbin/dnsmasq", move |folder| {
        let leases = format!("--dhcp-leasefile={}", folder.join("leases").display());
        let mut all = vec!["--keep-in-foreground", "--log-facility=-", "--log-dhcp", "--conf-file=/dev/null", &leases];
        all.extend(["--port=0", "--interface=tap0", "--bind-interfaces", "--user=root", "--pid-file=", "--enable-ra"]);
        all.extend(["--dhcp-authoritative", "--dhcp-option=option6:dns-server,[2001:db8:0:6::53]", &range]);
        all.into_iter().map(str::to_owned).chain(more).collect()
    })
}

/// Without routers, who say where to send.
const BY_SERVER: [&str; 6] = ["--dhcpv6", "stateful", "--slaac", "0", "--gw-ipv6-addr", "fe80::1"];

const STATEFUL: &str = "2001:db8:0:6::50,2001:db8:0:6::59,64,2m";

/// dhcpd, which speaks only DHCPv6.
fn dhcpd(seconds: u32, range: &str) -> Server {
    Server::start("/usr/sbin/dhcpd", |folder| {
        let config = format!(
            "authoritative; default-lease-time {seconds}; preferred-lifetime {seconds};
             option dhcp-renewal-time 2; option dhcp-rebinding-time 4;
             option dhcp6.name-servers 2001:db8:0:6::53; option dhcp6.domain-search \"example.org\";
             subnet6 2001:db8:0:6::/64 {{ range6 {range}; }}"
        );
        let file = write(folder, &config);
        ["-f", "-d", "-6", "--no-pid", "-cf", &file, "-lf", &path(folder, "leases"), "tap0"].map(str::to_owned).to_vec()
    })
}

/// Kea, which gives one address.
fn kea(more: &str) -> Server {
    Server::start("env", |folder| {
        let leases = path(folder, "leases.csv");
        let config = format!(
            r#"{{ "Dhcp6": {{
                "interfaces-config": {{ "interfaces": ["tap0"],
                    "service-sockets-max-retries": 300, "service-sockets-retry-wait-time": 200 }},
                "server-id": {{ "type": "EN", "enterprise-id": 9, "identifier": "0102030405", "persist": false }},
                "lease-database": {{ "type": "memfile", "persist": false, "name": "{leases}" }},
                "loggers": [{{ "name": "kea-dhcp6", "severity": "DEBUG", "debuglevel": 50,
                    "output_options": [{{ "output": "stderr" }}] }}],
                "renew-timer": 2, "rebind-timer": 4, "preferred-lifetime": 60, "valid-lifetime": 90,
                "option-data": [{{ "name": "dns-servers", "data": "2001:db8:0:6::53" }}],
                "subnet6": [{{ "id": 1, "subnet": "2001:db8:0:6::/64", "interface": "tap0", {more}
                    "pools": [{{ "pool": "2001:db8:0:6::70-2001:db8:0:6::71" }}] }}] }} }}"#
        );
        let places = ["KEA_PIDFILE_DIR", "KEA_LOCKFILE_DIR"].map(|name| format!("{name}={}", folder.display()));
        let [pid, lock] = &places;
        [pid, lock, "/usr/sbin/kea-dhcp6", "-c", &write(folder, &config)].map(str::to_owned).to_vec()
    })
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).display().to_string()
}

/// Writes a configuration and answers where.
fn write(folder: &Path, config: &str) -> String {
    fs::write(folder.join("conf"), config).expect("it can be written");
    path(folder, "conf")
}

fn leases(httpd: &Httpd) -> f64 {
    figure(httpd.address, "sunstar_dhcpv6_leases_total", "shard=\"0\"")
}

fn is_from(httpd: &Httpd, low: std::ops::Range<u16>) -> bool {
    matches!(httpd.address.ip(), IpAddr::V6(v6) if low.contains(&v6.segments()[7]))
}

/// Addresses because the router says so, with all shards, and given back.
#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn dnsmasq_as_router_and_server_configures_everything_and_gets_it_back() {
    with_tap(|| {
        let server = dnsmasq(STATEFUL, &[]);
        let httpd = httpd(&["--slaac", "1", "--address", "::"]);
        server.wait_for("DHCPREPLY");
        let address =
            server.log().split("DHCPREPLY(tap0) ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
        let address: Ipv6Addr = address.unwrap_or_else(|| panic!("{}", server.log()));
        let at = SocketAddr::new(address.into(), httpd.address.port());
        wait_until(|| std::net::TcpStream::connect(at).is_ok(), || server.log());
        for _ in 0..20 {
            hello(at);
        }
        let log = httpd.stop();
        assert!(log.contains(&format!("this host has the address {address}/128")), "{log}");
        assert!(log.contains("name servers: [2001:db8:0:6::53]"), "{log}");
        server.wait_for("DHCPRELEASE");
        assert!(!server.log().contains("DHCPADVERTISE") || server.log().contains("DHCPREQUEST"), "{}", server.log());
    });
}

#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn dnsmasq_tells_name_servers_alone_if_the_router_says_so() {
    with_tap(|| {
        let server = dnsmasq("2001:db8:0:6::,ra-stateless,64,2m", &[]);
        let httpd = httpd(&["--slaac", "1", "--address", "::"]);
        server.wait_for("DHCPINFORMATION-REQUEST");
        let log = httpd.stop();
        assert!(log.contains("name servers: [2001:db8:0:6::53]"), "{log}");
        assert!(!server.log().contains("DHCPSOLICIT"), "{}", server.log());
    });
}

/// Without a router: by four messages, renewed by its server, gone without it, and back.
#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn dhcpd_renews_v6_goes_and_comes_back() {
    with_tap(|| {
        let server = dhcpd(8, "2001:db8:0:6::60 2001:db8:0:6::60");
        let httpd = httpd(&BY_SERVER);
        assert!(is_from(&httpd, 0x60..0x61), "{}", httpd.address);
        wait_until(|| leases(&httpd) >= 3.0, || server.log());
        hello(httpd.address);
        drop(server);
        std::thread::sleep(std::time::Duration::from_secs(9));
        let accepts =
            || std::net::TcpStream::connect_timeout(&httpd.address, std::time::Duration::from_millis(500)).is_ok();
        assert!(!accepts(), "its address is not its own any more");
        let server = dhcpd(8, "2001:db8:0:6::60 2001:db8:0:6::60");
        wait_until(accepts, || server.log());
        let log = httpd.stop();
        assert!(log.contains("no longer has the address 2001:db8:0:6::60"), "{log}");
        server.wait_for("Release");
    });
}

/// By two messages where the server agrees, and by any server when its own is deaf.
#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn kea_commits_rapidly_and_renews() {
    with_tap(|| {
        let server = kea(r#""rapid-commit": true,"#);
        let httpd = httpd(&BY_SERVER);
        assert!(is_from(&httpd, 0x70..0x72), "{}", httpd.address);
        assert!(!server.log().contains("DHCP6_REQUEST"), "{}", server.log());
        wait_until(|| leases(&httpd) >= 3.0, || server.log());
        hello(httpd.address);
        assert!(httpd.first_lines.iter().any(|line| line.contains("name servers: [2001:db8:0:6::53]")));
        httpd.stop();
        server.wait_for("RELEASE");
    });
}

/// A router that is no server, and a server that is no router.
#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn radvd_sends_to_kea() {
    with_tap(|| {
        let server = kea("");
        let radvd = Server::start("/usr/sbin/radvd", |folder| {
            let config =
                "interface tap0 { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; AdvManagedFlag on;
                 prefix 2001:db8:0:6::/64 { AdvOnLink on; AdvAutonomous off; }; };";
            let file = write(folder, config);
            ["--nodaemon", "--logmethod", "stderr", "-C", &file, "-p", &path(folder, "pid")].map(str::to_owned).to_vec()
        });
        let httpd = httpd(&["--slaac", "1", "--address", "::"]);
        let at = |low: u16| {
            let ip = Ipv6Addr::new(0x2001, 0xdb8, 0, 6, 0, 0, 0, low);
            SocketAddr::new(ip.into(), httpd.address.port())
        };
        let accepts =
            |low| std::net::TcpStream::connect_timeout(&at(low), std::time::Duration::from_millis(500)).is_ok();
        wait_until(|| accepts(0x70), || format!("{} {}", radvd.log(), server.log()));
        hello(at(0x70));
        let log = httpd.stop();
        assert_eq!(log.matches("this host has the address 2001:").count(), 1, "by the server alone: {log}");
        server.wait_for("RELEASE");
    });
}

/// RFC 8415 §18.2.8: the kernel has the address that the server gives.
#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn an_address_of_ipv6_in_use_is_declined() {
    with_tap(|| {
        let server = kea("");
        ip("addr add 2001:db8:0:6::70/128 dev tap0 nodad");
        let httpd = httpd(&BY_SERVER);
        assert!(is_from(&httpd, 0x71..0x72), "{}: {}", httpd.address, server.log());
        assert!(server.log().contains("DECLINE"), "{}", server.log());
        hello(httpd.address);
        httpd.stop();
    });
}

/// The same host gets the same address again: it is known by its name and its device.
#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn the_same_host_gets_the_same_address_again() {
    with_tap(|| {
        let _server = dnsmasq("2001:db8:0:6::1000,2001:db8:0:6::ffff,64,2m", &[]);
        let first = httpd(&["--dhcpv6", "stateful"]);
        let address = first.address.ip();
        first.stop();
        let second = httpd(&["--dhcpv6", "stateful"]);
        assert_eq!(second.address.ip(), address);
        second.stop();
    });
}

#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn without_a_server_of_ipv6_the_start_fails() {
    with_tap(|| {
        let mut command = command(SHARDS);
        command.args(["--network-stack", "native", "--device", "tap:tap0", "--dhcp", "0", "--dhcpv6", "stateful"]);
        let output = command.args(["--port", "0"]).output().expect("it can be started");
        let errors = String::from_utf8_lossy(&output.stderr);
        let last = errors.lines().last().unwrap_or_default();
        let reason = "no DHCPv6 server has offered an address on tap:tap0 in 30 s; --host-ipv6-addr needs none";
        assert_eq!((last, output.status.code()), (&*format!("httpd: error: {reason}"), Some(1)));
    });
}

/// A stream that nobody reads does not keep the addresses from being given back.
#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn addresses_are_given_back_though_streams_linger() {
    with_tap(|| {
        ip("addr add 10.9.0.1/24 dev tap0");
        let server = dnsmasq(STATEFUL, &["--dhcp-range=10.9.0.50,10.9.0.59,255.255.255.0,2m", "--no-ping"]);
        let root = tempfile::tempdir().expect("a folder");
        fs::write(root.path().join("large"), vec![b'x'; 64 << 20]).expect("it can be written");
        let mut command = command(SHARDS);
        command.args([
            "--network-stack",
            "native",
            "--device",
            "tap:tap0",
            "--dhcpv6",
            "stateful",
            "--stop-timeout-s",
            "0.1",
        ]);
        let mut httpd = Httpd::run(command.arg("--root").arg(root.path()));
        // Some for each shard.
        let streams: Vec<_> = (0..8).map(|_| stuck(httpd.address)).collect();
        std::thread::sleep(std::time::Duration::from_millis(300));
        httpd.signal(Signal::TERM);
        httpd.end();
        server.wait_for("DHCPRELEASE(tap0) 10.9.0.5");
        server.wait_for("DHCPRELEASE(tap0) 00:04:");
        drop(streams);
    });
}

/// A client that asks for much and reads nothing.
fn stuck(address: SocketAddr) -> std::net::TcpStream {
    use std::io::Write;
    let mut stream = std::net::TcpStream::connect(address).expect("it listens");
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").expect("it takes a request");
    stream
}

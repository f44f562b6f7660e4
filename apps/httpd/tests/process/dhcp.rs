//! httpd on the native stack whose addresses other people's DHCP servers give, in a network namespace for each test.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::client::{Client, HELLO};
use super::metrics::figure;
use super::namespace::{in_namespace, ip};
use super::server::{Httpd, PATIENCE, Setup, command};

const KERNEL: &str = "10.9.0.1";
const SHARDS: Setup = Setup { backend: "epoll", shards: 2 };

/// A DHCP server while it runs, and its files.
pub(super) struct Server {
    child: Child,
    folder: TempDir,
}

impl Server {
    pub(super) fn start(program: &str, arguments: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("leases"), "").expect("it can be written");
        let log = fs::File::create(folder.path().join("log")).expect("it can be written");
        let arguments = arguments(folder.path());
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("descriptors are free"))
            .stderr(log)
            .spawn();
        Self { child: child.unwrap_or_else(|error| panic!("{program}: {error}")), folder }
    }

    /// One that gives addresses from 10.9.0.50 on.
    fn dnsmasq(more: &[&str]) -> Self {
        Self::start("/usr/sbin/dnsmasq", |folder| dnsmasq(folder, "10.9.0.50,10.9.0.59", more))
    }

    /// One that gives an address for some seconds.
    fn dhcpd(seconds: u32, range: &str) -> Self {
        Self::start("/usr/sbin/dhcpd", |folder| {
            let config = format!(
                "authoritative; ping-check false; min-lease-time 1; default-lease-time {seconds}; max-lease-time {seconds};
                 option rfc3442 code 121 = array of unsigned integer 8;
                 subnet 10.9.0.0 netmask 255.255.255.0 {{
                   range {range}; option routers {KERNEL}; option interface-mtu 1400;
                   option rfc3442 24, 192, 0, 2, 10, 9, 0, 1;
                 }}"
            );
            fs::write(folder.join("conf"), config).expect("it can be written");
            let file = |name: &str| folder.join(name).display().to_string();
            ["-f", "-d", "-4", "--no-pid", "-cf", &file("conf"), "-lf", &file("leases"), "tap0"]
                .map(str::to_owned)
                .to_vec()
        })
    }

    /// Kea, which gives addresses from 10.9.0.60 on for some seconds. It tries until somebody is at the other end of the TAP.
    fn kea(seconds: u32) -> Self {
        Self::start("env", |folder| {
            let config = format!(
                r#"{{"Dhcp4": {{
                  "interfaces-config": {{
                    "interfaces": ["tap0"], "service-sockets-max-retries": 600, "service-sockets-retry-wait-time": 100
                  }},
                  "lease-database": {{"type": "memfile", "persist": false}},
                  "valid-lifetime": {seconds}, "renew-timer": 2, "rebind-timer": 5,
                  "option-data": [{{"name": "routers", "data": "{KERNEL}"}}, {{"name": "interface-mtu", "data": "1300"}}],
                  "subnet4": [{{"subnet": "10.9.0.0/24", "pools": [{{"pool": "10.9.0.60 - 10.9.0.69"}}]}}],
                  "loggers": [{{"name": "kea-dhcp4", "severity": "INFO", "output_options": [{{"output": "stderr"}}]}}]
                }}}}"#
            );
            fs::write(folder.join("conf"), config).expect("it can be written");
            let own = |name: &str| format!("{name}={}", folder.display());
            let file = folder.join("conf").display().to_string();
            vec![
                own("KEA_PIDFILE_DIR"),
                own("KEA_LOCKFILE_DIR"),
                "/usr/sbin/kea-dhcp4".to_owned(),
                "-c".to_owned(),
                file,
            ]
        })
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Waits until it has logged something.
    pub(super) fn wait_for(&self, what: &str) {
        wait_until(|| self.log().contains(what), || format!("no {what} in {}", self.log()));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The arguments of a dnsmasq that gives addresses of a range, for two minutes: the least that it has.
fn dnsmasq(folder: &Path, range: &str, more: &[&str]) -> Vec<String> {
    let leases = format!("--dhcp-leasefile={}", folder.join("leases").display());
    let range = format!("--dhcp-range={range},255.255.255.0,2m");
    let mut all = vec!["--keep-in-foreground", "--log-facility=-", "--log-dhcp", "--conf-file=/dev/null", &leases];
    all.extend([
        "--port=0",
        "--interface=tap0",
        "--bind-interfaces",
        "--user=root",
        "--no-ping",
        "--pid-file=",
        &range,
    ]);
    all.push("--dhcp-authoritative");
    all.extend(more);
    all.into_iter().map(str::to_owned).collect()
}

pub(super) fn wait_until(mut is_so: impl FnMut() -> bool, else_what: impl Fn() -> String) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{}", else_what());
        sleep(Duration::from_millis(50));
    }
}

/// Runs a test in a namespace with a TAP.
fn with_tap(test: impl FnOnce() + Send + 'static) {
    in_namespace(|| {
        ip("tuntap add dev tap0 mode tap");
        ip(&format!("addr add {KERNEL}/24 dev tap0"));
        ip("link set tap0 up");
        test();
    });
}

/// httpd, which waits for an address, and what it writes to: a file, since it goes on writing.
fn httpd(folder: &TempDir) -> (Httpd, PathBuf) {
    httpd_with(folder, &[])
}

fn httpd_with(folder: &TempDir, more: &[&str]) -> (Httpd, PathBuf) {
    let capture = folder.path().join("capture.pcapng");
    let mut command = command(SHARDS);
    command.args(["--network-stack", "native", "--device", "tap:tap0", "--pcap"]).arg(&capture);
    (Httpd::run(command.args(more)), capture)
}

fn hello(httpd: &Httpd) {
    assert_eq!(Client::connect(httpd.address).expect("it listens").get("/").expect("it answers").body, HELLO);
}

/// The DHCP messages of a capture, by the numbers of their kinds, and other fields of tshark's.
fn messages(capture: &Path, field: &str) -> Vec<String> {
    let capture = capture.to_str().expect("temporary paths are text");
    let arguments = ["-r", capture, "-Y", "dhcp", "-T", "fields", "-e", "dhcp.option.dhcp", "-e", field];
    let output = Command::new("tshark").args(arguments).stdin(Stdio::null()).output().expect("tshark can be run");
    String::from_utf8_lossy(&output.stdout).lines().map(|line| line.replace('\t', " ").trim().to_owned()).collect()
}

fn prolonged(httpd: &Httpd) -> f64 {
    figure(httpd.address, "sunstar_dhcp_leases_total", "shard=\"0\"")
}

#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn dnsmasq_configures_everything_and_gets_it_back() {
    with_tap(|| {
        ip("addr add 192.0.2.1/32 dev lo");
        let routes = "--dhcp-option=121,192.0.2.0/24,10.9.0.1";
        let server = Server::dnsmasq(&["--dhcp-option=26,1300", routes, "--dhcp-option=6,10.9.0.1"]);
        let folder = tempfile::tempdir().expect("a folder");
        let (httpd, capture) = httpd(&folder);
        assert!(matches!(httpd.address.ip(), IpAddr::V4(v4) if (50..60).contains(&v4.octets()[3])));
        hello(&httpd);
        assert!(httpd.first_lines.iter().any(|line| line.contains("name servers: [10.9.0.1]")));
        // By the classless route, and with all shards.
        let from: std::net::SocketAddr = "192.0.2.1:0".parse().expect("an address");
        for _ in 0..20 {
            let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None);
            let socket = socket.expect("descriptors are free");
            rustix::net::bind(&socket, &from).expect("it is ours");
            rustix::net::connect(&socket, &httpd.address).expect("it listens");
        }
        httpd.stop();
        server.wait_for("DHCPRELEASE");
        assert_eq!(messages(&capture, "dhcp.option.interface_mtu")[..4], ["1", "2 1300", "3", "5 1300"]);
    });
}

#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn dnsmasq_prolongs_when_asked_directly_and_when_anybody_is_asked() {
    with_tap(|| {
        let server = Server::dnsmasq(&["--dhcp-option=option:T1,3", "--dhcp-option=option:T2,6"]);
        let folder = tempfile::tempdir().expect("a folder");
        let (httpd, _) = httpd(&folder);
        wait_until(|| prolonged(&httpd) >= 2.0, || server.log());
        hello(&httpd);
        // From now on it hears only what is broadcast.
        let rules = "table ip t { chain c { type filter hook input priority 0; }; }; \
                     add rule ip t c ip daddr 10.9.0.1 udp dport 67 drop";
        let nft = Command::new("/usr/sbin/nft").arg(rules).output().expect("nft can be run");
        assert!(nft.status.success(), "{}", String::from_utf8_lossy(&nft.stderr));
        let before = prolonged(&httpd);
        wait_until(|| prolonged(&httpd) > before + 1.0, || server.log());
        hello(&httpd);
        let log = httpd.stop();
        let before = log.split("SIGTERM").next().unwrap_or_default();
        assert!(!before.contains("no longer"), "{log}");
    });
}

#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn dhcpd_renews_goes_and_comes_back() {
    with_tap(|| {
        let server = Server::dhcpd(8, "10.9.0.70 10.9.0.70");
        let folder = tempfile::tempdir().expect("a folder");
        let (httpd, capture) = httpd(&folder);
        assert_eq!(httpd.address.ip(), Ipv4Addr::new(10, 9, 0, 70));
        wait_until(|| prolonged(&httpd) >= 3.0, || server.log());
        hello(&httpd);
        drop(server);
        sleep(Duration::from_secs(9));
        let gone = accepts(httpd.address);
        assert!(!gone, "its address is not its own any more");
        let _server = Server::dhcpd(8, "10.9.0.70 10.9.0.70");
        wait_until(|| accepts(httpd.address), || "it does not come back".to_owned());
        hello(&httpd);
        let log = httpd.stop();
        assert!(log.contains("no longer has the address 10.9.0.70"), "{log}");
        // Broadcast requests before the end, then it begins anew.
        assert!(messages(&capture, "ip.dst").iter().any(|line| line == "3 10.9.0.1"));
        assert!(messages(&capture, "ip.src").iter().any(|line| line == "7 10.9.0.70"));
    });
}

#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn kea_configures_renews_and_gets_it_back() {
    with_tap(|| {
        let server = Server::kea(8);
        let folder = tempfile::tempdir().expect("a folder");
        let (httpd, capture) = httpd(&folder);
        assert!(matches!(httpd.address.ip(), IpAddr::V4(v4) if (60..70).contains(&v4.octets()[3])), "{}", server.log());
        hello(&httpd);
        wait_until(|| prolonged(&httpd) >= 3.0, || server.log());
        hello(&httpd);
        httpd.stop();
        server.wait_for("DHCP4_RELEASE");
        let mut messages = messages(&capture, "dhcp.option.interface_mtu");
        // It may not hear the first question yet.
        messages.dedup();
        assert_eq!(messages[..4], ["1", "2 1300", "3", "5 1300"]);
    });
}

/// RFC 2132 §3.14, §9.14: the server has an address for whom it knows, and a name.
#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn a_server_knows_the_client_by_what_it_says() {
    with_tap(|| {
        let server = Server::dnsmasq(&["--dhcp-host=id:00:77:65:62,10.9.0.77"]);
        let folder = tempfile::tempdir().expect("a folder");
        let (httpd, capture) = httpd_with(&folder, &["--dhcp-client-id", "web", "--dhcp-host-name", "web.example.org"]);
        assert_eq!(httpd.address.ip(), Ipv4Addr::new(10, 9, 0, 77), "{}", server.log());
        httpd.stop();
        server.wait_for("client provides name: web.example.org");
        assert!(messages(&capture, "dhcp.option.hostname").contains(&"3 web.example.org".to_owned()));
    });
}

/// RFC 2131 §4.4.2: by two messages, or by four if the server will not have it.
#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn the_previous_address_is_asked_for_first() {
    with_tap(|| {
        let _server = Server::dnsmasq(&[]);
        let folder = tempfile::tempdir().expect("a folder");
        let (httpd, capture) = httpd_with(&folder, &["--dhcp-previous-addr", "10.9.0.55"]);
        assert_eq!(httpd.address.ip(), Ipv4Addr::new(10, 9, 0, 55));
        httpd.stop();
        assert_eq!(messages(&capture, "dhcp.option.requested_ip_address")[..2], ["3 10.9.0.55", "5"]);
        let (httpd, capture) = httpd_with(&folder, &["--dhcp-previous-addr", "192.0.2.7"]);
        assert!(matches!(httpd.address.ip(), IpAddr::V4(v4) if (50..60).contains(&v4.octets()[3])));
        httpd.stop();
        assert_eq!(messages(&capture, "dhcp.option.requested_ip_address")[..3], ["3 192.0.2.7", "6", "1"]);
    });
}

/// Whether somebody accepts there within a moment.
fn accepts(address: std::net::SocketAddr) -> bool {
    std::net::TcpStream::connect_timeout(&address, Duration::from_millis(500)).is_ok()
}

#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn a_server_that_refuses_gives_another_address() {
    with_tap(|| {
        let server = Server::dnsmasq(&["--dhcp-option=option:T1,3"]);
        let folder = tempfile::tempdir().expect("a folder");
        let (httpd, capture) = httpd(&folder);
        drop(server);
        // It knows nothing of what the other one gave.
        let other = Server::start("/usr/sbin/dnsmasq", |folder| dnsmasq(folder, "10.9.0.90,10.9.0.90", &[]));
        other.wait_for("DHCPNAK");
        other.wait_for("DHCPACK(tap0) 10.9.0.90");
        // It asks first whether anybody has it.
        sleep(Duration::from_secs(2));
        let log = httpd.stop();
        assert!(log.contains("no longer has the address 10.9.0.5"), "{log}");
        assert!(log.contains("this host has the address 10.9.0.90/24"), "{log}");
        assert!(messages(&capture, "ip.src").iter().any(|line| line.starts_with('6')));
    });
}

/// RFC 5227: the kernel has the address that the server gives.
#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn an_address_in_use_is_declined() {
    with_tap(|| {
        // Of another interface, for which the kernel answers too.
        ip("link add name other type veth peer name unused");
        ip("addr add 10.9.0.70/32 dev other");
        ip("link set other up");
        let server = Server::dhcpd(60, "10.9.0.70 10.9.0.71");
        let folder = tempfile::tempdir().expect("a folder");
        let (httpd, _) = httpd(&folder);
        assert_eq!(httpd.address.ip(), Ipv4Addr::new(10, 9, 0, 71), "{}", server.log());
        assert!(server.log().contains("DHCPDECLINE of 10.9.0.70"), "{}", server.log());
        hello(&httpd);
        httpd.stop();
    });
}

/// The start waits for half a minute, says so, and says what else can be done.
#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn without_a_server_the_start_fails() {
    with_tap(|| {
        let mut command = command(SHARDS);
        command.args(["--network-stack", "native", "--device", "tap:tap0", "--port", "0"]);
        let output = command.output().expect("it can be started");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains("waiting for an address by DHCP on tap:tap0, for at most 30 s"), "{errors}");
        let last = errors.lines().last().unwrap_or_default();
        let reason = "no DHCP server has offered an address on tap:tap0 in 30 s; --host-ipv4-addr needs none";
        assert_eq!((last, output.status.code()), (&*format!("httpd: error: {reason}"), Some(1)));
    });
}

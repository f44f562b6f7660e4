//! The native stack over a TAP, with the kernel as its peer, in a network namespace for each test and driver.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::client::{Client, HELLO};
use super::crowd::serve_all_of_a_crowd;
use super::files::{content, root};
use super::memory::returns_to_its_level;
use super::metrics::figure;
use super::namespace::{in_namespace, ip};
use super::server::{Httpd, Setup, command, with_each_backend};
use super::tools::browse;

const KERNEL: &str = "10.9.0.1";
const STACK: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

/// Runs a test of httpd on one shard, with each driver.
fn alone(test: impl Fn(Setup) + Copy + Send + 'static) {
    with_each_backend(|setup| in_namespace(move || test(Setup { shards: 1, ..setup })));
}

/// Makes a TAP, of which httpd is going to be the other end.
fn make_tap(name: &str, mtu: usize) {
    ip(&format!("tuntap add dev {name} mode tap"));
    ip(&format!("addr add {KERNEL}/24 dev {name}"));
    ip(&format!("link set {name} mtu {mtu} up"));
}

fn remove_tap(name: &str) {
    ip(&format!("link delete {name}"));
}

/// A command that runs httpd on the native stack.
fn native(setup: Setup, device: &str) -> Command {
    let mut command = command(setup);
    command.args(["--network-stack", "native", "--device", device, "--host-ipv4-addr", &STACK.to_string()]);
    command
}

/// Downloads and uploads much, on one connection and on several; all bytes are looked at.
pub(super) fn exercise(address: SocketAddr, large: &[u8]) {
    let mut client = Client::connect(address).expect("it listens");
    for _ in 0..3 {
        assert!(client.get("/").expect("it answers").body == HELLO);
        assert!(client.get("/file/large").expect("it answers").body == large);
    }
    let upload = content(500_000);
    client
        .send(format!("POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", upload.len()).as_bytes())
        .expect("it takes them");
    client.send(&upload).expect("it takes them");
    assert_eq!(client.answer().expect("it answers").body, b"500000\n");
    let several: Vec<_> = (0..20).map(|_| Client::connect(address).expect("it listens")).collect();
    for mut client in several {
        assert_eq!(client.get("/").expect("it answers").body, HELLO);
    }
}

#[test]
fn httpd_serves_with_and_without_offloads_at_every_mtu() {
    alone(|setup| {
        let root = root("native");
        for mtu in [576, 1500, 9000] {
            for offload in ["on", "off"] {
                make_tap("tap0", mtu);
                let mut command = native(setup, &format!("tap:tap0,offload={offload}"));
                let httpd = Httpd::run(command.arg("--root").arg(&root));
                assert_eq!(httpd.address.ip(), STACK, "it listens at the stack's own address");
                exercise(httpd.address, &content(3_000_000));
                httpd.stop();
                remove_tap("tap0");
            }
        }
    });
}

#[test]
fn a_bad_line_loses_no_byte() {
    alone(|setup| {
        let root = root("native-faults");
        make_tap("tap0", 1500);
        for faults in ["drop=0.01", "drop=0.01,duplicate=0.01,reorder=0.02,corrupt=0.005,seed=7"] {
            let mut command = native(setup, "tap:tap0");
            let httpd = Httpd::run(command.args(["--fault", faults]).arg("--root").arg(&root));
            exercise(httpd.address, &content(3_000_000));
            httpd.stop();
        }
    });
}

#[test]
fn thousands_of_connections_at_once_are_served() {
    alone(|setup| {
        make_tap("tap0", 1500);
        // What overflows before the stack would only be late.
        ip("link set tap0 txqueuelen 10000");
        let httpd = Httpd::run(&mut native(setup, "tap:tap0"));
        serve_all_of_a_crowd(httpd.address);
        let log = httpd.stop();
        assert!(!log.contains("WARN"), "{log}");
    });
}

#[test]
fn after_a_peak_memory_returns_to_its_level() {
    alone(|setup| {
        make_tap("tap0", 1500);
        // Nothing may overflow: a reset comes once, and a connection whose reset was lost stays. Where httpd gets little of the machine,
        // acknowledgements are late, so answers are repeated, and acknowledged again.
        ip("link set tap0 txqueuelen 200000");
        returns_to_its_level(Httpd::run(&mut native(setup, "tap:tap0")), 4_000, 100);
    });
}

#[test]
fn an_idle_server_sleeps() {
    alone(|setup| {
        make_tap("tap0", 1500);
        let httpd = Httpd::run(&mut native(setup, "tap:tap0"));
        let mut client = Client::connect(httpd.address).expect("it listens");
        assert_eq!(client.get("/").expect("it answers").body, HELLO);
        // The last acknowledgements.
        thread::sleep(Duration::from_millis(300));
        let before = httpd.processor_ticks();
        thread::sleep(Duration::from_secs(1));
        let ticks = httpd.processor_ticks() - before;
        assert!(ticks <= 5, "{ticks} ticks, of which a second has some hundred");
        // It wakes for what comes.
        assert_eq!(client.get("/").expect("it answers").body, HELLO);
        httpd.stop();
    });
}

#[test]
fn the_kernels_loopback_is_what_it_was() {
    alone(|setup| {
        make_tap("tap0", 1500);
        let mut command = native(setup, "tap:tap0");
        let httpd = Httpd::run(command.args(["--address", "127.0.0.1"]));
        assert_eq!(httpd.address.ip(), Ipv4Addr::LOCALHOST);
        assert_eq!(Client::connect(httpd.address).expect("it listens").get("/").expect("it answers").body, HELLO);
        httpd.stop();
    });
}

/// Connects from an address of this host's.
fn connect_from(from: &str, to: SocketAddr) {
    let from: SocketAddr = from.parse().expect("an address");
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None);
    let socket = socket.expect("descriptors are free");
    rustix::net::bind(&socket, &from).expect("it is ours");
    rustix::net::connect(&socket, &to).expect("it listens");
}

#[test]
fn who_is_beyond_a_gateway_is_served() {
    alone(|setup| {
        make_tap("tap0", 1500);
        ip("addr add 192.0.2.1/32 dev lo");
        let mut command = native(setup, "tap:tap0");
        let httpd = Httpd::run(command.args(["--gw-ipv4-addr", KERNEL, "--netmask-ipv4-addr", "255.255.255.252"]));
        connect_from("192.0.2.1:0", httpd.address);
        httpd.stop();
        ip("addr delete 192.0.2.1/32 dev lo");
        remove_tap("tap0");
    });
}

#[test]
fn several_devices_lead_to_several_networks() {
    with_each_backend(|setup| {
        in_namespace(move || {
            let (root, folder) = (root("native-devices"), tempfile::tempdir().expect("a folder"));
            make_tap("tap0", 1500);
            ip("tuntap add dev tap1 mode tap");
            ip("addr add 10.9.1.1/24 dev tap1");
            ip("link set tap1 mtu 9000 up");
            // Who is behind a gateway of the second network.
            ip("addr add 192.0.2.1/32 dev lo");
            let file = folder.path().join("capture.pcapng");
            let mut command = native(setup, "tap:tap0");
            command.args(["--device", "tap:tap1,offload=off", "--host-ipv4-addr", "10.9.1.2"]);
            command.args(["--gw-ipv4-addr", "10.9.1.1", "--pcap"]).arg(&file);
            let httpd = Httpd::run(command.arg("--root").arg(&root));
            assert_eq!(httpd.address.ip(), Ipv4Addr::UNSPECIFIED, "it listens at all addresses");
            let port = httpd.address.port();
            for at in [STACK, Ipv4Addr::new(10, 9, 1, 2)] {
                exercise((at, port).into(), &content(3_000_000));
            }
            connect_from("192.0.2.1:0", (STACK, port).into());
            for name in ["tap0", "tap1"] {
                let sent =
                    figure((STACK, port).into(), "sunstar_device_sent_packets_total", &format!("device=\"{name}\""));
                assert!(sent > 60.0, "{name}: {sent}");
            }
            httpd.stop();
            let names = [&b"tap0"[..], b"tap1"];
            let captured = std::fs::read(&file).expect("it was written");
            assert!(names.iter().all(|name| captured[..512].windows(4).any(|part| part == *name)));
        });
    });
}

/// The application goes on when one of its devices is gone.
#[test]
fn a_device_that_is_gone_stops_no_other() {
    alone(|setup| {
        make_tap("tap0", 1500);
        ip("tuntap add dev tap1 mode tap");
        ip("addr add 10.9.1.1/24 dev tap1");
        ip("link set tap1 up");
        let mut command = native(setup, "tap:tap0");
        let httpd = Httpd::run(command.args(["--device", "tap:tap1", "--host-ipv4-addr", "10.9.1.2"]));
        let port = httpd.address.port();
        let get = |at: Ipv4Addr| Client::connect((at, port).into()).expect("it listens").get("/").expect("it answers");
        assert_eq!(get(STACK).body, HELLO);
        remove_tap("tap0");
        for _ in 0..3 {
            assert_eq!(get(Ipv4Addr::new(10, 9, 1, 2)).body, HELLO);
        }
        let log = httpd.stop();
        assert!(log.contains("tap0: the device is gone"), "{log}");
    });
}

#[test]
fn all_shards_serve_whatever_queues_the_device_has() {
    with_each_backend(|setup| {
        in_namespace(move || {
            let root = root("native-shards");
            ip("tuntap add dev tap0 mode tap multi_queue");
            ip(&format!("addr add {KERNEL}/24 dev tap0"));
            ip("link set tap0 up");
            for queues in [1, 2, 3] {
                let mut command = native(Setup { shards: 3, ..setup }, &format!("tap:tap0,queues={queues}"));
                let httpd = Httpd::run(command.arg("--root").arg(&root));
                exercise(httpd.address, &content(3_000_000));
                let clients = (0..60).map(|_| Client::connect(httpd.address).expect("it listens"));
                let shards: BTreeSet<_> =
                    clients.map(|mut client| client.get("/shard").expect("it answers").body).collect();
                assert_eq!(shards.len(), 3, "{queues} queues");
                httpd.stop();
            }
        });
    });
}

#[test]
fn stack_and_device_are_in_the_metrics() {
    with_each_backend(|setup| {
        in_namespace(move || {
            make_tap("tap0", 1500);
            let httpd = Httpd::run(&mut native(setup, "tap:tap0"));
            for _ in 0..20 {
                assert_eq!(
                    Client::connect(httpd.address).expect("it listens").get("/").expect("it answers").body,
                    HELLO
                );
            }
            let refused = Client::connect((STACK, 9).into());
            assert_eq!(refused.map(drop).map_err(|error| error.kind()), Err(ErrorKind::ConnectionRefused));
            let is = |name, label| figure(httpd.address, name, label);
            assert!(is("sunstar_tcp_accepted_total", "") >= 20.0);
            assert!(is("sunstar_tcp_sent_segments_total", "") > 60.0);
            assert!(is("sunstar_tcp_received_segments_total", "") > 60.0);
            assert!(is("sunstar_tcp_resets_sent_total", "") >= 1.0);
            assert!(is("sunstar_tcp_connections", "kind=\"open\"") >= 1.0);
            assert!(is("sunstar_device_received_packets_total", "device=\"tap0\"") > 60.0);
            assert!(is("sunstar_device_sent_bytes_total", "device=\"tap0\"") > 1_000.0);
            // Two shards share one queue, so that some packets belong to the other one.
            assert!(is("sunstar_native_forwarded_packets_total", "shard=\"0\"") > 0.0);
            assert!(is("sunstar_native_sent_elsewhere_packets_total", "shard=\"1\"") > 0.0);
            let dropped = ["reason=\"ipv6_malformed\"", "reason=\"ipv4_checksum\""]
                .map(|reason| is("sunstar_tcpip_drops_total", reason));
            assert!(dropped[0] >= 0.0 && dropped[1] == 0.0, "{dropped:?}");
            httpd.stop();
        });
    });
}

#[test]
fn a_device_that_cannot_be_had_ends_with_2() {
    alone(|setup| {
        make_tap("tap0", 1500);
        for (device, reason) in [
            ("tap:lo", "cannot open --device tap:lo: lo is no TAP"),
            ("tap:tap1,queues=2", "tap:tap1 is to have 2 queues, more than there are shards (1)"),
        ] {
            let output = native(setup, device).output().expect("it can be started");
            let errors = String::from_utf8_lossy(&output.stderr);
            let last = errors.lines().last().unwrap_or_default();
            assert!(last.starts_with(&format!("httpd: error: {reason}")), "{errors}");
            assert_eq!(output.status.code(), Some(2));
        }
    });
}

#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn programs_are_served_and_captures_are_read() {
    alone(|setup| {
        make_tap("tap0", 1500);
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("capture.pcapng");
        let mut command = native(setup, "tap:tap0");
        let httpd = Httpd::run(command.arg("--pcap").arg(&file));
        assert_eq!(run("curl", &["-sS", &httpd.url("/")]), "Hello world\n");
        let odd_port = ["-sS", "--local-port", PORT_OF_ANOTHER_PROTOCOL];
        assert_eq!(run("curl", &[&odd_port[..], &[&httpd.url("/")]].concat()), "Hello world\n");
        let report = run("ab", &["-q", "-n", "500", "-c", "20", &httpd.url("/")]);
        assert!(report.contains("Failed requests:        0"), "{report}");
        let report = run("wrk", &["-d", "1", "-t", "1", "-c", "20", &httpd.url("/")]);
        assert!(!report.contains("Socket errors") && !report.contains("Non-2xx"), "{report}");
        let port = httpd.address.port();
        httpd.stop();
        assert!(packets(&file, port, "http.response.code == 200").lines().count() > 500);
        let from_odd_port = format!("http && tcp.port == {PORT_OF_ANOTHER_PROTOCOL}");
        assert_eq!(packets(&file, port, &from_odd_port).lines().count(), 2);
        assert_eq!(packets(&file, port, "_ws.malformed"), "");
        remove_tap("tap0");
    });
}

#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn a_browser_is_served() {
    alone(|setup| {
        make_tap("tap0", 1500);
        // Some of it asks this host about itself.
        ip("link set lo up");
        let httpd = Httpd::run(&mut native(setup, "tap:tap0"));
        let page = browse(&httpd.url("/"));
        assert!(page.contains("Hello world"), "{page}");
        httpd.stop();
        remove_tap("tap0");
    });
}

/// A port that the kernel may choose for a client, and that tshark takes for EtherCAT by itself, in which it finds packets malformed.
const PORT_OF_ANOTHER_PROTOCOL: &str = "34980";

/// The lines of those packets of a capture that a filter of tshark finds. What comes from or goes to a port is HTTP, whatever the
/// other port stands for.
fn packets(file: &Path, port: u16, filter: &str) -> String {
    let file = file.to_str().expect("temporary paths are text");
    run("tshark", &["-r", file, "-d", &format!("tcp.port=={port},http"), "-Y", filter])
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

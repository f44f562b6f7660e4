//! httpd on the native stack by AF_XDP at one end of a pair of virtual interfaces, with the kernel as its peer at the other end, in
//! a namespace of its own, and as its neighbour at the same end.

mod sharing;

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::client::{Client, HELLO};
use super::crowd::serve_all_of_a_crowd;
use super::files::{content, root};
use super::metrics::{figure, wait_for_figure};
use super::namespace::{in_namespace, ip};
use super::native::exercise;
use super::server::{Httpd, PATIENCE, Setup, command};

/// The kernel's addresses at the interface, which stay its own.
const NEIGHBOUR_V4: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const NEIGHBOUR_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 5, 0, 0, 0, 1);
const STACK_V4: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const STACK_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 5, 0, 0, 0, 2);
const PEER_V4: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 3);
const PEER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 5, 0, 0, 0, 3);

type Job = Box<dyn FnOnce() + Send>;

/// A thread in the namespace of the other end, which is there as long as this is.
struct Peer(Sender<(Job, Sender<()>)>);

impl Peer {
    /// Does something there.
    fn run(&self, job: impl FnOnce() + Send + 'static) {
        let (told, ended) = channel();
        self.0.send((Box::new(job), told)).expect("it takes jobs");
        ended.recv().expect("the job has no failure");
    }
}

/// Runs a test with the interface `near`, which has so many queues, and the peer to which it leads.
fn with_peer(queues: usize, test: impl FnOnce(Peer) + Send + 'static) {
    in_namespace(move || {
        let (jobs, wanted) = channel::<(Job, Sender<()>)>();
        let (told, made) = channel::<u32>();
        let other = thread::spawn(move || {
            in_namespace(move || {
                let own = fs::read_link("/proc/thread-self").expect("there is a /proc");
                let id = own.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
                told.send(id.expect("it ends with a number")).expect("it is waited for");
                for (job, ended) in wanted {
                    job();
                    ended.send(()).expect("it is waited for");
                }
            });
        });
        // Elsewhere than in continuous integration there may be no such namespaces, which was told.
        let Ok(id) = made.recv() else { return };
        let count = format!("numrxqueues {queues} numtxqueues {queues}");
        ip(&format!("link add near {count} type veth peer name far netns {id} {count}"));
        ip(&format!("addr add {NEIGHBOUR_V4}/24 dev near"));
        ip("link set near up");
        ip(&format!("addr add {NEIGHBOUR_V6}/64 dev near nodad"));
        let peer = Peer(jobs);
        peer.run(|| {
            ip(&format!("addr add {PEER_V4}/24 dev far"));
            ip("link set far up");
            ip(&format!("addr add {PEER_V6}/64 dev far nodad"));
            ethtool_tx("off");
        });
        test(peer);
        other.join().expect("it has no failure");
    });
}

/// Whether the peer leaves checksums to its device, which is none.
fn ethtool_tx(leaves: &str) {
    let ended = Command::new("/usr/sbin/ethtool").args(["-K", "far", "tx", leaves]).output();
    assert!(ended.expect("the package ethtool is installed").status.success(), "ethtool -K far tx {leaves}");
}

/// A command that runs httpd at the stack's own addresses.
fn native(setup: Setup, device: &str) -> Command {
    native_at(STACK_V4, STACK_V6, setup, device)
}

/// A command that runs httpd at both addresses.
fn native_at(v4: Ipv4Addr, v6: Ipv6Addr, setup: Setup, device: &str) -> Command {
    let mut command = command(setup);
    command.args(["--network-stack", "native", "--device", device, "--slaac", "0", "--address", "::"]);
    command.args(["--host-ipv4-addr", &v4.to_string(), "--host-ipv6-addr", &format!("{v6}/64")]);
    command
}

/// Whether a program is attached to the interface.
fn is_attached() -> bool {
    let shown = Command::new("ip").args(["link", "show", "near"]).output().expect("the package iproute2 is installed");
    String::from_utf8(shown.stdout).expect("it is text").contains("prog/xdp")
}

/// Has the peer speak with the kernel at the near end, by its own address.
fn speak_with_the_neighbour(peer: &Peer, at: IpAddr) {
    let listener = TcpListener::bind((at, 0)).expect("it is ours");
    let address = listener.local_addr().expect("it is bound");
    let echo = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("it listens");
        let mut bytes = [0; 5];
        stream.read_exact(&mut bytes).expect("they come");
        stream.write_all(&bytes).expect("they go");
    });
    peer.run(move || {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the kernel is there");
        stream.write_all(b"hello").expect("they go");
        let mut bytes = [0; 5];
        stream.read_exact(&mut bytes).expect("they come back");
        assert_eq!(&bytes, b"hello");
    });
    echo.join().expect("it has no failure");
}

fn serves(queues: usize, setup: Setup) {
    println!("{queues} queues, {setup:?}");
    with_peer(queues, move |peer| {
        let root = root(&format!("xdp-{queues}-{}-{}", setup.shards, setup.backend));
        let httpd = Httpd::run(native(setup, &format!("xdp:near,queues={queues}")).arg("--root").arg(&root));
        assert!(is_attached());
        let address = httpd.address;
        let large = content(3_000_000);
        peer.run(move || {
            for ip in [IpAddr::from(STACK_V4), STACK_V6.into()] {
                exercise(SocketAddr::new(ip, address.port()), &large);
            }
            let address = SocketAddr::new(STACK_V4.into(), address.port());
            let received = figure(address, "sunstar_device_received_packets_total", "near");
            assert!(received > 1_000.0, "{received}");
            check_forwarding(address, setup.shards);
        });
        speak_with_the_neighbour(&peer, NEIGHBOUR_V4.into());
        speak_with_the_neighbour(&peer, NEIGHBOUR_V6.into());
        let log = httpd.stop();
        assert!(!log.contains("WARN"), "{log}");
        assert!(!is_attached());
        speak_with_the_neighbour(&peer, NEIGHBOUR_V4.into());
    });
}

/// What comes to another shard than its flow's is passed on, once; what shards send they send themselves, those without a queue too.
fn check_forwarding(address: SocketAddr, shards: usize) {
    // Of so many flows some come elsewhere, by queues that the interface chooses, if there is an elsewhere.
    for _ in 0..40 {
        ask(address);
    }
    let is = |name| figure(address, name, "near");
    // In this order: each packet is received before it is forwarded.
    let forwarded = is("sunstar_native_forwarded_packets_total");
    let received = is("sunstar_device_received_packets_total");
    let elsewhere = is("sunstar_native_sent_elsewhere_packets_total");
    let sent = figure(address, "sunstar_device_sent_packets_total", "near");
    let told = format!("{forwarded} of {received} packets forwarded, {elsewhere} of {sent} sent elsewhere");
    assert_eq!(forwarded > 0.0, shards > 1, "{told}");
    assert!(forwarded < received && elsewhere == 0.0, "{told}");
    // Each has answered some of the flows.
    for shard in 0..shards {
        let label = format!("device=\"near\",shard=\"{shard}\"");
        assert!(figure(address, "sunstar_device_sent_packets_total", &label) > 0.0, "shard {shard}: {told}");
    }
    assert_eq!(is("sunstar_native_unforwarded_packets_total"), 0.0);
}

#[test]
fn httpd_serves_beside_the_kernel() {
    for backend in ["epoll", "io_uring"] {
        serves(1, Setup { backend, shards: 1 });
    }
}

#[test]
fn thousands_of_connections_at_once_are_served() {
    with_peer(2, |peer| {
        let httpd = Httpd::run(&mut native(Setup { backend: "io_uring", shards: 2 }, "xdp:near"));
        let address = SocketAddr::new(STACK_V4.into(), httpd.address.port());
        peer.run(move || serve_all_of_a_crowd(address));
        let log = httpd.stop();
        assert!(!log.contains("WARN"), "{log}");
    });
}

#[test]
fn a_peer_that_completes_no_checksums_can_be_believed() {
    with_peer(1, |peer| {
        peer.run(|| ethtool_tx("on"));
        let root = root("xdp-checksums");
        let setup = Setup { backend: "epoll", shards: 1 };
        let httpd = Httpd::run(native(setup, "xdp:near,checksum=ignore").arg("--root").arg(&root));
        let port = httpd.address.port();
        let large = content(3_000_000);
        peer.run(move || {
            for ip in [IpAddr::from(STACK_V4), STACK_V6.into()] {
                exercise(SocketAddr::new(ip, port), &large);
            }
        });
        httpd.stop();
    });
}

#[test]
fn httpd_serves_by_several_queues_and_by_fewer_than_shards() {
    serves(2, Setup { backend: "io_uring", shards: 2 });
    serves(1, Setup { backend: "epoll", shards: 2 });
}

#[test]
fn an_idle_server_sleeps() {
    for backend in ["epoll", "io_uring"] {
        with_peer(1, move |peer| {
            let httpd = Httpd::run(&mut native(Setup { backend, shards: 1 }, "xdp:near"));
            let address = SocketAddr::new(STACK_V4.into(), httpd.address.port());
            let ask = move || {
                let mut client = Client::connect(address).expect("it listens");
                assert_eq!(client.get("/").expect("it answers").body, HELLO);
            };
            peer.run(ask);
            // The last acknowledgements, and what the kernel tells its new neighbours.
            thread::sleep(Duration::from_millis(300));
            let before = httpd.processor_ticks();
            thread::sleep(Duration::from_secs(1));
            let ticks = httpd.processor_ticks() - before;
            assert!(ticks <= 5, "{ticks} ticks, of which a second has some hundred");
            peer.run(ask);
            httpd.stop();
        });
    }
}

#[test]
fn who_may_not_load_programs_is_told() {
    in_namespace(|| {
        // In a user namespace interfaces can be made, but nothing given to the host's kernel.
        let script = "ip link add near type veth peer name far && exec \"$@\"";
        let httpd = env!("CARGO_BIN_EXE_httpd");
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--net", "sh", "-c", script, "sh", httpd, "--overprovisioned"]);
        command.args(["--smp", "1", "--network-stack", "native", "--device", "xdp:near"]);
        let ended = command.args(["--host-ipv4-addr", &STACK_V4.to_string()]).output().expect("it can be started");
        let errors = String::from_utf8(ended.stderr).expect("it is text");
        assert_eq!(ended.status.code(), Some(2), "{errors}");
        let expected = "httpd: error: cannot open --device xdp:near: no permission to make maps and programs for near: run as root";
        assert!(errors.starts_with(expected), "{errors}");
    });
}

#[test]
fn the_program_goes_with_a_process_that_is_killed() {
    with_peer(1, |peer| {
        for _ in 0..2 {
            let setup = Setup { backend: "epoll", shards: 1 };
            let mut httpd = Httpd::run(&mut native(setup, "xdp:near"));
            assert!(is_attached());
            let address = SocketAddr::new(STACK_V4.into(), httpd.address.port());
            peer.run(move || {
                let mut client = Client::connect(address).expect("it listens");
                assert_eq!(client.get("/").expect("it answers").body, HELLO);
            });
            httpd.signal(Signal::KILL);
            httpd.end();
            let deadline = Instant::now() + PATIENCE;
            while is_attached() {
                assert!(Instant::now() < deadline, "the program is there still");
                thread::sleep(Duration::from_millis(5));
            }
        }
    });
}

/// httpd at the interface and at a TAP, and where it is at the latter.
fn beside_a_tap() -> (Httpd, SocketAddr) {
    ip("tuntap add dev tap0 mode tap");
    ip("addr add 10.10.0.1/24 dev tap0");
    ip("link set tap0 up");
    let mut command = command(Setup { backend: "io_uring", shards: 1 });
    command.args(["--network-stack", "native", "--device", "xdp:near", "--device", "tap:tap0"]);
    command.args(["--host-ipv4-addr", &STACK_V4.to_string(), "--host-ipv4-addr", "10.10.0.2"]);
    let httpd = Httpd::run(&mut command);
    let here = SocketAddr::new(Ipv4Addr::new(10, 10, 0, 2).into(), httpd.address.port());
    (httpd, here)
}

fn ask(address: SocketAddr) {
    let mut client = Client::connect(address).expect("it listens");
    assert_eq!(client.get("/").expect("it answers").body, HELLO);
}

#[test]
fn other_devices_go_on_when_an_interface_is_deleted() {
    with_peer(1, |peer| {
        let (httpd, here) = beside_a_tap();
        peer.run(move || ask(SocketAddr::new(STACK_V4.into(), here.port())));
        ask(here);
        ip("link delete near");
        ask(here);
        // It looks again after a while, if it was told that the interface is down before that it is gone.
        thread::sleep(Duration::from_millis(300));
        ask(here);
        let log = httpd.stop();
        assert!(log.contains("near: the device is gone"), "{log}");
    });
}

#[test]
fn a_link_that_flaps_is_served_again_and_other_devices_go_on() {
    with_peer(1, |peer| {
        let (httpd, here) = beside_a_tap();
        for times in [1.0, 2.0, 3.0] {
            peer.run(move || ask(SocketAddr::new(STACK_V4.into(), here.port())));
            ip("link set near down");
            ask(here);
            // It hears of it within a second if it does not sleep.
            thread::sleep(Duration::from_millis(1_100));
            ip("link set near up");
            wait_for_figure(here, "sunstar_device_reconnects_total", "device=\"near\"", times);
        }
        peer.run(move || ask(SocketAddr::new(STACK_V4.into(), here.port())));
        let log = httpd.stop();
        assert!(!log.contains("gone"), "{log}");
        assert_eq!(
            log.matches("near: its link is down: nothing comes or goes until it is up again").count(),
            3,
            "{log}"
        );
    });
}

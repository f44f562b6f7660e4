//! httpd with the hardware address of the kernel's own interface: what is whose is told by IP addresses, and by ports.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType, socket};
use rustix::process::Signal;

use super::super::client::{Client, HELLO};
use super::super::files::{content, root};
use super::super::namespace::ip;
use super::super::native::exercise;
use super::super::server::{Httpd, PATIENCE, Setup};
use super::{
    NEIGHBOUR_V4, NEIGHBOUR_V6, Peer, STACK_V4, STACK_V6, is_attached, native, native_at, speak_with_the_neighbour,
    with_peer,
};

/// Asks for the first page.
fn ask(address: SocketAddr) {
    let mut client = Client::connect(address).expect("it listens");
    assert_eq!(client.get("/").expect("it answers").body, HELLO);
}

/// Has the peer ask somebody for an echo, who answers once.
fn ping(peer: &Peer, address: IpAddr) {
    peer.run(move || {
        let ended = Command::new("ping").args(["-c", "2", "-i", "0.2", "-w", "10", &address.to_string()]).output();
        let ended = ended.expect("the package iputils-ping is installed");
        let told = String::from_utf8(ended.stdout).expect("it is text");
        assert!(ended.status.success() && !told.contains("DUP"), "{told}");
    });
}

/// What the peer knows of the station that has an address.
fn hardware_address(peer: &Peer, address: IpAddr) -> String {
    let (told, known) = std::sync::mpsc::channel();
    peer.run(move || {
        let shown = Command::new("ip").args(["-o", "neigh", "show", &address.to_string()]).output();
        let shown = String::from_utf8(shown.expect("the package iproute2 is installed").stdout).expect("it is text");
        let mut words = shown.split(' ').skip_while(|word| *word != "lladdr");
        told.send(words.nth(1).expect("it is known").to_owned()).expect("it is waited for");
    });
    known.recv().expect("it was sent")
}

fn wait_until_detached() {
    let deadline = Instant::now() + PATIENCE;
    while is_attached() {
        assert!(Instant::now() < deadline, "the program is there still");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The stack's own link-local address, which it has said to have.
fn link_local(httpd: &Httpd) -> Ipv6Addr {
    let words = httpd.first_lines.iter().filter_map(|line| line.trim_end().rsplit_once("has the address "));
    let mut addresses = words.filter_map(|(_, address)| address.split('/').next()?.parse::<Ipv6Addr>().ok());
    addresses.find(Ipv6Addr::is_unicast_link_local).expect("it has one")
}

/// Whatever the stack's ports, what speaks with its own link-local address speaks with it.
fn ask_at(peer: &Peer, address: Ipv6Addr, port: u16) {
    peer.run(move || {
        let any = socket(AddressFamily::INET, SocketType::DGRAM, None).expect("there may be one");
        let scope = name_to_index(&any, "far").expect("it is there");
        ask(SocketAddrV6::new(address, port, 0, scope).into());
    });
}

fn serves(queues: usize, setup: Setup) {
    println!("{queues} queues, {setup:?}");
    with_peer(queues, move |peer| {
        let root = root(&format!("xdp-shared-{queues}-{}-{}", setup.shards, setup.backend));
        let device = format!("xdp:near,queues={queues},mac=shared");
        let httpd = Httpd::run(native(setup, &device).arg("--root").arg(&root));
        let port = httpd.address.port();
        let large = content(3_000_000);
        peer.run(move || {
            for ip in [IpAddr::from(STACK_V4), STACK_V6.into()] {
                exercise(SocketAddr::new(ip, port), &large);
            }
        });
        for (neighbour, stack) in
            [(IpAddr::from(NEIGHBOUR_V4), IpAddr::from(STACK_V4)), (NEIGHBOUR_V6.into(), STACK_V6.into())]
        {
            speak_with_the_neighbour(&peer, neighbour);
            ping(&peer, neighbour);
            ping(&peer, stack);
            assert_eq!(hardware_address(&peer, neighbour), hardware_address(&peer, stack));
        }
        ask_at(&peer, link_local(&httpd), port);
        let log = httpd.stop();
        assert!(!log.contains("WARN"), "{log}");
        wait_until_detached();
        speak_with_the_neighbour(&peer, NEIGHBOUR_V4.into());
    });
}

#[test]
fn one_hardware_address_is_enough_for_httpd_and_the_kernel() {
    serves(1, Setup { backend: "epoll", shards: 1 });
    serves(2, Setup { backend: "io_uring", shards: 2 });
    serves(1, Setup { backend: "io_uring", shards: 2 });
}

#[test]
fn who_is_killed_leaves_all_of_it_to_the_kernel() {
    with_peer(1, |peer| {
        let setup = Setup { backend: "epoll", shards: 1 };
        let mut httpd = Httpd::run(&mut native(setup, "xdp:near,mac=shared"));
        let address = SocketAddr::new(STACK_V4.into(), httpd.address.port());
        peer.run(move || ask(address));
        httpd.signal(Signal::KILL);
        httpd.end();
        wait_until_detached();
        // What was the stack's address may be the kernel's now.
        ip(&format!("addr add {STACK_V4}/24 dev near"));
        speak_with_the_neighbour(&peer, STACK_V4.into());
        ping(&peer, STACK_V4.into());
    });
}

fn serves_ports(setup: Setup) {
    println!("{setup:?}");
    with_peer(1, move |peer| {
        let root = root(&format!("xdp-ports-{}-{}", setup.shards, setup.backend));
        let device = "xdp:near,mac=shared,tcp=80,tcp=20000-20099";
        let mut command = native_at(NEIGHBOUR_V4, NEIGHBOUR_V6, setup, device);
        let mut httpd = Httpd::run(command.arg("--root").arg(&root));
        let port = httpd.address.port();
        assert!((20_000..20_100).contains(&port), "it was chosen from what is the stack's");
        let large = content(3_000_000);
        peer.run(move || {
            for ip in [IpAddr::from(NEIGHBOUR_V4), NEIGHBOUR_V6.into()] {
                exercise(SocketAddr::new(ip, port), &large);
                let nobody = TcpStream::connect((ip, 80)).expect_err("nobody listens there");
                assert_eq!(nobody.kind(), ErrorKind::ConnectionRefused);
            }
        });
        for address in [IpAddr::from(NEIGHBOUR_V4), NEIGHBOUR_V6.into()] {
            speak_with_the_neighbour(&peer, address);
            ping(&peer, address);
        }
        ask_at(&peer, link_local(&httpd), port);
        httpd.signal(Signal::KILL);
        httpd.end();
        wait_until_detached();
        let at = SocketAddr::new(NEIGHBOUR_V4.into(), port);
        peer.run(move || {
            let nobody = TcpStream::connect(at).expect_err("the kernel knows of nobody there");
            assert_eq!(nobody.kind(), ErrorKind::ConnectionRefused);
        });
        let _listener = TcpListener::bind(at).expect("the port is free");
        peer.run(move || drop(TcpStream::connect(at).expect("the kernel has it now")));
    });
}

#[test]
fn one_ip_address_is_enough_with_ports_of_ones_own() {
    serves_ports(Setup { backend: "epoll", shards: 1 });
    serves_ports(Setup { backend: "io_uring", shards: 2 });
}

#[test]
fn an_address_of_the_kernel_needs_ports() {
    with_peer(1, |_peer| {
        let mut command = super::command(Setup { backend: "epoll", shards: 1 });
        command.args(["--network-stack", "native", "--device", "xdp:near,mac=shared"]);
        let ended = command.args(["--host-ipv4-addr", &NEIGHBOUR_V4.to_string()]).output().expect("it can be started");
        let errors = String::from_utf8(ended.stderr).expect("it is text");
        assert_eq!(ended.status.code(), Some(2), "{errors}");
        let expected = "httpd: error: cannot open --device xdp:near: the kernel has 10.9.0.1 as well: with mac=shared the stack \
                        needs another one, or ports of its own, as in tcp=80";
        assert!(errors.contains(expected), "{errors}");
        wait_until_detached();
    });
}

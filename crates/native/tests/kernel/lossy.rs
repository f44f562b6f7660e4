//! Streams that cross a router which loses packets, and sends others twice, with each congestion control of the kernel's.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{self, set_tcp_congestion};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
use sunstar_executor::timer::sleep;
use sunstar_net as net;
use sunstar_net::socket::ConnectOptions;
use sunstar_reactor::Backend;

use super::meeting::{kernel_talks, meet, stack_talks};
use super::namespace::ip;
use super::router::{Host, beyond_a_router, disturb, disturbances, refuse, wall};
use super::stack::{PATIENCE, Setup, run_on_stack, stack_address};

const CONGESTION_CONTROLS: [&str; 3] = ["reno", "cubic", "bbr"];

/// Has a stream of the kernel's use a congestion control, whose module is loaded if that can be; answers whether the kernel has it.
fn has(stream: &TcpStream, name: &str) -> bool {
    let is_missing = |error| matches!(error, Errno::NOENT | Errno::PERM);
    let load = || Command::new("modprobe").arg(format!("tcp_{name}")).stderr(Stdio::null()).status();
    match set_tcp_congestion(stream, name) {
        Err(error) if is_missing(error) && load().is_ok_and(|status| status.success()) => {
            set_tcp_congestion(stream, name).is_ok()
        }
        Err(error) if is_missing(error) => false,
        other => other.map(|()| true).unwrap_or_else(|error| panic!("{name}: {error}")),
    }
}

/// Which of them there are. If one is missing the test fails in continuous integration, and says so elsewhere.
fn available() -> Vec<&'static str> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let stream = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
    let (here, missing): (Vec<_>, Vec<_>) = CONGESTION_CONTROLS.into_iter().partition(|name| has(&stream, name));
    if !missing.is_empty() {
        let message = format!("this kernel has no {missing:?} for us, and no module of them can be loaded");
        assert!(std::env::var_os("CI").is_none(), "{message}");
        eprintln!("not run: {message}");
    }
    here
}

/// Has streams cross with each congestion control, four at a time.
fn cross(host: &Host, backend: Backend, tap: &'static str, faults: &'static str, bytes: usize) {
    for name in available() {
        println!("{name}, {backend}, {tap}, {faults}");
        let setup = Setup { faults, kernel: Host::addresses(), ..Setup::new(backend, tap) };
        let kernel = move |stream: TcpStream| {
            assert!(has(&stream, name));
            kernel_talks(&stream, bytes);
        };
        meet(&setup, &|job| host.spawn(job), kernel, move |stream| stack_talks(stream, bytes));
    }
}

/// Packets as they are on a wire, of which one in a hundred is lost and one comes twice, each way.
#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn a_router_loses_packets_and_doubles_others() {
    beyond_a_router(|host| {
        // Or else a packet would stand for many.
        host.run(|| ip("link set veth1 gso_max_segs 1"));
        let faults = if disturb(10) { "drop=0" } else { "duplicate=0.01" };
        cross(&host, Backend::Epoll, "tap0,offload=off", faults, 600_000);
        let (lost, doubled) = (disturbances("drop"), disturbances("dup to"));
        println!("{lost} lost, {doubled} doubled");
        assert!(lost > 20 && (doubled > 20 || faults != "drop=0"), "{lost} lost, {doubled} doubled");
    });
}

/// Packets that stand for many, of which the router loses whole ones.
#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn a_router_loses_large_packets() {
    beyond_a_router(|host| {
        disturb(10);
        cross(&host, Backend::IoUring, "tap0", "drop=0", 2_000_000);
        let lost = disturbances("drop");
        assert!(lost > 0, "{lost} lost");
    });
}

/// What is late, and comes in another order, with a kernel beyond a router.
#[test]
fn a_line_delays_packets_and_changes_their_order() {
    beyond_a_router(|host| {
        let faults = "delay=3ms,jitter=1ms,reorder=0.03,reorder-by=4ms,duplicate=0.01,drop=0.005,seed=3";
        cross(&host, Backend::Epoll, "tap0", faults, 500_000);
    });
}

/// A link behind the router is narrower than both sides think, which the router tells (RFC 1191, RFC 8201).
#[test]
fn a_narrow_link_behind_a_router_is_found() {
    beyond_a_router(|host| {
        ip("link set veth0 mtu 1300");
        host.run(|| {
            ip("link set veth1 mtu 1300");
            ip("route replace default via 10.8.0.1 advmss 1460");
            ip("-6 route replace default via 2001:db8:8::1 advmss 1440");
        });
        for tap in ["tap0", "tap0,offload=off"] {
            let setup = Setup { kernel: Host::addresses(), ..Setup::new(Backend::Epoll, tap) };
            let bytes = 500_000;
            meet(
                &setup,
                &|job| host.spawn(job),
                move |stream| kernel_talks(&stream, bytes),
                move |stream| async move {
                    let learns = sunstar_native::Network::current().expect("one is started");
                    stack_talks(stream, bytes).await;
                    let counters = learns.with_stack(|stack| stack.counters());
                    assert!(counters.icmp_errors_received > 0, "the router has told");
                },
            );
        }
    });
}

/// What a router says about attempts to connect ends them: RFC 1122 §4.2.3.9 calls such errors soft while there is hope, but nothing else
/// comes of these.
#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn a_router_refuses_connections() {
    beyond_a_router(|_host| {
        for (v4, v6, expected) in [
            ("tcp reset", "tcp reset", net::Error::ConnectionRefused),
            ("icmp type admin-prohibited", "icmpv6 type admin-prohibited", net::Error::HostUnreachable),
            ("icmp type host-unreachable", "icmpv6 type addr-unreachable", net::Error::HostUnreachable),
        ] {
            refuse(v4, v6);
            let setup = Setup { kernel: Host::addresses(), ..Setup::new(Backend::Epoll, "tap0") };
            run_on_stack(&setup, move || async move {
                for address in Host::addresses() {
                    let outcome = net::TcpStream::connect(SocketAddr::new(address, 80)).await;
                    println!("{v4}, {address}: {:?}", outcome.as_ref().err());
                    assert_eq!(outcome.err(), Some(expected), "{v4}, {address}");
                }
            });
        }
    });
}

/// Both connect, each from the port to which the other one does (RFC 9293 §3.5): the router loses all until both have begun.
#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn both_may_connect_at_once() {
    beyond_a_router(|host| {
        let setup = Setup { kernel: Host::addresses(), ..Setup::new(Backend::Epoll, "tap0") };
        run_on_stack(&setup, || async move {
            for address in Host::addresses() {
                wall(true);
                let [theirs, ours] = [SocketAddr::new(address, 2_000), SocketAddr::new(stack_address(address), 1_000)];
                let stack = sunstar_executor::spawn(async move {
                    let options = ConnectOptions { from: Some(ours.into()) };
                    stack_talks(net::TcpStream::connect_with(theirs, &options).await.expect("they meet"), 50_000).await;
                });
                let (told, begun) = channel();
                let kernel = host.spawn(Box::new(move || {
                    let socket = begin(theirs, ours);
                    told.send(()).expect("it is waited for");
                    kernel_talks(&opened(socket), 50_000);
                }));
                begun.recv_timeout(PATIENCE).expect("it begins");
                // Long enough for the first of the stack's SYNs to leave.
                sleep(Duration::from_millis(20)).await;
                wall(false);
                stack.await.expect("it does not panic");
                kernel.join().expect("it does not panic");
            }
        });
    });
}

/// Begins to connect.
fn begin(from: SocketAddr, to: SocketAddr) -> OwnedFd {
    let family = if from.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::NONBLOCK, None).expect("descriptors are free");
    bind(&socket, &from).expect("it is ours");
    assert_eq!(connect(&socket, &to), Err(Errno::INPROGRESS));
    socket
}

/// The connection, once it is open.
fn opened(socket: OwnedFd) -> TcpStream {
    let patience = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
    poll(&mut [PollFd::new(&socket, PollFlags::OUT)], Some(&patience)).expect("it can be waited for");
    assert_eq!(sockopt::socket_error(&socket), Ok(Ok(())), "it opens");
    rustix::io::ioctl_fionbio(&socket, false).expect("it is a socket");
    TcpStream::from(socket)
}

//! Datagrams with a kernel, also in fragments, both ways.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use sunstar_executor::combine::with_timeout;
use sunstar_executor::timer::sleep;
use sunstar_native::Network;
use sunstar_net as net;
use sunstar_reactor::Backend;

use super::meeting::pattern;
use super::namespace::{in_namespace, ip};
use super::stack::{BACKENDS, LEAST_MTU_V6, PATIENCE, Setup, run_on_stack, stack_address};
use super::streams::make_tap;

/// Datagrams may get lost on a busy machine: each is sent so often at most.
const TRIES: usize = 10;

/// How long an answer is waited for.
const MOMENT: Duration = Duration::from_secs(2);

/// Sends datagrams of all sizes, and wants them back.
fn is_echoed(from: &UdpSocket, mtu: usize, most: usize) {
    from.set_read_timeout(Some(MOMENT)).expect("it is no zero");
    let mut answer = vec![0; 70_000];
    let around = (mtu - 60)..=(mtu - 26);
    for len in [0, 1, 1_000].into_iter().chain(around).chain([5_000, 30_001, most]) {
        let payload = pattern(len, len);
        let came = (0..TRIES).find_map(|_| {
            from.send(&payload).expect("there is room");
            // What is late of a try before is no answer to this one.
            while let Ok(len) = from.recv(&mut answer) {
                if answer[..len] == payload[..] {
                    return Some(len);
                }
            }
            None
        });
        assert_eq!(came, Some(len));
    }
}

fn datagrams_go_both_ways(backend: Backend, tap: &'static str, mtu: usize) {
    println!("{backend}, {tap}, MTU {mtu}");
    make_tap(mtu);
    let mut setup = Setup::new(backend, tap);
    setup.kernel.retain(|address| mtu >= LEAST_MTU_V6 || address.is_ipv4());
    let versions = setup.kernel.clone();
    run_on_stack(&setup, move || async move {
        let (told, all_done) = channel();
        for &kernel in &versions {
            let at = SocketAddr::new(stack_address(kernel), 7);
            let mut socket = net::UdpSocket::bind(at).expect("it is ours");
            sunstar_executor::spawn(async move {
                while let Ok((bytes, peer)) = socket.recv_from().await {
                    socket.send_to(bytes, peer).await.expect("it fits");
                }
            });
            let told = told.clone();
            thread::spawn(move || {
                let from = UdpSocket::bind((kernel, 0)).expect("it is ours");
                from.connect(at).expect("there is a way");
                // 16 bits of length, of which an IPv4 header takes some (RFC 768, RFC 8200 §3).
                let most = if kernel.is_ipv4() { 65_507 } else { 65_527 };
                is_echoed(&from, mtu, most);
                told.send(()).expect("it is waited for");
            });
        }
        drop(told);
        for _ in versions {
            // A thread that has failed says nothing.
            let mut answer = all_done.try_recv();
            while answer == Err(std::sync::mpsc::TryRecvError::Empty) {
                sleep(Duration::from_millis(5)).await;
                answer = all_done.try_recv();
            }
            assert_eq!(answer, Ok(()), "the kernel's side has failed");
        }
        let network = Network::current().expect("one is started");
        let counters = network.with_stack(|stack| stack.counters());
        let (came, left) = (counters.fragments_received, counters.fragments_sent);
        assert!(came > 20 && left > 20, "{came} fragments came, {left} left");
        assert!(counters.icmp_errors_received == 0, "nothing was refused");
    });
    ip("link delete tap0");
}

#[test]
fn datagrams_of_every_size_go_both_ways() {
    const { assert!(PATIENCE.as_secs() > 30, "some tries take that long") };
    in_namespace(|| {
        for backend in BACKENDS {
            datagrams_go_both_ways(backend, "tap0", 1_500);
        }
        datagrams_go_both_ways(Backend::Epoll, "tap0,offload=off", 576);
        datagrams_go_both_ways(Backend::Epoll, "tap0,offload=off", LEAST_MTU_V6);
        datagrams_go_both_ways(Backend::Epoll, "tap0", 9_000);
    });
}

/// Where nobody listens, both ways: whoever is connected is told (RFC 1122 §4.1.3.3).
#[test]
fn datagrams_to_nobody_are_refused() {
    in_namespace(|| {
        make_tap(1_500);
        let setup = Setup::new(Backend::IoUring, "tap0");
        let kernels = setup.kernel.clone();
        run_on_stack(&setup, || async move {
            for kernel in kernels {
                let mut socket = net::UdpSocket::bind(SocketAddr::new(stack_address(kernel), 0)).expect("it is ours");
                socket.connect(SocketAddr::new(kernel, 9)).expect("there is a way");
                let mut told = None;
                for _ in 0..TRIES {
                    socket.send(pattern(0, 10)).await.expect("there is room");
                    told = with_timeout(MOMENT, socket.recv_from()).await.ok();
                    if told.is_some() {
                        break;
                    }
                }
                assert_eq!(told.and_then(Result::err), Some(net::Error::ConnectionRefused), "{kernel}");
                let (told, answer) = channel();
                thread::spawn(move || {
                    let from = UdpSocket::bind((kernel, 0)).expect("it is ours");
                    from.connect((stack_address(kernel), 9)).expect("there is a way");
                    from.set_read_timeout(Some(MOMENT)).expect("it is no zero");
                    let refused = (0..TRIES).find_map(|_| {
                        let outcome = from.send(b"hello").and_then(|_| from.recv(&mut [0; 10]));
                        outcome.err().filter(|error| error.kind() != ErrorKind::WouldBlock)
                    });
                    told.send(refused.map(|error| error.kind()))
                });
                let mut outcome = answer.try_recv();
                while outcome.is_err() {
                    sleep(Duration::from_millis(5)).await;
                    outcome = answer.try_recv();
                }
                assert_eq!(outcome, Ok(Some(ErrorKind::ConnectionRefused)), "{kernel}");
            }
        });
    });
}

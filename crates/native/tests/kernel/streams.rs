//! Streams with a kernel at the other end of the TAP, at every MTU, with and without offloads.

use std::cell::Cell;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;

use sunstar_native::Network;
use sunstar_native::filter::{Direction, Filtered, Verdict};
use sunstar_net as net;
use sunstar_reactor::Backend;

use super::meeting::{here, kernel_receives, kernel_sends, kernel_talks, meet, of_v4, stack_talks};
use super::namespace::{in_namespace, ip};
use super::stack::{KERNEL_V4, KERNEL_V6, LEAST_MTU_V6, Setup, run_on_stack, stack_address};

/// The largest that a TAP takes.
const MOST_MTU: usize = 65_521;

/// Makes the TAP with the kernel's addresses.
pub(crate) fn make_tap(mtu: usize) {
    ip("tuntap add dev tap0 mode tap");
    ip(&format!("link set tap0 mtu {mtu} txqueuelen 10000 up"));
    ip(&format!("addr add {KERNEL_V4}/24 dev tap0"));
    if mtu >= LEAST_MTU_V6 {
        ip(&format!("addr add {KERNEL_V6}/64 dev tap0 nodad"));
    }
}

/// Streams both ways at the same time, at every MTU.
fn streams_cross(backend: Backend, tap: &'static str) {
    in_namespace(move || {
        for mtu in [576, LEAST_MTU_V6, 1_500, 9_000, MOST_MTU] {
            println!("{backend}, {tap}, MTU {mtu}");
            make_tap(mtu);
            let mut setup = Setup::new(backend, tap);
            setup.kernel.retain(|address| mtu >= LEAST_MTU_V6 || of_v4(address));
            // What is small takes longer.
            let bytes = if mtu < 1_500 { 500_000 } else { 2_000_000 };
            meet(&setup, &here, move |stream| kernel_talks(&stream, bytes), move |stream| stack_talks(stream, bytes));
            ip("link delete tap0");
        }
    });
}

#[test]
fn streams_cross_at_every_mtu_with_offloads() {
    streams_cross(Backend::Epoll, "tap0");
}

#[test]
fn streams_cross_at_every_mtu_without_offloads() {
    streams_cross(Backend::IoUring, "tap0,offload=off");
}

/// With offloads packets of nearly 64 KiB go both ways, of either version of IP.
#[test]
fn segments_of_64_kib_go_both_ways() {
    const BYTES: usize = 8_000_000;
    const LONG: usize = 60_000;
    in_namespace(|| {
        make_tap(1_500);
        for kernel in Setup::new(Backend::Epoll, "tap0").kernel {
            let setup = Setup { kernel: vec![kernel], ..Setup::new(Backend::Epoll, "tap0") };
            meet(
                &setup,
                &here,
                |stream| {
                    kernel_sends(&stream, BYTES);
                    kernel_receives(&stream, BYTES);
                },
                |stream| async move {
                    let network = Network::current().expect("one is started");
                    let longest: Rc<[Cell<usize>; 2]> = Rc::default();
                    let filters = [Direction::Input, Direction::Output].map(|direction| {
                        let longest = Rc::clone(&longest);
                        let filter = move |packet: &mut Filtered<'_>| {
                            let longest = &longest[usize::from(packet.direction() == Direction::Output)];
                            longest.set(longest.get().max(packet.payload_len()));
                            Verdict::Pass
                        };
                        network.add_filter(direction, filter).expect("there is room")
                    });
                    let (mut reader, mut writer) = stream.into_split();
                    super::meeting::stack_receives(&mut reader, BYTES).await;
                    super::meeting::stack_sends(&mut writer, BYTES).await;
                    writer.flush().await.expect("the kernel takes it");
                    let longest = [0, 1].map(|at: usize| longest[at].get());
                    assert!(longest.iter().all(|len| *len > LONG), "in and out: {longest:?}");
                    filters.into_iter().for_each(|filter| assert!(network.remove_filter(filter)));
                },
            );
        }
    });
}

/// Where nobody listens, both ways.
#[test]
fn strangers_are_refused() {
    in_namespace(|| {
        make_tap(1_500);
        for backend in super::stack::BACKENDS {
            let setup = Setup::new(backend, "tap0");
            for &kernel in &setup.kernel {
                let setup = Setup { kernel: vec![kernel], ..setup.clone() };
                run_on_stack(&setup, move || async move {
                    let refused = net::TcpStream::connect(SocketAddr::new(kernel, 9)).await;
                    assert_eq!(refused.err(), Some(net::Error::ConnectionRefused));
                    let to = SocketAddr::new(stack_address(kernel), 9);
                    let (told, answer) = std::sync::mpsc::channel();
                    let thread = std::thread::spawn(move || {
                        let refused = TcpStream::connect(to).map_err(|error| error.kind());
                        told.send(refused.map(drop)).expect("it is waited for");
                    });
                    while !thread.is_finished() {
                        sunstar_executor::timer::sleep(std::time::Duration::from_millis(5)).await;
                    }
                    assert_eq!(answer.recv().expect("it has ended"), Err(ErrorKind::ConnectionRefused));
                });
            }
        }
    });
}

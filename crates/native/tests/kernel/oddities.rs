//! What programs seldom do, and kernels can.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{TryRecvError, channel};
use std::thread;
use std::time::Duration;

use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sockopt};
use sunstar_executor::timer::sleep;
use sunstar_net as net;
use sunstar_net::socket::ConnectOptions;
use sunstar_reactor::Backend;

use super::meeting::{
    here, kernel_hears_the_end, kernel_receives, kernel_sends, kernel_talks, meet, pattern, stack_hears_the_end,
    stack_receives, stack_sends, stack_talks,
};
use super::namespace::{in_namespace, ip};
use super::stack::{BACKENDS, KERNEL_V4, PATIENCE, Setup, run_on_stack, stack_address};
use super::streams::make_tap;

/// Sets an option of a socket for which the libraries have no word.
fn set_option(socket: &impl AsRawFd, level: i32, option: i32, value: &[u8]) -> std::io::Result<()> {
    let len = u32::try_from(value.len()).expect("short");
    // SAFETY: the kernel reads as many bytes as there are.
    let outcome = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value.as_ptr().cast(), len) };
    if outcome == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Runs the kernel's side on a thread while the stack does something.
async fn beside<R: Send + 'static>(kernel: impl FnOnce() -> R + Send + 'static) -> R {
    let (told, done) = channel();
    thread::spawn(move || told.send(kernel()));
    loop {
        match done.try_recv() {
            Ok(outcome) => return outcome,
            Err(TryRecvError::Empty) => sleep(Duration::from_millis(2)).await,
            Err(TryRecvError::Disconnected) => panic!("the kernel's side has failed"),
        }
    }
}

/// Answers datagrams at the stack's address that a peer reaches.
fn echo(peer: IpAddr) -> SocketAddr {
    let at = SocketAddr::new(stack_address(peer), 7);
    let mut socket = net::UdpSocket::bind(at).expect("it is ours");
    sunstar_executor::spawn(async move {
        while let Ok((bytes, peer)) = socket.recv_from().await {
            socket.send_to(bytes, peer).await.expect("it fits");
        }
    });
    at
}

/// What is asked until the first answer comes: what a kernel sends is lost until it has seen that the TAP has somebody at its other end.
const IS_ANYBODY_THERE: &[u8] = b"?";

fn socket_to(kernel: IpAddr, at: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((kernel, 0)).expect("it is ours");
    socket.connect(at).expect("there is a way");
    socket.set_read_timeout(Some(Duration::from_secs(1))).expect("it is no zero");
    let is_answered = || {
        socket.send(IS_ANYBODY_THERE).expect("there is room");
        socket.recv(&mut [0; 10]).is_ok()
    };
    assert!((0..PATIENCE.as_secs()).any(|_| is_answered()), "nobody is there");
    socket.set_read_timeout(Some(PATIENCE)).expect("it is no zero");
    socket
}

/// The next answer but those that are late.
fn answer(socket: &UdpSocket, bytes: &mut [u8]) -> usize {
    loop {
        let len = socket.recv(bytes).expect("the stack answers");
        if bytes[..len] != *IS_ANYBODY_THERE {
            return len;
        }
    }
}

/// Options in the headers of IP, of which the stack need not know any (RFC 791 §3.1, RFC 8200 §4.2).
#[test]
fn headers_of_ip_may_have_options() {
    /// Nothing, and the end; and room for the addresses of four routers on the way.
    const V4: [&[u8]; 2] = [&[1, 1, 1, 0], &[7, 19, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]];
    /// The next header, whose number the kernel knows, the length in words of eight bytes after the first, and padding.
    const V6: [&[u8]; 2] = [&[0, 0, 1, 4, 0, 0, 0, 0], &[0, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]];
    in_namespace(|| {
        make_tap(1_500);
        let setup = Setup::new(Backend::Epoll, "tap0");
        let kernels = setup.kernel.clone();
        run_on_stack(&setup, || async move {
            for kernel in kernels {
                let at = echo(kernel);
                beside(move || {
                    let (level, option, all) = match kernel {
                        IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_OPTIONS, V4),
                        IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_DSTOPTS, V6),
                    };
                    for options in all {
                        let socket = socket_to(kernel, at);
                        set_option(&socket, level, option, options).expect("it is root's");
                        // In one piece, and in fragments.
                        for len in [1, 1_000, 5_000] {
                            socket.send(&pattern(len, len)).expect("there is room");
                            let mut bytes = vec![0; 70_000];
                            let came = answer(&socket, &mut bytes);
                            assert!(bytes[..came] == pattern(len, len), "{kernel}, {options:?}, {len} bytes");
                        }
                    }
                })
                .await;
            }
        });
    });
}

/// Segments with options in the headers of IP leave less room for data.
#[test]
fn streams_may_have_options_of_ip() {
    in_namespace(|| {
        make_tap(1_500);
        meet(
            &Setup { kernel: vec![KERNEL_V4.into()], ..Setup::new(Backend::Epoll, "tap0") },
            &here,
            |stream| {
                set_option(&stream, libc::IPPROTO_IP, libc::IP_OPTIONS, &[1; 40]).expect("it is root's");
                kernel_talks(&stream, 300_000);
            },
            |stream| stack_talks(stream, 300_000),
        );
    });
}

/// What a program hands over as one piece, for the kernel or the device to cut, comes as many datagrams.
#[test]
fn datagrams_that_are_sent_together_come_one_by_one() {
    const EACH: u16 = 1_000;
    const COUNT: usize = 12;
    in_namespace(|| {
        make_tap(1_500);
        for tap in ["tap0", "tap0,offload=off"] {
            let setup = Setup::new(Backend::Epoll, tap);
            let kernels = setup.kernel.clone();
            run_on_stack(&setup, || async move {
                for kernel in kernels {
                    let at = echo(kernel);
                    beside(move || {
                        let socket = socket_to(kernel, at);
                        let each = i32::from(EACH).to_ne_bytes();
                        set_option(&socket, libc::SOL_UDP, libc::UDP_SEGMENT, &each).expect("the kernel has UDP GSO");
                        let all = pattern(0, usize::from(EACH) * COUNT + 17);
                        socket.send(&all).expect("there is room");
                        let mut came = Vec::new();
                        let mut bytes = vec![0; 70_000];
                        while came.len() < all.len() {
                            let len = answer(&socket, &mut bytes);
                            assert!(len == usize::from(EACH) || len == 17, "{len} bytes");
                            came.extend_from_slice(&bytes[..len]);
                        }
                        assert!(came == all, "in order");
                    })
                    .await;
                }
            });
        }
    });
}

/// A datagram without a checksum (RFC 768).
#[test]
fn datagrams_may_have_no_checksum() {
    in_namespace(|| {
        make_tap(1_500);
        let setup = Setup { kernel: vec![KERNEL_V4.into()], ..Setup::new(Backend::Epoll, "tap0") };
        run_on_stack(&setup, || async move {
            let at = echo(KERNEL_V4.into());
            beside(move || {
                let socket = socket_to(KERNEL_V4.into(), at);
                let yes = 1_i32.to_ne_bytes();
                set_option(&socket, libc::SOL_SOCKET, libc::SO_NO_CHECK, &yes).expect("every kernel has it");
                for len in [0, 100, 5_000] {
                    socket.send(&pattern(0, len)).expect("there is room");
                    let mut bytes = vec![0; 70_000];
                    let came = answer(&socket, &mut bytes);
                    assert!(bytes[..came] == pattern(0, len), "{len} bytes");
                }
            })
            .await;
        });
    });
}

/// Who knows of Multipath TCP offers it by an option that the stack does not know, and goes without (RFC 8684 §3.7).
#[test]
fn who_offers_several_paths_gets_one() {
    in_namespace(|| {
        make_tap(1_500);
        let setup = Setup::new(Backend::Epoll, "tap0");
        let kernels = setup.kernel.clone();
        run_on_stack(&setup, || async move {
            for kernel in kernels {
                let at = SocketAddr::new(stack_address(kernel), 80);
                let mut listener =
                    net::TcpListener::bind(at, net::ListenerOptions::default()).await.expect("it is ours");
                let family = if kernel.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
                let socket = rustix::net::socket(family, SocketType::STREAM, Some(ipproto::MPTCP));
                let Ok(socket) = socket.inspect_err(|error| println!("not run: no Multipath TCP: {error}")) else {
                    continue;
                };
                let talking = sunstar_executor::spawn(async move {
                    stack_talks(listener.accept().await.expect("one comes"), 300_000).await;
                });
                beside(move || kernel_talks(&connect(socket, at), 300_000)).await;
                talking.await.expect("it does not panic");
            }
        });
    });
}

fn connect(socket: OwnedFd, to: SocketAddr) -> TcpStream {
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE)).expect("it is no zero");
    rustix::net::connect(&socket, &to).expect("it listens");
    socket.into()
}

/// Data in the SYN (RFC 7413), without a cookie and with the question for one. The stack, whose listener takes none, has them sent again.
#[test]
fn data_in_a_syn_come_once() {
    in_namespace(|| {
        make_tap(1_500);
        let setup = Setup::new(Backend::Epoll, "tap0");
        let kernels = setup.kernel.clone();
        run_on_stack(&setup, || async move {
            // As client, and as client that needs no cookie.
            for (kernel, mode) in kernels.into_iter().flat_map(|kernel| [(kernel, "1"), (kernel, "5")]) {
                let at = SocketAddr::new(stack_address(kernel), 80);
                let options = net::ListenerOptions::default();
                let mut listener = net::TcpListener::bind(at, options).await.expect("it is ours");
                let talking = sunstar_executor::spawn(async move {
                    let (mut reader, mut writer) = listener.accept().await.expect("one comes").into_split();
                    stack_receives(&mut reader, 50_000).await;
                    writer.shutdown();
                    stack_hears_the_end(&mut reader).await;
                });
                beside(move || {
                    std::fs::write("/proc/sys/net/ipv4/tcp_fastopen", mode).expect("the namespace is ours");
                    let family = if kernel.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
                    let socket = rustix::net::socket(family, SocketType::STREAM, None).expect("descriptors are free");
                    let opens = SendFlags::from_bits_retain(libc::MSG_FASTOPEN.cast_unsigned());
                    let sent = rustix::net::sendto(&socket, &pattern(0, 50_000), opens, &at).expect("it listens");
                    let mut stream = TcpStream::from(socket);
                    stream.write_all(&pattern(sent, 50_000 - sent)).expect("the stack takes it");
                    kernel_hears_the_end(&stream);
                })
                .await;
                talking.await.expect("it does not panic");
            }
        });
    });
}

/// Data that are urgent come in line (RFC 6093 §6).
#[test]
fn urgent_data_come_in_line() {
    in_namespace(|| {
        make_tap(1_500);
        meet(
            &Setup::new(Backend::Epoll, "tap0"),
            &here,
            |mut stream| {
                stream.write_all(&pattern(0, 1_000)).expect("the stack takes it");
                let urgent = rustix::net::send(&stream, &pattern(1_000, 1), SendFlags::OOB);
                assert_eq!(urgent, Ok(1));
                stream.write_all(&pattern(1_001, 999)).expect("the stack takes it");
                kernel_hears_the_end(&stream);
            },
            |stream| async move {
                let (mut reader, mut writer) = stream.into_split();
                stack_receives(&mut reader, 2_000).await;
                writer.shutdown();
                stack_hears_the_end(&mut reader).await;
            },
        );
    });
}

/// Who takes little at a time, in little segments, gets all.
#[test]
fn little_windows_and_little_segments_carry_all() {
    const BYTES: usize = 100_000;
    in_namespace(|| {
        make_tap(1_500);
        for backend in BACKENDS {
            meet(
                &Setup::new(backend, "tap0"),
                &here,
                |stream| {
                    sockopt::set_socket_recv_buffer_size(&stream, 1).expect("it is rounded");
                    set_option(&stream, libc::IPPROTO_TCP, libc::TCP_MAXSEG, &100_i32.to_ne_bytes()).expect("it fits");
                    for begin in (0..BYTES).step_by(10_000) {
                        let mut bytes = vec![0; 10_000];
                        (&stream).read_exact(&mut bytes).expect("the stack sends");
                        assert!(bytes == pattern(begin, 10_000), "at {begin}");
                        thread::sleep(Duration::from_millis(1));
                    }
                    kernel_sends(&stream, BYTES);
                },
                |stream| async move {
                    let (mut reader, mut writer) = stream.into_split();
                    stack_sends(&mut writer, BYTES).await;
                    stack_receives(&mut reader, BYTES).await;
                },
            );
        }
    });
}

/// Who does not read for a while closes the window, and is asked whether he has opened it (RFC 9293 §3.8.6.1).
#[test]
fn windows_close_and_open() {
    const BYTES: usize = 8_000_000;
    in_namespace(|| {
        make_tap(1_500);
        meet(
            &Setup::new(Backend::Epoll, "tap0"),
            &here,
            |stream| {
                thread::sleep(Duration::from_millis(1_500));
                kernel_receives(&stream, BYTES);
                kernel_sends(&stream, BYTES);
            },
            |stream| async move {
                let (mut reader, mut writer) = stream.into_split();
                stack_sends(&mut writer, BYTES).await;
                sleep(Duration::from_millis(1_500)).await;
                stack_receives(&mut reader, BYTES).await;
            },
        );
    });
}

/// The same two ports again at once, after either side had ended first, and so has TIME-WAIT (RFC 6191, RFC 9293 §3.6.1).
#[test]
fn ports_are_used_again_at_once() {
    const TIMES: usize = 10;
    const KERNEL_PORT: u16 = 4_000;
    const STACK_PORT: u16 = 5_000;
    in_namespace(|| {
        make_tap(1_500);
        let setup = Setup::new(Backend::Epoll, "tap0");
        let kernels = setup.kernel.clone();
        run_on_stack(&setup, || async move {
            for kernel in kernels {
                let ours = SocketAddr::new(stack_address(kernel), STACK_PORT);
                let theirs = SocketAddr::new(kernel, KERNEL_PORT);
                let mut listener =
                    net::TcpListener::bind(ours, net::ListenerOptions::default()).await.expect("it is ours");
                for _ in 0..TIMES {
                    // The stack ends first.
                    let asking = sunstar_executor::spawn(beside(move || {
                        let family = if kernel.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
                        let socket =
                            rustix::net::socket(family, SocketType::STREAM, None).expect("descriptors are free");
                        sockopt::set_socket_reuseaddr(&socket, true).expect("it is a socket");
                        rustix::net::bind(&socket, &theirs).expect("it is ours");
                        let stream = connect(socket, ours);
                        kernel_receives(&stream, 1_000);
                        kernel_hears_the_end(&stream);
                    }));
                    let mut stream = listener.accept().await.expect("one comes");
                    stream.write(pattern(0, 1_000)).await.expect("the kernel takes it");
                    stream.shutdown();
                    assert!(stream.read().await.expect("nobody resets").is_empty());
                    asking.await.expect("it does not panic");
                }
                drop(listener);
                let server = TcpListener::bind((kernel, 0)).expect("it is ours");
                let at = server.local_addr().expect("it is bound");
                for _ in 0..TIMES {
                    // The kernel ends first.
                    let server = server.try_clone().expect("descriptors are free");
                    let serving = sunstar_executor::spawn(beside(move || {
                        let (stream, _) = server.accept().expect("one comes");
                        kernel_sends(&stream, 1_000);
                        stream.shutdown(std::net::Shutdown::Write).expect("it is open");
                        kernel_hears_the_end(&stream);
                    }));
                    let options = ConnectOptions { from: Some(SocketAddr::new(ours.ip(), 6_000).into()) };
                    let stream = net::TcpStream::connect_with(at, &options).await.expect("it listens");
                    let (mut reader, mut writer) = stream.into_split();
                    stack_receives(&mut reader, 1_000).await;
                    stack_hears_the_end(&mut reader).await;
                    writer.shutdown();
                    serving.await.expect("it does not panic");
                }
            }
        });
    });
}

/// A kernel that changes its Ethernet address and says so is still reached at once.
#[test]
fn who_moves_to_another_ethernet_address_is_followed() {
    in_namespace(|| {
        make_tap(1_500);
        for (name, version) in [("arp_notify", "ipv4"), ("ndisc_notify", "ipv6")] {
            std::fs::write(format!("/proc/sys/net/{version}/conf/tap0/{name}"), "1").expect("the namespace is ours");
        }
        let setup = Setup::new(Backend::Epoll, "tap0");
        let meeting = Meeting { threads: 2 * setup.kernel.len(), came: AtomicUsize::new(0) };
        meet(
            &setup,
            &here,
            move |stream| {
                kernel_sends(&stream, 10_000);
                kernel_receives(&stream, 10_000);
                // All have spoken with the old address.
                meeting.wait(|| ip("link set tap0 address 52:54:00:12:34:56"));
                kernel_sends(&stream, 10_000);
                kernel_receives(&stream, 10_000);
            },
            |stream| async move {
                let (mut reader, mut writer) = stream.into_split();
                for _ in 0..2 {
                    stack_receives(&mut reader, 10_000).await;
                    stack_sends(&mut writer, 10_000).await;
                }
                writer.flush().await.expect("the kernel takes it");
            },
        );
    });
}

/// Where so many threads meet. Those that have failed are not waited for for ever.
struct Meeting {
    threads: usize,
    came: AtomicUsize,
}

impl Meeting {
    /// Waits for all others. The one that comes last does something before.
    fn wait(&self, the_last_one_does: impl FnOnce()) {
        let place = self.came.fetch_add(1, Ordering::SeqCst) + 1;
        if place == self.threads {
            the_last_one_does();
            self.came.fetch_add(1, Ordering::SeqCst);
        }
        let all_came = || self.came.load(Ordering::SeqCst) > self.threads;
        let mut looks = 0..PATIENCE.as_millis();
        while !all_came() && looks.next().is_some() {
            thread::sleep(Duration::from_millis(1));
        }
        assert!(all_came(), "somebody does not come");
    }
}

//! What happens when the process has no descriptor left.

use std::fs::File;
use std::net::TcpStream;

use sunstar_executor::combine::with_timeout;
use sunstar_executor::spawn;
use sunstar_net::Error;
use sunstar_net::socket::ListenOptions;
use sunstar_packet::Buffer;
use sunstar_reactor::io_stats;

use crate::support::*;

const LIMIT: libc::rlim_t = 100;

fn limit_descriptors() {
    let limit = libc::rlimit { rlim_cur: LIMIT, rlim_max: LIMIT };
    // SAFETY: the kernel reads a limit, which this process gives itself.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
}

#[test]
fn without_descriptors_the_others_are_served_and_later_all() {
    if !is_alone("shortage::without_descriptors_the_others_are_served_and_later_all") {
        return;
    }
    limit_descriptors();
    on_each_driver(1, || async {
        let (listener, address) = listen(&loopback());
        let served = connect(&address).await.expect("it listens");
        let server = attach(accept(&listener).await.expect("one has connected"));
        // The queue holds connections that are not accepted, and each is a descriptor of this process too.
        let inet = address.inet().expect("it is one");
        let waiting: Vec<_> = (0..3).map(|_| TcpStream::connect(inet).expect("it listens")).collect();
        let mut hoard = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            hoard.push(file);
        }
        let before = io_stats();
        let acceptor = spawn(async move {
            for _ in 0..3 {
                accept(&listener).await.expect("shortages are waited out");
            }
        });
        while io_stats().accept_failures == before.accept_failures {
            write(&served, "hello").await.expect("it is connected");
            assert_eq!(read(&server).await, Ok(Buffer::from("hello")));
        }
        assert_eq!(connect(&address).await.err(), Some(Error::OutOfDescriptors));
        let another = network().listen(&loopback(), &ListenOptions::default());
        assert_eq!(another.err(), Some(Error::OutOfDescriptors));
        drop(hoard);
        with_timeout(PATIENCE, acceptor).await.expect("it tries again").expect("no panic");
        let failures = io_stats().accept_failures - before.accept_failures;
        assert!(failures < 100, "{failures} attempts are not a pause");
        drop(waiting);
    });
}

#[test]
fn without_descriptors_a_listener_that_is_closed_drains_later() {
    if !is_alone("shortage::without_descriptors_a_listener_that_is_closed_drains_later") {
        return;
    }
    limit_descriptors();
    on_each_driver(1, || async {
        let (listener, address) = listen(&loopback());
        let inet = address.inet().expect("it is one");
        let waiting: Vec<_> = (0..3).map(|_| TcpStream::connect(inet).expect("it listens")).collect();
        let mut hoard = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            hoard.push(file);
        }
        listener.close();
        let acceptor = spawn(async move {
            let mut accepted = Vec::new();
            loop {
                match accept(&listener).await {
                    Ok(connection) => accepted.push(connection),
                    Err(error) => return (accepted.len(), error),
                }
            }
        });
        let before = io_stats();
        let first_failure = async {
            while io_stats().accept_failures == before.accept_failures && !acceptor.is_finished() {
                sunstar_executor::timer::sleep(std::time::Duration::from_millis(1)).await;
            }
        };
        with_timeout(PATIENCE, first_failure).await.expect("it is counted");
        drop(hoard);
        let answer = with_timeout(PATIENCE, acceptor).await.expect("it tries again").expect("no panic");
        assert_eq!(answer, (3, Error::Stopped));
        drop(waiting);
    });
}

/// Leaves this process, and what it starts, so little memory to lock that a ring fits but few sends without copying do.
fn limit_locked_memory() {
    const CAP_IPC_LOCK: u32 = 14;
    const VERSION: u32 = 0x2008_0522;
    let header = [VERSION, 0];
    let mut sets = [0_u32; 6];
    // SAFETY: the kernel reads a header of two words, and reads or writes sets of six, which are this thread's own.
    unsafe {
        assert_eq!(libc::syscall(libc::SYS_capget, header.as_ptr(), sets.as_mut_ptr()), 0);
        sets[..3].iter_mut().for_each(|set| *set &= !(1 << CAP_IPC_LOCK));
        assert_eq!(libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()), 0);
        let limit = libc::rlimit { rlim_cur: 512 << 10, rlim_max: 512 << 10 };
        assert_eq!(libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit), 0);
    }
}

#[test]
fn without_memory_to_lock_all_is_sent_nevertheless() {
    if !is_alone("shortage::without_memory_to_lock_all_is_sent_nevertheless") {
        return;
    }
    limit_locked_memory();
    on_each_driver(1, || async {
        let (client, server) = pair().await;
        write(&client, pattern(0, 1_000_000)).await.expect("it is connected");
        client.shutdown();
        assert!(read_to_end(&server).await == Ok(pattern(0, 1_000_000)));
    });
}

//! Clients that behave badly, while others are served.

use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::client::{Client, HELLO, REQUEST};
use super::server::{Httpd, PATIENCE, limited, with_each, with_each_backend};

/// A client that has sent as many requests as the server takes, and reads no response.
pub(super) fn stuck(address: SocketAddr) -> Client {
    let mut client = Client::connect(address).expect("it listens");
    client.stream.set_write_timeout(Some(Duration::from_millis(200))).expect("it is a socket");
    let requests = REQUEST.repeat(1000);
    loop {
        match client.stream.write(&requests) {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return client,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Others on all shards are served.
fn assert_serves(httpd: &Httpd) {
    let connect = |_| Client::connect(httpd.address).expect("it listens");
    let mut clients: Vec<_> = (0..4).map(connect).collect();
    for number in 0..100 {
        assert_eq!(clients[number % 4].get("/").expect("it answers").body, HELLO);
    }
}

#[test]
fn clients_that_never_read_stop_nobody() {
    with_each(|setup| {
        let httpd = Httpd::start(setup);
        let stuck: Vec<_> = (0..4).map(|_| stuck(httpd.address)).collect();
        let before = httpd.resident_kib();
        assert_serves(&httpd);
        let grown_kib = httpd.resident_kib().saturating_sub(before);
        assert!(grown_kib < 4096, "what is not taken is not produced: {grown_kib} KiB more than {before}");
        // Whoever begins to read late gets all that was answered.
        for mut client in stuck {
            for _ in 0..1000 {
                assert_eq!(client.answer().unwrap().body, HELLO);
            }
            client.reset();
        }
        httpd.stop();
    });
}

#[test]
fn resets_leave_nothing_behind() {
    with_each(|setup| {
        let httpd = Httpd::start(setup);
        assert_serves(&httpd);
        let mut steady = Client::connect(httpd.address).unwrap();
        steady.get("/").unwrap();
        let before = httpd.descriptors();
        for round in 0..300 {
            let mut client = Client::connect(httpd.address).unwrap();
            match round % 3 {
                0 => {}
                1 => client.send(&REQUEST[..10]).unwrap(),
                _ => client.send(&REQUEST.repeat(50)).unwrap(),
            }
            client.reset();
            assert_eq!(steady.get("/").unwrap().body, HELLO);
        }
        httpd.wait_for_descriptors(before);
        drop(steady);
        httpd.stop();
    });
}

#[test]
fn when_descriptors_run_out_others_are_served_and_it_recovers() {
    const FILES: u32 = 64;
    with_each(|setup| {
        let httpd = Httpd::run(&mut limited(setup, FILES));
        let before = httpd.descriptors();
        let mut steady: Vec<_> = (0..4).map(|_| Client::connect(httpd.address).unwrap()).collect();
        steady.iter_mut().for_each(|client| drop(client.get("/").unwrap()));
        // More than there are descriptors for; the kernel accepts them in its place.
        let mut crowd: Vec<_> = (0..2 * FILES).map(|_| Client::connect(httpd.address).unwrap()).collect();
        crowd.iter_mut().for_each(|client| client.send(REQUEST).unwrap());
        for number in 0..1000 {
            assert_eq!(steady[number % 4].get("/").unwrap().body, HELLO);
        }
        // Each gets its turn when others have left.
        for mut client in crowd {
            assert_eq!(client.answer().unwrap().body, HELLO);
        }
        drop(steady);
        httpd.wait_for_descriptors(before);
        assert_serves(&httpd);
        let log = httpd.stop();
        assert!(log.contains("no descriptor is left") || log.contains("Too many open files"), "{log}");
        assert!(log.lines().count() < 50, "the log is not flooded: {log}");
    });
}

#[test]
fn twenty_thousand_connects_in_a_row_leave_nothing_behind() {
    with_each_backend(|setup| connect_in_a_row(&Httpd::start(setup), 20_000));
}

#[test]
#[ignore = "takes a minute; the same with fewer connects runs always"]
fn a_hundred_thousand_connects_in_a_row_leave_nothing_behind() {
    with_each(|setup| connect_in_a_row(&Httpd::start(setup), 100_000));
}

fn connect_in_a_row(httpd: &Httpd, count: usize) {
    let before = httpd.descriptors();
    let (mut resident_kib, begun) = (0, Instant::now());
    for number in 0..count {
        let mut client = Client::connect(httpd.address).expect("it listens");
        assert_eq!(client.get("/").expect("it answers").body, HELLO);
        // An orderly end leaves an address in use for a minute.
        if number % 10 > 0 {
            client.reset();
        }
        if number == count / 10 {
            resident_kib = httpd.resident_kib();
        }
        assert!(begun.elapsed() < PATIENCE * 5);
    }
    httpd.wait_for_descriptors(before);
    let grown_kib = httpd.resident_kib().saturating_sub(resident_kib);
    assert!(grown_kib < 1024, "{grown_kib} KiB more than after a tenth of the connections");
}

//! What httpd keeps after a peak.

use std::thread;
use std::time::{Duration, Instant};

use super::client::{Client, HELLO, REQUEST};
use super::server::{Httpd, PATIENCE, only_crowd, room, with_each_backend};

/// Connections at the peak, if the system allows that many.
const CROWD: u64 = 15_000;

/// What may be left of it: pages of the heap on each of two shards, and the tables of sockets, which never shrink.
const LEFT_BYTES: u64 = 2 << 20;
const LEFT_BYTES_EACH: u64 = 30;

fn connect(httpd: &Httpd, count: u64) -> Vec<Client> {
    let mut clients: Vec<_> = (0..count).map(|_| Client::connect(httpd.address).expect("it listens")).collect();
    clients.iter_mut().for_each(|client| client.send(REQUEST).expect("it is connected"));
    clients.iter_mut().for_each(|client| assert_eq!(client.answer().expect("it answers").body, HELLO));
    clients
}

#[test]
fn after_a_peak_memory_returns_to_its_level() {
    let _alone = only_crowd();
    let crowd = room(CROWD);
    with_each_backend(|setup| returns_to_its_level(Httpd::start(setup), crowd, LEFT_BYTES_EACH));
}

/// Has so many connections opened and reset, and waits until their memory is free, but for so many bytes of each.
pub(super) fn returns_to_its_level(httpd: Httpd, crowd: u64, left_bytes_each: u64) {
    let left_kib = (LEFT_BYTES + left_bytes_each * crowd) >> 10;
    drop(connect(&httpd, 100));
    let level = httpd.own_kib();
    let clients = connect(&httpd, crowd);
    let peak = httpd.own_kib();
    assert!(peak > level + crowd / 2, "connections take memory: {level} KiB, {peak} KiB with {crowd}");
    clients.into_iter().for_each(Client::reset);
    let deadline = Instant::now() + PATIENCE;
    while httpd.own_kib() > level + left_kib {
        let left = httpd.own_kib();
        assert!(Instant::now() < deadline, "{left} KiB of {peak} are left, before it was {level}");
        thread::sleep(Duration::from_millis(50));
    }
    println!("{level} KiB, {peak} KiB with {crowd} connections, then {} KiB", httpd.own_kib());
    httpd.stop();
}

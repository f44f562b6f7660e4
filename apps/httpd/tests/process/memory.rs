//! What httpd keeps after a peak.

use std::thread;
use std::time::{Duration, Instant};

use super::client::{Client, HELLO, REQUEST};
use super::server::{Httpd, PATIENCE, room, with_each_backend};

/// Connections at the peak, if the system allows that many.
const CROWD: u64 = 5000;

/// What may be left of it: less than a tenth of what the connections take.
const LEFT_KIB: u64 = 3072;

fn connect(httpd: &Httpd, count: u64) -> Vec<Client> {
    let mut clients: Vec<_> = (0..count).map(|_| Client::connect(httpd.address).expect("it listens")).collect();
    clients.iter_mut().for_each(|client| client.send(REQUEST).expect("it is connected"));
    clients.iter_mut().for_each(|client| assert_eq!(client.answer().expect("it answers").body, HELLO));
    clients
}

#[test]
fn after_a_peak_memory_returns_to_its_level() {
    let crowd = room(CROWD);
    with_each_backend(|setup| {
        let httpd = Httpd::start(setup);
        drop(connect(&httpd, 100));
        let level = httpd.resident_kib();
        let clients = connect(&httpd, crowd);
        let peak = httpd.resident_kib();
        assert!(peak > level + crowd, "connections take memory: {level} KiB, {peak} KiB with {crowd}");
        clients.into_iter().for_each(Client::reset);
        let deadline = Instant::now() + PATIENCE;
        while httpd.resident_kib() > level + LEFT_KIB {
            let left = httpd.resident_kib();
            assert!(Instant::now() < deadline, "{left} KiB of {peak} are left, before it was {level}");
            thread::sleep(Duration::from_millis(50));
        }
        println!("{level} KiB, {peak} KiB with {crowd} connections, then {} KiB", httpd.resident_kib());
        httpd.stop();
    });
}

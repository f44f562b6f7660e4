//! SIGTERM under load.

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::client::{Client, HELLO, REQUEST};
use super::server::{Httpd, served, with_each, with_each_backend};

const CONNECTIONS: usize = 64;

/// What became of the requests of one client.
#[derive(Default)]
struct Record {
    answered: u64,
    /// When the request was sent that got no answer, and why it got none.
    unanswered: Option<(Instant, Error)>,
    /// Whether the last response said that the connection closes.
    was_told: bool,
}

/// Sends a request when the one before was answered, until the server ends.
fn converse(address: SocketAddr, requests_per_connection: usize) -> Record {
    let mut record = Record::default();
    loop {
        // Who comes too late to be let in was promised nothing.
        let Ok(mut client) = Client::connect(address) else { return record };
        for _ in 0..requests_per_connection {
            let sent = client.send(REQUEST);
            let sent_at = Instant::now();
            match sent.and_then(|()| client.answer()) {
                Ok(answer) => {
                    assert_eq!(answer.body, HELLO);
                    record.answered += 1;
                    record.was_told = answer.closes();
                    if record.was_told {
                        return record;
                    }
                }
                Err(error) => {
                    record.unanswered = Some((sent_at, error));
                    return record;
                }
            }
        }
    }
}

/// Loads the server, ends it, and checks that what it has received before was answered.
fn end_under_load(mut httpd: Httpd, requests_per_connection: usize) {
    let address = httpd.address;
    let (records, signalled_at, end) = thread::scope(|scope| {
        let clients: Vec<_> =
            (0..CONNECTIONS).map(|_| scope.spawn(move || converse(address, requests_per_connection))).collect();
        thread::sleep(Duration::from_millis(300));
        let signalled_at = Instant::now();
        httpd.signal(Signal::TERM);
        let records: Vec<_> = clients.into_iter().map(|client| client.join().expect("no client panics")).collect();
        (records, signalled_at, httpd.end())
    });
    let (code, log) = end;
    assert_eq!(code, Some(0), "{log}");
    for (sent_at, error) in records.iter().filter_map(|record| record.unanswered.as_ref()) {
        assert!(
            *sent_at > signalled_at,
            "not answered, though sent {:?} before the signal: {error}",
            signalled_at - *sent_at
        );
        assert_ne!(error.kind(), ErrorKind::UnexpectedEof, "connections end between responses");
    }
    let answered: u64 = records.iter().map(|record| record.answered).sum();
    let told = records.iter().filter(|record| record.was_told).count();
    let requests: u64 = served(&log).iter().map(|(requests, _)| requests).sum();
    println!("{answered} answered; {told} of {CONNECTIONS} clients were told that the connection closes");
    assert!(answered > 0 && answered <= requests, "{answered} answered, {requests} served");
}

#[test]
fn what_was_received_before_sigterm_is_answered() {
    with_each(|setup| end_under_load(Httpd::start(setup), usize::MAX));
}

#[test]
fn whoever_has_connected_before_sigterm_is_answered() {
    with_each(|setup| end_under_load(Httpd::start(setup), 1));
}

#[test]
fn idle_connections_do_not_put_the_end_off() {
    with_each(|setup| {
        let httpd = Httpd::start(setup);
        let mut clients: Vec<_> = (0..20).map(|_| Client::connect(httpd.address).unwrap()).collect();
        clients.iter_mut().for_each(|client| drop(client.get("/").unwrap()));
        let log = httpd.stop();
        assert_eq!(served(&log).iter().map(|(requests, _)| requests).sum::<u64>(), 20, "{log}");
        for client in clients {
            assert_eq!(client.rest().unwrap(), b"");
        }
    });
}

#[test]
fn a_client_that_never_reads_does_not_put_the_end_off_for_long() {
    with_each_backend(|setup| {
        let httpd = Httpd::start(setup);
        let stuck = super::abuse::stuck(httpd.address);
        assert_eq!(Client::connect(httpd.address).unwrap().get("/").unwrap().status(), "200");
        httpd.stop();
        drop(stuck);
    });
}

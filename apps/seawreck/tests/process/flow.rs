//! Bytes in one direction, and connections over which nothing goes.

use std::io::{Read, Write};
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::httpd::Httpd;
use super::seawreck::{Report, report, report_of_failure, run, with_each};
use super::server::serve;

fn sum(report: &Report, what: &str) -> u64 {
    let seconds = report.0["seconds"].as_array().expect("there are some");
    seconds.iter().map(|second| second[what].as_u64().expect("a number")).sum()
}

#[test]
fn a_sink_gets_as_much_as_is_told() {
    with_each(|backend, shards| {
        let taken = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&taken);
        let address = serve(move |mut stream| {
            let mut bytes = vec![0; 1 << 16];
            while let Ok(count @ 1..) = stream.read(&mut bytes) {
                counter.fetch_add(count as u64, Ordering::Relaxed);
            }
        });
        let url = format!("tcp://{address}");
        let arguments = ["--server", "sink", "-d", "1s", "--connections", "3", "--size", "16k", &url];
        let seen = report(backend, shards, &arguments);
        let (sent, taken) = (seen.count("/sent_bytes"), taken.load(Ordering::Relaxed));
        // What lay in queues when the connections ended is still on its way.
        assert!(taken > 0 && taken <= sent && sent - taken < 64 << 20, "{taken} of {sent}");
        assert_eq!((sum(&seen, "sent_bytes"), seen.faults()), (sent, vec![]));
    });
}

#[test]
fn a_source_is_taken_from() {
    with_each(|backend, shards| {
        let address = serve(|mut stream| while stream.write_all(&[7; 10_000]).is_ok() {});
        let url = format!("tcp://{address}");
        let seen = report(backend, shards, &["--server", "source", "-d", "1s", "--connections", "3", &url]);
        assert!(seen.count("/received_bytes") > 10_000, "{seen:?}");
        assert_eq!((seen.count("/sent_bytes"), seen.faults()), (0, vec![]));
        let ended = run(backend, shards, &["--server", "source", "-n", "5", &url]);
        assert!(ended.errors.contains("a source has no requests to be counted or paced"), "{ended:?}");
    });
}

#[test]
fn idle_connections_are_held_and_answered_afterwards() {
    with_each(|backend, shards| {
        let httpd = Httpd::start("127.0.0.1");
        let seen = report(backend, shards, &["--idle", "--connections", "500", "-d", "1s", &httpd.url("/")]);
        assert_eq!((seen.count("/connections"), seen.count("/connections_open")), (500, 500));
        assert_eq!((seen.count("/requests"), seen.faults()), (500, vec![]));
        assert_eq!((seen.count("/requests_unanswered"), httpd.answered("200")), (0, 500));
        assert_eq!(seen.number("/seconds/0/requests"), 0.0, "nothing is asked while they are held");
    });
}

#[test]
fn connections_that_are_lost_when_they_are_asked_hold_up_no_other_ones() {
    with_each(|backend, shards| {
        let address = serve(|mut stream| drop(stream.read(&mut [0; 4096])));
        let url = format!("http://{address}/");
        // More than are asked at the same time.
        let seen = report_of_failure(backend, shards, &["--idle", "--connections", "600", "-d", "500ms", &url]);
        assert_eq!((seen.count("/connections_open"), seen.count("/requests")), (600, 0));
        assert_eq!(seen.faults(), [("requests_failed/closed_early".to_owned(), 600)]);
    });
}

/// Who is asked some at a time is not waited for that often.
#[test]
fn a_server_that_answers_nobody_any_more_ends_it() {
    with_each(|backend, shards| {
        let silent = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        let url = format!("udp://{}", silent.local_addr().expect("it has one"));
        let patience = ["--timeout", "300ms", "--connect-timeout", "300ms"];
        let load = ["--idle", "--connections", "6000", "-d", "300ms", &url];
        let seen = report_of_failure(backend, shards, &[&patience[..], &load].concat());
        assert_eq!((&seen.0["ended"], seen.count("/requests")), (&"stalled".into(), 0));
        assert_eq!(seen.count("/connections_open"), 6000);
        let [failed, unanswered, unasked] =
            ["/requests_failed/timed_out", "/requests_unanswered", "/connections_unasked"].map(|name| seen.count(name));
        assert!(unasked > 0, "{seen:?}");
        assert_eq!(failed + unanswered + unasked, 6000, "{seen:?}");
    });
}

#[test]
fn a_ramp_opens_the_connections_one_after_the_other() {
    with_each(|backend, shards| {
        let httpd = Httpd::start("127.0.0.1");
        let arguments = ["--ramp", "2s", "-d", "3s", "--rate", "200", "--connections", "40", &httpd.url("/")];
        let seen = report(backend, shards, &arguments);
        assert_eq!((seen.count("/connections"), seen.faults()), (40, vec![]));
        // However late the first second was asked for: so many are open as the time says, at most.
        let (at, open) = (seen.number("/seconds/0/at_s"), seen.number("/seconds/0/connections_open"));
        assert!(open <= 40.0 * (at + 0.2) / 2.0 + 1.0, "{open} at {at}");
        assert_eq!(seen.count("/connections_open"), 40);
    });
}

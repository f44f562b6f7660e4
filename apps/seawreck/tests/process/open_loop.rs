//! Requests at a rate that does not depend on the server.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::httpd::Httpd;
use super::seawreck::{PATIENCE, Seawreck, command, report, report_of_failure, report_of_open_loop, with_each};
use super::server::{answer, converse, serve};

/// A server that answers nobody from when it has answered so many until a time has passed.
fn stalls_once(after: u32, time: Duration) -> std::net::SocketAddr {
    let answered = Arc::new(Mutex::new(0));
    serve(move |stream| {
        let answered = Arc::clone(&answered);
        stream.set_nodelay(true).expect("it is possible");
        converse(stream, move |_| {
            // All others wait for the lock meanwhile.
            let mut answered = answered.lock().expect("nobody panics");
            *answered += 1;
            if *answered == after {
                std::thread::sleep(time);
            }
            answer("200 OK", "x")
        });
    })
}

fn shows_a_stall(backend: &str, shards: usize, arrivals: &str, expected: std::ops::RangeInclusive<u64>) {
    // A third of the three seconds' requests are due while it stalls, and wait for half a second on average. Of a closed loop with so
    // few connections, only eight would show it.
    let url = format!("http://{}/", stalls_once(300, Duration::from_secs(1)));
    let arguments = ["--rate", "400", "--arrivals", arrivals, "-d", "3s", "--connections", "8", &url];
    let report = report_of_open_loop(backend, shards, &arguments);
    let p99 = report.latency("99");
    assert!(p99 > Duration::from_millis(800), "{p99:?}");
    // Who was due when it had just begun has waited for all of it.
    assert!(report.latency("100") >= Duration::from_millis(990), "{report:?}");
    assert_eq!(report.faults(), vec![]);
    let due = report.count("/requests") + report.count("/requests_unsent");
    assert!(expected.contains(&due), "{due}");
}

#[test]
fn a_server_that_stalls_for_a_second_shows_in_the_99th_percentile() {
    with_each(|backend, shards| shows_a_stall(backend, shards, "constant", 1200..=1200));
    shows_a_stall("io_uring", 2, "poisson", 1000..=1400);
}

#[test]
fn a_closed_loop_does_not_show_it_so() {
    let address = stalls_once(300, Duration::from_secs(1));
    let report = report("epoll", 1, &["-n", "3000", "--connections", "8", &format!("http://{address}/")]);
    assert!(report.latency("100") >= Duration::from_millis(900), "{report:?}");
    assert!(report.latency("99") < Duration::from_millis(800), "{report:?}");
}

#[test]
fn a_stall_shows_though_it_is_interrupted() {
    with_each(|backend, shards| {
        let answered = Arc::new(AtomicUsize::new(0));
        let of_all = Arc::clone(&answered);
        let address = serve(move |stream| {
            let answered = Arc::clone(&of_all);
            converse(stream, move |_| {
                if answered.fetch_add(1, Ordering::SeqCst) < 200 {
                    return answer("200 OK", "x");
                }
                loop {
                    std::thread::park();
                }
            });
        });
        let url = format!("http://{address}/");
        let arguments = ["--rate", "400", "-d", "1h", "--timeout", "1h", "--connections", "8", "--json", "-", &url];
        let seawreck = Seawreck::start(&mut command(backend, shards, &arguments));
        let begun = Instant::now();
        while answered.load(Ordering::SeqCst) <= 200 {
            assert!(begun.elapsed() < PATIENCE, "it does not begin");
            std::thread::sleep(Duration::from_millis(5));
        }
        // Two thirds of all are due meanwhile.
        std::thread::sleep(Duration::from_secs(1));
        seawreck.signal(Signal::INT);
        let report = seawreck.end().report();
        assert!(report.latency("90") > Duration::from_millis(700), "{report:?}");
        assert!(report.latency("100") > Duration::from_millis(900), "{report:?}");
        let (unsent, given_up) = (report.count("/requests_unsent"), report.count("/latency_given_up"));
        assert!(unsent >= 300 && given_up >= unsent, "{report:?}");
        // Each is in the percentiles or told.
        let all = report.count("/latency_ns/count") + report.count("/latency_unknown");
        assert_eq!(all, 200 + unsent + report.count("/requests_unanswered"), "{report:?}");
    });
}

#[test]
fn the_rate_is_kept_and_the_server_has_seen_as_many() {
    with_each(|backend, shards| {
        for arrivals in ["constant", "poisson"] {
            let httpd = Httpd::start("127.0.0.1");
            let rate = ["--rate", "2k", "--arrivals", arrivals, "-d", "2s", "--connections", "6"];
            let report = report_of_open_loop(backend, shards, &[&rate[..], &[&httpd.url("/")]].concat());
            let requests = report.count("/requests") + report.count("/requests_unsent");
            let expected = if arrivals == "constant" { 4000..=4000 } else { 3700..=4300 };
            assert!(expected.contains(&requests), "{requests}");
            assert_eq!(httpd.answered("200"), report.count("/requests"));
            assert_eq!(report.faults(), vec![]);
            assert_eq!(report.count("/load_side/lateness_ns/count"), report.count("/requests"));
        }
    });
}

/// A server of which each connection is answered twenty times a second.
fn slow() -> String {
    let address = serve(|stream| {
        converse(stream, |_| {
            std::thread::sleep(Duration::from_millis(50));
            answer("200 OK", "x")
        });
    });
    format!("http://{address}/")
}

#[test]
fn what_a_slow_server_has_no_connection_for_is_told() {
    with_each(|backend, shards| {
        let arguments = ["--rate", "100", "-d", "2s", "--connections", "2", "--timeout", "1s", &slow()];
        let report = report_of_failure(backend, shards, &arguments);
        let [answered, unsent, unanswered] =
            ["/requests", "/requests_unsent", "/requests_unanswered"].map(|name| report.count(name));
        assert_eq!(answered + unsent + unanswered, 200, "{report:?}");
        assert!(unsent > 50, "{unsent}");
        // They count with what they have waited until the end, and it is told.
        let given_up = report.count("/latency_given_up");
        assert_eq!((report.count("/latency_ns/count"), given_up), (200, unsent + unanswered));
        let warnings = report.0["warnings"].as_array().expect("there are some");
        assert!(warnings.iter().any(|warning| warning.as_str().is_some_and(|text| text.contains("had no answer"))));
        // How late each was that was sent is told, and how late by the server's fault is not.
        assert_eq!(report.count("/load_side/lateness_ns/count"), answered + unanswered);
        // The last one that was sent was due long before.
        assert!(report.latency("100") > Duration::from_millis(900), "{report:?}");
    });
}

#[test]
fn what_was_due_is_sent_as_long_as_answers_may_come() {
    with_each(|backend, shards| {
        let arguments = ["--rate", "50", "-d", "2s", "--connections", "2", "--timeout", "1m", &slow()];
        let report = report_of_open_loop(backend, shards, &arguments);
        assert_eq!((report.count("/requests"), report.count("/requests_unsent")), (100, 0), "{report:?}");
        // Two connections take 2.5 seconds for it, and that is the time that counts.
        assert!(report.number("/elapsed_s") >= 2.45, "{report:?}");
        assert!(report.number("/requests_per_second") <= 40.9, "{report:?}");
        assert!(report.latency("100") >= Duration::from_millis(400), "{report:?}");
        // Nothing was late by seawreck's own fault.
        let lateness = Duration::from_nanos(report.count("/load_side/lateness_ns/percentiles/90"));
        assert!(lateness < Duration::from_millis(100), "{report:?}");
    });
}

#[test]
fn what_was_sent_in_time_and_is_answered_late_makes_the_time_no_longer() {
    with_each(|backend, shards| {
        let requests = Arc::new(AtomicUsize::new(0));
        let address = serve(move |stream| {
            let requests = Arc::clone(&requests);
            converse(stream, move |_| {
                if requests.fetch_add(1, Ordering::SeqCst) == 50 {
                    std::thread::sleep(Duration::from_millis(2500));
                }
                answer("200 OK", "x")
            });
        });
        let url = format!("http://{address}/");
        let report = report_of_open_loop(backend, shards, &["--rate", "100", "-d", "1s", "--connections", "8", &url]);
        assert_eq!((report.count("/requests"), report.faults()), (100, vec![]));
        assert!(report.latency("100") >= Duration::from_millis(2500), "{report:?}");
        assert!(report.number("/elapsed_s") < 2.0, "{report:?}");
    });
}

#[test]
fn a_rate_may_change() {
    with_each(|backend, shards| {
        let httpd = Httpd::start("127.0.0.1");
        let begun = Instant::now();
        let arguments = ["--rate", "0:2000", "-d", "3s", "--connections", "6", &httpd.url("/")];
        let report = report_of_open_loop(backend, shards, &arguments);
        assert!(begun.elapsed() >= Duration::from_secs(3));
        let requests = report.count("/requests") + report.count("/requests_unsent");
        assert!((2998..=3000).contains(&requests), "{requests}");
        // However late the first second was asked for, until then the rate was below its mean.
        let first = report.number("/seconds/0/requests") / report.number("/seconds/0/len_s");
        assert!(first < 1000.0, "{report:?}");
    });
}

#[test]
fn that_seawreck_itself_stood_still_is_told() {
    with_each(|backend, shards| {
        let httpd = Httpd::start("127.0.0.1");
        let arguments = ["--rate", "200", "-d", "3s", "--connections", "8", "--json", "-", &httpd.url("/")];
        let seawreck = Seawreck::start(&mut command(backend, shards, &arguments));
        let begun = Instant::now();
        while httpd.answered("200") < 50 {
            assert!(begun.elapsed() < PATIENCE, "it does not begin");
            std::thread::sleep(Duration::from_millis(5));
        }
        seawreck.signal(Signal::STOP);
        std::thread::sleep(Duration::from_millis(800));
        seawreck.signal(Signal::CONT);
        let report = seawreck.end().report();
        // Whether requests were late by that is not said: on a slow machine all connections may have been busy.
        let longest = Duration::from_nanos(report.count("/load_side/lag_ns/max"));
        assert!(longest > Duration::from_millis(600), "{report:?}");
    });
}

#[test]
fn a_server_that_stalls_is_not_taken_for_lateness() {
    let url = format!("http://{}/", stalls_once(300, Duration::from_secs(1)));
    let arguments = ["--rate", "400", "-d", "3s", "--connections", "8", &url];
    let report = report_of_open_loop("epoll", 1, &arguments);
    let p99 = Duration::from_nanos(report.count("/load_side/lateness_ns/percentiles/99"));
    assert!(p99 < report.latency("99") / 2, "{p99:?}: {report:?}");
    let busy = report.number("/load_side/busy");
    assert!((0.0..0.95).contains(&busy) && report.0["load_side"]["is_saturated"] == false, "{report:?}");
}

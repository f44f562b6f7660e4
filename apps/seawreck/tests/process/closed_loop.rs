//! Connections that ask as soon as they are answered.

use std::process::Command;
use std::thread;
use std::time::Duration;

use super::httpd::Httpd;
use super::seawreck::{report, run, with_each};
use super::server::{answer, converse, serve};

#[test]
fn a_number_of_requests_is_sent_and_the_server_has_seen_as_many() {
    with_each(|backend, shards| {
        let httpd = Httpd::start("127.0.0.1");
        let report = report(backend, shards, &["--connections", "7", "-n", "5000", &httpd.url("/")]);
        assert_eq!((report.count("/requests"), report.faults()), (5000, vec![]));
        assert_eq!(httpd.answered("200"), 5000);
        assert_eq!((report.count("/connections"), report.count("/requests_unanswered")), (7, 0));
        assert_eq!((report.count("/latency_ns/count"), report.count("/shards")), (5000, shards as u64));
        // Each head has as many bytes, and "Hello world\n" behind it.
        assert_eq!(report.count("/received_bytes") % 5000, 0);
        assert!(report.number("/elapsed_s") < 60.0);
    });
}

#[test]
fn a_time_is_kept_and_what_it_counts_the_server_has_answered() {
    with_each(|backend, shards| {
        let httpd = Httpd::start("127.0.0.1");
        let arguments = ["--connections", "5", "-d", "1200ms", "--warm-up", "300ms", &httpd.url("/")];
        let report = report(backend, shards, &arguments);
        let elapsed = report.number("/elapsed_s");
        assert!((1.2..1.3).contains(&elapsed), "{elapsed}");
        // The server has answered the warm-up too.
        let (seen, answered) = (report.count("/requests"), httpd.answered("200"));
        assert!(seen > 0 && seen < answered, "{seen} of {answered}");
        assert_eq!((report.count("/requests_unanswered"), report.faults()), (0, vec![]));
        let seconds = report.0["seconds"].as_array().expect("there are some");
        let sum: u64 = seconds.iter().map(|second| second["requests"].as_u64().expect("a number")).sum();
        assert_eq!(sum, seen, "the seconds make up the whole");
        let while_sending = seconds.iter().filter(|second| second["is_draining"] == false).count();
        assert!((1..=2).contains(&while_sending), "{seconds:?}");
        let rate = report.number("/requests_per_second");
        #[expect(clippy::cast_precision_loss, reason = "there are not so many")]
        let expected = seen as f64 / elapsed;
        assert!((rate / expected - 1.0).abs() < 1e-9, "{rate}");
    });
}

#[test]
fn ipv6_is_like_ipv4() {
    with_each(|backend, shards| {
        let httpd = Httpd::start("::1");
        let report = report(backend, shards, &["--connections", "4", "-n", "400", &httpd.url("/")]);
        assert_eq!((report.count("/requests"), httpd.answered("200")), (400, 400));
    });
}

#[test]
fn a_host_is_found_by_its_name() {
    let httpd = Httpd::start("127.0.0.1");
    let url = format!("http://localhost.:{}/", httpd.address.port()).replace("localhost.", "localhost");
    // Whichever address stands first: httpd listens at one of them.
    let ended = run("epoll", 1, &["-n", "10", &url, "--connect-timeout", "1s"]);
    let is_answered = ended.code == Some(0) && ended.output.contains("10 answered well");
    assert!(is_answered || ended.errors.contains("[::1]"), "{ended:?}");
}

#[test]
fn the_summary_says_what_was_measured() {
    let httpd = Httpd::start("127.0.0.1");
    let ended = run("epoll", 1, &["--connections", "3", "-n", "3000", &httpd.url("/")]);
    assert_eq!((ended.code, &*ended.errors), (Some(0), ""));
    for words in [
        &*httpd.url("/"),
        "closed loop, 3 connections; 1 shard; ",
        "requests     3,000 answered well, ",
        "99.999 % ",
        "connections  3 made, in ",
    ] {
        assert!(ended.output.contains(words), "{words}: {}", ended.output);
    }
    assert!(!ended.output.contains("failed"), "{}", ended.output);
}

#[test]
fn a_latency_is_never_less_than_what_the_server_took() {
    // So many requests leave at once that the first ones are answered while others are still being sent.
    const HELD: Duration = Duration::from_millis(1);
    with_each(|backend, shards| {
        let address = serve(|stream| {
            converse(stream, |_| {
                thread::sleep(HELD);
                answer("200 OK", "x")
            });
        });
        let url = format!("http://{address}/");
        let seen = report(backend, shards, &["-n", "1200", "--connections", "400", &url]);
        let least = Duration::from_nanos(seen.count("/latency_ns/min"));
        // Three digits are kept.
        assert!(least >= HELD * 998 / 1000, "{least:?}");
    });
}

#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn h2load_is_sent_as_many_bytes() {
    let httpd = Httpd::start("127.0.0.1");
    let output = Command::new("h2load").args(["--h1", "-n", "600", "-c", "3", &httpd.url("/")]).output();
    let text = String::from_utf8(output.expect("h2load is installed").stdout).expect("it is text");
    // As in `traffic: 66.80KB (68400) total, …`.
    let line = text.lines().find(|line| line.starts_with("traffic:")).expect("it tells how much came");
    let bytes = line.split(['(', ')']).nth(1).and_then(|bytes| bytes.parse::<u64>().ok());
    let seen = report("epoll", 1, &["-n", "600", "--connections", "3", &httpd.url("/")]);
    assert_eq!((Some(seen.count("/received_bytes")), httpd.answered("200")), (bytes, 1200), "{text}");
}

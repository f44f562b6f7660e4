//! Servers that misbehave, and the end before its time.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::httpd::Httpd;
use super::seawreck::{Seawreck, command, report, report_of_failure, run, with_each};
use super::server::{answer, converse, serve};

/// Keeps a connection of a server without an answer.
fn stand_still() -> ! {
    loop {
        thread::park();
    }
}

/// The faults of a run that asks 30 times.
fn faults(backend: &str, shards: usize, url: &str) -> Vec<(String, u64)> {
    let arguments = ["-n", "30", "--connections", "3", "--timeout", "300ms", "--json", "-", url];
    run(backend, shards, &arguments).report().faults()
}

#[test]
fn nobody_who_listens_ends_it_with_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it has one");
    drop(taken);
    with_each(|backend, shards| {
        let begun = Instant::now();
        let ended = run(backend, shards, &["--connections", "5", &format!("http://{address}/")]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let line = format!("seawreck: error: {address}: no connection could be made: refused\n");
        assert_eq!(ended.errors, line);
        assert!(ended.output.contains("connections that failed: ") && ended.output.contains(" refused\n"), "{ended:?}");
        assert!(begun.elapsed() < Duration::from_secs(9), "it does not go on for ten seconds");
    });
}

/// A listener that takes up nobody, with a queue that is full: who connects is not answered.
fn full() -> (TcpListener, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    // A second call makes the queue shorter; it holds one more than is said.
    // SAFETY: a plain system call.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
    let address = listener.local_addr().expect("it has one");
    let queued = TcpStream::connect(address).expect("there is room for one");
    (listener, vec![queued])
}

#[test]
fn who_takes_up_no_connection_is_told_apart_from_who_refuses_them() {
    with_each(|backend, shards| {
        let (listener, _queued) = full();
        let url = format!("http://{}/", listener.local_addr().expect("it has one"));
        let arguments = ["-d", "1s", "--connections", "3", "--connect-timeout", "300ms", "--json", "-", &url];
        let ended = run(backend, shards, &arguments);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.errors.contains("no connection could be made: timed out"), "{ended:?}");
        let faults = ended.report().faults();
        assert!(matches!(&faults[..], [(kind, 3..)] if kind == "connections_failed/timed_out"), "{faults:?}");
    });
}

#[test]
fn an_answer_that_never_comes_is_timed_out() {
    with_each(|backend, shards| {
        let address = serve(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
        let url = format!("http://{address}/");
        let arguments = ["-n", "30", "--connections", "3", "--timeout", "300ms", &url];
        let seen = report_of_failure(backend, shards, &arguments);
        assert_eq!(seen.faults(), [("requests_failed/timed_out".to_owned(), 30)]);
        assert_eq!((seen.count("/requests"), seen.count("/latency_ns/count")), (0, 30));
        assert!(seen.count("/latency_ns/min") >= 299_000_000, "{seen:?}");
    });
}

#[test]
fn who_is_given_up_with_an_older_request_counts_as_slower_than_all_others() {
    with_each(|backend, shards| {
        // It answers ten and then nobody.
        let address = serve(|stream| {
            let mut count = 0;
            converse(stream, move |_| {
                count += 1;
                if count > 10 { stand_still() } else { answer("200 OK", "x") }
            });
        });
        let url = format!("http://{address}/");
        let rate = ["--rate", "200", "-d", "500ms", "--connections", "1", "--pipeline", "64", "--timeout", "300ms"];
        let seen = report_of_failure(backend, shards, &[&rate[..], &[&url]].concat());
        // Those that were sent after the first one without an answer had not all the time that they may take.
        let (given_up, lost) = (seen.count("/latency_given_up"), seen.count("/latency_lost"));
        assert!(given_up >= 1 && lost > given_up, "{seen:?}");
        assert_eq!(seen.count("/latency_ns/count"), seen.count("/requests") + given_up);
        assert!(seen.count("/requests") + given_up + lost >= 60, "{seen:?}");
        assert!(seen.latency("50") >= Duration::from_millis(299), "{seen:?}");
        let warnings = seen.0["warnings"].as_array().expect("there are some");
        assert!(warnings.iter().any(|warning| warning.as_str().is_some_and(|text| text.contains("given up too soon"))));
    });
}

#[test]
fn an_interrupt_counts_what_is_under_way_only_if_it_has_waited_longest() {
    with_each(|backend, shards| {
        let silent = Arc::new(AtomicUsize::new(0));
        let of_all = Arc::clone(&silent);
        let address = serve(move |stream| {
            let (mut count, silent) = (0, Arc::clone(&of_all));
            converse(stream, move |_| {
                count += 1;
                if count > 100 {
                    silent.fetch_add(1, Ordering::SeqCst);
                    stand_still();
                }
                answer("200 OK", "x")
            });
        });
        let url = format!("http://{address}/");
        let arguments = ["-d", "1h", "--timeout", "1h", "--connections", "4", "--json", "-", &url];
        let seawreck = Seawreck::start(&mut command(backend, shards, &arguments));
        while silent.load(Ordering::SeqCst) < 4 {
            thread::sleep(Duration::from_millis(5));
        }
        seawreck.signal(Signal::INT);
        let ended = seawreck.end();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let seen = ended.report();
        let (given_up, unknown) = (seen.count("/latency_given_up"), seen.count("/latency_unknown"));
        assert_eq!((seen.count("/requests"), seen.count("/latency_ns/count")), (400, 400 + given_up), "{seen:?}");
        assert_eq!((seen.count("/requests_unanswered"), given_up + unknown, seen.count("/latency_lost")), (4, 4, 0));
        let warnings = seen.0["warnings"].as_array().expect("it is a list");
        let tells =
            warnings.iter().any(|text| text.as_str().is_some_and(|text| text.contains("ended before its time")));
        assert_eq!(tells, unknown > 0, "{seen:?}");
    });
}

#[test]
fn a_reset_and_an_end_within_an_answer_are_told_apart() {
    with_each(|backend, shards| {
        let ends = serve(|stream| {
            let mut other = stream.try_clone().expect("it is possible");
            converse(stream, move |_| {
                drop(other.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"));
                drop(other.shutdown(Shutdown::Both));
                Vec::new()
            });
        });
        let seen = faults(backend, shards, &format!("http://{ends}/"));
        assert_eq!(seen, [("requests_failed/closed_early".to_owned(), 30)]);
        // A socket that is closed while something in it was not read is reset.
        let resets = serve(|mut stream| {
            let _ = stream.read(&mut [0; 1]);
        });
        let seen = faults(backend, shards, &format!("http://{resets}/"));
        assert_eq!(seen, [("requests_failed/reset".to_owned(), 30)]);
    });
}

#[test]
fn what_is_no_answer_and_what_has_another_status_are_told_apart() {
    with_each(|backend, shards| {
        let nonsense = serve(|stream| converse(stream, |_| b"hello\r\n\r\n".to_vec()));
        let seen = faults(backend, shards, &format!("http://{nonsense}/"));
        assert_eq!(seen, [("requests_failed/bad_answer".to_owned(), 30)]);
        // More answers than requests.
        let twice = serve(|stream| converse(stream, |_| answer("200 OK", "x").repeat(2)));
        let seen = run(backend, shards, &["-n", "30", "--json", "-", &format!("http://{twice}/")]).report();
        assert!(seen.count("/requests") > 0, "{seen:?}");
        let httpd = Httpd::start("127.0.0.1");
        let seen = faults(backend, shards, &httpd.url("/none"));
        assert_eq!(seen, [("requests_failed/wrong_status".to_owned(), 30)]);
        let seen = report(backend, shards, &["-n", "30", "--expect-status", "404", &httpd.url("/none")]);
        assert_eq!((seen.count("/requests"), seen.faults()), (30, vec![]));
    });
}

#[test]
fn failures_of_some_requests_show_in_the_exit_code() {
    with_each(|backend, shards| {
        let address = serve(|stream| {
            let mut count = 0;
            converse(stream, move |_| {
                count += 1;
                answer(if count % 10 == 0 { "503 Service Unavailable" } else { "200 OK" }, "x")
            });
        });
        let url = format!("http://{address}/");
        let ended = run(backend, shards, &["-n", "60", "--connections", "1", &url]);
        let line = format!("seawreck: error: {address}: 6 of 60 requests were not answered well\n");
        assert_eq!((ended.code, &*ended.errors), (Some(1), &*line));
        let warning = "  WARNING: 6 requests got no good answer; the latencies do not count them\n";
        assert!(ended.output.contains(warning), "{ended:?}");
    });
}

#[test]
fn answers_that_come_after_the_end_belong_to_no_second() {
    with_each(|backend, shards| {
        let address = serve(|stream| {
            let mut count = 0;
            converse(stream, move |_| {
                count += 1;
                if count == 3 {
                    thread::sleep(Duration::from_millis(2500));
                }
                answer("200 OK", "x")
            });
        });
        let url = format!("http://{address}/");
        let seen = report(backend, shards, &["-d", "2s", "--connections", "1", &url]);
        assert_eq!(seen.count("/requests"), 3);
        let seconds = seen.0["seconds"].as_array().expect("there are some");
        let (last, before) = seconds.split_last().expect("there are some");
        assert!(before.iter().all(|second| second["is_draining"] == false), "{seen:?}");
        let requests = |second: &serde_json::Value| second["requests"].as_u64().expect("a number");
        assert_eq!(before.iter().map(requests).sum::<u64>(), 2, "{seen:?}");
        assert_eq!((&last["is_draining"], requests(last)), (&serde_json::Value::Bool(true), 1));
        assert!(last["at_s"].as_f64().is_some_and(|at| at > 2.4), "{seen:?}");
    });
}

#[test]
fn an_interrupt_ends_it_with_what_was_measured() {
    with_each(|backend, shards| {
        let httpd = Httpd::start("127.0.0.1");
        for signal in [Signal::INT, Signal::TERM] {
            let before = httpd.answered("200");
            let url = httpd.url("/");
            let arguments = ["-d", "1h", "--connections", "4", "--progress", "always", "--json", "-", &url];
            let seawreck = Seawreck::start(&mut command(backend, shards, &arguments));
            while httpd.answered("200") < before + 100 {
                thread::sleep(Duration::from_millis(5));
            }
            seawreck.signal(signal);
            let ended = seawreck.end();
            assert_eq!(ended.code, Some(0), "{ended:?}");
            let report = ended.report();
            assert_eq!(report.0["ended"], "stopped");
            let (seen, unanswered) = (report.count("/requests"), report.count("/requests_unanswered"));
            let answered = httpd.answered("200") - before;
            // What was under way when it ended may have been answered or not.
            assert!(
                seen >= 100 && unanswered <= 4 && (seen..=seen + unanswered).contains(&answered),
                "{seen}, {answered}"
            );
        }
    });
}

#[test]
fn an_interrupt_ends_it_even_while_nothing_is_answered() {
    with_each(|backend, shards| {
        let address = serve(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
        let url = format!("http://{address}/");
        let seawreck = Seawreck::start(&mut command(backend, shards, &["-d", "1h", "--timeout", "1h", &url]));
        thread::sleep(Duration::from_millis(500));
        seawreck.signal(Signal::INT);
        let ended = seawreck.end();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.output.contains("until it was stopped"), "{ended:?}");
    });
}

#[test]
fn a_line_is_shown_each_second_if_asked_for() {
    let httpd = Httpd::start("127.0.0.1");
    let ended = run("epoll", 1, &["-d", "2500ms", "--progress", "always", &httpd.url("/")]);
    let lines: Vec<&str> = ended.errors.lines().collect();
    assert!((1..=3).contains(&lines.len()), "{lines:?}");
    assert!(lines.iter().all(|line| line.contains(" per second, ") && line.contains("10 open")), "{lines:?}");
    assert_eq!(run("epoll", 1, &["-n", "10", &httpd.url("/")]).errors, "", "no terminal, no lines");
}

#[test]
fn a_page_is_written_for_browsers() {
    let httpd = Httpd::start("127.0.0.1");
    let folder = tempfile::tempdir().expect("a folder");
    let page = folder.path().join("page.html");
    let path = page.to_str().expect("it is text");
    let ended = run("epoll", 1, &["-d", "2500ms", "--html", path, &httpd.url("/")]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let text = std::fs::read_to_string(&page).expect("it was written");
    assert!(text.starts_with("<!DOCTYPE html>") && text.contains("99.99 %"), "{text}");
}

#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn a_browser_shows_the_page_as_it_is_meant() {
    let httpd = Httpd::start("127.0.0.1");
    let folder = tempfile::tempdir().expect("a folder");
    let page = folder.path().join("page.html");
    let path = page.to_str().expect("it is text");
    assert_eq!(run("epoll", 1, &["-d", "3500ms", "--html", path, &httpd.url("/")]).code, Some(0));
    // A browser closes what is left open and moves what stands where it may not: then it shows something else than what was written.
    let browse = |path: &str, width: u32| {
        let mut browser = std::process::Command::new("chromium");
        browser.args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]);
        browser.arg(format!("--window-size={width},900")).arg(format!("file://{path}"));
        browser.arg(format!("--user-data-dir={}", folder.path().join("profile").display()));
        let output = browser.output().expect("chromium is installed");
        String::from_utf8(output.stdout).expect("it is text")
    };
    let shown = browse(path, 1100);
    let written = std::fs::read_to_string(&page).expect("it was written");
    for tag in ["section", "svg", "path", "line", "text", "tr", "td", "strong"] {
        let count = |page: &str| page.matches(&format!("<{tag}")).count();
        assert_eq!(count(&shown), count(&written), "{tag}: {shown}");
        assert!(count(&shown) > 0, "{tag}: {shown}");
    }
    // Nothing lies outside its picture or over something else, on a wide screen and on a narrow one; and that is seen where it does.
    let looked_at = folder.path().join("looked at.html");
    let look = |page: &str, width: u32| {
        std::fs::write(&looked_at, page.to_owned() + include_str!("look.html")).expect("there is room");
        browse(looked_at.to_str().expect("it is text"), width)
    };
    for width in [400, 1100, 2000] {
        let page = look(&written, width);
        assert!(page.contains("data-wrong=\"[]\""), "{width}: {page}");
    }
    let (begin, end) = (written.find("<style>").expect("it has one"), written.find("</style>").expect("it ends"));
    for broken in [
        written[..begin].to_owned() + &written[end..],
        written.replacen("<text x=\"", "<text x=\"9", 1),
        written.replace("<section", "<section style=\"margin-top: -50px\""),
    ] {
        assert!(!look(&broken, 1100).contains("data-wrong=\"[]\""), "it is broken: {broken}");
    }
}

#[test]
fn seconds_are_written_as_comma_separated_values() {
    let httpd = Httpd::start("127.0.0.1");
    let folder = tempfile::tempdir().expect("a folder");
    let (csv, json) = (folder.path().join("seconds.csv"), folder.path().join("report.json"));
    let paths = [csv.to_str().expect("it is text"), json.to_str().expect("it is text")];
    let ended = run("epoll", 1, &["-d", "1500ms", "--csv", paths[0], "--json", paths[1], &httpd.url("/")]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let text = std::fs::read_to_string(&csv).expect("it was written");
    let requests = text.lines().skip(1).map(|line| line.split(',').nth(2).expect("a third value"));
    let sum: u64 = requests.map(|requests| requests.parse::<u64>().expect("a number")).sum();
    let report =
        super::seawreck::Ended { output: std::fs::read_to_string(&json).expect("it was written"), ..ended }.report();
    assert_eq!(report.count("/requests"), sum);
    let ended = run("epoll", 1, &["-n", "10", "--csv", "/no/such/file", &httpd.url("/")]);
    assert_eq!(
        (ended.code, &*ended.errors),
        (Some(1), "seawreck: error: cannot write /no/such/file: No such file or directory (os error 2)\n")
    );
}

//! Clients that take their time, that say no more, and those that wait for their turn.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::client::{Client, HELLO, REQUEST};
use super::files::{content, root};
use super::metrics::{figure, figure_by, wait_for_figure};
use super::server::{Httpd, Setup, command, room, with_each, with_each_backend};

const TIMEOUTS: &str = "sunstar_http_timeouts_total";

/// Half-sent heads at the same time, if the system allows that many.
const CROWD: u64 = 2000;

fn run(setup: Setup, options: &[&str]) -> Httpd {
    Httpd::run(command(setup).args(options))
}

#[test]
fn half_sent_heads_stop_nobody_and_end_by_the_timeout() {
    let crowd = room(CROWD);
    with_each_backend(|setup| {
        let httpd = run(setup, &["--head-timeout-s", "2"]);
        let mut steady: Vec<_> = (0..4).map(|_| Client::connect(httpd.address).unwrap()).collect();
        steady.iter_mut().for_each(|client| drop(client.get("/").unwrap()));
        let before = httpd.descriptors();
        let is_over = AtomicBool::new(false);
        let served = thread::scope(|scope| {
            let serving = scope.spawn(|| {
                let mut served = 0;
                while !is_over.load(Ordering::Relaxed) {
                    steady.iter_mut().for_each(|client| assert_eq!(client.get("/").unwrap().body, HELLO));
                    served += steady.len();
                }
                served
            });
            let half = |_| {
                let mut client = Client::connect(httpd.address).expect("it listens");
                client.send(&REQUEST[..REQUEST.len() / 2]).expect("it is connected");
                client
            };
            let slow: Vec<_> = (0..crowd).map(half).collect();
            for mut client in slow {
                let answer = client.answer().unwrap();
                assert_eq!((answer.status(), answer.closes()), ("408", true));
                assert_eq!(client.rest().unwrap(), b"");
            }
            is_over.store(true, Ordering::Relaxed);
            serving.join().expect("all are served")
        });
        println!("{served} requests were served beside {crowd} half-sent heads");
        assert_eq!(figure(httpd.address, TIMEOUTS, "awaited=\"head\""), crowd as f64);
        assert_eq!(figure(httpd.address, "sunstar_http_failed_total", ""), 0.0);
        httpd.wait_for_descriptors(before);
        httpd.stop();
    });
}

#[test]
fn bodies_that_stall_and_idle_connections_end_by_their_timeouts() {
    with_each(|setup| {
        let httpd = run(setup, &["--body-timeout-s", "1", "--idle-timeout-s", "1"]);
        let mut stalled = Client::connect(httpd.address).unwrap();
        stalled.send(b"POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nsome").unwrap();
        let mut idle = Client::connect(httpd.address).unwrap();
        idle.get("/").unwrap();
        let answer = stalled.answer().unwrap();
        assert_eq!((answer.status(), answer.closes()), ("408", true));
        assert_eq!(stalled.rest().unwrap(), b"");
        assert_eq!(idle.rest().unwrap(), b"");
        assert_eq!(figure(httpd.address, TIMEOUTS, "awaited=\"body\""), 1.0);
        assert!(figure(httpd.address, TIMEOUTS, "awaited=\"idle\"") >= 1.0);
        httpd.stop();
    });
}

/// Asks for more than the kernel takes in a client's place.
fn ask_for_too_much(address: SocketAddr, request: &[u8]) -> Client {
    let mut client = Client::connect(address).expect("it listens");
    client.stream.set_write_timeout(Some(Duration::from_millis(100))).expect("it is a socket");
    // Until the server reads no more, or has ended the connection already.
    while client.stream.write(request).is_ok() {}
    client
}

#[test]
fn who_takes_nothing_is_reset_and_leaves_nothing_behind() {
    const EACH: usize = 5;
    let root = root("slow");
    File::create(root.join("huge")).and_then(|file| file.set_len(1 << 30)).expect("it can be made");
    with_each(|setup| {
        let httpd = Httpd::run(command(setup).arg("--root").arg(&root).args(["--output-timeout-s", "1"]));
        let mut steady = Client::connect(httpd.address).unwrap();
        steady.get("/file/large").unwrap();
        let descriptors = httpd.descriptors();
        let file = b"GET /file/huge HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100);
        let requests = [file, REQUEST.repeat(1000)];
        let mut slow = Vec::new();
        thread::scope(|scope| {
            let asking = requests.iter().flat_map(|request| (0..EACH).map(move |_| request));
            let asking: Vec<_> =
                asking.map(|request| scope.spawn(|| ask_for_too_much(httpd.address, request))).collect();
            while asking.iter().any(|client| !client.is_finished()) {
                assert_eq!(steady.get("/").unwrap().body, HELLO);
            }
            slow.extend(asking.into_iter().map(|client| client.join().expect("it has asked")));
        });
        wait_for_figure(httpd.address, TIMEOUTS, "awaited=\"output\"", slow.len() as f64);
        assert_eq!(figure(httpd.address, "sunstar_http_failed_total", ""), 0.0);
        httpd.wait_for_descriptors(descriptors);
        assert_eq!(figure(httpd.address, "sunstar_http_output_frames", ""), 0.0);
        for client in slow {
            assert_eq!(client.rest().unwrap_err().kind(), ErrorKind::ConnectionReset);
        }
        assert!(steady.get("/file/large").unwrap().body == content(3_000_000));
        httpd.stop();
    });
}

#[test]
fn who_says_no_more_still_gets_all_answers() {
    let root = root("half-closed");
    with_each(|setup| {
        let httpd = Httpd::run(command(setup).arg("--root").arg(&root));
        let before = httpd.descriptors();
        let ask = |bytes: &[u8]| {
            let mut client = Client::connect(httpd.address).expect("it listens");
            client.send(bytes).expect("it is connected");
            client.stream.shutdown(Shutdown::Write).unwrap();
            client
        };
        let mut client = ask(&REQUEST.repeat(50));
        for _ in 0..50 {
            assert_eq!(client.answer().unwrap().body, HELLO);
        }
        assert_eq!(client.rest().unwrap(), b"");
        let mut client = ask(b"GET /file/large HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(client.answer().unwrap().body == content(3_000_000));
        assert_eq!(client.rest().unwrap(), b"");
        // Nobody has asked anything.
        assert_eq!(ask(b"").rest().unwrap(), b"");
        assert_eq!(ask(&REQUEST[..20]).rest().unwrap(), b"");
        let mut client = ask(b"POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nsome");
        let answer = client.answer().unwrap();
        assert_eq!((answer.status(), answer.closes()), ("400", true));
        assert_eq!(client.rest().unwrap(), b"");
        httpd.wait_for_descriptors(before);
        httpd.stop();
    });
}

#[test]
fn connections_beyond_the_bound_wait_for_their_turn() {
    with_each_backend(|setup| {
        let httpd = run(Setup { shards: 1, ..setup }, &["--max-connections", "2"]);
        let (begin, rest) = REQUEST.split_at(REQUEST.len() / 2);
        let mut first: Vec<_> = (0..2).map(|_| Client::connect(httpd.address).unwrap()).collect();
        first.iter_mut().for_each(|client| client.send(begin).unwrap());
        let mut later: Vec<_> = (0..3).map(|_| Client::connect(httpd.address).unwrap()).collect();
        later.iter_mut().for_each(|client| client.send(REQUEST).unwrap());
        // Those that are busy keep their places; when they are idle they make room.
        for client in &mut first {
            client.send(rest).unwrap();
            assert_eq!(client.answer().unwrap().body, HELLO);
        }
        for client in &mut later {
            assert_eq!(client.answer().unwrap().body, HELLO);
        }
        let mut observer = Client::connect(httpd.address).unwrap();
        assert!(figure_by(&mut observer, "sunstar_http_held_back_total", "") >= 1.0);
        assert!(figure_by(&mut observer, "sunstar_http_displaced_total", "") >= 3.0);
        assert!(figure_by(&mut observer, "sunstar_http_connections_live", "") <= 2.0);
        httpd.stop();
    });
}

#[test]
fn options_that_are_no_numbers_are_told() {
    with_each_backend(|setup| {
        for option in
            ["--head-timeout-s", "--body-timeout-s", "--idle-timeout-s", "--output-timeout-s", "--max-connections"]
        {
            for value in ["soon", "-1", "1.5", "99999999999999999999"] {
                let output = command(setup).arg(format!("{option}={value}")).output().unwrap();
                let errors = String::from_utf8(output.stderr).unwrap();
                assert_eq!(output.status.code(), Some(2), "{errors}");
                assert!(errors.contains(&format!("'{value}' for '{option} <")), "{errors}");
            }
        }
    });
}

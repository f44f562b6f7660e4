//! What is asked, and on which connections.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};
use std::sync::{Arc, Mutex};

use super::httpd::Httpd;
use super::seawreck::{Report, report, run, with_each};
use super::server::{answer, converse, serve};

/// What a server has been asked: each request, with the number of the connection that it came on.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Record>>);

#[derive(Default)]
struct Record {
    connections: usize,
    requests: Vec<(usize, String)>,
}

impl Asked {
    /// A server that remembers and answers.
    fn serve(&self, and_then: impl Fn(&str) -> Vec<u8> + Clone + Send + 'static) -> String {
        let asked = self.clone();
        let address = serve(move |stream: TcpStream| {
            let number = {
                let mut all = asked.0.lock().expect("nobody panics");
                all.connections += 1;
                all.connections
            };
            converse(stream, |request| {
                asked.0.lock().expect("nobody panics").requests.push((number, request.to_owned()));
                and_then(request)
            });
        });
        format!("http://{address}")
    }

    fn requests(&self) -> Vec<(usize, String)> {
        self.0.lock().expect("nobody panics").requests.clone()
    }

    /// How many requests came on each connection.
    fn by_connection(&self) -> Vec<usize> {
        let mut counts = BTreeMap::<usize, usize>::new();
        self.requests().iter().for_each(|(number, _)| *counts.entry(*number).or_default() += 1);
        counts.into_values().collect()
    }
}

fn is_good(report: &Report, requests: u64) {
    assert_eq!((report.count("/requests"), report.faults()), (requests, vec![]));
}

#[test]
fn urls_are_asked_for_in_turn() {
    with_each(|backend, shards| {
        let asked = Asked::default();
        let server = asked.serve(|_| answer("200 OK", "x"));
        let folder = tempfile::tempdir().expect("a folder");
        let list = folder.path().join("urls");
        std::fs::write(&list, format!("# more\n{server}/b?x\n\n{server}/c\n")).expect("it can be written");
        let path = list.to_str().expect("it is text");
        let arguments = ["-n", "30", "--connections", "2", "--pipeline", "2", "-i", path, &format!("{server}/a")];
        is_good(&report(backend, shards, &arguments), 30);
        let requests = asked.requests();
        for line in ["GET /a HTTP/1.1\r\n", "GET /b?x HTTP/1.1\r\n", "GET /c HTTP/1.1\r\n"] {
            assert_eq!(requests.iter().filter(|(_, request)| request.starts_with(line)).count(), 10, "{line}");
        }
    });
}

#[test]
fn method_fields_and_body_are_as_asked_for() {
    with_each(|backend, shards| {
        let httpd = Httpd::start("127.0.0.1");
        let folder = tempfile::tempdir().expect("a folder");
        let body = folder.path().join("body");
        std::fs::write(&body, "x".repeat(100_000)).expect("it can be written");
        let path = body.to_str().expect("it is text");
        let url = httpd.url("/count");
        let seen = report(backend, shards, &["-n", "50", "--connections", "3", "--data-file", path, &url]);
        is_good(&seen, 50);
        assert!(seen.count("/sent_bytes") > 5_000_000, "{seen:?}");
        is_good(&report(backend, shards, &["-n", "50", "--pipeline", "4", "--data", "hello", &url]), 50);
        assert_eq!(httpd.answered("200"), 100);
        is_good(&report(backend, shards, &["-n", "50", "--pipeline", "4", "--method", "HEAD", &httpd.url("/")]), 50);

        let asked = Asked::default();
        let server = asked.serve(|_| answer("200 OK", "x"));
        is_good(&report(backend, shards, &["-n", "1", "-H", "A: b", "--header", "Host: other", &server]), 1);
        let (_, request) = &asked.requests()[0];
        assert_eq!(request, "GET / HTTP/1.1\r\nA: b\r\nHost: other\r\n\r\n");
    });
}

#[test]
fn as_many_requests_are_under_way_as_asked_for() {
    with_each(|backend, shards| {
        let httpd = Httpd::start("127.0.0.1");
        for pipeline in ["2", "16", "1000"] {
            let arguments = ["-n", "5000", "--connections", "3", "--pipeline", pipeline, &httpd.url("/")];
            is_good(&report(backend, shards, &arguments), 5000);
        }
        // A server that answers only when eight have come, all at once.
        let address = serve(|mut stream| {
            let (mut text, mut bytes) = (String::new(), [0; 4096]);
            while let Ok(count @ 1..) = stream.read(&mut bytes) {
                text += std::str::from_utf8(&bytes[..count]).expect("requests are text");
                let asked = text.matches("\r\n\r\n").count();
                assert!(asked <= 8, "{asked} are under way");
                if asked == 8 {
                    text.clear();
                    stream.write_all(&answer("200 OK", "hello").repeat(8)).expect("it is read");
                }
            }
        });
        let url = format!("http://{address}/");
        is_good(&report(backend, shards, &["-n", "80", "--connections", "1", "--pipeline", "8", &url]), 80);
    });
}

#[test]
fn each_request_may_have_a_connection_of_its_own() {
    with_each(|backend, shards| {
        let httpd = Httpd::start("127.0.0.1");
        let arguments = ["-n", "300", "--connections", "4", "--requests-per-connection", "1", &httpd.url("/")];
        let seen = report(backend, shards, &arguments);
        is_good(&seen, 300);
        assert_eq!((seen.count("/connections"), httpd.answered("200")), (300, 300));

        let asked = Asked::default();
        // Whoever wants the end gets it.
        let server = asked.serve(|_| answer("200 OK", "x"));
        let arguments =
            ["-n", "35", "--connections", "1", "--pipeline", "4", "--requests-per-connection", "10", &server];
        is_good(&report(backend, shards, &arguments), 35);
        assert_eq!(asked.by_connection(), [10, 10, 10, 5]);
        let ends = asked.requests().iter().filter(|(_, request)| request.contains("Connection: close")).count();
        assert_eq!(ends, 3, "the last one of each says so");

        let rate = ["--rate", "200", "-d", "1s", "--requests-per-connection", "1", &httpd.url("/")];
        let seen = report(backend, shards, &rate);
        is_good(&seen, 200);
        assert_eq!(seen.count("/load_side/lateness_ns/count"), 200);
    });
}

#[test]
fn a_server_that_ends_connections_in_order_costs_no_request() {
    with_each(|backend, shards| {
        let ends_each = serve(|stream| {
            let mut count = 0;
            let mut other = stream.try_clone().expect("it is possible");
            converse(stream, move |_| {
                count += 1;
                if count < 5 {
                    return answer("200 OK", "x");
                }
                let last = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end";
                other.write_all(last).expect("it is read");
                Vec::new()
            });
        });
        let seen = report(backend, shards, &["-n", "100", "--connections", "2", &format!("http://{ends_each}/")]);
        is_good(&seen, 100);
        assert!(seen.count("/connections") >= 20, "{seen:?}");
    });
}

#[test]
fn connections_come_from_the_addresses_that_are_told() {
    with_each(|backend, shards| {
        let peers = Arc::new(Mutex::new(BTreeMap::<IpAddr, usize>::new()));
        let seen = Arc::clone(&peers);
        let address = serve(move |stream| {
            let peer = stream.peer_addr().expect("it has one").ip();
            *seen.lock().expect("nobody panics").entry(peer).or_default() += 1;
            converse(stream, |_| answer("200 OK", "x"));
        });
        let url = format!("http://{address}/");
        let from = ["--from", "127.0.0.2", "--from", "127.0.0.3"];
        is_good(&report(backend, shards, &[&from[..], &["-n", "80", "--connections", "8", &url]].concat()), 80);
        let peers: Vec<(IpAddr, usize)> = peers.lock().expect("nobody panics").clone().into_iter().collect();
        assert_eq!(peers, [([127, 0, 0, 2].into(), 4), ([127, 0, 0, 3].into(), 4)]);
    });
    let ended = run("epoll", 1, &["--from", "::1", "http://127.0.0.1:1/"]);
    assert_eq!((ended.code, &*ended.errors), (Some(2), "seawreck: error: nobody gets from ::1 to 127.0.0.1\n"));
}

//! What it answers.

use std::time::Instant;

use super::client::{Client, HELLO, REQUEST};
use super::metrics::figure;
use super::server::{Httpd, PATIENCE, Setup, command, served, with_each, with_each_backend};

#[test]
fn pages_are_served_on_one_connection() {
    with_each(|setup| {
        let httpd = Httpd::start(setup);
        let mut client = Client::connect(httpd.address).unwrap();
        for _ in 0..3 {
            let answer = client.get("/").unwrap();
            assert_eq!((answer.status(), answer.body.as_slice(), answer.closes()), ("200", HELLO, false));
        }
        let shard: usize = String::from_utf8(client.get("/shard").unwrap().body).unwrap().trim_end().parse().unwrap();
        assert!(shard < setup.shards);
        assert_eq!(client.get("/elsewhere").unwrap().status(), "404");
        client.send(b"HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let rest = String::from_utf8(client.rest().unwrap()).unwrap();
        assert!(rest.contains("\r\nContent-Length: 12\r\n") && rest.ends_with("\r\n\r\n"), "{rest}");
    });
}

#[test]
fn http_1_0_gets_a_page_and_the_end() {
    with_each(|setup| {
        let httpd = Httpd::start(setup);
        let mut client = Client::connect(httpd.address).unwrap();
        client.send(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        assert!(client.rest().unwrap().ends_with(b"\r\n\r\nHello world\n"));
    });
}

#[test]
fn pipelined_bytes_are_answered_however_they_are_cut() {
    with_each(|setup| {
        let httpd = Httpd::start(setup);
        let bytes = REQUEST.repeat(100);
        for piece_bytes in [1, 7, 1000, bytes.len()] {
            let mut client = Client::connect(httpd.address).unwrap();
            bytes.chunks(piece_bytes).for_each(|piece| client.send(piece).unwrap());
            for _ in 0..100 {
                assert_eq!(client.answer().unwrap().body, HELLO);
            }
        }
    });
}

#[test]
fn a_bad_request_is_refused() {
    with_each(|setup| {
        let httpd = Httpd::start(setup);
        let mut client = Client::connect(httpd.address).unwrap();
        client.send(b"NONSENSE\r\n\r\n").unwrap();
        let answer = client.answer().unwrap();
        assert_eq!((answer.status(), answer.closes()), ("400", true));
        assert_eq!(client.rest().unwrap(), b"");
    });
}

#[test]
fn shards_have_equal_shares() {
    with_each_backend(|setup| {
        let httpd = Httpd::start(setup);
        let mut clients: Vec<_> = (0..64).map(|_| Client::connect(httpd.address).unwrap()).collect();
        let mut by_shard = [0; 2];
        for _ in 0..10 {
            for client in &mut clients {
                let shard = client.get("/shard").unwrap().body;
                by_shard[usize::from(shard == b"1\n")] += 1;
            }
        }
        assert_eq!(by_shard, [320, 320]);
        drop(clients);
        assert_eq!(served(&httpd.stop()), [(320, 32), (320, 32)]);
    });
}

#[test]
fn requests_are_logged_where_they_are_asked_to_be() {
    let folder = tempfile::tempdir().unwrap();
    with_each_backend(|setup| {
        let path = folder.path().join(setup.backend);
        let httpd = Httpd::run(command(setup).arg(format!("--access-log={}", path.display())));
        let ask = |httpd: &Httpd, target: &str| Client::connect(httpd.address).unwrap().get(target).unwrap();
        for target in ["/", "/elsewhere\"", "/shard?x"] {
            ask(&httpd, target);
        }
        let log = httpd.stop();
        assert!(log.contains("the access log has 3 more lines: 0 were dropped"), "{log}");
        let lines = std::fs::read_to_string(&path).unwrap();
        // The shards' lines may come in any order.
        let mut requests: Vec<_> = lines.lines().map(|line| line.split('"').nth(1).unwrap()).collect();
        requests.sort_unstable();
        assert_eq!(requests, ["GET / HTTP/1.1", "GET /elsewhere\\", "GET /shard?x HTTP/1.1"]);
        assert!(lines.lines().all(|line| line.starts_with("127.0.0.1 - - [")), "{lines}");
        // Another run adds to it.
        let httpd = Httpd::run(command(setup).arg(format!("--access-log={}", path.display())));
        ask(&httpd, "/");
        httpd.stop();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 4);

        let httpd = Httpd::run(command(setup).arg("--access-log"));
        ask(&httpd, "/");
        let log = httpd.stop();
        assert!(log.contains("access: 127.0.0.1 - - [") && log.contains("\"GET / HTTP/1.1\" 200 "), "{log}");
    });
    let mut refused = command(Setup { backend: "epoll", shards: 1 });
    let output = refused.args(["--port", "0", "--access-log=/no/such/folder/log"]).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && told.contains("/no/such/folder/log"), "{told}");
}

#[test]
fn a_full_disk_costs_the_lines_and_is_told() {
    let httpd = Httpd::run(command(Setup { backend: "epoll", shards: 1 }).arg("--access-log=/dev/full"));
    let deadline = Instant::now() + PATIENCE;
    while figure(httpd.address, "sunstar_log_file_dropped_total", "file=\"access\"") == 0.0 {
        assert!(Instant::now() < deadline, "nothing is dropped");
    }
    assert_eq!(figure(httpd.address, "sunstar_log_file_written_total", "file=\"access\""), 0.0);
    let log = httpd.stop();
    assert!(log.contains(" lines of /dev/full were dropped: they could not be written: No space left"), "{log}");
}

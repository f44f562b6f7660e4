//! What it answers.

use super::client::{Client, HELLO, REQUEST};
use super::server::{Httpd, served, with_each, with_each_backend};

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

//! Requests in datagrams: what is answered, and how much of it.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use super::server::{Memcached, PATIENCE, with_each};

/// A client that sends datagrams.
pub(super) struct Datagrams {
    socket: UdpSocket,
    asked: u16,
}

impl Datagrams {
    /// From an address of its own, of which it has no connection unless it is the usual one.
    pub(super) fn new(from: &str, port: u16) -> Self {
        Self::connect(from, SocketAddr::from(([127, 0, 0, 1], port)))
    }

    pub(super) fn connect(from: &str, to: SocketAddr) -> Self {
        let socket = UdpSocket::bind((from, 0)).expect("there are ports");
        socket.connect(to).expect("there is a way");
        socket.set_read_timeout(Some(PATIENCE)).expect("it is no zero");
        Self { socket, asked: 0 }
    }

    pub(super) fn send(&mut self, text: &str) {
        self.asked += 1;
        let [high, low] = self.asked.to_be_bytes();
        let datagram = [&[high, low, 0, 0, 0, 1, 0, 0], text.as_bytes()].concat();
        self.socket.send(&datagram).expect("it is taken");
    }

    /// Whether the host says that nobody listens there, and nobody answers.
    pub(super) fn is_refused(&mut self, question: &str) -> bool {
        self.send(question);
        let heard = self.socket.recv(&mut [0; 2048]);
        heard.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
    }

    /// The answer to the request that was sent last, put together from its datagrams.
    fn receive(&mut self) -> String {
        let (number, answer) = self.receive_any();
        assert_eq!(number, self.asked, "{answer:?}");
        answer
    }

    /// An answer, and the number of its request.
    fn receive_any(&mut self) -> (u16, String) {
        let mut number = None;
        let mut parts: Vec<Option<Vec<u8>>> = Vec::new();
        while parts.is_empty() || parts.iter().any(Option::is_none) {
            let mut bytes = [0; 2048];
            let len = self.socket.recv(&mut bytes).expect("an answer comes");
            let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
            let of = *number.get_or_insert(word(0));
            assert!((8..=1400).contains(&len) && (word(0), word(6)) == (of, 0), "{:?}", &bytes[..8]);
            parts.resize(word(4).into(), None);
            parts[usize::from(word(2))] = Some(bytes[8..len].to_vec());
        }
        let answer = String::from_utf8(parts.into_iter().flatten().flatten().collect()).expect("text");
        (number.expect("there are parts"), answer)
    }

    /// Asks for what is not answered.
    fn ask_in_vain(&mut self, question: &str) {
        self.send(question);
        // What would have answered it would have come before.
        self.ask("get none\r\n", "END\r\n");
    }

    /// Asks until an answer that is as long as the question does not come. Connections end when the server has seen that.
    pub(super) fn wait_until_unknown(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // It takes little of a budget, and what is asked next is answered to everybody, behind it.
            self.send("mn\r\n");
            self.send("get none\r\n");
            let (number, answer) = self.receive_any();
            if number == self.asked {
                return;
            }
            assert_eq!((number, answer.as_str(), self.receive().as_str()), (self.asked - 1, "MN\r\n", "END\r\n"));
            assert!(Instant::now() < deadline, "the address is still known");
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub(super) fn ask(&mut self, question: &str, answer: &str) {
        self.send(question);
        assert_eq!(self.receive(), answer, "{question:?}");
    }
}

/// A port that nobody has.
pub(super) fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("there are ports").port()
}

#[test]
fn datagrams_are_answered_in_frames() {
    with_each(|setup| {
        let port = free_port();
        let server = Memcached::start(setup, &["-U", &port.to_string()]);
        let mut witness = server.client();
        let value = "x".repeat(60_000);
        witness.ask(format!("set a 0 0 60000\r\n{value}\r\nset b 5 0 2\r\nhi\r\n"), "STORED\r\nSTORED\r\n");
        let mut client = Datagrams::new("127.0.0.1", port);
        for key in ["b", "b  "] {
            client.ask(&format!("get {key}\r\n"), "VALUE b 5 2\r\nhi\r\nEND\r\n");
        }
        client.ask("get a b\r\n", &format!("VALUE a 0 60000\r\n{value}\r\nVALUE b 5 2\r\nhi\r\nEND\r\n"));
        client.ask("set c 0 0 1\r\nx\r\nget c\r\ndelete c\r\n", "STORED\r\nVALUE c 0 1\r\nx\r\nEND\r\nDELETED\r\n");
        client.ask("mg b v k\r\n", "VA 2 kb\r\nhi\r\n");
        // What is not whole is not answered: the answer to the next one comes.
        client.send("get b");
        client.socket.send(&[0, 7, 0, 0, 0, 2, 0, 0, b'g']).expect("it is taken");
        client.socket.send(&[0, 7]).expect("it is taken");
        client.ask("get none\r\n", "END\r\n");
        // Neither is what answers: two servers would go on for ever.
        client.ask_in_vain("ERROR\r\n");
        // Nobody is answered by more than 48 datagrams.
        client.ask_in_vain("get a b b a\r\n");
        assert_eq!((witness.figure("datagrams_refused"), witness.figure("datagrams_withheld")), (2, 1));
        server.stop();
    });
}

/// Whoever names another's address as his own must not have that one sent as much as he has sent himself.
#[test]
fn an_address_without_connection_gets_less_than_it_sends() {
    with_each(|setup| {
        let port = free_port();
        let server = Memcached::start(setup, &["-U", &port.to_string()]);
        let mut witness = server.client();
        witness.ask("set a 0 0 60\r\n012345678901234567890123456789012345678901234567890123456789\r\n", "STORED\r\n");
        let mut client = Datagrams::new("127.0.0.2", port);
        client.ask("get none\r\n", "END\r\n");
        client.ask_in_vain("get a\r\n");
        client.ask_in_vain("version\r\n");
        // As long as the request is too long: two servers would go on for ever.
        client.ask_in_vain("mn\r\n");
        assert_eq!(witness.figure("datagrams_withheld"), 3);
        let item = "VALUE a 0 60\r\n012345678901234567890123456789012345678901234567890123456789\r\nEND\r\n";
        client.ask(&format!("get a{}\r\n", " ".repeat(item.len())), item);
        // The witness's address is known, until it goes.
        let mut known = Datagrams::new("127.0.0.1", port);
        known.ask("get a\r\n", item);
        drop(witness);
        known.wait_until_unknown();
        server.stop();
    });
}

/// What an address is answered beyond what it has sent is bounded, however many connections it opens.
#[test]
fn an_address_with_a_connection_has_a_budget() {
    with_each(|setup| {
        let port = free_port();
        // It fills by a byte a second, and begins with one answer of the longest kind, of 67,200 bytes.
        let server = Memcached::start(setup, &["-U", &port.to_string(), "--udp-budget", "1"]);
        let mut witness = server.client();
        let value = "x".repeat(60_000);
        witness.ask(format!("set a 0 0 60000\r\n{value}\r\nset b 0 0 2\r\nhi\r\n"), "STORED\r\nSTORED\r\n");
        // Each socket belongs to one shard, and each shard has a budget: all is asked by one.
        let mut client = Datagrams::new("127.0.0.1", port);
        client.ask("get a\r\n", &format!("VALUE a 0 60000\r\n{value}\r\nEND\r\n"));
        client.ask_in_vain("get a\r\n");
        client.ask("get b\r\n", "VALUE b 0 2\r\nhi\r\nEND\r\n");
        assert_eq!((witness.figure("datagrams_over_budget"), witness.figure("datagrams_withheld")), (1, 0));
        drop(witness);
        client.wait_until_unknown();
        let mut witness = server.client();
        witness.ask("mn\r\n", "MN\r\n");
        let before = witness.figure("datagrams_over_budget");
        client.ask_in_vain("get a\r\n");
        let after = witness.figure("datagrams_over_budget");
        assert_eq!((after - before, witness.figure("udp_sources_forgotten")), (1, 0));
        server.stop();
    });
}

/// Some bytes of a stranger must not keep all shards busy for as long as there are items, and neither need those of a client.
#[test]
fn what_looks_at_all_that_is_stored_is_not_done() {
    with_each(|setup| {
        let port = free_port();
        let server = Memcached::start(setup, &["-U", &port.to_string()]);
        let mut witness = server.client();
        witness.ask("set a 0 0 1\r\nx\r\n", "STORED\r\n");
        let questions = [
            "lru_crawler crawl all\r\n",
            "get none\r\nlru_crawler crawl all noreply\r\n",
            "lru_crawler metadump 63\r\n",
            "lru_crawler mgdump all\r\n",
            "stats sizes\r\n",
            "stats cachedump 1 0\r\n",
        ];
        for from in ["127.0.0.2", "127.0.0.1"] {
            let mut client = Datagrams::new(from, port);
            questions.iter().for_each(|question| client.ask_in_vain(question));
        }
        assert_eq!((witness.figure("datagrams_not_done"), witness.figure("datagrams_withheld")), (12, 0));
        server.stop();
    });
}

/// What several requests might be answered by is more than there is, what they are answered by is nothing.
#[test]
fn many_requests_at_once_are_done_if_each_alone_is() {
    with_each(|setup| {
        let port = free_port();
        // For one answer of the longest kind.
        let server = Memcached::start(setup, &["-U", &port.to_string(), "--udp-budget", "1"]);
        let mut witness = server.client();
        witness.ask("mn\r\n", "MN\r\n");
        let mut client = Datagrams::new("127.0.0.1", port);
        for round in 0..50 {
            let mut missing: BTreeSet<u16> = (0..16)
                .map(|number| {
                    let key = format!("key{}", round * 16 + number);
                    client.send(&if number % 4 == 0 {
                        format!("gat 100 {key}\r\n")
                    } else {
                        format!("mg {key} v\r\n")
                    });
                    client.asked
                })
                .collect();
            while !missing.is_empty() {
                let (number, answer) = client.receive_any();
                assert!(missing.remove(&number) && ["EN\r\n", "END\r\n"].contains(&answer.as_str()), "{answer}");
            }
        }
        assert_eq!(["datagrams_not_done", "datagrams_over_budget"].map(|name| witness.figure(name)), [0, 0]);
        server.stop();
    });
}

/// Who gets no answer must not wonder whether it was done.
#[test]
fn what_may_not_be_answered_is_not_done() {
    with_each(|setup| {
        let port = free_port();
        let server = Memcached::start(setup, &["-U", &port.to_string()]);
        let mut witness = server.client();
        witness.ask("set n 0 0 9\r\n999999999\r\n", "STORED\r\n");
        let mut stranger = Datagrams::new("127.0.0.2", port);
        for question in
            ["incr n 1\r\n", "delete n\r\n", "gat 100 n\r\n", "mg n s T100\r\n", "flush_all noreply\r\nget n\r\n"]
        {
            stranger.ask_in_vain(question);
        }
        witness.ask("mg n v t\r\n", "VA 9 t-1\r\n999999999\r\n");
        assert_eq!((witness.figure("datagrams_not_done"), witness.figure("datagrams_withheld")), (5, 0));
        let spaces = " ".repeat(70);
        stranger.ask(&format!("incr n 1{spaces}\r\n"), "1000000000\r\n");
        // The longest answer is "HD X W", and "NF".
        stranger.ask("mg n   \r\n", "HD\r\n");
        stranger.ask("mg none N0\r\n", "HD W\r\n");
        stranger.ask("md none\r\n", "HD\r\n");
        // What wants no answer gets one that is short enough.
        stranger.ask_in_vain("incr n 1 noreply\r\n");
        witness.ask("get n\r\n", "VALUE n 0 10\r\n1000000001\r\nEND\r\n");
        let mut known = Datagrams::new("127.0.0.1", port);
        known.ask("incr n 1\r\n", "1000000002\r\n");
        known.ask("gat 100 n\r\n", "VALUE n 0 10\r\n1000000002\r\nEND\r\n");
        assert_eq!(witness.figure("datagrams_not_done"), 5);
        server.stop();
        // Neither does one that is known have anything done when nothing is left to answer it.
        let server = Memcached::start(setup, &["-U", &port.to_string(), "--udp-budget", "0"]);
        let mut witness = server.client();
        witness.ask("set n 0 0 1\r\n1\r\n", "STORED\r\n");
        Datagrams::new("127.0.0.1", port).ask_in_vain("incr n 1\r\n");
        witness.ask("get n\r\n", "VALUE n 0 1\r\n1\r\nEND\r\n");
        assert_eq!(witness.figure("datagrams_not_done"), 1);
        server.stop();
    });
}

//! memcached, where it is installed, and servers that speak its protocol badly.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::seawreck::{PATIENCE, report, report_of_failure, report_of_open_loop, run, with_each};
use super::server::serve;

/// memcached while it runs. It is killed with the value.
struct Memcached {
    child: Child,
    address: SocketAddr,
}

impl Memcached {
    /// Starts it at a port that was free a moment ago.
    fn start() -> Self {
        loop {
            let free = TcpListener::bind("127.0.0.1:0").expect("a port is free");
            let address = free.local_addr().expect("it has one");
            drop(free);
            let mut command = Command::new("memcached");
            let port = address.port().to_string();
            command.args(["-l", "127.0.0.1", "-u", "nobody", "-p", &port, "-U", &port]);
            let mut child = command.stderr(Stdio::null()).spawn().expect("memcached is installed");
            let deadline = Instant::now() + PATIENCE;
            // Somebody else may have taken the port, and then it ends.
            while child.try_wait().expect("it can be waited for").is_none() {
                if TcpStream::connect(address).is_ok() {
                    return Self { child, address };
                }
                assert!(Instant::now() < deadline, "it does not listen");
                thread::sleep(Duration::from_millis(5));
            }
        }
    }

    fn url(&self) -> String {
        format!("memcached://{}", self.address)
    }

    /// One of its statistics.
    fn stat(&self, name: &str) -> u64 {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        stream.write_all(b"stats\r\nquit\r\n").expect("it takes requests");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("it answers");
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("STAT {name} ")));
        line.expect("it has the statistic").parse().expect("a number")
    }
}

impl Drop for Memcached {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn memcached_has_seen_what_is_told() {
    with_each(|backend, shards| {
        let memcached = Memcached::start();
        let url = memcached.url();
        let common = ["--connections", "5", "--pipeline", "4", "--keys", "1000", "--value-bytes", "10:20k", &url];
        let filled = ["-n", "5000", "--fill", "--gets", "0.8", "--zipf", "0.99"];
        let seen = report(backend, shards, &[&filled[..], &common].concat());
        assert_eq!((seen.count("/requests"), seen.faults()), (5000, vec![]));
        let (gets, sets) = (seen.count("/protocol/gets"), seen.count("/protocol/sets"));
        assert_eq!((gets + sets, memcached.stat("curr_items")), (5000, 1000));
        assert!((3800..4200).contains(&gets), "{gets}");
        assert_eq!((memcached.stat("cmd_get"), memcached.stat("cmd_set")), (gets, 1000 + sets));
        assert_eq!((seen.count("/protocol/hits"), seen.count("/protocol/misses")), (gets, 0));
        assert_eq!(memcached.stat("get_hits"), gets);

        // Keys that nobody has stored.
        let other = ["-n", "300", "--gets", "1", "--multiget", "16", "--key-bytes", "100"];
        let seen = report(backend, shards, &[&other[..], &common].concat());
        assert_eq!((seen.count("/protocol/hits"), seen.count("/protocol/misses")), (0, 4800));
        // Several keys at once that are there.
        let several = ["-n", "300", "--gets", "1", "--multiget", "32"];
        let seen = report(backend, shards, &[&several[..], &common].concat());
        assert_eq!((seen.count("/protocol/hits"), seen.faults()), (9600, vec![]));
        let open = ["--rate", "500", "--arrivals", "poisson", "-d", "1s"];
        let seen = report_of_open_loop(backend, shards, &[&open[..], &common].concat());
        assert_eq!(seen.faults(), vec![]);
    });
}

#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn a_value_that_is_not_the_keys_is_found() {
    let memcached = Memcached::start();
    let url = memcached.url();
    let common = ["--connections", "2", "--keys", "10", "--gets", "1", &url];
    report("epoll", 1, &[&["-n", "10", "--fill"][..], &common].concat());
    let mut stream = TcpStream::connect(memcached.address).expect("it listens");
    let key = format!("{:032}", 7);
    stream.write_all(format!("set {key} 0 0 100\r\n{}\r\nquit\r\n", "x".repeat(100)).as_bytes()).expect("it is read");
    stream.read_to_end(&mut Vec::new()).expect("it answers");
    let ended = run("epoll", 1, &[&["-n", "1000", "--json", "-"][..], &common].concat());
    let faults = ended.report().faults();
    assert!(matches!(&faults[..], [(kind, 50..=200)] if kind == "requests_failed/wrong_bytes"), "{faults:?}");
    let unseen = report("epoll", 1, &[&["-n", "1000", "--no-verify"][..], &common].concat());
    assert_eq!((unseen.count("/requests"), unseen.faults()), (1000, vec![]));
}

/// What comes of ten requests to a server that says this to each.
fn told(backend: &str, shards: usize, more: &[&str], answer: &'static str) -> Vec<(String, u64)> {
    let address = serve(move |mut stream| {
        let mut bytes = [0; 4096];
        while let Ok(1..) = stream.read(&mut bytes) {
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    });
    let url = format!("memcached://{address}");
    let arguments = ["-n", "10", "--connections", "1", "--keys", "10", "--value-bytes", "1", "--json", "-", &url];
    run(backend, shards, &[more, &arguments].concat()).report().faults()
}

#[test]
fn figures_are_those_of_what_is_measured() {
    with_each(|backend, shards| {
        let address = serve(|stream| {
            let mut answers = stream.try_clone().expect("it is possible");
            let lines = BufReader::new(stream).lines();
            for _ in lines.map_while(Result::ok) {
                if answers.write_all(b"END\r\n").is_err() {
                    return;
                }
            }
        });
        let url = format!("memcached://{address}");
        let arguments = ["--warm-up", "500ms", "-d", "500ms", "--gets", "1", "--multiget", "3", &url];
        let seen = report(backend, shards, &arguments);
        let requests = seen.count("/requests");
        assert!(requests > 0, "{seen:?}");
        let figures = ["gets", "sets", "hits", "misses"].map(|name| seen.count(&format!("/protocol/{name}")));
        assert_eq!(figures, [requests, 0, 0, 3 * requests]);
    });
}

#[test]
fn servers_that_refuse_and_servers_that_talk_nonsense_are_told_apart() {
    with_each(|backend, shards| {
        let fault = |kind: &str| vec![(format!("requests_failed/{kind}"), 10)];
        let (get, set) = (["--gets", "1"], ["--gets", "0"]);
        assert_eq!(told(backend, shards, &get, "END\r\n"), []);
        assert_eq!(told(backend, shards, &set, "STORED\r\n"), []);
        assert_eq!(told(backend, shards, &set, "SERVER_ERROR out of memory storing object\r\n"), fault("wrong_status"));
        assert_eq!(told(backend, shards, &get, "hello\r\n"), fault("bad_answer"));
        let value = "VALUE 00000000000000000000000000000003 0 1\r\n~\r\nEND\r\n";
        assert_eq!(told(backend, shards, &get, value), fault("wrong_bytes"));
    });
}

#[test]
fn what_does_not_fit_is_refused() {
    let refused = |arguments: &[&str]| {
        let ended = run("epoll", 1, &[arguments, &["memcached://127.0.0.1:1"]].concat());
        assert_eq!(ended.code, Some(2), "{ended:?}");
        ended.errors
    };
    assert!(
        refused(&["--keys", "1000", "--key-bytes", "2"])
            .contains("1000 keys have up to 3 digits, more than --key-bytes")
    );
    assert!(refused(&["--value-bytes", "1024m"]).contains("--value-bytes is 134217728 at most"));
    assert!(refused(&["--gets", "2"]).contains("it must be a number from 0 to 1"));
    assert!(refused(&["--zipf", "0"]).contains("it must be a number above 0"));
}

/// A server of UDP that has no key, and says so in two parts if it is asked for two.
fn has_nothing() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    let address = socket.local_addr().expect("it has one");
    answer_all(socket);
    address
}

/// Does so until the test is over.
fn answer_all(socket: UdpSocket) {
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok((count, peer)) = socket.recv_from(&mut bytes) {
            let &[high, low, 0, 0, 0, 1, 0, 0, ..] = &bytes[..count] else { panic!("no frame header") };
            let keys = bytes[8..count].split(|byte| *byte == b' ').count() - 1;
            let parts: &[&[u8]] = if keys > 1 { &[b"EN", b"D\r\n"] } else { &[b"END\r\n"] };
            for (number, part) in (0..).zip(parts) {
                let header = [high, low, 0, number, 0, u8::try_from(parts.len()).expect("few"), 0, 0];
                let _ = socket.send_to(&[&header[..], part].concat(), peer);
            }
        }
    });
}

#[test]
fn memcached_is_asked_over_udp() {
    with_each(|backend, shards| {
        for (keys, misses) in [("1", 200), ("2", 400)] {
            let url = format!("memcached-udp://{}", has_nothing());
            let arguments = ["-n", "200", "--connections", "3", "--gets", "1", "--multiget", keys, &url];
            let seen = report(backend, shards, &arguments);
            assert_eq!((seen.count("/requests"), seen.faults()), (200, vec![]));
            assert_eq!((seen.count("/protocol/gets"), seen.count("/protocol/misses")), (200, misses));
        }
    });
}

/// A server of UDP that has no key either. Of twenty requests it answers the first one after the second, the fifth with nonsense, and the ninth not.
fn is_unreliable() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    let address = socket.local_addr().expect("it has one");
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        let mut kept = None;
        for number in 0.. {
            let Ok((_, peer)) = socket.recv_from(&mut bytes) else { return };
            let answer = |text: &[u8]| [&bytes[..2], &[0, 0, 0, 1, 0, 0], text].concat();
            match number % 20 {
                0 => kept = Some(answer(b"END\r\n")),
                4 => drop(socket.send_to(&answer(b"hello\r\n"), peer)),
                8 => {}
                _ => {
                    let _ = socket.send_to(&answer(b"END\r\n"), peer);
                    kept.take().map(|kept| socket.send_to(&kept, peer));
                }
            }
        }
    });
    address
}

#[test]
fn what_is_lost_overtaken_or_malformed_over_udp_costs_only_its_own_request() {
    with_each(|backend, shards| {
        let url = format!("memcached-udp://{}", is_unreliable());
        // More than are lost may be under way.
        let arguments = ["-n", "400", "--connections", "1", "--pipeline", "64", "--gets", "1", "--timeout", "2s", &url];
        let seen = report_of_failure(backend, shards, &arguments);
        let faults = ["bad_answer", "timed_out"].map(|kind| (format!("requests_failed/{kind}"), 20));
        assert_eq!((seen.count("/requests"), seen.faults()), (360, faults.to_vec()));
        assert_eq!((seen.count("/latency_given_up"), seen.count("/latency_lost")), (20, 0));
        let figures = ["gets", "sets", "hits", "misses"].map(|name| seen.count(&format!("/protocol/{name}")));
        assert_eq!(figures, [380, 0, 0, 360]);
        assert_eq!(seen.count("/connections"), 1, "it goes on");
    });
}

/// A listener and a socket for datagrams whose ports have the same number.
fn same_port() -> (TcpListener, UdpSocket) {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        // Somebody else may have it for datagrams.
        if let Ok(socket) = UdpSocket::bind(listener.local_addr().expect("it has one")) {
            return (listener, socket);
        }
    }
}

#[test]
fn who_asks_over_udp_introduces_himself_if_wanted() {
    with_each(|backend, shards| {
        let (listener, socket) = same_port();
        let address = listener.local_addr().expect("it has one");
        let is_known = thread::spawn(move || {
            let (mut stream, peer) = listener.accept().expect("somebody comes");
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).expect("he asks");
            // As soon as he has his answer he may send datagrams.
            socket.set_nonblocking(true).expect("it is possible");
            let early = socket.recv_from(&mut [0; 64]).is_ok();
            socket.set_nonblocking(false).expect("it is possible");
            stream.write_all(b"VERSION 1\r\n").expect("he listens");
            answer_all(socket);
            // He stays until he has all answers.
            let left = stream.read(&mut [0; 64]).expect("he ends in order");
            (peer.ip() == address.ip() && line == "version\r\n" && left == 0, early)
        });
        let url = format!("memcached-udp://{address}");
        let seen = report(backend, shards, &["-n", "50", "--gets", "1", "--hold-connection", &url]);
        assert_eq!((seen.count("/requests"), seen.faults()), (50, vec![]));
        assert_eq!(is_known.join().expect("it was served"), (true, false));
        let ended = run(backend, shards, &["-n", "50", "--hold-connection", &url]);
        assert!(ended.errors.contains("no connection beside the datagrams"), "{ended:?}");
    });
}

#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn memcached_has_seen_what_is_told_over_udp() {
    with_each(|backend, shards| {
        let memcached = Memcached::start();
        let url = format!("memcached-udp://{}", memcached.address);
        let arguments =
            ["-n", "2000", "--fill", "--gets", "0.5", "--keys", "500", "--value-bytes", "10:4k", "--multiget", "3"];
        let seen = report(backend, shards, &[&arguments[..], &[&url]].concat());
        assert_eq!((seen.count("/requests"), seen.faults()), (2000, vec![]));
        let (gets, sets) = (seen.count("/protocol/gets"), seen.count("/protocol/sets"));
        assert_eq!((gets + sets, memcached.stat("cmd_set")), (2000, 500 + sets));
        assert_eq!((seen.count("/protocol/hits"), seen.count("/protocol/misses")), (3 * gets, 0));
        assert_eq!(memcached.stat("get_hits"), 3 * gets);
    });
}

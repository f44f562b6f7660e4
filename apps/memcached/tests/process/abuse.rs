//! Clients that make mistakes, or mean harm: only their own connections suffer.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;

use super::datagrams::{Datagrams, free_port};
use super::server::{Client, Memcached, with_each, with_shards};

/// What begins a request that stores a value of so many bytes, which follow it: in the text protocol, by a meta command, or in a packet.
fn set(protocol: usize, key: &str, len: usize) -> Vec<u8> {
    match protocol % 3 {
        0 => format!("set {key} 0 0 {len}\r\n").into(),
        1 => format!("ms {key} {len}\r\n").into(),
        _ => packet(0x01, &[0; 8], key, len),
    }
}

/// A request for the item `a`.
fn get(protocol: usize) -> Vec<u8> {
    match protocol % 3 {
        0 => b"get a\r\n".into(),
        1 => b"mg a v\r\n".into(),
        _ => packet(0x00, &[], "a", 0),
    }
}

fn packet(opcode: u8, extras: &[u8], key: &str, value_bytes: usize) -> Vec<u8> {
    let body = u32::try_from(extras.len() + key.len() + value_bytes).expect("it is short");
    let lengths = [key.len(), extras.len()].map(|len| u8::try_from(len).expect("they are short"));
    let front = [0x80, opcode, 0, lengths[0], lengths[1], 0, 0, 0];
    [&front, &body.to_be_bytes()[..], &[0; 12], extras, key.as_bytes()].concat()
}

#[test]
fn mistakes_are_told_and_the_connection_goes_on() {
    with_each(|setup| {
        let server = Memcached::start(setup, &[]);
        let mut client = server.client();
        let long = "k".repeat(251);
        for (question, answer) in [
            ("what\r\n", "ERROR\r\n"),
            ("set k 0 0 x\r\n", "CLIENT_ERROR bad command line format\r\n"),
            ("set k 0 0 3\r\nabcd\r\n", "CLIENT_ERROR bad data chunk\r\nERROR\r\n"),
            (&format!("get {long}\r\n"), "CLIENT_ERROR bad command line format\r\n"),
            (&format!("set {long} 0 0 9\r\nflush_all\r\n"), "CLIENT_ERROR bad command line format\r\n"),
            (
                "set n 0 0 1\r\nx\r\nincr n 1\r\n",
                "STORED\r\nCLIENT_ERROR cannot increment or decrement non-numeric value\r\n",
            ),
            ("incr n x\r\n", "CLIENT_ERROR invalid numeric delta argument\r\n"),
            ("touch n x\r\n", "CLIENT_ERROR invalid exptime argument\r\n"),
        ] {
            client.ask(question, answer);
        }
        client.send("x".repeat(10_000));
        client.expect("CLIENT_ERROR line too long\r\n");
        server.stop();
    });
}

#[test]
fn clients_that_vanish_or_stall_leave_nothing_behind() {
    with_each(|setup| {
        let server = Memcached::start(setup, &[]);
        let mut witness = server.client();
        witness.ask("set a 0 0 1\r\nx\r\n", "STORED\r\n");
        let begun = |protocol, len| [&set(protocol, "b", len), &b"xx"[..]].concat();
        let stalled: Vec<_> = (0..32)
            .map(|number| {
                let mut client = server.client();
                client.send(match number % 8 {
                    0 => b"get a".to_vec(),
                    // A part of a packet's header.
                    1 => vec![0x80; 10],
                    2..5 => begun(number, 100_000),
                    _ => begun(number, 3),
                });
                client
            })
            .collect();
        witness.ask("get a b\r\n", "VALUE a 0 1\r\nx\r\nEND\r\n");
        for (number, client) in stalled.into_iter().enumerate() {
            if number % 2 == 0 {
                client.0.shutdown(Shutdown::Both).expect("it is connected");
            }
        }
        while witness.figure("curr_connections") > 1 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        witness.ask("get a b\r\n", "VALUE a 0 1\r\nx\r\nEND\r\n");
        server.stop();
    });
}

/// Who reads nothing is not answered without bound.
#[test]
fn a_client_that_takes_no_answers_is_left_alone() {
    with_each(|setup| {
        let server = Memcached::start(setup, &[]);
        let mut witness = server.client();
        let value = "x".repeat(1_000_000);
        witness.ask(format!("set a 0 0 1000000\r\n{value}\r\n"), "STORED\r\n");
        let before = server.resident_bytes();
        let mut client = server.client();
        client.0.set_nonblocking(true).expect("a socket can");
        // It is taken as far as there is room for it.
        let question = "get a\r\n".repeat(100_000);
        let _ = client.0.write(question.as_bytes()).expect("some of it is taken");
        witness.ask("get b\r\n", "END\r\n");
        assert!(server.resident_bytes() < before + (32 << 20), "{} bytes", server.resident_bytes());
        drop(client);
        server.stop();
    });
}

/// Who asks for much in one line and reads nothing is not answered without bound either.
#[test]
fn one_line_of_many_keys_is_answered_piece_by_piece() {
    with_each(|setup| {
        let server = Memcached::start(setup, &[]);
        let mut witness = server.client();
        witness.ask(format!("set a 0 0 4000\r\n{}\r\n", "x".repeat(4_000)), "STORED\r\n");
        let before = server.resident_bytes();
        let question = format!("get{}\r\n", " a".repeat(4_000));
        let greedy: Vec<_> = (0..10)
            .map(|_| {
                let mut client = server.client();
                client.send(&question);
                client
            })
            .collect();
        // Whatever it does for them it has begun when it has answered somebody else again and again.
        (0..100).for_each(|_| witness.ask("get b\r\n", "END\r\n"));
        let grown = server.resident_bytes().saturating_sub(before);
        assert!(grown < 60_000_000, "{grown} bytes for 10 clients, who asked for 16 MB each");
        drop(greedy);
        server.stop();
    });
}

/// Values that never become complete have a part of the memory, and not more; those that don't go on give way.
#[test]
fn values_under_way_are_bounded() {
    with_each(|setup| {
        let server = Memcached::start(setup, &["--cache-memory", "16M"]);
        let mut witness = server.client();
        let begun = "x".repeat(800_000);
        let clients: Vec<_> = (0..10)
            .map(|number| {
                let mut client = server.client();
                client.send(set(number, &format!("a{number}"), 900_000));
                client.send(&begun);
                client
            })
            .collect();
        // Each shard has an eighth of its memory for them, or room for one.
        while witness.figure("values_refused") < 6 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let value = "x".repeat(900_000);
        while witness.figure("values_given_up") == 0 {
            let mut other = server.client();
            other.send(format!("set a 0 0 900000 noreply\r\n{value}\r\nmn\r\n"));
            other.line();
        }
        drop(clients);
        while witness.figure("curr_connections") > 1 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        witness.ask(format!("set a 0 0 900000\r\n{value}\r\n"), "STORED\r\n");
        server.stop();
    });
}

/// Who announces much and sends next to nothing keeps nobody from storing large values.
#[test]
fn announcements_take_no_memory() {
    with_each(|setup| {
        let server = Memcached::start(setup, &[]);
        let silent: Vec<_> = (0..32)
            .map(|number| {
                let mut client = server.client();
                client.send([&set(number, &format!("a{number}"), 1_000_000), &b"x"[..]].concat());
                client
            })
            .collect();
        let mut witness = server.client();
        while witness.figure("curr_connections") < 33 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let value = "x".repeat(1_000_000);
        (0..10).for_each(|_| witness.ask(format!("set a 0 0 1000000\r\n{value}\r\n"), "STORED\r\n"));
        assert_eq!(witness.figure("values_refused"), 0);
        drop(silent);
        server.stop();
    });
}

/// A client that asks for more than its connection takes, and reads nothing.
fn deaf(server: &Memcached, protocol: usize) -> Client<TcpStream> {
    let mut client = server.client();
    client.send(get(protocol).repeat(30));
    client
}

/// Values that are replaced while clients don't take them count for the memory; when they are too many, those clients are ended, and
/// their address is no longer one of a client.
#[test]
fn who_takes_no_answers_does_not_use_up_the_memory() {
    with_each(|setup| {
        let port = free_port();
        let server = Memcached::start(setup, &["--cache-memory", "16M", "-U", &port.to_string()]);
        let mut witness = server.client();
        let value = "x".repeat(900_000);
        let set = format!("set a 0 0 900000 noreply\r\n{value}\r\n");
        witness.ask(&set, "");
        let before = server.resident_bytes();
        let clients: Vec<_> = (0..40)
            .map(|number| {
                let client = deaf(&server, number);
                // It is refused when there is no memory.
                witness.send(format!("{set}mn\r\n"));
                let _ = witness.lines_until("MN");
                client
            })
            .collect();
        while witness.figure("slow_ended") == 0 {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let grown = server.resident_bytes().saturating_sub(before);
        assert!(grown < (16 << 20) + (8 << 20), "{grown} bytes for 40 clients");
        while witness.figure("held_bytes") > 4 << 20 {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        witness.ask(format!("set a 0 0 900000\r\n{value}\r\n"), "STORED\r\n");
        drop((clients, witness));
        Datagrams::new("127.0.0.1", port).wait_until_unknown();
        server.stop();
    });
}

/// On Unix sockets, whose buffers have one size: an answer of a megabyte does not find room in them.
#[test]
fn neither_the_stop_nor_quit_waits_for_who_reads_nothing() {
    with_shards(|setup| {
        let folder = tempfile::tempdir().expect("there is room");
        let path = folder.path().join("memcached.sock");
        let server = Memcached::run(setup, &["-s", path.to_str().expect("a plain path")]);
        let client = || Client(UnixStream::connect(&path).expect("it listens"));
        let mut witness = client();
        let value = "x".repeat(1_000_000);
        witness.ask(format!("set a 0 0 1000000\r\n{value}\r\n"), "STORED\r\n");
        let (mut quits, mut stays) = (client(), client());
        stays.send("get a\r\nget a\r\nget a\r\n");
        quits.send("get a\r\nquit\r\n");
        while witness.figure("cut_off") == 0 {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert_eq!(witness.figure("curr_connections"), 2, "the one that has said no quit stays");
        server.stop();
    });
}

#[test]
fn more_connections_than_may_be_wait() {
    with_each(|setup| {
        let server = Memcached::start(setup, &["--max-connections", "2"]);
        let mut first = server.client();
        first.ask("mn\r\n", "MN\r\n");
        let mut second = server.client();
        second.ask("mn\r\n", "MN\r\n");
        let mut third = server.client();
        third.send("mn\r\n");
        assert_eq!(first.figure("curr_connections"), 2);
        assert_eq!(first.figure("total_connections"), 2, "the third one waits");
        assert_eq!(first.figure("accepting_conns"), 0);
        drop((first, second));
        third.expect("MN\r\n");
        while third.figure("accepting_conns") == 0 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(third.figure("listen_disabled_num") > 0 && third.figure("time_in_listen_disabled_us") > 0);
        server.stop();
    });
}

//! The memory cap.

use super::server::{Client, Memcached, Setup, with_each, with_shards};
use std::net::TcpStream;

const CAP_BYTES: usize = 64 << 20;

/// What the program itself has, whatever is stored: its code, stacks, frames of the driver and of answers, in bytes. As the
/// documentation of the server says.
const BASE_BYTES: usize = 24 << 20;

fn assert_kept(server: &Memcached, client: &mut Client<TcpStream>, when: &str) {
    assert!(client.figure("memory_bytes") <= CAP_BYTES as u64 + 65_536, "{when}");
    let resident = server.resident_bytes();
    println!("{when}: {resident} bytes");
    assert!(resident <= CAP_BYTES + CAP_BYTES / 20 + BASE_BYTES, "{when}: {resident} bytes");
}

fn fill(client: &mut Client<TcpStream>, round: usize, sizes: impl Fn(usize) -> usize, bytes: usize) {
    let (mut sent, mut number) = (0, 0);
    while sent < bytes {
        let mut text = String::new();
        while text.len() < 1 << 20 {
            let size = sizes(number);
            text += &format!("set {round}:{number} 0 0 {size} noreply\r\n{}\r\n", "x".repeat(size));
            number += 1;
        }
        sent += text.len();
        client.ask(text, "");
    }
}

#[test]
fn the_cap_is_kept_and_what_is_new_is_there() {
    with_shards(|setup| {
        let server = Memcached::start(setup, &["--cache-memory", "64M"]);
        let mut client = server.client();
        // Sizes change, so pages have to move.
        for (round, size) in [100, 3000, 20_000, 100, 300_000].into_iter().enumerate() {
            fill(&mut client, round, |_| size, 80 << 20);
            let item = format!("VALUE {round}:last 0 {size}\r\n{}\r\n", "x".repeat(size));
            client.ask(format!("set {round}:last 0 0 {size}\r\n{}\r\n", "x".repeat(size)), "STORED\r\n");
            client.ask(format!("get {round}:last\r\n"), format!("{item}END\r\n"));
            assert_kept(&server, &mut client, &format!("{setup:?}, size {size}"));
        }
        assert!(client.figure("evictions") > 0 && client.figure("store_no_memory") == 0);
        server.stop();
    });
}

/// Sizes of all kinds, one after the other, as they come from many users.
#[test]
fn the_cap_is_kept_whatever_mixture_comes() {
    with_each(mixture);
}

fn mixture(setup: Setup) {
    let server = Memcached::start(setup, &["--cache-memory", "64M"]);
    let mut client = server.client();
    for round in 0..4 {
        let mixed = |number: usize| {
            let chance = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
            match (number + round) % 16 {
                0 => 4096 + chance % 100_000,
                1..4 => 2000 + chance % 10_000,
                _ => chance % 1000,
            }
        };
        fill(&mut client, round, mixed, 160 << 20);
        assert_kept(&server, &mut client, &format!("{setup:?}, round {round}"));
    }
    assert!(client.figure("evictions") > 0 && client.figure("store_no_memory") == 0);
    server.stop();
}

//! The memory cap.

use super::server::{Client, Memcached, Setup, with_each, with_shards};
use std::net::TcpStream;

/// A server with so much memory for items.
struct Capped {
    server: Memcached,
    cap_bytes: usize,
    /// What it had before there were items.
    empty_bytes: usize,
}

impl Capped {
    fn start(setup: Setup, cap_mib: usize) -> (Self, Client<TcpStream>) {
        let server = Memcached::start(setup, &["--cache-memory", &format!("{cap_mib}M")]);
        let mut client = server.client();
        client.ask("set a 0 0 1\r\nx\r\nget a\r\n", "STORED\r\nVALUE a 0 1\r\nx\r\nEND\r\n");
        let empty_bytes = server.resident_bytes();
        println!("{setup:?}: {empty_bytes} bytes without items");
        assert!(empty_bytes <= BASE_BYTES, "{empty_bytes} bytes without items");
        (Self { server, cap_bytes: cap_mib << 20, empty_bytes }, client)
    }

    fn assert_kept(&self, client: &mut Client<TcpStream>, when: &str) {
        let Self { server, cap_bytes, empty_bytes } = self;
        assert!(client.figure("memory_bytes") <= *cap_bytes as u64 + 65_536, "{when}");
        let resident = server.resident_bytes();
        println!("{when}: {resident} bytes, {} beside the cap", resident.saturating_sub(*cap_bytes));
        assert!(resident <= cap_bytes + cap_bytes / 20 + BASE_BYTES, "{when}: {resident} bytes");
        let grown = resident.saturating_sub(*empty_bytes);
        assert!(grown <= cap_bytes + cap_bytes / 20 + ANSWERS_BYTES, "{when}: {grown} bytes more than without items");
    }
}

/// What the program itself has, whatever is stored: its code, stacks, frames of the driver and of answers, in bytes. As the
/// documentation of the server says.
const BASE_BYTES: usize = 24 << 20;

/// What of that is not there before clients ask: frames of the driver and of answers, and code that was not needed yet, in bytes.
const ANSWERS_BYTES: usize = 12 << 20;

/// The larger cap that is tried, in MiB.
const LARGER_MIB: usize = 256;

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
        let (capped, mut client) = Capped::start(setup, 64);
        // Sizes change, so pages have to move.
        for (round, size) in [20_000, 3000, 300_000, 100, 20_000].into_iter().enumerate() {
            fill(&mut client, round, |_| size, 80 << 20);
            let item = format!("VALUE {round}:last 0 {size}\r\n{}\r\n", "x".repeat(size));
            client.ask(format!("set {round}:last 0 0 {size}\r\n{}\r\n", "x".repeat(size)), "STORED\r\n");
            client.ask(format!("get {round}:last\r\n"), format!("{item}END\r\n"));
            capped.assert_kept(&mut client, &format!("{setup:?}, size {size}"));
        }
        assert!(client.figure("evictions") > 0 && client.figure("store_no_memory") == 0);
        capped.server.stop();
    });
}

/// What comes on top does not grow with the cap, though what is freed of one size is no room for the next.
#[test]
fn a_larger_cap_is_kept_as_well() {
    with_shards(|setup| {
        let (capped, mut client) = Capped::start(setup, LARGER_MIB);
        for (round, size) in [20_000, 3_000, 300_000, 20_000].into_iter().enumerate() {
            fill(&mut client, round, |_| size, (LARGER_MIB + LARGER_MIB / 8) << 20);
            capped.assert_kept(&mut client, &format!("{setup:?}, size {size}"));
        }
        assert!(client.figure("evictions") > 0 && client.figure("store_no_memory") == 0);
        assert!(client.figure("heap_trims") > 0);
        capped.server.stop();
    });
}

/// Sizes of all kinds, one after the other, as they come from many users.
#[test]
fn the_cap_is_kept_whatever_mixture_comes() {
    with_each(mixture);
}

fn mixture(setup: Setup) {
    let (capped, mut client) = Capped::start(setup, 64);
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
        capped.assert_kept(&mut client, &format!("{setup:?}, round {round}"));
    }
    assert!(client.figure("evictions") > 0 && client.figure("store_no_memory") == 0);
    capped.server.stop();
}

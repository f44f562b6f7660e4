//! Clients that misbehave in every way at random beside others that check every value, for as long as one likes.

mod faults;
mod owner;
mod values;

use std::env;
use std::process;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::server::{Memcached, PATIENCE, with_each};
use values::Rng;

/// How long to go on, in seconds.
const SECONDS: &str = "SUNSTAR_SOAK_SECONDS";

/// The seed; without it there is a new one.
const SEED: &str = "SUNSTAR_SEED";

/// How long the ordinary tests go on.
const USUAL_SECONDS: u64 = 5;

/// With each driver, on one shard and on two.
const SETUPS: u32 = 4;

/// Clients of both kinds at the same time.
const MISBEHAVING: u64 = 12;
const OWNERS: u64 = 4;

/// For items, of which there are more, so that some have to go all the time.
const CAP_BYTES: usize = 16 << 20;
const CAP: &str = "16M";

/// Beside the items and a twentieth of their memory, what all that is under way for the clients may take: a value under way for each
/// that is sent, and one for each that is received.
const UNDER_WAY_BYTES: usize = 32 << 20;

/// Pages of memory that are accounted for as they are taken: one for each shard.
const PAGES_BYTES: u64 = 2 * 65_536;

/// What may be left of memory: heaps have holes.
const LEFT_BYTES: usize = 8 << 20;

/// How often the memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What is counted of all clients.
#[derive(Default)]
struct Counts {
    misbehaved: AtomicU64,
    operations: AtomicU64,
    hits: AtomicU64,
}

/// Clients of both kinds for so long, while the memory is looked at.
fn go_on(server: &Memcached, seed: u64, time: Duration, base_bytes: usize) {
    let (is_over, counts) = (AtomicBool::new(false), Counts::default());
    let address = server.address();
    thread::scope(|scope| {
        // Whatever fails here, the others have to end too.
        let _end = End(&is_over);
        let (is_over, counts) = (&is_over, &counts);
        let mut clients = Vec::new();
        for number in 0..OWNERS {
            clients.push(scope.spawn(move || {
                let _end = End(is_over);
                owner::run(address, seed.wrapping_add(number), is_over, counts);
            }));
        }
        for number in OWNERS..OWNERS + MISBEHAVING {
            clients.push(scope.spawn(move || {
                let _end = End(is_over);
                let mut rng = Rng::new(seed.wrapping_add(number));
                while !is_over.load(Ordering::Relaxed) {
                    faults::misbehave(address, &mut rng).unwrap_or_else(|error| faults::excuse(&error));
                    counts.misbehaved.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        let end = Instant::now() + time;
        let mut witness = server.client();
        while Instant::now() < end && !is_over.load(Ordering::Relaxed) {
            let memory = witness.figure("memory_bytes");
            assert!(memory <= CAP_BYTES as u64 + PAGES_BYTES, "items have {memory} bytes");
            let grown = server.resident_bytes().saturating_sub(base_bytes);
            assert!(grown <= CAP_BYTES + CAP_BYTES / 20 + UNDER_WAY_BYTES, "{grown} bytes more than at the start");
            thread::sleep(LOOK_EVERY);
        }
        is_over.store(true, Ordering::Relaxed);
        clients.into_iter().for_each(|client| client.join().expect("a client has found something wrong"));
    });
    let [misbehaved, operations, hits] = [counts.misbehaved, counts.operations, counts.hits].map(AtomicU64::into_inner);
    println!(
        "{misbehaved} clients have misbehaved, {operations} operations were right beside them, {hits} of them found values"
    );
    assert!(misbehaved > 0 && hits > 0 && hits < operations);
}

/// Lets all end when one does, be it by a panic.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What is in use while nobody asks anything.
#[derive(Debug)]
struct Levels {
    connections: u64,
    /// Of values that are gone and that answers have.
    held_bytes: u64,
    descriptors: usize,
    resident_bytes: usize,
}

impl Levels {
    fn of(server: &Memcached) -> Self {
        let mut client = server.client();
        let [connections, held_bytes] = ["curr_connections", "held_bytes"].map(|name| client.figure(name));
        drop(client);
        Self { connections, held_bytes, descriptors: server.descriptors(), resident_bytes: server.resident_bytes() }
    }

    fn are_reached(&self, now: &Self) -> bool {
        now.connections <= self.connections
            && now.held_bytes <= self.held_bytes
            && now.descriptors <= self.descriptors
            && now.resident_bytes <= self.resident_bytes + LEFT_BYTES
    }

    /// Waits until no more is in use than was.
    fn wait_for(&self, server: &Memcached) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            thread::sleep(Duration::from_millis(300));
            let now = Self::of(server);
            if self.are_reached(&now) {
                return println!("before: {self:?}\nafter:  {now:?}");
            }
            assert!(Instant::now() < deadline, "in use are {now:?}, before it were {self:?}");
        }
    }
}

fn number_from(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn clients_that_misbehave_spoil_nothing_and_leave_nothing_behind() {
    let clock = || std::time::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs());
    let seed = number_from(SEED).unwrap_or_else(|| clock().wrapping_add(process::id().into()) % 1_000_000);
    let seconds = number_from(SECONDS).unwrap_or(USUAL_SECONDS);
    with_each(|setup| {
        println!("{SEED}={seed}");
        let server = Memcached::start(setup, &["--cache-memory", CAP]);
        // A fifth of the time for what is made once and kept.
        let time = Duration::from_secs(seconds) / SETUPS / 5;
        let start = Levels::of(&server);
        go_on(&server, seed, time, start.resident_bytes);
        let kept = Levels { resident_bytes: start.resident_bytes + CAP_BYTES + UNDER_WAY_BYTES, ..start };
        kept.wait_for(&server);
        // However little was stored until then, all of the memory may be in use.
        let level = server.resident_bytes().max(start.resident_bytes + CAP_BYTES + CAP_BYTES / 20);
        let levels = Levels { resident_bytes: level, ..kept };
        go_on(&server, seed.wrapping_add(OWNERS + MISBEHAVING), 4 * time, start.resident_bytes);
        levels.wait_for(&server);
        server.client().ask("set a 0 0 1\r\nx\r\nget a\r\n", "STORED\r\nVALUE a 0 1\r\nx\r\nEND\r\n");
        server.stop();
    });
}

//! The programs whose instructions `cargo xtask bench gates` counts: `sunstar-gates NAME`, or `--list`.
//!
//! Everything runs in one thread under a clock that moves only when told, so that each run executes the same
//! instructions.

#[path = "../../../../crates/http/tests/replay/by_hand.rs"]
mod by_hand;

use std::hint::black_box;
use std::pin::pin;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use sunstar_bench_common::cross::{consume, payload};
use sunstar_bench_common::gates::{self, Gate, Work};
use sunstar_bench_common::measure::Sequence;
use sunstar_bench_common::ping_pong::{Table, play};
use sunstar_bench_common::timers::poll_once;
use sunstar_executor::message::Mesh;
use sunstar_executor::{Executor, ExecutorConfig, JoinHandle, Round, ShardId, post, spawn, submit_to, timer};
use sunstar_http1::{Connection, Date, Endpoint, Event, HeaderLines, HeaderName, Status};
use sunstar_packet::Buffer;

use by_hand::ByHand;

/// Timers that stay armed while others come and go.
const ARMED: usize = 1000;
const TIMEOUT: Duration = Duration::from_secs(1);

const GATES: [Gate; 9] = [
    ("spawn", || on(1, spawn_and_join)),
    ("wake", || on(1, wake)),
    ("timer", || on(1, timer_cancel)),
    ("timer_fire", || on(1, timer_fire)),
    ("submit", || on(2, submit)),
    ("post", || on(2, post_in_bulk)),
    ("http_wrk", || Box::new(http_from_wrk)),
    ("http_pipe", || Box::new(http_pipelined)),
    ("http_browser", || Box::new(http_from_browser)),
];

fn main() -> ExitCode {
    gates::main(&GATES)
}

/// Work on so many shards, which are there before.
fn on(shards: usize, work: fn(&World, u64)) -> Work {
    let world = World::new(shards);
    Box::new(move |count| work(&world, count))
}

/// Spawns a task, runs it, takes its output.
fn spawn_and_join(world: &World, count: u64) {
    world.run(async move {
        for i in 0..count {
            black_box(spawn(async move { black_box(i) }).await.expect("the task doesn't panic"));
        }
    });
}

/// Wakes another task of the shard.
fn wake(world: &World, count: u64) {
    world.run(async move {
        let table = Rc::new(Table::default());
        let other: JoinHandle<()> = spawn(play(Rc::clone(&table), 1, count / 2));
        play(table, 0, count / 2).await;
        other.await.expect("the task doesn't panic");
    });
}

/// Arms a timer and cancels it, while others stay armed.
fn timer_cancel(world: &World, count: u64) {
    world.run(async move {
        let mut sequence = Sequence::default();
        let mut armed: Vec<_> =
            (0..ARMED).map(|_| Box::pin(timer::sleep(sequence.duration(TIMEOUT, TIMEOUT)))).collect();
        for sleep in &mut armed {
            poll_once(sleep).await;
        }
        for _ in 0..count {
            poll_once(pin!(timer::sleep(sequence.duration(TIMEOUT, TIMEOUT)))).await;
        }
    });
}

/// Arms a timer, lets it become due and runs the task that waited; a hundred at a time.
fn timer_fire(world: &World, count: u64) {
    const BATCH: u64 = 100;
    let mut sequence = Sequence::default();
    for _ in 0..count / BATCH {
        for _ in 0..BATCH {
            let timeout = sequence.duration(TIMEOUT, TIMEOUT);
            world.first().spawn(async move { timer::sleep(timeout).await });
        }
        world.settle();
        world.advance(TIMEOUT * 2);
        world.settle();
    }
}

/// Asks the other shard and awaits its answer, one request after the other. The shards take turns, a round each.
fn submit(world: &World, count: u64) {
    world.run(async move {
        for i in 0..count {
            let answer = submit_to(ShardId::new(1), move || async move { black_box(i) }).await;
            black_box(answer.expect("the other shard runs"));
        }
    });
}

/// Posts closures of 32 bytes to the other shard, which runs as many as fit at a time.
fn post_in_bulk(world: &World, count: u64) {
    world.run(async move {
        for i in 0..count {
            let payload = payload(i);
            post(ShardId::new(1), move || consume(payload)).await.expect("the other shard runs");
        }
    });
}

/// Reads what wrk sends by default, and answers it.
fn http_from_wrk(count: u64) {
    http(count, 1, "GET / HTTP/1.1\r\nHost: 127.0.0.1:10000\r\n\r\n");
}

/// The same, sixteen requests at a time.
fn http_pipelined(count: u64) {
    http(count, 16, "GET / HTTP/1.1\r\nHost: 127.0.0.1:10000\r\n\r\n");
}

/// Reads what a browser sends, and answers it.
fn http_from_browser(count: u64) {
    let request = "GET /index.html HTTP/1.1\r\nHost: localhost:10000\r\nConnection: keep-alive\r\n\
        User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n\
        Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
        Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9\r\n\
        Cookie: session=0123456789abcdef0123456789abcdef\r\n\r\n";
    http(count, 1, request);
}

/// Requests from a buffer, responses into one, `pipelined` at a time.
fn http(count: u64, pipelined: usize, request: &str) {
    let mut connection = Endpoint::default().accept();
    let input = Buffer::from(request.repeat(pipelined).into_bytes());
    let date = Date::from_unix_seconds(0);
    let mut lines = HeaderLines::new();
    lines.add(HeaderName::SERVER, "sunstar").expect("a good value");
    lines.add(HeaderName::CONTENT_TYPE, "text/plain").expect("a good value");
    let mut out = Vec::new();
    for _ in 0..count / pipelined as u64 {
        connection.handle_input(black_box(input.clone())).expect("there is room");
        while let Some(event) = connection.poll_event() {
            let Event::Request(request) = event else { unreachable!("there are only requests") };
            black_box(request.path());
            hello(&mut connection, &date, &lines);
        }
        connection.poll_transmit(&mut out);
        black_box(&mut out).clear();
    }
}

/// Answers like the twelve bytes of `httpd`.
fn hello(connection: &mut Connection, date: &Date, lines: &HeaderLines) {
    let mut response = connection.respond(Status::OK, Some(date)).expect("a request waits");
    response.lines(lines);
    response.send("hello, world");
}

/// Shards in one thread, and their clock.
struct World {
    executors: Vec<Executor>,
    platform: ByHand,
}

impl World {
    fn new(shards: usize) -> Self {
        let platform = ByHand::default();
        let executor = |links| Executor::with_links(ExecutorConfig::default(), Box::new(platform.clone()), links);
        Self { executors: Mesh::links(shards).into_iter().map(executor).collect(), platform }
    }

    fn first(&self) -> &Executor {
        &self.executors[0]
    }

    fn advance(&self, by: Duration) {
        self.platform.now.set(self.platform.now.get() + by);
    }

    /// Runs a task on the first shard to its end.
    fn run(&self, main: impl Future<Output = ()> + 'static) {
        let join = self.first().spawn(main);
        self.settle();
        assert!(join.is_finished(), "the gate's task waits for ever");
    }

    /// Gives the shards their rounds in turn until nothing is left to do.
    fn settle(&self) {
        let mut busy = true;
        while busy {
            busy = false;
            for executor in &self.executors {
                busy |= !matches!(executor.round(), Round::Idle { .. });
            }
        }
    }
}

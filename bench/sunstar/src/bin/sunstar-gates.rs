//! The programs whose instructions `cargo xtask bench gates` counts: `sunstar-gates NAME`, or `--list`.
//!
//! Everything runs in one thread under a clock that moves only when told, so that each run executes the same
//! instructions. Only what [`measured`] calls is counted; the same work was done once before, so caches and pools are warm.

use std::cell::Cell;
use std::hint::black_box;
use std::pin::pin;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use sunstar_bench_common::measure::Sequence;
use sunstar_bench_common::ping_pong::{Table, play};
use sunstar_bench_common::timers::poll_once;
use sunstar_executor::{Executor, ExecutorConfig, Instant, JoinHandle, Platform, Round, spawn, timer};
use sunstar_packet::Doorbell;

/// Operations per counted run; xtask divides by it.
const OPERATIONS: u64 = 10_000;
/// Timers that stay armed while others come and go.
const ARMED: usize = 1000;
const TIMEOUT: Duration = Duration::from_secs(1);

/// A gate: its name, and what runs `n` operations.
type Gate = (&'static str, fn(&World, u64));

const GATES: [Gate; 4] =
    [("spawn", spawn_and_join), ("wake", wake), ("timer", timer_cancel), ("timer_fire", timer_fire)];

fn main() -> ExitCode {
    let argument = std::env::args().nth(1).unwrap_or_default();
    if argument == "--list" {
        GATES.iter().for_each(|(name, _)| println!("{name} {OPERATIONS}"));
        return ExitCode::SUCCESS;
    }
    let Some((_, gate)) = GATES.iter().find(|(name, _)| *name == argument) else {
        eprintln!("usage: sunstar-gates NAME | --list");
        return ExitCode::FAILURE;
    };
    let world = World::new();
    gate(&world, OPERATIONS);
    measured(*gate, &world);
    ExitCode::SUCCESS
}

/// What is counted; xtask names this function to callgrind.
#[inline(never)]
fn measured(gate: fn(&World, u64), world: &World) {
    black_box(gate)(world, OPERATIONS);
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
            world.executor.spawn(async move { timer::sleep(timeout).await });
        }
        world.settle();
        world.advance(TIMEOUT * 2);
        world.settle();
    }
}

/// One executor, and its clock.
struct World {
    executor: Executor,
    now: Rc<Cell<Instant>>,
}

impl World {
    fn new() -> Self {
        let now = Rc::new(Cell::new(Instant::ORIGIN));
        let platform = ManualPlatform { now: Rc::clone(&now) };
        Self { executor: Executor::new(ExecutorConfig::default(), Box::new(platform)), now }
    }

    fn advance(&self, by: Duration) {
        self.now.set(self.now.get() + by);
    }

    /// Runs a task to its end.
    fn run(&self, main: impl Future<Output = ()> + 'static) {
        let join = self.executor.spawn(main);
        self.settle();
        assert!(join.is_finished(), "the gate's task waits for ever");
    }

    /// Runs rounds until nothing is left to do.
    fn settle(&self) {
        while !matches!(self.executor.round(), Round::Idle { .. }) {}
    }
}

/// A world whose clock is moved by hand.
struct ManualPlatform {
    now: Rc<Cell<Instant>>,
}

impl Platform for ManualPlatform {
    fn now(&self) -> Instant {
        self.now.get()
    }

    fn entropy(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }

    fn poll(&self) -> bool {
        false
    }

    fn sleep(&self, _deadline: Option<Instant>) {
        unreachable!("rounds are driven by the gates");
    }

    fn doorbell(&self) -> Box<dyn Doorbell> {
        Box::new(SilentBell)
    }
}

/// Nobody sleeps, so nobody is woken.
struct SilentBell;

impl Doorbell for SilentBell {
    fn ring(&self) {}
}

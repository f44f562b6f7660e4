//! Runs a scenario: spawns, polls, wakes and drops its tasks at random.

use std::boxed::Box;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;
use std::vec::Vec;

use super::Rng;
use crate::sync::test_executor::Flag;
use crate::testing::TestWorld;

/// One primitive with its operations and invariants.
pub(super) trait Scenario {
    /// Does something at random: an operation, a new task.
    fn act(&mut self, world: &World, rng: &mut Rng);

    /// Checks what holds at any time.
    fn check(&self, _world: &World) {}

    /// Checks what holds when no woken task is left: who can go on has gone on.
    fn check_quiet(&self, world: &World);

    /// Makes it possible for every task to end.
    fn release(&mut self);

    /// Checks what holds when all tasks are gone.
    fn check_end(&self) {}
}

struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    flag: Arc<Flag>,
}

struct Waiting {
    line: usize,
    task: u64,
    request: usize,
}

/// The tasks of a scenario, and who waits in which line.
#[derive(Default)]
pub(super) struct World {
    tasks: RefCell<BTreeMap<u64, Task>>,
    flags: RefCell<BTreeMap<u64, Arc<Flag>>>,
    waiting: RefCell<BTreeMap<u64, Waiting>>,
    current: Cell<u64>,
    next_number: Cell<u64>,
    /// Whether what the scenario shares may keep wakers of tasks that are gone.
    keeps_wakers: Cell<bool>,
}

impl World {
    fn number(&self) -> u64 {
        self.next_number.replace(self.next_number.get() + 1)
    }

    pub(super) fn keeps_wakers(&self) {
        self.keeps_wakers.set(true);
    }

    pub(super) fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        let flag = Arc::new(Flag::default());
        flag.wake_by_ref();
        let number = self.number();
        self.flags.borrow_mut().insert(number, Arc::clone(&flag));
        self.tasks.borrow_mut().insert(number, Task { future: Box::pin(future), flag });
    }

    /// The running task takes its place in a line; called just before it waits for the first time.
    pub(super) fn arrive(self: &Rc<Self>, line: usize, request: usize) -> Place {
        let ticket = self.number();
        self.waiting.borrow_mut().insert(ticket, Waiting { line, task: self.current.get(), request });
        Place { world: Rc::clone(self), ticket }
    }

    /// What those who wait in a line asked for, first come first.
    pub(super) fn requests(&self, line: usize) -> Vec<usize> {
        self.waiting.borrow().values().filter(|waiting| waiting.line == line).map(|waiting| waiting.request).collect()
    }

    /// How many wait in a line.
    pub(super) fn waiting(&self, line: usize) -> usize {
        self.requests(line).len()
    }

    pub(super) fn tasks(&self) -> usize {
        self.tasks.borrow().len()
    }

    fn pick(&self, rng: &mut Rng, eligible: impl Fn(&Task) -> bool) -> Option<u64> {
        let tasks = self.tasks.borrow();
        let numbers: Vec<u64> = tasks.iter().filter(|(_, task)| eligible(task)).map(|(number, _)| *number).collect();
        if numbers.is_empty() { None } else { Some(numbers[rng.below(numbers.len())]) }
    }

    /// Polls a task, with a waker of its own or, as when it moved to another task, with a new one.
    fn poll(&self, number: u64, with_new_waker: bool) {
        let mut task = self.tasks.borrow_mut().remove(&number).expect("it was picked from the tasks");
        if with_new_waker {
            task.flag = Arc::new(Flag::default());
            self.flags.borrow_mut().insert(number, Arc::clone(&task.flag));
        }
        self.current.set(number);
        task.flag.clear();
        let waker = Waker::from(Arc::clone(&task.flag));
        if task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            self.tasks.borrow_mut().insert(number, task);
        } else {
            drop(waker);
            self.bury(number, task);
        }
    }

    fn cancel(&self, number: u64) {
        let task = self.tasks.borrow_mut().remove(&number).expect("it was picked from the tasks");
        self.bury(number, task);
    }

    fn bury(&self, number: u64, task: Task) {
        drop(task.future);
        self.flags.borrow_mut().remove(&number);
        assert!(
            self.keeps_wakers.get() || Arc::strong_count(&task.flag) == 1,
            "a task that is gone left a waker behind"
        );
    }

    /// Polls woken tasks until there are none, and answers how many polls that took.
    fn run_until_quiet(&self, rng: &mut Rng) -> usize {
        let mut polls = 0;
        while let Some(number) = self.pick(rng, |task| task.flag.is_woken()) {
            self.poll(number, rng.one_in(8));
            polls += 1;
            assert!(polls < 1_000_000, "the tasks wake each other without end");
        }
        polls
    }

    fn step(&self, rng: &mut Rng) {
        match rng.below(10) {
            0..5 => {
                if let Some(number) = self.pick(rng, |task| task.flag.is_woken()) {
                    self.poll(number, rng.one_in(8));
                }
            }
            5 => {
                if let Some(number) = self.pick(rng, |_| true) {
                    self.poll(number, rng.one_in(2));
                }
            }
            6 => {
                // What was just woken is the most delicate thing to drop.
                let woken = rng.one_in(2);
                if let Some(number) = self.pick(rng, |task| !woken || task.flag.is_woken()) {
                    self.cancel(number);
                }
            }
            _ => {}
        }
    }
}

/// A place in a line, left when it is dropped.
pub(super) struct Place {
    world: Rc<World>,
    ticket: u64,
}

impl Place {
    /// It is this one's turn: all who came before it were woken already.
    pub(super) fn served(self) {
        let waiting = self.world.waiting.borrow();
        let flags = self.world.flags.borrow();
        let line = waiting[&self.ticket].line;
        for (_, earlier) in waiting.range(..self.ticket).filter(|(_, waiting)| waiting.line == line) {
            assert!(flags[&earlier.task].is_woken(), "somebody was served before one who came earlier");
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.world.waiting.borrow_mut().remove(&self.ticket);
    }
}

/// Counts values that are alive.
#[derive(Clone, Default)]
pub(super) struct Census(Rc<Cell<usize>>);

impl Census {
    pub(super) fn alive(&self) -> usize {
        self.0.get()
    }

    pub(super) fn item(&self, value: usize) -> Item {
        self.0.set(self.0.get() + 1);
        Item { value, census: self.clone() }
    }
}

/// A value that is counted while it is alive.
pub(super) struct Item {
    pub(super) value: usize,
    census: Census,
}

impl Clone for Item {
    fn clone(&self) -> Self {
        self.census.item(self.value)
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        self.census.0.set(self.census.0.get() - 1);
    }
}

fn number_from(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable}={value} is not a number")))
}

/// How many cases to run, and from which seed on.
struct Plan {
    first_seed: u64,
    cases: u64,
    /// Set when the time is up.
    over: Arc<AtomicBool>,
}

impl Plan {
    /// What the environment asks for.
    fn of_environment() -> Self {
        let (seed, seconds) = (number_from("SUNSTAR_SEED"), number_from("SUNSTAR_SOAK_SECONDS"));
        let over = Arc::new(AtomicBool::new(false));
        let default_cases = if seconds.is_some() {
            u64::MAX
        } else if seed.is_some() {
            1
        } else {
            400
        };
        if let Some(seconds) = seconds {
            let over = Arc::clone(&over);
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_secs(seconds));
                over.store(true, Ordering::Relaxed);
            });
        }
        let fresh = || if seconds.is_some() { fresh_seed() } else { 1 };
        Self {
            first_seed: seed.unwrap_or_else(fresh),
            cases: number_from("SUNSTAR_CANCEL_ITERATIONS").unwrap_or(default_cases),
            over,
        }
    }
}

/// A seed that no run before had.
fn fresh_seed() -> u64 {
    let mut bytes = [0; 8];
    let mut source = std::fs::File::open("/dev/urandom").expect("the system has a source of randomness");
    source.read_exact(&mut bytes).expect("it never ends");
    u64::from_le_bytes(bytes)
}

/// Runs many cases of a scenario, each from a seed of its own.
pub(super) fn run<S: Scenario>(name: &'static str, scenario: impl Fn(&Rc<World>, &mut Rng) -> S) {
    let plan = Plan::of_environment();
    let mut done = 0;
    while done < plan.cases && !plan.over.load(Ordering::Relaxed) {
        let seed = plan.first_seed.wrapping_add(done);
        let case = AssertUnwindSafe(|| run_case(&scenario, seed));
        assert!(catch_unwind(case).is_ok(), "{name} failed as told above; replay it with SUNSTAR_SEED={seed}");
        done += 1;
    }
}

/// Runs one case, in a shard or outside of any.
fn run_case<S: Scenario>(scenario: &impl Fn(&Rc<World>, &mut Rng) -> S, seed: u64) {
    let mut rng = Rng::new(seed);
    if rng.one_in(2) {
        TestWorld::default().executor().enter(|| run_here(scenario, rng));
    } else {
        run_here(scenario, rng);
    }
}

fn run_here<S: Scenario>(scenario: &impl Fn(&Rc<World>, &mut Rng) -> S, mut rng: Rng) {
    let world = Rc::new(World::default());
    let mut scenario = scenario(&world, &mut rng);
    let steps = 20 + rng.below(200);
    let most_tasks = 2 + rng.below(12);
    for _ in 0..steps {
        if world.tasks() < most_tasks || rng.one_in(4) {
            scenario.act(&world, &mut rng);
            scenario.check(&world);
        }
        world.step(&mut rng);
        scenario.check(&world);
        if rng.one_in(16) {
            world.run_until_quiet(&mut rng);
            scenario.check(&world);
            scenario.check_quiet(&world);
        }
    }
    end(&world, &mut scenario, &mut rng);
}

/// Lets all tasks end, or drops some of them first; nobody may be stuck.
fn end<S: Scenario>(world: &World, scenario: &mut S, rng: &mut Rng) {
    let cancelled = if rng.one_in(2) { world.tasks() } else { 0 };
    for _ in 0..cancelled {
        if rng.one_in(2)
            && let Some(number) = world.pick(rng, |_| true)
        {
            world.cancel(number);
        }
    }
    world.run_until_quiet(rng);
    scenario.check_quiet(world);
    // What is released may be taken by the next one who waits, who has to give it back in turn.
    loop {
        scenario.release();
        if world.run_until_quiet(rng) == 0 {
            break;
        }
    }
    scenario.check(world);
    assert_eq!(world.tasks(), 0, "tasks are stuck");
    scenario.check_end();
}

//! The thread of one shard: start, rounds, sleep, end.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::process;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use sunstar_executor::message::MeshLinks;
use sunstar_executor::{Executor, ExecutorConfig, Instant, JoinError, JoinHandle, Platform, Round, TaskBuilder};

use super::RunError;
use super::control::Control;
use super::rendezvous::Abandoned;
use super::slack::Slack;
use crate::affinity;
use crate::config::Config;
use crate::context::{Entered, ShardContext};
use crate::driver::Backend;
use crate::heap::trim_heap;
use crate::placement::Place;
use crate::platform::LinuxPlatform;
use crate::posix::PosixStack;
use crate::posix::storage::PosixStorage;
use crate::signal::{self, LastResort, STOP_SIGNALS};
use crate::stall::StallDetector;

/// How long a shard that ends lets sockets send what they have left.
const STOP_LINGER_TIME: Duration = Duration::from_secs(1);

/// How often networks beside the driver are polled meanwhile.
const LINGER_POLL_TIME: Duration = Duration::from_millis(1);

/// All that a shard's thread needs to begin.
pub(super) struct Seat {
    /// The rings to and from the other shards; they know which shard this is.
    pub(super) links: MeshLinks,
    pub(super) place: Place,
    pub(super) backend: Backend,
    pub(super) config: Arc<Config>,
    pub(super) control: Arc<Control>,
}

impl Seat {
    /// Runs shard 0 with the main function on it.
    pub(super) fn supervise<F, M, T>(self, main: F) -> Result<Result<T, RunError>, Abandoned>
    where
        F: FnOnce() -> M + 'static,
        M: Future<Output = T> + 'static,
        T: 'static,
    {
        let _fuse = Fuse(self.links.id().index());
        let engine = self.start()?;
        let mut supervisor = Supervisor::new(&engine, main);
        engine.run(|| supervisor.look(&engine));
        engine.stop()?;
        Ok(supervisor.outcome.expect("the loop ends only with an outcome"))
    }

    /// Runs a shard other than 0.
    pub(super) fn serve(self) -> Result<(), Abandoned> {
        let _fuse = Fuse(self.links.id().index());
        let engine = self.start()?;
        engine.run(|| if engine.control.is_ending() { Next::End } else { Next::GoOn { until: None } });
        engine.stop()
    }

    /// Sets the shard up and waits until all others are.
    fn start(self) -> Result<Engine, Abandoned> {
        let (shard, cpu, control) = (self.links.id().index(), self.place.cpu, Arc::clone(&self.control));
        let engine = self.set_up(shard).map_err(|(action, source)| {
            control.fail(RunError::Start { shard, cpu, action, source });
            Abandoned
        })?;
        control.hang_bell(shard, engine.platform.bell());
        control.meet()?;
        Ok(engine)
    }

    fn set_up(self, shard: usize) -> Result<Engine, (&'static str, io::Error)> {
        let Self { links, place, backend, config, control } = self;
        let failing = |action| move |source| (action, source);
        if config.pins_threads() {
            affinity::pin_to(place.cpu).map_err(failing("be pinned to it"))?;
        } else if let Some(cpuset) = &config.cpuset {
            affinity::confine_to(cpuset).map_err(failing("be confined to the processors to use"))?;
        }
        let platform = LinuxPlatform::with_backend(Some(backend)).map_err(failing("make its driver"))?;
        let context = ShardContext::enter(platform.clone(), Arc::clone(&control));
        let mut options = ExecutorConfig::default();
        options.task_quota = config.task_quota;
        let executor = Executor::with_links(options, Box::new(platform.clone()), links);
        executor.enter(|| {
            sunstar_net::socket::install(Rc::new(PosixStack::new(platform.driver())));
            sunstar_storage::platform::install(Rc::new(PosixStorage));
        });
        let detector = |stalls| StallDetector::new(shard, Arc::clone(executor.progress()), stalls);
        let stalls = config.stalls().map(detector).transpose().map_err(failing("watch for stalls"))?;
        Ok(Engine { shard, stalls, executor, platform, config, control, _context: context })
    }
}

/// Rounds that only waited for room in a ring before the processor is offered to others.
const PATIENT_ROUNDS: u32 = 64;

/// A shard that is set up. Fields are dropped in this order.
struct Engine {
    shard: usize,
    stalls: Option<StallDetector>,
    executor: Executor,
    platform: LinuxPlatform,
    config: Arc<Config>,
    control: Arc<Control>,
    _context: Entered,
}

/// What to do after a round.
enum Next {
    /// Go on, but look again at `until` even if nothing happens.
    GoOn { until: Option<Instant> },
    /// Leave the loop.
    End,
}

impl Engine {
    /// Runs rounds until `look`, which is asked after each, says to end. Polls for a while when there is nothing to do,
    /// then sleeps.
    fn run(&self, mut look: impl FnMut() -> Next) {
        let _fuse = Fuse(self.shard);
        self.watch_for_stalls();
        let (patience, times) = (self.config.patience(), self.platform.times());
        times.begin(self.platform.now());
        let mut waits_for_room = 0;
        let mut input_at_sleep = self.input();
        let mut slack = Slack::default();
        loop {
            let round = self.executor.round();
            let Next::GoOn { until } = look() else { return };
            let Round::Idle { deadline } = round else {
                waits_for_room = if self.executor.only_waits_for_room() { waits_for_room + 1 } else { 0 };
                if waits_for_room >= PATIENT_ROUNDS {
                    // Nobody rings when there is room, and who is to make it may wait for this processor.
                    thread::yield_now();
                    waits_for_room = 0;
                }
                times.work(self.executor.round_start());
                continue;
            };
            // As the round began it was idle already, so its time will do: polling reads the clock once per round.
            let now = self.executor.round_start();
            let idle = times.poll(now);
            // Polling pays where input follows input. After work that only timers made, none is in sight.
            let expects_none =
                |patience| deadline.is_none_or(|deadline| deadline > now + patience) && self.input() == input_at_sleep;
            if patience.is_some_and(|patience| idle >= patience || idle.is_zero() && expects_none(patience)) {
                let slack_due = slack.due(self.input(), now);
                if slack_due.is_some_and(|due| due <= now) {
                    self.free_unused_memory();
                    slack.freed();
                } else {
                    times.sleep(now);
                    self.sleep([until, slack_due].into_iter().flatten().min());
                }
                input_at_sleep = self.input();
            }
            // No pause of the processor: it can take longer than a message from another shard.
        }
    }

    /// A number that changes whenever something comes in from elsewhere.
    fn input(&self) -> u64 {
        let stats = self.executor.stats();
        stats.arrivals + stats.polled + stats.received_messages + self.platform.events()
    }

    /// Sleeps until something comes in, a timer is due, or `until`.
    fn sleep(&self, until: Option<Instant>) {
        if let Round::Idle { deadline } = self.executor.prepare_sleep() {
            self.platform.sleep([deadline, until].into_iter().flatten().min());
        }
        self.executor.end_sleep();
        self.watch_for_stalls();
    }

    /// Gives back what load has left behind.
    fn free_unused_memory(&self) {
        self.executor.free_unused_memory();
        self.platform.free_unused_memory();
        trim_heap();
    }

    fn watch_for_stalls(&self) {
        if let Some(stalls) = &self.stalls {
            stalls.resume();
        }
    }

    /// Ends the shard in step with all others, so that what belongs to a shard finds it alive.
    ///
    /// First the tasks go, then what is under way between shards. From then on nobody holds what is another's, but some
    /// of it may have been sent home just now, and what comes home may hold what must travel on.
    fn stop(mut self) -> Result<(), Abandoned> {
        let _fuse = Fuse(self.shard);
        self.executor.stop_tasks();
        // Shards wait for each other from here on, which is no stall.
        if let Some(stalls) = self.stalls.take().map(|detector| detector.stats()).filter(|stats| stats.stalls > 0) {
            log::info!("shard {}: {stalls:?}", self.shard);
        }
        self.linger();
        self.control.meet()?;
        self.executor.stop_messages();
        // Requests that had arrived may have begun as tasks meanwhile.
        self.executor.stop_tasks();
        self.control.meet()?;
        loop {
            let received = self.executor.receive_home();
            // What came home may have started tasks when it was dropped.
            self.executor.stop_tasks();
            // If nobody has received anything, nobody has sent anything since the meeting before.
            if self.control.meet_with(received)? == 0 {
                return Ok(());
            }
        }
    }
}

impl Engine {
    /// Gives sockets that were dropped a moment to send what they have left.
    fn linger(&self) {
        let driver = self.platform.driver();
        let deadline = self.platform.now() + STOP_LINGER_TIME;
        loop {
            let now = self.platform.now();
            let (by_driver, by_others) = (driver.lingers(), self.executor.linger(now));
            if now >= deadline || !(by_driver || by_others) {
                break;
            }
            // Others tell nobody when they want to be polled.
            let wait = deadline.saturating_duration_since(now);
            driver.sleep(Some(if by_others { wait.min(LINGER_POLL_TIME) } else { wait }));
            driver.poll();
        }
        driver.finish();
        self.executor.finish_pollers();
    }
}

/// Knows on shard 0 when the runtime is to end.
struct Supervisor<T> {
    /// Let go before the executor goes.
    main: Option<JoinHandle<T>>,
    /// Since when a stop is requested.
    stopping_since: Option<Instant>,
    outcome: Option<Result<T, RunError>>,
}

impl<T: 'static> Supervisor<T> {
    fn new<F, M>(engine: &Engine, main: F) -> Self
    where
        F: FnOnce() -> M + 'static,
        M: Future<Output = T> + 'static,
    {
        let main = engine.executor.enter(|| {
            if engine.config.stop_on_signals {
                listen_for_stop(&engine.control);
            }
            TaskBuilder::new().name("main").spawn(async move { main().await })
        });
        Self { main: Some(main), stopping_since: None, outcome: None }
    }

    /// Looks whether the main function has ended, or must end.
    fn look(&mut self, engine: &Engine) -> Next {
        if let Some(main) = self.main.take_if(|main| main.is_finished()) {
            let joined = pin!(main).poll(&mut Context::from_waker(Waker::noop()));
            let Poll::Ready(joined) = joined else { unreachable!("a finished task is ready") };
            return self.end(engine, joined.map_err(main_failed));
        }
        let stop = engine.control.stop();
        if !stop.is_requested() {
            return Next::GoOn { until: None };
        }
        let now = engine.platform.now();
        let since = *self.stopping_since.get_or_insert(now);
        let limit = since + engine.config.stop_timeout;
        let listened = stop.is_listened_to();
        if now < limit && stop.signals() < 2 && listened {
            return Next::GoOn { until: Some(limit) };
        }
        self.end(engine, Err(RunError::Stopped { waited: now - since, listened }))
    }

    fn end(&mut self, engine: &Engine, outcome: Result<T, RunError>) -> Next {
        self.outcome = Some(outcome);
        self.main = None;
        engine.control.end();
        Next::End
    }
}

fn main_failed(error: JoinError) -> RunError {
    match error {
        JoinError::Panicked(panic) => RunError::MainPanicked(panic.message().to_owned()),
        JoinError::Aborted => RunError::Stopped { waited: Duration::ZERO, listened: true },
    }
}

/// Starts the tasks that turn signals into requests to stop. While they live, a third signal ends the process.
fn listen_for_stop(control: &Arc<Control>) {
    for signal in STOP_SIGNALS {
        if signal::is_ignored(signal) {
            // Whoever started the process wants it so; a shell does with SIGINT for what runs in the background.
            log::info!("{signal} is ignored, as it was at the start of the process");
            continue;
        }
        let mut arrivals = match signal::on(signal) {
            Ok(arrivals) => arrivals,
            Err(error) => {
                log::error!("{error}; the process ends on it without order");
                continue;
            }
        };
        let control = Arc::clone(control);
        let last_resort = LastResort::new();
        TaskBuilder::new().name("stop on signal").spawn(async move {
            let _last_resort = last_resort;
            loop {
                arrivals.recv().await;
                log::info!("{signal}: stopping");
                control.signal_stop();
            }
        });
    }
}

/// Ends the process when a panic passes by, which no task contains: before what it passes is dropped, since that may wait
/// for other shards, and before other shards wait for this one.
struct Fuse(usize);

impl Drop for Fuse {
    fn drop(&mut self) {
        if thread::panicking() {
            let text = format!("shard {} panicked outside of any task; the process can't go on without it", self.0);
            log::error!("{text}");
            log::logger().flush();
            // The log may go anywhere, or nowhere; this must be seen.
            eprintln!("{text}");
            process::abort();
        }
    }
}

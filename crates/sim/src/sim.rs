//! A simulated world and its life.

use std::env;
use std::fs::OpenOptions;
use std::future::Future;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use sunstar_executor::message::Mesh;
use sunstar_executor::{Instant, TaskBuilder};

use crate::ether::Ether;
use crate::failure::{Failure, SimError};
use crate::host::{Host, HostState, Making, Phase, ShardState};
use crate::network::{Network, NetworkCounters};
use crate::options::{SCHEDULER_STREAM, SimOptions};
use crate::random::Random;
use crate::report::{HostReport, Report};
use crate::trace::Place;
use crate::world::{Event, ShardIo, World};

/// The environment variable that names a file to which every world appends its trace.
pub const TRACE_VARIABLE: &str = "SUNSTAR_SIM_TRACE";

/// A simulated world: hosts with their shards, the network between them, and one clock.
///
/// Everything in it happens on the calling thread. What happens follows from the seed, the options and the programs of the
/// hosts alone.
pub struct Sim {
    pub(crate) seed: u64,
    pub(crate) options: SimOptions,
    pub(crate) world: Rc<World>,
    pub(crate) network: Rc<Network>,
    pub(crate) ether: Rc<Ether>,
    pub(crate) hosts: Vec<HostState>,
    pub(crate) shards: Vec<ShardState>,
    /// Shards whose next round is due.
    pub(crate) ready: Vec<usize>,
    pub(crate) random: Random,
    pub(crate) rounds: u64,
    pub(crate) futile_rounds: u64,
    /// When the futile rounds began to be counted.
    pub(crate) progress_at: Instant,
    /// Kept for its memory.
    pub(crate) woken: Vec<usize>,
}

impl Sim {
    /// An empty world with the default options.
    pub fn new(seed: u64) -> Self {
        Self::with_options(seed, SimOptions::default())
    }

    /// An empty world.
    pub fn with_options(seed: u64, options: SimOptions) -> Self {
        let world = Rc::new(World::new(seed));
        let network = Rc::new(Network::new(Rc::clone(&world), seed, options.network.clone()));
        let ether = Rc::new(Ether::new(Rc::clone(&world), seed));
        let sim = Self {
            seed,
            options,
            world,
            network,
            ether,
            hosts: Vec::new(),
            shards: Vec::new(),
            ready: Vec::new(),
            random: Random::stream(seed, SCHEDULER_STREAM),
            rounds: 0,
            futile_rounds: 0,
            progress_at: Instant::ORIGIN,
            woken: Vec::new(),
        };
        if let Some(path) = env::var_os(TRACE_VARIABLE)
            && let Ok(file) = OpenOptions::new().create(true).append(true).open(path)
        {
            let mut file = BufWriter::new(file);
            // A trace that can't be written is missing; the world is none the worse.
            sim.trace_to(move |line| drop(writeln!(file, "{line}")));
        }
        sim
    }

    /// Hands every line of the trace to `sink`, from now on.
    ///
    /// A line is the virtual time in nanoseconds, what happened, and to whom: hosts by number, connections by number and
    /// direction (`7>` is what the connecting side sends on connection 7).
    pub fn trace_to(&self, sink: impl FnMut(&str) + 'static) {
        self.world.trace().set_sink(Box::new(sink));
    }

    /// Adds a host on whose shard 0 `main` runs. The world goes on until the main functions of all such hosts have ended; a
    /// host's other tasks are stopped some time after that ([`SimOptions::linger`]), and count as leaked if they still live
    /// then.
    ///
    /// # Panics
    /// If there is a host with this name already, or for no shards at all.
    pub fn host<F, M>(&mut self, name: &str, shards: usize, main: F) -> Host
    where
        F: FnOnce() -> M + 'static,
        M: Future<Output = ()> + 'static,
    {
        self.add_host(name, shards, false, main)
    }

    /// Adds a host that serves the others: when their main functions have ended it is stopped, tasks and all. If its own main
    /// function ends before, it is stopped as the others are.
    ///
    /// # Panics
    /// As [`Sim::host`].
    pub fn background_host<F, M>(&mut self, name: &str, shards: usize, main: F) -> Host
    where
        F: FnOnce() -> M + 'static,
        M: Future<Output = ()> + 'static,
    {
        self.add_host(name, shards, true, main)
    }

    fn add_host<F, M>(&mut self, name: &str, shards: usize, is_background: bool, main: F) -> Host
    where
        F: FnOnce() -> M + 'static,
        M: Future<Output = ()> + 'static,
    {
        let host = self.add_state(name, shards, is_background);
        let state = self.hosts.last_mut().expect("it was just added");
        let executor = self.shards[state.shards.start].executor.as_ref().expect("a new shard has its executor");
        state.main = Some(executor.enter(|| TaskBuilder::new().name("main").spawn(async move { main().await })));
        host
    }

    /// Adds a host with its shards, on which nothing runs yet.
    pub(crate) fn add_state(&mut self, name: &str, shards: usize, is_background: bool) -> Host {
        assert!(shards > 0, "a host has at least one shard");
        assert!(self.network.resolve(name).is_none(), "there is a host {name} already");
        let host = Host { name: name.to_owned(), ip: self.network.add_host(name) };
        let shards = self.add_shards(self.hosts.len(), shards);
        self.hosts.push(HostState {
            host: host.clone(),
            main: None,
            phase: Phase::Running,
            is_background,
            shards,
            report: HostReport { name: host.name.clone(), ip: host.ip, shards: Vec::new() },
            native: None,
        });
        host
    }

    /// Adds shards of a host, which are to run.
    pub(crate) fn add_shards(&mut self, host: usize, count: usize) -> Range<usize> {
        let first = self.shards.len();
        let making = Making { seed: self.seed, task_quota: self.options.task_quota };
        for (shard, links) in Mesh::links(count).into_iter().enumerate() {
            let io = ShardIo::new(Rc::clone(&self.world), first + shard, Place { host, shard });
            self.shards.push(ShardState::new(&self.world, &self.network, io, links, &making));
            self.make_ready(first + shard);
        }
        first..first + count
    }

    /// The virtual time.
    pub fn now(&self) -> Instant {
        self.world.now()
    }

    /// The digest of the trace so far.
    pub fn digest(&self) -> u64 {
        self.world.trace().digest()
    }

    /// What the network has done so far.
    pub fn network_counters(&self) -> NetworkCounters {
        self.network.counters()
    }

    /// Whether the main functions of all hosts but those in the background have ended, and their hosts were stopped.
    pub fn has_ended(&self) -> bool {
        self.hosts.iter().all(|host| host.is_background || host.is_over())
    }

    /// Lets the world go on until `condition` holds, which is asked after every step, or it [has ended](Sim::has_ended).
    ///
    /// # Errors
    /// What went wrong. The world should not be used any more then.
    pub fn run_until(&mut self, mut condition: impl FnMut(&Self) -> bool) -> Result<(), SimError> {
        while !self.has_ended() && !condition(self) {
            self.step(None).map_err(|failure| self.error(failure))?;
        }
        Ok(())
    }

    /// Lets the world go on for some virtual time, also if it has ended before or ends meanwhile.
    ///
    /// # Errors
    /// As [`Sim::run_until`].
    pub fn run_for(&mut self, time: Duration) -> Result<(), SimError> {
        let until = self.now() + time;
        while self.step(Some(until)).map_err(|failure| self.error(failure))? {}
        self.world.pass_until(until);
        Ok(())
    }

    /// Lets the world go on to its end, stops what is left and checks that nothing is.
    ///
    /// # Errors
    /// What went wrong.
    ///
    /// # Panics
    /// If all hosts are in the background: then nothing would run.
    pub fn run(mut self) -> Result<Report, SimError> {
        assert!(
            self.hosts.iter().any(|host| !host.is_background),
            "all hosts are in the background: nothing would run"
        );
        self.run_until(|_| false)?;
        let ended_at = self.now();
        self.finish().map_err(|failure| self.error(failure))?;
        Ok(Report { ended_at, ..self.report() })
    }

    /// What became of the world so far.
    pub fn report(&self) -> Report {
        Report {
            seed: self.seed,
            ended_at: self.now(),
            digest: self.digest(),
            rounds: self.rounds,
            events: self.world.scheduled(),
            network: self.network.counters(),
            links: self.ether.counters(),
            hosts: self.hosts.iter().map(|host| host.report.clone()).collect(),
        }
    }

    pub(crate) fn error(&self, failure: Failure) -> SimError {
        SimError { seed: self.seed, at: self.now(), failure }
    }

    /// Stops the hosts in the background, lets the network come to rest, and looks at what is left.
    fn finish(&mut self) -> Result<(), Failure> {
        self.settle()?;
        for number in 0..self.hosts.len() {
            self.stop_host(number)?;
        }
        // What was closed still has its time to be sent.
        while let Some(event) = {
            self.take_signals();
            self.world.advance()
        } {
            match event {
                Event::Network(event) => self.network.handle(event),
                Event::Frames(direction) => self.ether.arrive(direction),
                _ => {}
            }
        }
        if let Some(what) = self.network.take_violation() {
            return Err(Failure::Stream(what));
        }
        let leaks: Vec<_> = self.network.leaks().iter().map(|(what, count)| format!("{count} {what}")).collect();
        if leaks.is_empty() { Ok(()) } else { Err(Failure::Leak(leaks)) }
    }

    /// Stops a host that has not been stopped.
    pub(crate) fn stop_host(&mut self, number: usize) -> Result<(), Failure> {
        let state = &mut self.hosts[number];
        if matches!(state.phase, Phase::Stopped | Phase::Crashed) {
            return Ok(());
        }
        let failures = self.end_native(number);
        self.world.note(&crate::trace::Record::HostStopped { host: number });
        failures.into_iter().next().map_or(Ok(()), Err)
    }
}

impl Drop for Sim {
    /// Ends the shards in order, also those of a world that failed, and breaks the circles of references.
    fn drop(&mut self) {
        for number in 0..self.hosts.len() {
            if !matches!(self.hosts[number].phase, Phase::Stopped | Phase::Crashed) {
                drop(self.end_native(number));
            }
        }
        self.world.forget_events();
        self.network.clear();
        // Something that was leaked may keep the world.
        self.world.trace().close();
    }
}

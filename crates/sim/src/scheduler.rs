//! Who runs next, and when time passes.

use std::rc::Rc;
use std::time::Duration;

use sunstar_executor::{Instant, Round};

use crate::failure::Failure;
use crate::host::Phase;
use crate::options::draw_time;
use crate::sim::Sim;
use crate::trace::Record;
use crate::world::{Event, Signal};

/// Timers that ring are no sign of progress unless so much time has passed: one that is always due rings all the time.
const FUTILE_TIME: Duration = Duration::from_secs(60);

impl Sim {
    /// Runs a round of one of the shards that are ready; or, if none is, lets time pass until the next event. Answers false
    /// if that is after `until`; without it there must be one.
    pub(crate) fn step(&mut self, until: Option<Instant>) -> Result<bool, Failure> {
        self.take_signals();
        if let Some(shard) = self.pick() {
            self.run_round(shard)?;
            return Ok(true);
        }
        self.forget_void_alarms();
        let Some(at) = self.world.next_event_at() else {
            return if until.is_none() { Err(Failure::Deadlock(self.waits())) } else { Ok(false) };
        };
        if until.is_some_and(|until| at > until) {
            return Ok(false);
        }
        if at > Instant::ORIGIN + self.options.time_limit {
            return Err(Failure::OutOfTime(self.waits()));
        }
        if let Some(event) = self.world.advance() {
            self.handle(event)?;
        }
        Ok(true)
    }

    /// Takes in which shards were woken, and which streams were dropped between shards.
    pub(crate) fn take_signals(&mut self) {
        while let Some(signal) = self.world.next_signal() {
            match signal {
                Signal::Ring(shard) => self.make_ready(shard),
                Signal::Abandoned(stream) => self.network.abandon(stream),
            }
        }
        let mut woken = std::mem::take(&mut self.woken);
        self.world.take_woken(&mut woken);
        for shard in woken.drain(..) {
            self.make_ready(shard);
        }
        self.woken = woken;
    }

    /// Lets a shard run as soon as it is its turn, unless a round of it is going to be run anyway.
    pub(crate) fn make_ready(&mut self, shard: usize) {
        let state = &mut self.shards[shard];
        if !state.is_scheduled && state.executor.is_some() {
            state.is_scheduled = true;
            self.ready.push(shard);
        }
    }

    /// One of the shards that are ready; the seed chooses.
    fn pick(&mut self) -> Option<usize> {
        let choice = match self.ready.len() {
            0 => return None,
            1 => 0,
            len if planted::is("address_order") => (&raw const *self.shards[self.ready[0]].io).addr() / 64 % len,
            len => self.random.index(len),
        };
        Some(self.ready.swap_remove(choice))
    }

    fn run_round(&mut self, index: usize) -> Result<(), Failure> {
        let shard = &mut self.shards[index];
        // Its host may have been stopped meanwhile.
        let Some(executor) = &shard.executor else { return Ok(()) };
        if std::mem::take(&mut shard.is_asleep) {
            executor.end_sleep();
        }
        let mut round = executor.round();
        if round.is_idle() {
            round = executor.prepare_sleep();
            shard.is_asleep = round.is_idle();
            if !shard.is_asleep {
                executor.end_sleep();
            }
        }
        self.rounds += 1;
        self.world.note(&Record::Round { place: shard.io.place, was_busy: !round.is_idle() });
        match round {
            Round::Idle { deadline } => {
                shard.is_scheduled = false;
                shard.deadline = deadline.filter(|&deadline| deadline != Instant::FAR_FUTURE);
                self.set_alarm(index);
            }
            Round::Busy => self.schedule_round(index),
        }
        self.check_round(index)
    }

    /// The next round follows when the shard has had the time that the last one took.
    fn schedule_round(&mut self, index: usize) {
        let cost = draw_time(&mut self.random, &self.options.round_cost);
        if cost.is_zero() {
            self.ready.push(index);
        } else {
            self.world.schedule(self.world.now() + cost, Event::Round(index));
        }
    }

    /// Sees to it that an event wakes the shard at its deadline or before.
    fn set_alarm(&mut self, index: usize) {
        let shard = &mut self.shards[index];
        if let Some(deadline) = shard.deadline
            && shard.alarms.last().is_none_or(|&alarm| deadline < alarm)
        {
            shard.alarms.push(deadline);
            self.world.schedule(deadline, Event::Timer(index));
        }
    }

    /// Takes out the alarms to come that nobody waits for any more, so that no time passes for them.
    fn forget_void_alarms(&mut self) {
        while let Some((index, at)) = self.world.next_alarm() {
            let shard = &self.shards[index];
            if !shard.is_scheduled && shard.deadline.is_some_and(|deadline| deadline <= at) {
                return;
            }
            self.world.forget_next();
            self.shards[index].alarms.pop();
            // A shard that is going to run says afterwards when it wants to be woken.
            if !self.shards[index].is_scheduled {
                self.set_alarm(index);
            }
        }
    }

    /// Looks at what a round has brought about.
    fn check_round(&mut self, index: usize) -> Result<(), Failure> {
        if let Some(what) = self.network.take_violation() {
            return Err(Failure::Stream(what));
        }
        let place = self.shards[index].io.place;
        self.check_bounds(place.host, place.shard)?;
        let host = &mut self.hosts[place.host];
        if place.shard == 0
            && let Some(outcome) = host.take_outcome()
        {
            outcome?;
            host.phase = Phase::Ending;
            self.world.note(&Record::MainEnded { host: place.host });
            self.world.schedule(self.world.now() + self.options.linger, Event::HostEnd(place.host));
        }
        self.futile_rounds += 1;
        if self.futile_rounds > self.options.futile_rounds {
            return Err(Failure::Livelock(self.shards[index].tasks(&self.hosts[place.host].host.name)));
        }
        Ok(())
    }

    fn handle(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::Round(shard) => self.ready.push(shard),
            Event::Timer(shard) => self.alarm(shard),
            Event::HostEnd(host) => return self.end_host(host),
            Event::Frames(direction) => {
                self.note_progress();
                self.ether.arrive(direction);
            }
            Event::Network(event) => {
                self.note_progress();
                let network = Rc::clone(&self.network);
                network.handle(event);
            }
        }
        Ok(())
    }

    /// Something has come of what was done.
    fn note_progress(&mut self) {
        self.futile_rounds = 0;
        self.progress_at = self.world.now();
    }

    /// What a shard waits for is due; void alarms have been taken out before.
    fn alarm(&mut self, index: usize) {
        self.shards[index].alarms.pop();
        // Alarms alone are no progress if they ring as often as somebody turns in circles.
        if self.world.now() - self.progress_at >= FUTILE_TIME {
            self.note_progress();
        }
        self.make_ready(index);
    }

    /// The time of what is left of a host is over.
    fn end_host(&mut self, number: usize) -> Result<(), Failure> {
        self.note_progress();
        let state = &self.hosts[number];
        if state.phase != Phase::Ending {
            return Ok(());
        }
        let shards = &self.shards[state.shards.clone()];
        let tasks: Vec<_> = shards.iter().flat_map(|shard| shard.tasks(&state.host.name)).collect();
        if !state.is_background && !tasks.is_empty() {
            return Err(Failure::Leak(tasks));
        }
        if self.hosts[number].native.is_some() {
            // Its network still has to answer for what it has sent.
            self.hosts[number].phase = Phase::Settling;
            return Ok(());
        }
        self.stop_host(number)
    }

    /// Who has not ended, and what is waited for.
    fn waits(&self) -> Vec<String> {
        let unfinished = self.hosts.iter().filter(|host| host.phase == Phase::Running && !host.is_background);
        let tasks = unfinished
            .flat_map(|state| self.shards[state.shards.clone()].iter().flat_map(|shard| shard.tasks(&state.host.name)));
        // Others may wait for what a task would have done.
        let panics = self.hosts.iter().flat_map(|state| {
            self.shards[state.shards.clone()].iter().filter_map(|shard| shard.panics(&state.host.name))
        });
        tasks.chain(self.network.waits()).chain(panics).collect()
    }
}

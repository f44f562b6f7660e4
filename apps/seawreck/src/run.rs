//! The course of a load: open, warm up, measure, drain; and who asks the shards meanwhile.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use sunstar::executor::combine::with_deadline;
use sunstar::executor::timer::{now, sleep_until};
use sunstar::executor::{Instant, SubmitError};
use sunstar::prelude::*;

use crate::engine::{Load, Taken};
use crate::fault::Fault;
use crate::load_side::LoadSide;
use crate::plan::{Plan, Share};
use crate::protocol::Protocol;
use crate::tally::Tally;

/// How often the shards are asked what they have counted.
const PERIOD: Duration = Duration::from_secs(1);
/// How long it may be that nothing comes where only a number of requests ends the load, in timeouts.
const STALLED_TIMEOUTS: u32 = 2;

/// What came of a load.
pub(crate) struct Outcome {
    pub(crate) total: Tally,
    /// How long was measured.
    pub(crate) elapsed: Duration,
    /// A second each, or what was left of the last one.
    pub(crate) series: Vec<Row>,
    pub(crate) shards: usize,
    /// Connections that were open at the end.
    pub(crate) open: usize,
    pub(crate) why: Why,
    /// What the protocol has counted, with names.
    pub(crate) figures: Vec<(&'static str, u64)>,
    /// How seawreck itself has fared.
    pub(crate) load_side: LoadSide,
    /// Requests that were under way at any time, if each was followed by another one as soon as it was answered.
    pub(crate) under_way: Option<u64>,
}

/// What ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Its time was over, or its number of requests was reached.
    Done,
    /// It was asked to stop.
    Stopped,
    /// Nothing came any more.
    Stalled,
    /// No connection could be made.
    Unconnected,
}

/// What happened in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Row {
    /// When it ended, from the begin of what is measured, in seconds.
    pub(crate) at_s: f64,
    /// How long it was, in seconds.
    pub(crate) len_s: f64,
    pub(crate) good: u64,
    pub(crate) bad: u64,
    pub(crate) open: usize,
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
    /// Latencies at 50, 99 and 99.9 percent, and the longest, in nanoseconds.
    pub(crate) latencies: [u64; 4],
    /// Whether it is what came after the end, when answers were waited for.
    pub(crate) is_draining: bool,
}

impl Row {
    fn new(at: Duration, len: Duration, open: usize, tally: &Tally) -> Self {
        let latencies = [0.5, 0.99, 0.999, 1.0].map(|quantile| tally.latency_at(quantile));
        Self {
            at_s: at.as_secs_f64(),
            len_s: len.as_secs_f64(),
            good: tally.good(),
            bad: tally.bad(),
            open,
            received_bytes: tally.received_bytes,
            sent_bytes: tally.sent_bytes,
            latencies,
            is_draining: false,
        }
    }
}

/// Runs a load until it is done or `stop` is ready. `tell` is given each second's row.
///
/// # Errors
/// If a shard has ended.
pub(crate) async fn run<P: Protocol>(
    plan: &Plan,
    make: impl FnOnce(&Plan, &Share) -> P + Clone + Send + 'static,
    stop: &mut (impl Future<Output = ()> + Unpin),
    tell: impl FnMut(&Row),
) -> Result<Outcome, SubmitError> {
    let their_plan = plan.clone();
    let loads = Sharded::start(move || async move {
        let share = their_plan.share(shard_id().index(), shard_count());
        Holder(Load::new(make(&their_plan, &share), their_plan, share))
    })
    .await?;
    let mut course = Course {
        plan,
        loads,
        stop,
        total: Tally::new(),
        pending: None,
        series: Vec::new(),
        begin: Instant::FAR_FUTURE,
        last: Instant::FAR_FUTURE,
        open: 0,
        held: None,
        load_side: LoadSide::default(),
        tell,
    };
    let why = course.go().await?;
    course.end(why).await
}

/// A shard's load as a service.
struct Holder<P: Protocol>(Rc<Load<P>>);

impl<P: Protocol> Service for Holder<P> {}

type Boxed<T> = Pin<Box<dyn Future<Output = T>>>;

struct Course<'a, P: Protocol, S, T> {
    plan: &'a Plan,
    loads: Sharded<Holder<P>>,
    /// Ready when it is to end before its time. It is looked at where nothing is lost by it.
    stop: &'a mut S,
    total: Tally,
    /// What the shards had counted when the measuring began, which belongs to the first row.
    pending: Option<Tally>,
    series: Vec<Row>,
    /// From when on it is measured.
    begin: Instant,
    /// When the shards were asked last.
    last: Instant,
    open: usize,
    /// When connections that were held were asked for the first time.
    held: Option<Instant>,
    load_side: LoadSide,
    tell: T,
}

impl<P: Protocol, S: Future<Output = ()> + Unpin, T: FnMut(&Row)> Course<'_, P, S, T> {
    /// All until no more is to be sent.
    async fn go(&mut self) -> Result<Why, SubmitError> {
        let loads = self.loads;
        let opening = async move { loads.map(|load| Rc::clone(&load.0).open()).await };
        if !self.plan.ramp.is_zero() || self.plan.requests_per_connection.is_some() {
            // Requests are sent on the first connections while others are opened.
            drop(spawn(opening));
        } else {
            match with_deadline(&mut *self.stop, opening).await {
                Ok(opened) => drop(opened?),
                Err(_) => return Ok(Why::Stopped),
            }
            self.ask().await?;
            if self.open == 0 {
                return Ok(Why::Unconnected);
            }
            // Who sends without being asked may have begun.
            self.total.received_bytes = 0;
        }
        let now = now();
        self.begin = now + self.plan.warm_up;
        let (begin, end) = (self.begin, self.end_of_time());
        self.loads.map(move |load| async move { load.0.send(now, begin, end) }).await?;
        let finished = self.plan.requests.map(|_| self.finished());
        let why = self.watch(finished).await?;
        if self.plan.is_idle && why == Why::Done {
            self.held = Some(self.last);
            self.loads.map(|load| async move { load.0.ask_each() }).await?;
            return self.wait_for_each().await;
        }
        Ok(why)
    }

    /// Waits until all connections that were held have been asked and answered.
    async fn wait_for_each(&mut self) -> Result<Why, SubmitError> {
        // Each has the time of an answer, and of a connection if it has lost its own. How many others are before it depends on how many there are.
        let patience = self.plan.timeout + self.plan.connect_timeout;
        let (open, mut finished) = (self.open, Some(self.finished()));
        loop {
            if let Some(why) = self.wait(now() + patience, &mut finished).await {
                return Ok(why);
            }
            let more = self.collect().await?;
            // What counts is how many were held.
            self.open = open;
            // A server that answers to nobody would be waited for as many times as there are such groups.
            let has_any = more.good() + more.bad() > more.failed[Fault::TimedOut as usize];
            match &mut self.pending {
                Some(pending) => pending.add(&more),
                None => self.pending = Some(more),
            }
            if !has_any {
                return Ok(Why::Stalled);
            }
        }
    }

    /// When the time is over that is measured.
    fn end_of_time(&self) -> Instant {
        self.plan.duration.map_or(Instant::FAR_FUTURE, |duration| self.begin + duration)
    }

    /// Ready when all has been sent and answered.
    fn finished(&self) -> Boxed<Result<(), SubmitError>> {
        let loads = self.loads;
        Box::pin(async move { loads.map(|load| Rc::clone(&load.0).finished()).await.map(drop) })
    }

    /// Waits; answers what has come before.
    async fn wait(&mut self, until: Instant, finished: &mut Option<Boxed<Result<(), SubmitError>>>) -> Option<Why> {
        let finish = poll_fn(|cx| match finished {
            Some(finished) => finished.as_mut().poll(cx),
            None => Poll::Pending,
        });
        let finish_or_time = with_deadline(finish, sleep_until(until));
        match with_deadline(&mut *self.stop, finish_or_time).await {
            Ok(Ok(())) => None,
            Ok(Err(_)) => Some(Why::Done),
            Err(_) => Some(Why::Stopped),
        }
    }

    /// Asks the shards each second, until the end.
    async fn watch(&mut self, mut finished: Option<Boxed<Result<(), SubmitError>>>) -> Result<Why, SubmitError> {
        let begin = self.begin;
        let end = self.end_of_time();
        if let Some(why) = self.wait(begin, &mut finished).await {
            return Ok(why);
        }
        // What the connections' own counts say of the warm-up is kept; how much went over them is not.
        let mut warm_up = self.collect().await?;
        self.load_side.begin();
        if !self.plan.warm_up.is_zero() {
            (warm_up.received_bytes, warm_up.sent_bytes) = (0, 0);
        }
        self.pending = Some(warm_up);
        self.last = begin;
        let (mut next, mut heard) = (begin, begin);
        loop {
            next += PERIOD;
            if next <= self.last {
                // What was missed is not made up for.
                next = self.last + PERIOD;
            }
            if let Some(why) = self.wait(next.min(end), &mut finished).await {
                return Ok(why);
            }
            let row = self.ask().await?;
            if self.last >= end {
                return Ok(Why::Done);
            }
            if row.good + row.bad > 0 {
                heard = self.last;
            }
            if self.is_hopeless() {
                return Ok(Why::Unconnected);
            }
            let patience = self.plan.timeout.max(self.plan.connect_timeout) * STALLED_TIMEOUTS;
            if self.plan.duration.is_none() && self.last - heard > patience {
                return Ok(Why::Stalled);
            }
        }
    }

    /// Whether there was never a connection, though each had time enough.
    fn is_hopeless(&self) -> bool {
        self.total.connects.is_empty() && self.total.unconnected.iter().sum::<u64>() >= self.plan.connections as u64
    }

    /// Asks the shards what they have counted since, and takes note of it.
    async fn ask(&mut self) -> Result<Row, SubmitError> {
        let tally = self.gather().await?;
        let at = now();
        let row = Row::new(at - self.begin, at - self.last, self.open, &tally);
        if self.begin < Instant::FAR_FUTURE {
            self.last = at;
            self.series.push(row);
            (self.tell)(&row);
        }
        Ok(row)
    }

    async fn collect(&mut self) -> Result<Tally, SubmitError> {
        let mut all = Tally::new();
        self.open = 0;
        for (shard, taken) in self.loads.map(|load| async move { load.0.take() }).await?.into_iter().enumerate() {
            let Taken { open, tally, times } = taken;
            self.open += open;
            all.add(&tally);
            self.load_side.see(shard, times);
        }
        Ok(all)
    }

    /// Ends the load and adds up what is left.
    async fn end(mut self, why: Why) -> Result<Outcome, SubmitError> {
        let mut end = self.held.unwrap_or_else(now).min(self.end_of_time());
        // Connections end when they have nothing left to do.
        let open = self.open;
        let rest = self.gather().await?;
        let load_side = self.load_side.clone();
        self.loads.map(move |load| async move { load.0.drain(end) }).await?;
        let mut is_cut_short = why != Why::Done;
        if why == Why::Done {
            let drained = self.finished();
            let patience = sleep(self.plan.timeout);
            // Who asks for the end, or has had enough time, is not waited for.
            is_cut_short = with_deadline(&mut *self.stop, with_deadline(patience, drained)).await.is_err();
        }
        let mut drained = self.gather().await?;
        let longest = Duration::from_nanos(self.total.latencies.max());
        let known = if is_cut_short { longest } else { Duration::ZERO };
        self.loads.map(move |load| Rc::clone(&load.0).cut(known)).await?;
        drained.add(&self.gather().await?);
        let nominal = end;
        // What was due before the end and was sent after it took time that is not in the plan.
        end = end.max(self.total.last_overdue);
        if self.plan.requests.is_some() && why == Why::Done && self.total.unanswered == 0 {
            // What is counted ends with the last of it.
            end = end.min(self.total.last_answer);
        }
        self.add_rest(end.min(nominal), open, &rest);
        self.add_drained(&drained);
        let mut figures: Vec<(&'static str, u64)> = Vec::new();
        for (name, count) in self.loads.map(|load| async move { load.0.figures() }).await?.into_iter().flatten() {
            match figures.iter_mut().find(|(other, _)| *other == name) {
                Some((_, sum)) => *sum += count,
                None => figures.push((name, count)),
            }
        }
        self.loads.stop().await?;
        let elapsed = end.saturating_duration_since(self.begin);
        let (shards, total, series) = (shard_count(), self.total, self.series);
        let is_closed_loop = P::ASKS && !self.plan.is_idle && self.plan.arrivals.is_none();
        let under_way = is_closed_loop.then(|| (self.plan.connections * self.plan.pipeline) as u64);
        Ok(Outcome { total, elapsed, series, shards, open, why, figures, load_side, under_way })
    }

    /// Asks the shards what they have counted since, and adds it to the total; makes no row of it.
    async fn gather(&mut self) -> Result<Tally, SubmitError> {
        let mut tally = self.collect().await?;
        if let Some(pending) = self.pending.take() {
            tally.add(&pending);
        }
        self.total.add(&tally);
        Ok(tally)
    }

    /// Takes note of what came after the last row until the end: another row, if it took long enough to be one, or a part of the last.
    fn add_rest(&mut self, end: Instant, open: usize, tally: &Tally) {
        if self.held.is_some() {
            let now = now();
            self.series.push(Row::new(now - self.begin, now - self.last, open, tally));
        } else if end > self.last + PERIOD / 20 || (self.series.is_empty() && end > self.begin) {
            self.series.push(Row::new(end - self.begin, end - self.last, open, tally));
            self.last = end;
        } else if let Some(row) = self.series.last_mut() {
            row.good += tally.good();
            row.bad += tally.bad();
            row.received_bytes += tally.received_bytes;
            row.sent_bytes += tally.sent_bytes;
        }
    }

    /// Takes note of what came after the end, which tells nothing of any second before.
    fn add_drained(&mut self, tally: &Tally) {
        let has_any = tally.good() + tally.bad() + tally.received_bytes + tally.sent_bytes > 0;
        if has_any && !self.series.is_empty() {
            let now = now();
            let row = Row::new(now - self.begin, now - self.last, self.open, tally);
            self.series.push(Row { is_draining: true, ..row });
        }
    }
}

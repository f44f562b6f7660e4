//! epoll, and what is done with the time.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::time::{ClockId, Timespec, clock_gettime};
use sunstar_bench_common::bypass::Usage;

/// Events that are taken at once.
const EVENTS: usize = 512;
/// Whoever waits looks at the clock so often.
const LOOK_EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// What of the server something is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Listener,
    Messages,
    Stream,
    Control,
}

const KINDS: [Kind; 4] = [Kind::Listener, Kind::Messages, Kind::Stream, Kind::Control];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Client,
    Server(Kind),
}

impl Side {
    fn number(self) -> u64 {
        match self {
            Self::Client => KINDS.len() as u64,
            Self::Server(kind) => KINDS.iter().position(|&other| other == kind).unwrap_or(0) as u64,
        }
    }

    fn of(number: u64) -> Self {
        usize::try_from(number)
            .ok()
            .and_then(|number| KINDS.get(number))
            .map_or(Self::Client, |&kind| Self::Server(kind))
    }
}

/// Something can be done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    pub(crate) side: Side,
    pub(crate) place: usize,
    pub(crate) is_writable: bool,
    pub(crate) is_readable: bool,
}

pub(crate) struct Poll {
    epoll: OwnedFd,
    spins: bool,
    events: Vec<epoll::Event>,
    ready: Vec<Ready>,
    began: Instant,
    idle: Duration,
}

impl Poll {
    pub(crate) fn new(spins: bool) -> Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).context("making an epoll instance")?;
        let (events, ready) = (Vec::with_capacity(EVENTS), Vec::with_capacity(EVENTS));
        Ok(Self { epoll, spins, events, ready, began: Instant::now(), idle: Duration::ZERO })
    }

    /// Tells of it whenever it is ready; closing it ends that.
    pub(crate) fn watch(&self, socket: impl AsFd, side: Side, place: usize, flags: EventFlags) -> Result<()> {
        let data = EventData::new_u64(side.number() << 32 | place as u64);
        epoll::add(&self.epoll, socket, data, flags).context("watching a socket")
    }

    /// The same for what was watched for something else.
    pub(crate) fn watch_for(&self, socket: impl AsFd, side: Side, place: usize, flags: EventFlags) -> Result<()> {
        let data = EventData::new_u64(side.number() << 32 | place as u64);
        epoll::modify(&self.epoll, socket, data, flags).context("watching a socket")
    }

    /// What is ready. Who does not spin sleeps until something is, or until it is time to look at the clock.
    pub(crate) fn wait(&mut self) -> Result<Vec<Ready>> {
        let begun = self.spins.then(Instant::now);
        let time = if self.spins { Timespec { tv_sec: 0, tv_nsec: 0 } } else { LOOK_EVERY };
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&time)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("waiting for events"),
        }
        if let Some(begun) = begun
            && self.events.is_empty()
        {
            self.idle += begun.elapsed();
        }
        let mut ready = std::mem::take(&mut self.ready);
        ready.extend(self.events.iter().map(|event| {
            let (data, flags) = (event.data.u64(), event.flags);
            Ready {
                side: Side::of(data >> 32),
                place: usize::try_from(data & 0xffff_ffff).unwrap_or(0),
                is_writable: flags.contains(EventFlags::OUT),
                is_readable: flags.intersects(EventFlags::IN | EventFlags::ERR | EventFlags::HUP),
            }
        }));
        Ok(ready)
    }

    /// Takes the memory of events back.
    pub(crate) fn put_back(&mut self, mut ready: Vec<Ready>) {
        ready.clear();
        self.ready = ready;
    }

    /// How this process has spent its time. One that sleeps is busy while it runs.
    pub(crate) fn usage(&self) -> Usage {
        let up = self.began.elapsed();
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let cpu = Duration::new(u64::try_from(cpu.tv_sec).unwrap_or(0), u32::try_from(cpu.tv_nsec).unwrap_or(0));
        Usage { up, busy: if self.spins { up.saturating_sub(self.idle) } else { cpu }, cpu }
    }
}

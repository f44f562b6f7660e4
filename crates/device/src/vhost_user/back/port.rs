//! What the shard of a pair of queues and the thread that speaks with the front end both touch: the pair's rings.
//!
//! The shard takes the lock for each burst, without ever waiting for it. Who changes something says so before, so that a shard in full swing
//! lets it in, and wakes the shard afterwards. So a ring that was taken away is not worked on from then on, which is what the front end is
//! told by the answer.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::io::Errno;
use sunstar_virtio::net::device::{DeviceRing, ReceiveRing, TransmitRing};

/// An eventfd that the front end shares.
pub(super) type Bell = Arc<OwnedFd>;

/// By what the two sides of a ring tell each other.
#[derive(Clone, Debug, Default)]
pub(super) struct Bells {
    /// The driver has made something available. Without it, nobody is going to tell.
    pub(super) kick: Option<Bell>,
    /// The device has used something.
    pub(super) call: Option<Bell>,
    /// The ring is broken.
    pub(super) err: Option<Bell>,
}

/// A ring that is worked on.
#[derive(Debug)]
pub(super) struct Running<R> {
    pub(super) ring: R,
    pub(super) bells: Bells,
    pub(super) is_enabled: bool,
    /// The driver has written what makes no sense. Nothing happens until the ring is set up anew.
    pub(super) is_broken: bool,
}

impl<R> Running<R> {
    /// Tells the driver that something was used.
    pub(super) fn tell(&self) {
        self.bells.call.iter().for_each(ring);
    }

    /// Takes note that the ring is broken.
    pub(super) fn fail(&mut self) {
        self.is_broken = true;
        self.bells.err.iter().for_each(ring);
    }
}

/// The rings of a pair of queues, as far as they are started.
#[derive(Debug, Default)]
pub(super) struct Rings {
    /// What the driver transmits by.
    pub(super) transmit: Option<Running<TransmitRing>>,
    /// What the driver receives by.
    pub(super) receive: Option<Running<ReceiveRing>>,
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Transmit,
    Receive,
}

impl Rings {
    fn bells(&mut self, direction: Direction) -> Option<&mut Bells> {
        match direction {
            Direction::Transmit => self.transmit.as_mut().map(|running| &mut running.bells),
            Direction::Receive => self.receive.as_mut().map(|running| &mut running.bells),
        }
    }
}

/// The place where a pair's rings are.
#[derive(Debug)]
pub(super) struct Port {
    is_wanted: AtomicBool,
    rings: Mutex<Rings>,
    /// What wakes the shard: the kicks, and the bell of this side.
    events: OwnedFd,
    changed: OwnedFd,
}

impl Port {
    pub(super) fn new() -> io::Result<Self> {
        let events = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let changed = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        watch(&events, &changed)?;
        Ok(Self { is_wanted: AtomicBool::new(false), rings: Mutex::default(), events, changed })
    }

    /// Works on the rings, on the shard. None if they are being changed: the shard is going to be woken then.
    #[inline]
    pub(super) fn work<T>(&self, work: impl FnOnce(&mut Rings) -> T) -> Option<T> {
        if self.is_wanted.load(Ordering::Relaxed) {
            return None;
        }
        let mut rings = self.rings.try_lock().ok()?;
        Some(work(&mut rings))
    }

    /// Changes the rings, on the thread that speaks with the front end.
    fn change<T>(&self, change: impl FnOnce(&mut Rings) -> T) -> T {
        self.is_wanted.store(true, Ordering::Relaxed);
        let result = change(&mut self.rings.lock().unwrap_or_else(PoisonError::into_inner));
        self.is_wanted.store(false, Ordering::Relaxed);
        ring_own(&self.changed);
        result
    }

    /// Has the shard work on a ring.
    pub(super) fn start(
        &self,
        direction: Direction,
        ring: DeviceRing,
        bells: Bells,
        is_enabled: bool,
    ) -> io::Result<()> {
        bells.kick.as_ref().map_or(Ok(()), |kick| watch(&self.events, kick))?;
        let is_broken = false;
        self.change(|rings| match direction {
            Direction::Transmit => {
                rings.transmit = Some(Running { ring: TransmitRing::new(ring), bells, is_enabled, is_broken });
            }
            Direction::Receive => {
                rings.receive = Some(Running { ring: ReceiveRing::new(ring), bells, is_enabled, is_broken });
            }
        });
        Ok(())
    }

    /// Has the shard work on a ring no longer. Answers where it has stopped, if it was worked on.
    pub(super) fn stop(&self, direction: Direction) -> Option<u16> {
        let (base, bells) = self.change(|rings| match direction {
            Direction::Transmit => rings.transmit.take().map(|mut it| (it.ring.ring().base(), it.bells)),
            Direction::Receive => rings.receive.take().map(|mut it| (it.ring.ring().base(), it.bells)),
        })?;
        if let Some(kick) = bells.kick {
            // The front end has it too, so that closing it would not suffice.
            let result = epoll::delete(&self.events, &kick);
            debug_assert!(result.is_ok(), "it was added when the ring was started");
        }
        Some(base)
    }

    /// Changes by what the driver is told.
    pub(super) fn set_bells(&self, direction: Direction, call: Option<Bell>, err: Option<Bell>) {
        self.change(|rings| {
            if let Some(bells) = rings.bells(direction) {
                (bells.call, bells.err) = (call, err);
            }
        });
    }

    /// Enables or disables a ring.
    pub(super) fn enable(&self, direction: Direction, is_enabled: bool) {
        self.change(|rings| match direction {
            Direction::Transmit => rings.transmit.iter_mut().for_each(|running| running.is_enabled = is_enabled),
            Direction::Receive => rings.receive.iter_mut().for_each(|running| running.is_enabled = is_enabled),
        });
    }

    /// Forgets that the shard was woken, before it looks whether there is anything.
    pub(super) fn clear_events(&self) {
        let mut events = [const { std::mem::MaybeUninit::uninit() }; 4];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        // What fails leaves the descriptor readable, so that the shard looks again.
        let _ = epoll::wait(&self.events, &mut events, Some(&at_once));
    }

    /// Readable when there may be something.
    pub(super) fn events(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }
}

/// Has a descriptor end the shard's sleep each time that it is written to. It is never read: that could wait for ever, since the other side
/// may read it too.
fn watch(events: &OwnedFd, bell: &OwnedFd) -> io::Result<()> {
    let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
    Ok(epoll::add(events, bell, epoll::EventData::new_u64(0), flags)?)
}

/// Tells the other side. It does not block, and what can't be told because so much was told already is no loss.
fn ring(bell: &Bell) {
    ring_own(bell);
}

fn ring_own(bell: &OwnedFd) {
    while let Err(Errno::INTR) = rustix::io::write(bell, &1_u64.to_ne_bytes()) {}
}

//! The world of a script: sockets, a clock that passes when the script waits, and packets that have left.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use sunstar_packet::{Buffer, Packet};
use sunstar_sockets::calls::Platform;
use sunstar_sockets::errno::Errno;
use sunstar_sockets::{Settings, Sockets};
use sunstar_tcpip::interface::{Capabilities, InterfaceId, InterfaceOptions, Link};
use sunstar_tcpip::prefix::Prefix;
use sunstar_tcpip::routes::Route;
use sunstar_tcpip::stack::{Limits, Stack};
use sunstar_tcpip::time::Instant;

use crate::numbers::Reserved;
use crate::options::WorldOptions;
use crate::sysctl::{self, Metrics};

/// When scripts begin, in microseconds: far enough from zero that no time lies before it.
const BEGIN: u64 = 1_000_000_000_000_000;

/// Nobody waits longer for a packet: who has asked gets none.
const LONGEST_WAIT: u64 = 300_000_000;

/// So much real time a thread gets to ask what time it is when its call has ended.
const GRACE: Duration = Duration::from_secs(2);

/// So much real time it gets afterwards to take note of what has come of it.
const PAUSE: Duration = Duration::from_millis(3);

/// A thread that sleeps in a call.
#[derive(Debug)]
struct Sleeper {
    thread: ThreadId,
    deadline: Option<Instant>,
    is_woken: bool,
}

/// What the lock holds.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) sockets: Sockets,
    interface: InterfaceId,
    metrics: Metrics,
    /// Packets that have left, and when.
    outbox: VecDeque<(u64, Vec<u8>)>,
    sleepers: Vec<Sleeper>,
    /// Threads whose call has ended and that have not asked for the time.
    ending: Vec<ThreadId>,
    /// A thread has asked for it since, and may have more to do.
    has_ended: bool,
}

// SAFETY: a world is reached through the machine's lock only, and nothing that counts references without atomics leaves it: packets and
// received bytes are copied in and out. No part of it depends on the thread that runs.
unsafe impl Send for World {}

/// A world, its lock and its clock.
#[derive(Debug)]
pub(crate) struct Machine {
    clock: AtomicU64,
    /// The thread in which time passes.
    keeper: ThreadId,
    world: Mutex<World>,
    changed: Condvar,
}

/// The world while its lock is held.
#[derive(Debug)]
pub(crate) struct Guard<'a>(MutexGuard<'a, World>);

impl Deref for Guard<'_> {
    type Target = Sockets;

    fn deref(&self) -> &Sockets {
        &self.0.sockets
    }
}

impl DerefMut for Guard<'_> {
    fn deref_mut(&mut self) -> &mut Sockets {
        &mut self.0.sockets
    }
}

impl Platform for Machine {
    type Guard<'a> = Guard<'a>;

    fn lock(&self) -> Guard<'_> {
        Guard(self.enter())
    }

    fn now(&self) -> Instant {
        Instant::from_micros(self.micros())
    }

    fn changed(&self, sockets: &mut Sockets) {
        // Packets leave when the call has ended, or begins to wait: no time passes before.
        let _ = sockets.look(self.now());
    }

    fn wait<'a>(&'a self, guard: Guard<'a>, deadline: Option<Instant>) -> Result<Guard<'a>, Errno> {
        let mut world = guard.0;
        let thread = thread::current().id();
        world.forget_ending();
        if self.settle(&mut world) {
            // What left just now may be what is waited for.
            return Ok(Guard(world));
        }
        if thread == self.keeper {
            // Nobody else lets time pass.
            let due = world.deadline().into_iter().chain(deadline).min().ok_or(Errno::INTR)?;
            return Ok(Guard(self.pass(world, due)));
        }
        world.sleepers.push(Sleeper { thread, deadline, is_woken: false });
        self.changed.notify_all();
        let is_asleep = |world: &mut World| world.sleepers.iter().any(|one| one.thread == thread && !one.is_woken);
        let mut world = self.changed.wait_while(world, is_asleep).unwrap_or_else(PoisonError::into_inner);
        world.sleepers.retain(|one| one.thread != thread);
        world.ending.push(thread);
        Ok(Guard(world))
    }
}

impl World {
    fn new(options: &WorldOptions) -> Self {
        let mut stack = Stack::new([0x5a; 16], Limits::DEFAULT);
        let link = InterfaceOptions { link: Link::Ip, mtu: options.mtu, capabilities: Capabilities::default() };
        let interface = stack.add_interface(link).unwrap_or(InterfaceId::LOOPBACK);
        let now = Instant::from_micros(BEGIN);
        for address in &options.addresses {
            // Of a version that the stack does not speak nothing comes.
            let _ = stack.add_address(now, interface, *address);
        }
        for prefix in [Prefix::ALL_V4, Prefix::ALL_V6] {
            // There is room for two.
            let _ = stack.add_route(Route { prefix, gateway: None, interface, metric: 0 });
        }
        let mut settings = Settings::DEFAULT;
        sysctl::read_into(&mut settings);
        let sockets = Sockets::with_numbers(stack, settings, Box::new(Reserved));
        Self {
            sockets,
            interface,
            metrics: Metrics::from_environment(),
            outbox: VecDeque::new(),
            sleepers: Vec::new(),
            ending: Vec::new(),
            has_ended: false,
        }
    }

    fn forget_ending(&mut self) {
        let thread = thread::current().id();
        self.ending.retain(|other| *other != thread);
    }

    /// Takes what the stack has to send.
    fn transmit(&mut self, now: Instant) {
        while let Some((_, packet)) = self.sockets.stack().poll_transmit(now) {
            let bytes: Vec<u8> = packet.buffers().iter().flat_map(|part| part.iter().copied()).collect();
            self.outbox.push_back((now.as_micros(), bytes));
        }
    }

    /// When something is due.
    fn deadline(&mut self) -> Option<Instant> {
        let sleepers = self.sleepers.iter().filter(|one| !one.is_woken).filter_map(|one| one.deadline).min();
        self.sockets.stack().deadline().into_iter().chain(sleepers).min()
    }
}

impl Machine {
    pub(crate) fn new(options: &WorldOptions) -> Self {
        Self {
            clock: AtomicU64::new(BEGIN),
            keeper: thread::current().id(),
            world: Mutex::new(World::new(options)),
            changed: Condvar::new(),
        }
    }

    fn micros(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    fn enter(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the sockets that never waits.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Sockets, Instant) -> T) -> T {
        let mut world = self.enter();
        let done = act(&mut world.sockets, self.now());
        self.settle(&mut world);
        self.wake(&mut world);
        done
    }

    /// After a call that may have waited: what it has to send leaves.
    pub(crate) fn finish(&self) {
        let mut world = self.enter();
        self.settle(&mut world);
        self.wake(&mut world);
    }

    /// Reads the settings anew, and takes an address for ours.
    pub(crate) fn refresh(&self, address: Option<std::net::SocketAddr>) {
        let mut world = self.enter();
        sysctl::read_into(world.sockets.settings());
        if world.metrics.were_flushed() {
            world.sockets.stack().tcp().forget_cookies();
        }
        let (now, interface) = (self.now(), world.interface);
        let stack = world.sockets.stack();
        let unknown = address.map(|address| address.ip()).filter(|ip| !ip.is_unspecified() && !stack.is_own(*ip));
        if let Some(prefix) = unknown.and_then(|ip| Prefix::new(ip, if ip.is_ipv4() { 32 } else { 128 }).ok()) {
            let _ = stack.add_address(now, interface, prefix);
        }
    }

    /// Lets everything happen that is due now.
    fn settle(&self, world: &mut World) -> bool {
        let now = self.now();
        // What is seen may let out more, and what has left is seen.
        let has_news = world.sockets.look(now);
        world.transmit(now);
        has_news | world.sockets.look(now)
    }

    /// A packet has come.
    pub(crate) fn inject(&self, bytes: &[u8]) {
        let mut world = self.enter();
        let (now, interface) = (self.now(), world.interface);
        let packet = Packet::from(Buffer::copy_from_slice(bytes));
        world.sockets.stack().handle_packets(now, interface, [packet]);
        world.sockets.look(now);
        // Who waits for it may have something to send with the answer.
        let mut world = self.wake_all(world);
        // And what leaves may be what somebody waits for.
        if self.settle(&mut world) {
            let mut world = self.wake_all(world);
            self.settle(&mut world);
        }
    }

    /// Tells all that sleep that something may have changed.
    fn wake(&self, world: &mut World) {
        if !world.sleepers.is_empty() {
            world.sleepers.iter_mut().for_each(|one| one.is_woken = true);
            self.changed.notify_all();
        }
    }

    /// The same, and waits until they sleep again, or their calls have ended and they know when.
    fn wake_all<'a>(&'a self, mut world: MutexGuard<'a, World>) -> MutexGuard<'a, World> {
        let me = thread::current().id();
        self.wake(&mut world);
        let is_moving = |world: &mut World| {
            world.sleepers.iter().any(|one| one.is_woken) || world.ending.iter().any(|thread| *thread != me)
        };
        let waited = self.changed.wait_timeout_while(world, GRACE, is_moving);
        let mut world = waited.unwrap_or_else(PoisonError::into_inner).0;
        world.ending.retain(|thread| *thread == me);
        world
    }

    /// The next packet that leaves, waiting for it; none if nothing will.
    pub(crate) fn next_packet(&self) -> Option<(u64, Vec<u8>)> {
        let mut world = self.enter();
        let limit = self.micros() + LONGEST_WAIT;
        loop {
            if let Some(packet) = world.outbox.pop_front() {
                return Some(packet);
            }
            let due = world.deadline().filter(|due| due.as_micros() <= limit)?;
            world = self.pass(world, due);
        }
    }

    /// Lets time pass up to a point.
    pub(crate) fn sleep(&self, micros: u64) {
        let until = self.micros() + micros;
        self.pause_for_ended(micros);
        let mut world = self.enter();
        while let Some(due) = world.deadline().filter(|due| due.as_micros() <= until) {
            world = self.pass(world, due);
        }
        self.clock.fetch_max(until, Ordering::Relaxed);
        drop(world);
        self.pause_for_ended(micros);
    }

    /// A thread whose call has ended takes note of what has come of it while the script waits: the tool's lock is free only then.
    fn pause_for_ended(&self, micros: u64) {
        if micros > 1 && core::mem::take(&mut self.enter().has_ended) {
            thread::sleep(PAUSE);
        }
    }

    /// Lets time pass to where something is due, and that happen.
    fn pass<'a>(&'a self, mut world: MutexGuard<'a, World>, due: Instant) -> MutexGuard<'a, World> {
        // What is due in the past was not done the last time: it must not be due for ever.
        let at = due.as_micros().max(self.micros() + u64::from(due.as_micros() < self.micros()));
        self.clock.store(at, Ordering::Relaxed);
        let now = self.now();
        world.sockets.stack().handle_timeout(now);
        let has_news = self.settle(&mut world);
        let is_anyone_due = world.sleepers.iter().any(|one| one.deadline.is_some_and(|deadline| deadline <= now));
        if has_news || is_anyone_due { self.wake_all(world) } else { world }
    }

    /// What time it is, in microseconds. Each question takes one, since who waits for a time asks again and again.
    pub(crate) fn ask_time(&self) -> u64 {
        let mut world = self.enter();
        let thread = thread::current().id();
        if world.ending.contains(&thread) {
            world.ending.retain(|other| *other != thread);
            world.has_ended = true;
            self.changed.notify_all();
            return self.micros();
        }
        drop(world);
        self.sleep(1);
        self.micros()
    }
}

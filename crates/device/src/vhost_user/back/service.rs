//! The thread that speaks with front ends, one after the other: it waits for one, serves its session, and waits for the next.
//!
//! It has nothing to do with packets. What it does to rings it does at their [`Port`].

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use sunstar_virtio::Broken;

use super::port::Port;
use super::session::{Offer, Session, SessionError};
use crate::vhost_user::channel::{Channel, ChannelError};
use crate::vhost_user::socket::{Listener, connect};

/// How long to wait before connecting again, at first and at most.
const FIRST_WAIT: Duration = Duration::from_millis(10);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// How many errors of front ends one message in the log stands for, after the first ones.
const ERRORS_PER_LOG: u64 = 4_096;

/// So many messages are answered until it is looked at whether the thread is to end, which one who never stops talking must not prevent.
const MESSAGES_PER_TURN: usize = 64;

/// Where front ends come from.
#[derive(Debug)]
pub(super) enum Meeting {
    /// They connect.
    Listen(Listener),
    /// They listen.
    Connect(PathBuf),
}

/// A number that any thread may look at.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    /// Counts one more; answers how many there were before.
    pub(super) fn add(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What has happened to the device.
#[derive(Debug, Default)]
pub(super) struct ServiceCounters {
    /// Sessions that have begun.
    pub(super) sessions: Count,
    /// Requests that were refused, and sessions that were ended, since the front end has broken the protocol.
    pub(super) protocol_errors: Count,
    /// Rings that were broken by what the driver has written.
    pub(super) broken_rings: Count,
    /// Rings that have stopped since what they need has gone.
    stopped_rings: Count,
}

/// What the thread and the queues share.
#[derive(Debug)]
struct Common {
    name: String,
    stop: OwnedFd,
    counters: ServiceCounters,
}

/// The thread, which ends when the value is dropped.
pub(super) struct Service {
    common: Arc<Common>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// Begins to serve front ends.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn start(name: String, meeting: Meeting, offer: Offer, ports: Arc<[Arc<Port>]>) -> io::Result<Self> {
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let common = Arc::new(Common { name, stop, counters: ServiceCounters::default() });
        let shared = Arc::clone(&common);
        let serve = move || Serving { common: shared, meeting, offer, ports }.run();
        let thread = thread::Builder::new().name("vhost-user".to_owned()).spawn(serve)?;
        Ok(Self { common, thread: Some(thread) })
    }

    pub(super) fn counters(&self) -> &ServiceCounters {
        &self.common.counters
    }

    /// Counts a ring that is broken, and tells of it, on the shard that has found it.
    pub(super) fn complain_of_ring(&self, error: Broken) {
        self.common.complain(
            &self.common.counters.broken_rings,
            format_args!("a ring of the front end is broken, and stays so until it is set up anew: {error}"),
        );
    }
}

impl Common {
    /// Counts what the front end is to blame for, and tells of it, but not each time.
    fn complain(&self, count: &Count, what: fmt::Arguments<'_>) {
        let before = count.add();
        if is_told(before) {
            log::warn!("{}: {what}; {before} times before", self.name);
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        while let Err(Errno::INTR) = rustix::io::write(&self.common.stop, &1_u64.to_ne_bytes()) {}
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("{}: the thread that speaks with the front end has panicked", self.common.name);
        }
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("common", &self.common).finish_non_exhaustive()
    }
}

/// It is to end.
struct Stopped;

struct Serving {
    common: Arc<Common>,
    meeting: Meeting,
    offer: Offer,
    ports: Arc<[Arc<Port>]>,
}

impl Serving {
    fn run(self) {
        while let Ok(socket) = self.meet() {
            let before = self.common.counters.sessions.add();
            if is_told(before) {
                log::info!("{}: a front end is there; {before} sessions before", self.common.name);
            }
            if self.serve(Channel::new(socket), is_told(before)).is_err() {
                return;
            }
        }
    }

    /// Waits for a front end.
    fn meet(&self) -> Result<OwnedFd, Stopped> {
        let mut wait = FIRST_WAIT;
        let mut told: Option<String> = None;
        loop {
            let met = match &self.meeting {
                Meeting::Listen(listener) => {
                    self.wait_for(Some(listener), None)?;
                    listener.accept().map_err(|error| error.to_string())
                }
                Meeting::Connect(path) => match connect(path) {
                    Ok(socket) => Ok(Some(socket)),
                    Err(error) => Err(error.to_string()),
                },
            };
            match met {
                Ok(Some(socket)) => return Ok(socket),
                Ok(None) => {}
                Err(error) if told.as_ref() == Some(&error) => {}
                Err(error) => {
                    log::warn!("{}: {error}; this is tried again", self.common.name);
                    told = Some(error);
                }
            }
            if matches!(self.meeting, Meeting::Connect(_)) || told.is_some() {
                self.wait_for(None::<&OwnedFd>, Some(wait))?;
                wait = (2 * wait).min(LONGEST_WAIT);
            }
        }
    }

    /// Serves a session until it ends. `is_told` says whether the log tells of it, in which no front end has many lines.
    fn serve(&self, mut channel: Channel, is_told: bool) -> Result<(), Stopped> {
        let mut session = Session::new(self.offer, Arc::clone(&self.ports));
        let (mut was_unsealed, mut was_unused) = (!is_told, !is_told);
        loop {
            self.wait_for(Some(&channel), None)?;
            if let Err(error) = self.answer(&mut channel, &mut session) {
                match error {
                    Ending::Channel(ChannelError::Closed) if !is_told => {}
                    Ending::Channel(ChannelError::Closed) => {
                        log::info!("{}: the front end has gone", self.common.name);
                    }
                    error => self.complain(format_args!("the session of the front end ends: {error}")),
                }
                return Ok(());
            }
            let unused = session.unused_queues();
            if unused > 0 && !std::mem::replace(&mut was_unused, true) {
                let name = &self.common.name;
                log::warn!(
                    "{name}: the front end has a single pair of queues; what is sent by {unused} others is lost"
                );
            }
            if session.unsealed_regions() > 0 && !std::mem::replace(&mut was_unsealed, true) {
                let name = &self.common.name;
                log::warn!(
                    "{name}: the front end could cut its memory off, which would end this process: it is not sealed"
                );
            }
        }
    }

    /// Answers messages that have come, if not all of them.
    fn answer(&self, channel: &mut Channel, session: &mut Session) -> Result<(), Ending> {
        for _ in 0..MESSAGES_PER_TURN {
            let Some(message) = channel.receive()? else { break };
            let answered = session.handle(message)?;
            if let Some(error) = answered.refused {
                self.complain(format_args!("a request of the front end is refused: {error}"));
            }
            for error in answered.stopped {
                let count = &self.common.counters.stopped_rings;
                self.common.complain(count, format_args!("a ring of the front end has stopped: {error}"));
            }
            if let Some(answer) = answered.answer {
                channel.send(&answer, &[])?;
            }
        }
        Ok(())
    }

    /// Counts what the front end has done against the protocol, and tells of it, but not each time.
    fn complain(&self, what: fmt::Arguments<'_>) {
        self.common.complain(&self.common.counters.protocol_errors, what);
    }

    /// Waits until a descriptor is readable, or for so long.
    fn wait_for(&self, fd: Option<&impl AsFd>, time: Option<Duration>) -> Result<(), Stopped> {
        let stop = &self.common.stop;
        let time = time.and_then(|time| Timespec::try_from(time).ok());
        let mut fds = [
            PollFd::new(stop, PollFlags::IN),
            fd.map_or(PollFd::new(stop, PollFlags::IN), |fd| PollFd::new(fd, PollFlags::IN)),
        ];
        // An error, of which an interruption is one, has whoever waits look again.
        let _ = poll(&mut fds, time.as_ref());
        if fds[0].revents().is_empty() { Ok(()) } else { Err(Stopped) }
    }
}

/// Why a session ends.
#[derive(Debug, thiserror::Error)]
enum Ending {
    #[error(transparent)]
    Channel(#[from] ChannelError),
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// Whether the log tells of what has happened so often before: front ends decide how often it does.
fn is_told(before: u64) -> bool {
    before < 8 || before.is_power_of_two() || before.is_multiple_of(ERRORS_PER_LOG)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::vhost_user::message::Request;

    #[test]
    fn what_front_ends_do_all_the_time_has_few_lines_in_the_log() {
        assert!((0..8).all(is_told));
        assert_eq!((0..100 * ERRORS_PER_LOG).filter(|before| is_told(*before)).count(), 8 + 9 + 100 - 1);
    }

    #[test]
    fn who_never_stops_talking_does_not_keep_the_thread() {
        let stop = eventfd(0, EventfdFlags::NONBLOCK).expect("a descriptor");
        let common = Arc::new(Common { name: "test".to_owned(), stop, counters: ServiceCounters::default() });
        let ports: Arc<[Arc<Port>]> = Arc::new([Arc::new(Port::new().expect("descriptors"))]);
        let offer = Offer { features: 0, mtu_bytes: 1_500 };
        let mut session = Session::new(offer, Arc::clone(&ports));
        let serving = Serving { common, meeting: Meeting::Connect(PathBuf::new()), offer, ports };
        let (mut front, back) = UnixStream::pair().expect("a pair");
        back.set_nonblocking(true).expect("it is a socket");
        let mut channel = Channel::new(back.into());
        // None of them is answered.
        front.write_all(&Request::SetOwner.encode(false).repeat(MESSAGES_PER_TURN + 1)).expect("there is room");
        serving.answer(&mut channel, &mut session).expect("they are fine");
        assert!(channel.receive().expect("it is fine").is_some(), "one is left for the next turn");
        assert!(channel.receive().expect("it is fine").is_none());
    }
}

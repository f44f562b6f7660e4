//! Operating system signals as something that tasks wait for.
//!
//! [`on`] subscribes the calling shard to a signal. A handler is installed while there are subscribers and
//! notes the signal in a word per shard and rings that shard; what the process did before on that signal
//! comes back with the last subscriber's end. No thread needs to block signals, so threads that existed before
//! the runtime do no harm, and programs that are started inherit no mask.
//!
//! Like the kernel's own, signals coalesce: one that arrives again before it was received is received once.

mod handler;
mod hub;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use thiserror::Error;

pub(crate) use handler::LastResort;
pub(crate) use hub::Hub;
use hub::Subscription;

use crate::context;

/// A signal that a program may handle.
///
/// Those that cannot be caught (`SIGKILL`, `SIGSTOP`), that report a fault of the running instruction
/// (`SIGSEGV`, `SIGBUS`, `SIGILL`, `SIGFPE`, `SIGTRAP`, `SIGSYS`) or a failure that the program itself found
/// (`SIGABRT`), and the real-time signals are none.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signal(libc::c_int);

impl Signal {
    /// Hang-up of the terminal; servers take it as a request to read their configuration again.
    pub const SIGHUP: Self = Self(libc::SIGHUP);
    /// Interrupt from the keyboard.
    pub const SIGINT: Self = Self(libc::SIGINT);
    /// Quit from the keyboard.
    pub const SIGQUIT: Self = Self(libc::SIGQUIT);
    /// A request to end.
    pub const SIGTERM: Self = Self(libc::SIGTERM);
    /// First signal for the program's own use.
    pub const SIGUSR1: Self = Self(libc::SIGUSR1);
    /// Second signal for the program's own use.
    pub const SIGUSR2: Self = Self(libc::SIGUSR2);
    /// A child process stopped or ended.
    pub const SIGCHLD: Self = Self(libc::SIGCHLD);
    /// The terminal's window changed its size.
    pub const SIGWINCH: Self = Self(libc::SIGWINCH);
    /// A write to a pipe or socket whose other end is gone. Rust programs ignore it from the start.
    pub const SIGPIPE: Self = Self(libc::SIGPIPE);

    /// The signal with number `number` on this system, if a program may handle it.
    pub fn from_number(number: i32) -> Option<Self> {
        const REFUSED: [libc::c_int; 9] = [
            libc::SIGKILL,
            libc::SIGSTOP,
            libc::SIGSEGV,
            libc::SIGBUS,
            libc::SIGILL,
            libc::SIGFPE,
            libc::SIGTRAP,
            libc::SIGSYS,
            libc::SIGABRT,
        ];
        ((1..32).contains(&number) && !REFUSED.contains(&number)).then_some(Self(number))
    }

    /// The number of the signal on this system.
    pub const fn number(self) -> i32 {
        self.0
    }

    fn bit(self) -> u64 {
        1 << self.0
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Self::SIGHUP => "SIGHUP",
            Self::SIGINT => "SIGINT",
            Self::SIGQUIT => "SIGQUIT",
            Self::SIGTERM => "SIGTERM",
            Self::SIGUSR1 => "SIGUSR1",
            Self::SIGUSR2 => "SIGUSR2",
            Self::SIGCHLD => "SIGCHLD",
            Self::SIGWINCH => "SIGWINCH",
            Self::SIGPIPE => "SIGPIPE",
            Self(number) => return write!(f, "signal {number}"),
        };
        f.write_str(name)
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a shard cannot be subscribed to a signal.
#[derive(Debug, Error)]
pub enum SignalError {
    /// The caller is not a task of a running [`Runtime`](crate::runtime).
    #[error("signals are received by the shards of a running runtime, and this thread is none")]
    NoShard,
    /// The system refused a descriptor or the handler.
    #[error("cannot listen to {signal}: {source}")]
    System {
        /// The signal.
        signal: Signal,
        /// What the system said.
        source: io::Error,
    },
}

/// The signals that request a stop, unless [`Config::stop_on_signals`](crate::Config::stop_on_signals) is off.
pub(crate) const STOP_SIGNALS: [Signal; 2] = [Signal::SIGINT, Signal::SIGTERM];

/// Whether the process ignores `signal`: because it was started so (by `nohup`, or by a shell in the background), or has
/// chosen so itself.
pub fn is_ignored(signal: Signal) -> bool {
    handler::is_ignored(signal)
}

/// Subscribes the calling shard to `signal`, any number of times.
///
/// The subscription counts even if the process was started to ignore the signal. A program that wants to heed its
/// starter's wish, as is the custom for `SIGHUP` and `SIGINT`, asks [`is_ignored`] first.
///
/// A process that subscribes to `SIGINT` or `SIGTERM` and wants to decide alone what they mean switches
/// [`Config::stop_on_signals`](crate::Config::stop_on_signals) off.
///
/// # Errors
/// Outside of a runtime's shard, and if the system refuses.
pub fn on(signal: Signal) -> Result<Arrivals, SignalError> {
    let hub = context::try_with(|context| context.signals()).ok_or(SignalError::NoShard)?;
    let subscription =
        hub.and_then(|hub| hub.subscribe(signal)).map_err(|source| SignalError::System { signal, source })?;
    Ok(Arrivals { subscription })
}

/// The arrivals of one signal at one shard. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Arrivals {
    subscription: Rc<Subscription>,
}

impl Arrivals {
    /// Waits for the signal: for the next one, or one that has arrived since the last that was received.
    ///
    /// Dropping this future loses no signal.
    pub async fn recv(&mut self) {
        poll_fn(|cx| self.poll_recv(cx)).await;
    }

    /// Asks for the signal; if it has not arrived, wakes the last asking task when it does.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.subscription.poll_arrived(cx)
    }
}

#[cfg(test)]
mod tests;

//! What can go wrong in a simulated world.

use std::fmt;

use sunstar_executor::Instant;
use thiserror::Error;

/// A world that failed. Its text holds the seed, which is the whole recipe for seeing it fail again.
#[derive(Debug, Error)]
#[error("seed {seed} failed at {at:?}: {failure}")]
pub struct SimError {
    /// The seed of the world.
    pub seed: u64,
    /// When it was noticed.
    pub at: Instant,
    /// What it was.
    pub failure: Failure,
}

/// What went wrong.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Failure {
    /// Nothing can happen any more, and main functions have not ended.
    #[error("deadlock: nothing is going to happen, and these wait:{}", Lines(.0))]
    Deadlock(Vec<String>),
    /// Shards run again and again while nothing arrives and no timer is due.
    #[error("livelock: shards run and nothing comes of it:{}", Lines(.0))]
    Livelock(Vec<String>),
    /// Main functions have not ended in the time that the world has.
    #[error("out of time; these go on:{}", Lines(.0))]
    OutOfTime(Vec<String>),
    /// A host's main function panicked.
    #[error("the main function of {host} panicked: {message}")]
    MainPanicked {
        /// The host.
        host: String,
        /// The panic's message.
        message: String,
    },
    /// Other tasks of a host panicked; their messages are in the log.
    #[error("{count} tasks panicked on shard {shard} of {host}")]
    TasksPanicked {
        /// The host.
        host: String,
        /// Its shard.
        shard: usize,
        /// How many.
        count: u64,
    },
    /// What was read is not what was sent.
    #[error("the network broke its promise: {0}")]
    Stream(String),
    /// There is more of something than there may be.
    #[error("a bound does not hold: {0}")]
    Bound(String),
    /// Something outlived those who should have ended it.
    #[error("leaked:{}", Lines(.0))]
    Leak(Vec<String>),
}

/// Shows each on a line of its own.
struct Lines<'a>(&'a [String]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

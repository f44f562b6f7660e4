//! The log of an application: one line on standard error per record of the [`log`] facade.
//!
//! ```text
//! 2026-11-22T04:58:50.123Z INFO  [shard 0] httpd: listening on 127.0.0.1:10000
//! ```
//!
//! That is the time (UTC), the level, the shard or else the thread, the module, the message. Characters that would end the
//! line or command a terminal are escaped, so that what peers send can't forge lines. A line has at most
//! [`MAX_LINE_BYTES`]; of a longer one the rest is left out, and said so.
//!
//! Shards never wait for standard error, which may be a pipe that nobody reads. They put lines into a queue of
//! [`QUEUE_LINES`] that a thread writes from, each with one system call. When the queue is full, lines are dropped,
//! which is counted ([`stats`]) and told by a line once there is room.
//!
//! A [`LogFile`] takes lines of another form in the same way, such as those of an access log.

mod file;
mod filter;
mod line;
mod writer;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::panic;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use log::{Log, Metadata, Record};

pub use file::LogFile;
pub use filter::{LogFilter, LogFilterError};
pub use line::MAX_LINE_BYTES;
pub use writer::{LogStats, QUEUE_LINES};

use line::Origin;
use writer::{Notice, Writer};

/// How long is waited for the queue to be written out when the process ends.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

static LOGGER: OnceLock<Logger> = OnceLock::new();

struct Logger {
    filter: LogFilter,
    writer: Writer,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.filter.level_of(metadata.target())
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.writer.put(line::format(now(), &Origin::of_caller(), record));
        }
    }

    /// Waits until what was logged before is written, for a second at most.
    fn flush(&self) {
        self.writer.flush(FLUSH_PATIENCE);
    }
}

/// What has become of the lines of this process's log.
pub fn stats() -> LogStats {
    LOGGER.get().map(|logger| logger.writer.stats()).unwrap_or_default()
}

/// Sets the process's logger, unless there is one, and its panic hook.
pub(crate) fn install(filter: &LogFilter) -> io::Result<()> {
    if LOGGER.get().is_some() {
        return Ok(());
    }
    let out = io::stderr().as_fd().try_clone_to_owned()?;
    let logger = Logger { filter: filter.clone(), writer: Writer::start(out, Notice::InPlace)? };
    let logger = LOGGER.get_or_init(|| logger);
    if log::set_logger(logger).is_ok() {
        log::set_max_level(filter.max_level());
        panic::set_hook(Box::new(log_panic));
    }
    Ok(())
}

/// Writes out what was logged, and a last line.
pub(crate) fn end(last: Option<String>) {
    match (LOGGER.get(), last) {
        (None, None) => {}
        // If nothing can be written there, nothing can be said.
        (None, Some(line)) => drop(io::stderr().write_all(line.as_bytes())),
        (Some(logger), last) => {
            logger.flush();
            if let Some(line) = last {
                logger.writer.put(line);
                logger.flush();
            }
        }
    }
}

/// Logs where and why code panics, and the backtrace if the environment asks for one.
fn log_panic(info: &panic::PanicHookInfo<'_>) {
    let message = info.payload_as_str().unwrap_or("no message");
    match info.location() {
        Some(location) => log::error!(target: "panic", "panicked at {location}: {message}"),
        None => log::error!(target: "panic", "panicked: {message}"),
    }
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        backtrace.to_string().lines().for_each(|line| log::error!(target: "panic", "{line}"));
    }
}

/// The time of day: what happens must be found beside the logs of others.
fn now() -> SystemTime {
    SystemTime::now()
}

//! A file of lines beside the log, such as an access log.

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use sunstar_metrics::{Figure, RegisterError, Registration, Registry};

use super::writer::{LogStats, Notice, Writer};
use super::{FLUSH_PATIENCE, QUEUE_LINES};

const FIGURES: &[Figure<LogStats>] = &[
    Figure::counter("sunstar_log_file_written_total", "Lines that were written to a file beside the log.", |stats| {
        stats.written
    }),
    Figure::counter(
        "sunstar_log_file_dropped_total",
        "Lines for a file beside the log that were dropped since too many waited, or could not be written.",
        |stats| stats.dropped,
    ),
];

/// A file that lines are added to, from any shard, by a thread of its own.
///
/// Nobody waits for the file: up to [`QUEUE_LINES`] wait to be written, and further ones are dropped, which is counted and told of
/// by a line of the log, once a second at most. So are those that it does not take, as when the disk is full. The file stays open; whoever rotates it copies and truncates it. Clones are the same file.
#[derive(Clone)]
pub struct LogFile(Arc<Writer>);

impl LogFile {
    /// Opens a file to add lines to it. It is made if it is not there.
    ///
    /// # Errors
    /// If it can't be opened, or the thread not be started.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let notice = Notice::InLog(path.display().to_string());
        Ok(Self(Arc::new(Writer::start(OwnedFd::from(file), notice)?)))
    }

    /// Takes a line without its end, or drops it if too many wait. What would end it within must have been escaped.
    pub fn put(&self, mut line: String) {
        line.push('\n');
        self.0.put(line);
    }

    /// Waits until what was put before is written, for a second at most. It blocks the thread, so it is for the end, or for
    /// [`blocking`](crate::reactor::blocking).
    pub fn flush(&self) {
        self.0.flush(FLUSH_PATIENCE);
    }

    /// Shows what has become of the lines in the metrics of the current shard, as `sunstar_log_file_…_total` with the label `file`
    /// and this name, until the shard ends.
    ///
    /// # Errors
    /// If a file has this name there already.
    ///
    /// # Panics
    /// Outside of any shard.
    pub fn publish(&self, name: &str) -> Result<(), RegisterError> {
        let writer = Arc::downgrade(&self.0);
        let registered = Registry::here().observe(&Figure::families(FIGURES), &[("file", name)], move |readings| {
            if let Some(writer) = writer.upgrade() {
                readings.show_figures(FIGURES, &[], &writer.stats());
            }
        });
        registered.map(Registration::keep)
    }

    /// What has become of the lines.
    pub fn stats(&self) -> LogStats {
        self.0.stats()
    }
}

impl fmt::Debug for LogFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogFile").field("queue_lines", &QUEUE_LINES).field("stats", &self.stats()).finish()
    }
}

//! The thread that writes lines, and the queue before it.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use log::{Level, Record};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::line::{self, Origin};
use super::now;

/// How many lines wait to be written; further ones are dropped.
pub const QUEUE_LINES: usize = 1024;

/// How often a flush looks for room in the queue.
const FLUSH_PERIOD: Duration = Duration::from_millis(1);

/// The least time from one notice about dropped lines to the next: they would hold up the lines themselves.
const NOTICE_PERIOD: Duration = Duration::from_secs(1);

/// What has become of the lines of a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LogStats {
    /// Lines that were written.
    pub written: u64,
    /// Lines that were dropped because [`QUEUE_LINES`] waited, or because they could not be written.
    pub dropped: u64,
}

/// Where it is told that lines were dropped.
pub(super) enum Notice {
    /// Among the lines.
    InPlace,
    /// In the process's log, with this name, since the lines have a form of their own.
    InLog(String),
}

/// Takes lines without ever waiting; a thread writes them.
pub(super) struct Writer {
    queue: SyncSender<Entry>,
    counters: Arc<Counters>,
}

enum Entry {
    /// A line with its end.
    Line(String),
    /// Tells that all before it has left the queue.
    Mark(SyncSender<()>),
}

#[derive(Default)]
struct Counters {
    /// Lines that were written.
    written: AtomicU64,
    /// Lines that were taken into the queue, but could not be written.
    failed: AtomicU64,
    /// Lines that were not taken.
    refused: AtomicU64,
}

impl Writer {
    /// A writer to `out`, which may be set to block or not.
    pub(super) fn start(out: OwnedFd, notice: Notice) -> io::Result<Self> {
        let (queue, entries) = sync_channel(QUEUE_LINES);
        let counters = Arc::<Counters>::default();
        let thread = WriterThread {
            out,
            notice,
            entries,
            counters: Arc::clone(&counters),
            is_torn: false,
            failure: None,
            told: Told::default(),
        };
        thread::Builder::new().name("log".to_owned()).spawn(move || thread.run())?;
        Ok(Self { queue, counters })
    }

    /// Takes a line that ends in a line feed, or drops it if too many wait.
    pub(super) fn put(&self, line: String) {
        if self.queue.try_send(Entry::Line(line)).is_err() {
            count(&self.counters.refused);
        }
    }

    /// Waits until what was put before has left the queue, or for as long as `patience`.
    pub(super) fn flush(&self, patience: Duration) {
        let (mark, passed) = sync_channel(1);
        let (mut entry, mut left) = (Entry::Mark(mark), patience);
        while let Err(TrySendError::Full(refused)) = self.queue.try_send(entry) {
            if left.is_zero() {
                return;
            }
            thread::sleep(FLUSH_PERIOD);
            (entry, left) = (refused, left.saturating_sub(FLUSH_PERIOD));
        }
        // If the time is over, so is the wait.
        let _ = passed.recv_timeout(left);
    }

    pub(super) fn stats(&self) -> LogStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { written, failed, refused } = &*self.counters;
        LogStats { written: load(written), dropped: load(failed) + load(refused) }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

struct WriterThread {
    out: OwnedFd,
    notice: Notice,
    entries: Receiver<Entry>,
    counters: Arc<Counters>,
    /// The last line was written in part.
    is_torn: bool,
    /// Why the last of those that could not be written was not.
    failure: Option<Errno>,
    told: Told,
}

/// What was told of.
#[derive(Default)]
struct Told {
    refused: u64,
    failed: u64,
    at: Option<Instant>,
}

impl WriterThread {
    fn run(mut self) {
        loop {
            match self.next() {
                Ok(Entry::Line(line)) => {
                    let outcome = write_line(&mut self.is_torn, &line, |bytes| write(&self.out, bytes));
                    self.failure = outcome.err().or(self.failure);
                    count(outcome.map_or(&self.counters.failed, |()| &self.counters.written));
                    if self.told.at.is_none_or(|at| at.elapsed() >= NOTICE_PERIOD) {
                        self.tell();
                    }
                }
                Ok(Entry::Mark(mark)) => {
                    self.tell();
                    // Who waited may have lost patience.
                    let _ = mark.try_send(());
                }
                Err(RecvTimeoutError::Timeout) => self.tell(),
                Err(RecvTimeoutError::Disconnected) => return self.tell(),
            }
        }
    }

    /// Waits for an entry, but not for longer than something is to be told of.
    fn next(&self) -> Result<Entry, RecvTimeoutError> {
        if self.untold() == (0, 0) {
            return self.entries.recv().map_err(|_| RecvTimeoutError::Disconnected);
        }
        let since = self.told.at.map_or(NOTICE_PERIOD, |at| at.elapsed());
        self.entries.recv_timeout(NOTICE_PERIOD.saturating_sub(since))
    }

    /// How many lines were refused and could not be written since that was told of.
    fn untold(&self) -> (u64, u64) {
        let [refused, failed] = [&self.counters.refused, &self.counters.failed].map(|c| c.load(Ordering::Relaxed));
        (refused - self.told.refused, failed - self.told.failed)
    }

    fn tell(&mut self) {
        let (refused, failed) = self.untold();
        if (refused, failed) == (0, 0) {
            return;
        }
        self.told.refused += refused;
        self.told.failed += failed;
        self.told.at = Some(Instant::now());
        match &self.notice {
            Notice::InLog(name) => {
                if refused > 0 {
                    log::warn!("{refused} lines of {name} were dropped: they came faster than it took them");
                }
                if let Some(failure) = self.failure.take() {
                    let failure = io::Error::from(failure);
                    log::error!("{failed} lines of {name} were dropped: they could not be written: {failure}");
                }
            }
            Notice::InPlace if refused > 0 => {
                let message =
                    format_args!("{refused} lines were dropped: they came faster than standard error took them");
                let record = Record::builder().level(Level::Warn).target(module_path!()).args(message).build();
                let line = line::format(now(), &Origin::of_caller(), &record);
                // Not counted: it is no line of the application's.
                let _ = write_line(&mut self.is_torn, &line, |bytes| write(&self.out, bytes));
            }
            // Where lines can't be written, that can't be told.
            Notice::InPlace => {}
        }
    }
}

/// Writes a line by as few calls as possible. `is_torn` tells whether the line before was written in part, and whether this one
/// was: then it is ended before the next one begins.
fn write_line(
    is_torn: &mut bool,
    line: &str,
    mut write: impl FnMut(&[u8]) -> Result<usize, Errno>,
) -> Result<(), Errno> {
    let ended;
    let mut left = line.as_bytes();
    if *is_torn {
        ended = ["\n", line].concat();
        left = ended.as_bytes();
    }
    while !left.is_empty() {
        let count = write(left)?;
        let (taken, rest) = left.split_at(count);
        *is_torn = taken.last().map_or(*is_torn, |&last| last != b'\n');
        left = rest;
    }
    Ok(())
}

/// Writes some bytes, by one system call if the file takes any, and waits for room in it.
fn write(out: &OwnedFd, bytes: &[u8]) -> Result<usize, Errno> {
    loop {
        match rustix::io::write(out, bytes) {
            Err(Errno::INTR) => {}
            // The file's mode is shared with whoever else has it open, so it can't be set to block.
            Err(Errno::AGAIN) => match poll(&mut [PollFd::new(out, PollFlags::OUT)], None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            },
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};
    use std::cell::RefCell;
    use std::collections::VecDeque;
    use std::fs::File;
    use std::io::{BufRead, BufReader};

    const PATIENCE: Duration = Duration::from_secs(60);

    /// Lines that a pipe takes none of any more, whatever its size.
    const MORE_THAN_FITS: usize = 20 * QUEUE_LINES;

    fn told_count(line: &str) -> u64 {
        let (before, _) = line.split_once(" lines were dropped").expect("it says so");
        before.rsplit(' ').next().and_then(|count| count.parse().ok()).expect("a number")
    }

    fn long_line(number: usize) -> String {
        format!("{number} {}\n", "x".repeat(1_000))
    }

    #[test]
    fn lines_come_out_in_order() {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
        let writer = Writer::start(write, Notice::InPlace).expect("a thread");
        (0..10).for_each(|number| writer.put(format!("{number}\n")));
        writer.flush(PATIENCE);
        assert_eq!(writer.stats(), LogStats { written: 10, dropped: 0 });
        drop(writer);
        let lines: Vec<String> = BufReader::new(File::from(read)).lines().map(|line| line.expect("text")).collect();
        assert_eq!(lines, (0..10).map(|number| number.to_string()).collect::<Vec<_>>());
    }

    #[test]
    fn nobody_waits_for_a_reader_and_dropped_lines_are_told_of() {
        for flags in [PipeFlags::CLOEXEC, PipeFlags::CLOEXEC | PipeFlags::NONBLOCK] {
            let (read, write) = pipe_with(flags).expect("a pipe");
            let writer = Writer::start(write, Notice::InPlace).expect("a thread");
            (0..MORE_THAN_FITS).for_each(|number| writer.put(long_line(number)));
            writer.flush(Duration::from_millis(5));
            let dropped = writer.stats().dropped;
            assert!(dropped > 0);
            rustix::fs::fcntl_setfl(&read, rustix::fs::OFlags::empty()).expect("reads may block");
            drop(writer);
            let lines: Vec<String> = BufReader::new(File::from(read)).lines().map(|line| line.expect("text")).collect();
            let (told, written): (Vec<_>, Vec<_>) =
                lines.iter().partition(|line| line.contains(" lines were dropped: "));
            assert_eq!(told.iter().map(|line| told_count(line)).sum::<u64>(), dropped);
            assert_eq!(written.len() as u64 + dropped, MORE_THAN_FITS as u64);
        }
    }

    #[test]
    fn a_file_with_a_form_of_its_own_has_no_other_lines() {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
        let writer = Writer::start(write, Notice::InLog("a file".to_owned())).expect("a thread");
        (0..MORE_THAN_FITS).for_each(|number| writer.put(long_line(number)));
        writer.flush(Duration::from_millis(5));
        let dropped = writer.stats().dropped;
        assert!(dropped > 0);
        drop(writer);
        let lines: Vec<String> = BufReader::new(File::from(read)).lines().map(|line| line.expect("text")).collect();
        assert!(lines.iter().all(|line| line.ends_with("xxx")));
        assert_eq!(lines.len() as u64 + dropped, MORE_THAN_FITS as u64);
    }

    #[test]
    fn a_line_that_was_written_in_part_is_ended_before_the_next() {
        // Of each call the most that is taken, or none.
        let takes = RefCell::new(VecDeque::from([Some(3), Some(2), None, Some(9), None, Some(1), None, None, Some(9)]));
        let written = RefCell::new(Vec::new());
        let mut is_torn = false;
        let outcomes = ["abcdef\n", "g\n", "hij\n", "klm\n", "n\n", "o\n"].map(|line| {
            write_line(&mut is_torn, line, |bytes| {
                let most = takes.borrow_mut().pop_front().unwrap_or(Some(9)).ok_or(Errno::NOSPC)?;
                let count = bytes.len().min(most);
                written.borrow_mut().extend_from_slice(&bytes[..count]);
                Ok(count)
            })
        });
        let failed = Err(Errno::NOSPC);
        assert_eq!(outcomes, [failed, Ok(()), failed, failed, failed, Ok(())]);
        assert_eq!(written.into_inner().escape_ascii().to_string(), "abcde\\ng\\nk\\no\\n");
    }

    #[test]
    fn a_closed_reader_is_counted() {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
        drop(read);
        let writer = Writer::start(write, Notice::InPlace).expect("a thread");
        writer.put("gone\n".to_owned());
        writer.flush(PATIENCE);
        assert_eq!(writer.stats(), LogStats { written: 0, dropped: 1 });
    }
}

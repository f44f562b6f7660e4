//! The thread that writes lines, and the queue before it.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use log::{Level, Record};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::line::{self, Origin};
use super::now;

/// How many lines wait to be written; further ones are dropped.
pub const QUEUE_LINES: usize = 1024;

/// How often a flush looks for room in the queue.
const FLUSH_PERIOD: Duration = Duration::from_millis(1);

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
        let thread = WriterThread { out, notice, entries, counters: Arc::clone(&counters), told: 0 };
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
    /// How many refused lines have been told of.
    told: u64,
}

impl WriterThread {
    fn run(mut self) {
        while let Ok(entry) = self.entries.recv() {
            match entry {
                Entry::Line(line) => {
                    let outcome = write(&self.out, line.as_bytes());
                    count(outcome.map_or(&self.counters.failed, |()| &self.counters.written));
                    self.tell_of_refused();
                }
                // Who waited may have lost patience.
                Entry::Mark(mark) => drop(mark.try_send(())),
            }
        }
    }

    fn tell_of_refused(&mut self) {
        let refused = self.counters.refused.load(Ordering::Relaxed);
        if refused == self.told {
            return;
        }
        let count = refused - self.told;
        self.told = refused;
        if let Notice::InLog(name) = &self.notice {
            log::warn!("{count} lines of {name} were dropped: they came faster than it took them");
            return;
        }
        let message = format_args!("{count} lines were dropped: they came faster than standard error took them");
        let record = Record::builder().level(Level::Warn).target(module_path!()).args(message).build();
        // Not counted: it is no line of the application's.
        let _ = write(&self.out, line::format(now(), &Origin::of_caller(), &record).as_bytes());
    }
}

/// Writes all bytes, by one system call if the file takes them so, and waits for room in it.
fn write(out: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(out, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            // The file's mode is shared with whoever else has it open, so it can't be set to block.
            Err(Errno::AGAIN) => match poll(&mut [PollFd::new(out, PollFlags::OUT)], None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            },
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};
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
    fn a_closed_reader_is_counted() {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
        drop(read);
        let writer = Writer::start(write, Notice::InPlace).expect("a thread");
        writer.put("gone\n".to_owned());
        writer.flush(PATIENCE);
        assert_eq!(writer.stats(), LogStats { written: 0, dropped: 1 });
    }
}

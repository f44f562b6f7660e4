//! The file of a capture, and the thread that writes it.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use sunstar_executor::Instant;
use sunstar_packet::{CopyCounter, Packet};

use super::blocks::{self, Seen, Way};

/// Packets are handed to the writing thread when they are so many bytes.
const CHUNK_BYTES: usize = 64 << 10;

/// So many chunks may wait for the disk; what comes then is lost and counted.
pub const MAX_WAITING_CHUNKS: usize = 64;

/// They are handed over at the latest so long after the first of them.
const FLUSH_TIME: Duration = Duration::from_millis(100);

/// What is captured, and what the clock of the shards means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureOptions {
    /// How many bytes of each packet are kept.
    pub snap_bytes: u32,
    /// The time since 1970 (UTC) at which the shards' clock showed [`Instant::ORIGIN`].
    pub origin_since_epoch: Duration,
}

impl Default for CaptureOptions {
    /// Whole packets, and times that count from 1970.
    fn default() -> Self {
        Self { snap_bytes: 262_144, origin_since_epoch: Duration::ZERO }
    }
}

enum Message {
    Chunk(Vec<u8>),
    End,
}

/// A file in the format pcapng, which tshark and tcpdump read, and the thread that writes it.
///
/// Each queue has a [`Recorder`] of its own; their packets are in the file in about the order of their times.
#[derive(Debug)]
pub struct Capture {
    options: CaptureOptions,
    sender: SyncSender<Message>,
    writer: Option<JoinHandle<io::Result<()>>>,
}

impl Capture {
    /// Creates the file, or empties it. `interfaces` are the names that the packets' interfaces have in it.
    ///
    /// # Errors
    /// When the file can't be written to, or there can be no thread.
    pub fn create(path: &Path, interfaces: &[&str], options: CaptureOptions) -> io::Result<Self> {
        let mut file = File::create(path)?;
        file.write_all(&blocks::file_header(interfaces, options.snap_bytes))?;
        let (sender, receiver) = sync_channel(MAX_WAITING_CHUNKS);
        let writer = std::thread::Builder::new().name("pcap".to_owned()).spawn(move || write(file, &receiver))?;
        Ok(Self { options, sender, writer: Some(writer) })
    }

    /// What records the packets of queue `queue` of an interface, of those that the file was created with the one at this place. It goes
    /// to that queue's shard.
    pub fn recorder(&self, interface: u32, queue: u32) -> Recorder {
        Recorder::new(self.options, interface, queue, self.sender.clone())
    }

    /// Waits until all that recorders have handed over is written. What they have not, they lose and count: drop the queues first.
    ///
    /// # Errors
    /// Those of writing the file.
    pub fn finish(mut self) -> io::Result<()> {
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        // The thread has ended before if it could not write.
        let _ended = self.sender.send(Message::End);
        writer.join().unwrap_or_else(|_| Err(io::Error::other("the writing thread panicked")))
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            log::error!("the capture of packets is not complete: {error}");
        }
    }
}

/// Writes chunks as they come.
fn write(mut file: File, receiver: &Receiver<Message>) -> io::Result<()> {
    while let Ok(Message::Chunk(chunk)) = receiver.recv() {
        file.write_all(&chunk)?;
    }
    Ok(())
}

/// Records the packets of one queue. It copies them, which is counted, and never waits: what the disk is too slow for is lost.
#[derive(Debug)]
pub struct Recorder {
    options: CaptureOptions,
    interface: u32,
    queue: u32,
    sender: SyncSender<Message>,
    chunk: Vec<u8>,
    /// When the chunk is handed over even if it is small.
    flush_at: Option<Instant>,
    lost: u64,
    recorded: u64,
    copies: CopyCounter,
}

impl Recorder {
    fn new(options: CaptureOptions, interface: u32, queue: u32, sender: SyncSender<Message>) -> Self {
        Self {
            options,
            interface,
            queue,
            sender,
            chunk: Vec::new(),
            flush_at: None,
            lost: 0,
            recorded: 0,
            copies: CopyCounter::default(),
        }
    }

    /// What records the packets that another shard sends by the same queue.
    pub fn another(&self) -> Self {
        Self::new(self.options, self.interface, self.queue, self.sender.clone())
    }

    /// How many packets are in the file, or on their way there.
    pub const fn recorded(&self) -> u64 {
        self.recorded
    }

    /// How many packets are not, because the disk was too slow or failed.
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// What was copied.
    pub const fn copies(&self) -> &CopyCounter {
        &self.copies
    }

    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.flush_at
    }

    pub(super) fn record(&mut self, now: Instant, way: Way, packet: &Packet) {
        let kept = packet.len().min(self.options.snap_bytes as usize);
        let len = blocks::packet_bytes(kept);
        if !self.chunk.is_empty() && self.chunk.len() + len > CHUNK_BYTES && !self.hand_over() {
            self.lost += 1;
            return;
        }
        self.chunk.reserve(if self.chunk.is_empty() { len.max(CHUNK_BYTES) } else { len });
        let unix = self.options.origin_since_epoch + Duration::from_nanos(now.as_nanos());
        let unix_ns = u64::try_from(unix.as_nanos()).unwrap_or(u64::MAX);
        let seen = Seen { interface: self.interface, queue: self.queue, way, unix_ns };
        blocks::packet(&mut self.chunk, seen, packet, kept);
        self.copies.count(kept);
        self.recorded += 1;
        self.flush_at.get_or_insert(now + FLUSH_TIME);
    }

    /// Hands over what has waited for long enough.
    pub(super) fn tick(&mut self, now: Instant) {
        if self.flush_at.is_some_and(|at| at <= now) && !self.hand_over() {
            self.flush_at = Some(now + FLUSH_TIME);
        }
    }

    /// Hands the chunk over, if there is room for it.
    fn hand_over(&mut self) -> bool {
        match self.sender.try_send(Message::Chunk(std::mem::take(&mut self.chunk))) {
            Ok(()) => {
                self.flush_at = None;
                true
            }
            Err(TrySendError::Full(Message::Chunk(chunk)) | TrySendError::Disconnected(Message::Chunk(chunk))) => {
                self.chunk = chunk;
                false
            }
            Err(_) => false,
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if !self.chunk.is_empty() {
            // This may wait for the disk: the queue ends, and so does what its shard does with it.
            let _capture_ended = self.sender.send(Message::Chunk(std::mem::take(&mut self.chunk)));
        }
        if self.lost > 0 {
            log::warn!("{} packets of queue {} were not captured: the disk was too slow", self.lost, self.queue);
        }
    }
}

//! Writing in small pieces.

use core::fmt;
use core::future::poll_fn;

use sunstar_packet::{Buffer, BufferMut};

use crate::error::Error;
use crate::stream::{Write, writable};

/// Bytes that a [`BufWriter`] collects before it passes them on, unless it is told otherwise.
pub const DEFAULT_WRITE_BUFFER_BYTES: usize = 8 * 1024;

/// Collects small writes, and passes large buffers through.
///
/// What was collected is passed on when its memory is full, before a large buffer, and by [`BufWriter::flush`]. The memory
/// is used again once the network is done with it.
///
/// All waits are safe to drop: what was being written is taken wholly or not at all. Dropping the writer drops what was
/// collected and not passed on.
///
/// ```no_run
/// use sunstar_net::{BufWriter, Error, TcpStream};
///
/// async fn answer(stream: &mut TcpStream, page: sunstar_packet::Buffer) -> Result<(), Error> {
///     let mut writer = BufWriter::new(stream);
///     writer.write(b"HTTP/1.1 200 OK\r\n").await?;
///     writer.write(b"Content-Length: 100000\r\n\r\n").await?;
///     writer.write_buffer(page).await?; // not copied
///     writer.flush().await
/// }
/// ```
pub struct BufWriter<W> {
    sink: W,
    /// What is collected.
    collected: Option<BufferMut>,
    /// What was passed on last, whose memory is used again.
    passed: Buffer,
    capacity_bytes: usize,
}

impl<W> BufWriter<W> {
    /// A writer that collects [`DEFAULT_WRITE_BUFFER_BYTES`].
    pub fn new(sink: W) -> Self {
        Self::with_capacity(DEFAULT_WRITE_BUFFER_BYTES, sink)
    }

    /// A writer that collects as many bytes; at least one.
    pub fn with_capacity(capacity_bytes: usize, sink: W) -> Self {
        Self { sink, collected: None, passed: Buffer::new(), capacity_bytes: capacity_bytes.max(1) }
    }

    /// How many bytes are collected and not passed on.
    pub fn buffered_bytes(&self) -> usize {
        self.collected.as_ref().map_or(0, |collected| collected.len())
    }

    /// What is written to.
    pub fn sink(&self) -> &W {
        &self.sink
    }

    /// What is written to, to change it. Who writes to it comes before what is collected here.
    pub fn sink_mut(&mut self) -> &mut W {
        &mut self.sink
    }

    /// What is written to, and what was collected and not passed on.
    pub fn into_parts(self) -> (W, Buffer) {
        (self.sink, self.collected.map(BufferMut::freeze).unwrap_or_default())
    }

    fn fits(&self, bytes: &[u8]) -> bool {
        bytes.len() <= self.capacity_bytes - self.buffered_bytes()
    }

    /// Takes bytes that fit.
    fn collect(&mut self, bytes: &[u8]) {
        let collected = self.collected.get_or_insert_with(|| {
            let used = core::mem::take(&mut self.passed).try_into_mut();
            used.map_or_else(
                |_| BufferMut::with_capacity(0, self.capacity_bytes),
                |mut memory| {
                    memory.truncate(0);
                    memory
                },
            )
        });
        collected.extend_from_slice(bytes).expect("it has room for as many bytes as are collected");
    }
}

impl<W: Write> BufWriter<W> {
    /// Takes all of `bytes`: copies them to what is collected, and passes that on before if it has no room for them.
    ///
    /// # Errors
    /// As for [`Write::poll_writable`].
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if !self.fits(bytes) {
            writable(&mut self.sink).await?;
            self.pass_on();
            if !self.fits(bytes) {
                self.sink.enqueue(Buffer::copy_from_slice(bytes));
                return Ok(());
            }
        }
        self.collect(bytes);
        Ok(())
    }

    /// Takes a buffer: copies a small one to what is collected, and passes a larger one on, as it is, behind that.
    ///
    /// Small is what fits into a quarter of the memory.
    ///
    /// # Errors
    /// As for [`Write::poll_writable`].
    pub async fn write_buffer(&mut self, bytes: impl Into<Buffer>) -> Result<(), Error> {
        let bytes = bytes.into();
        if bytes.len() <= self.capacity_bytes / 4 {
            return self.write(&bytes).await;
        }
        writable(&mut self.sink).await?;
        self.pass_on();
        self.sink.enqueue(bytes);
        Ok(())
    }

    /// Passes on what is collected, and waits until the network has taken all.
    ///
    /// # Errors
    /// As for [`Write::poll_writable`] and [`Write::poll_flush`].
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.push().await?;
        poll_fn(|cx| self.sink.poll_flush(cx)).await
    }

    /// Passes on what is collected as soon as the send queue has room, without waiting for the network to take it.
    ///
    /// # Errors
    /// As for [`Write::poll_writable`].
    pub async fn push(&mut self) -> Result<(), Error> {
        if self.buffered_bytes() > 0 {
            writable(&mut self.sink).await?;
            self.pass_on();
        }
        Ok(())
    }

    /// Puts what is collected into the send queue.
    fn pass_on(&mut self) {
        if let Some(collected) = self.collected.take() {
            self.passed = collected.freeze();
            self.sink.enqueue(self.passed.clone());
        }
    }
}

impl<W: fmt::Debug> fmt::Debug for BufWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.buffered_bytes();
        f.debug_struct("BufWriter").field("sink", &self.sink).field("buffered_bytes", &bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
impl<W> BufWriter<W> {
    /// Where the collected bytes lie.
    pub(super) fn collected_at(&self) -> Option<usize> {
        self.collected.as_ref().map(|collected| collected.as_ptr().addr())
    }
}

//! Reading by lines and lengths.

use alloc::collections::VecDeque;
use core::fmt;
use core::future::poll_fn;

use sunstar_packet::{Buffer, BufferMut, CopyCounter};

use crate::error::Error;
use crate::stream::Read;

/// Reads lines and pieces of known length from a stream.
///
/// It keeps what was read as the buffers in which it came. What lies in one of them is handed out as a view of it; only
/// what is spread over several is copied, and [counted](BufReader::copies).
///
/// All waits are safe to drop: what has been read until then stays in the reader.
///
/// ```no_run
/// use sunstar_net::{BufReader, Error, TcpStream};
///
/// async fn numbers(stream: &mut TcpStream) -> Result<(), Error> {
///     let mut reader = BufReader::new(stream);
///     while let Some(line) = reader.read_line(1024).await? {
///         let _number: Option<u32> = str::from_utf8(&line).ok().and_then(|line| line.parse().ok());
///     }
///     Ok(())
/// }
/// ```
pub struct BufReader<R> {
    source: R,
    /// What was read and not taken; none of them is empty.
    chain: VecDeque<Buffer>,
    buffered_bytes: usize,
    is_at_end: bool,
    copies: CopyCounter,
}

impl<R> BufReader<R> {
    /// A reader over `source`, with nothing read.
    pub fn new(source: R) -> Self {
        Self { source, chain: VecDeque::new(), buffered_bytes: 0, is_at_end: false, copies: CopyCounter::default() }
    }

    /// How many bytes were read and not taken.
    pub fn buffered_bytes(&self) -> usize {
        self.buffered_bytes
    }

    /// The bytes that were read and not taken, as far as they lie in one piece. Empty only if there are none.
    pub fn chunk(&self) -> &[u8] {
        self.chain.front().map_or(&[], |first| first)
    }

    /// Whether the end was read. There may be bytes before it that were not taken.
    pub fn is_at_end(&self) -> bool {
        self.is_at_end
    }

    /// What had to be copied because it was spread over several buffers.
    pub fn copies(&self) -> &CopyCounter {
        &self.copies
    }

    /// What is read from.
    pub fn source(&self) -> &R {
        &self.source
    }

    /// What is read from, to change it. Who reads from it takes bytes behind those in the reader.
    pub fn source_mut(&mut self) -> &mut R {
        &mut self.source
    }

    /// What is read from, and the bytes that were read and not taken.
    pub fn into_parts(self) -> (R, impl ExactSizeIterator<Item = Buffer>) {
        (self.source, self.chain.into_iter())
    }

    /// Puts bytes back in front, to be read next.
    pub fn unread(&mut self, bytes: Buffer) {
        if !bytes.is_empty() {
            self.buffered_bytes += bytes.len();
            self.chain.push_front(bytes);
        }
    }

    /// Takes bytes that were read, and drops them.
    ///
    /// # Panics
    /// If fewer are there.
    pub fn consume(&mut self, mut count: usize) {
        assert!(count <= self.buffered_bytes, "only {} bytes were read", self.buffered_bytes);
        self.buffered_bytes -= count;
        while let Some(first) = self.chain.front_mut().filter(|_| count > 0) {
            if first.len() > count {
                first.advance(count);
                return;
            }
            count -= first.len();
            self.chain.pop_front();
        }
    }

    /// Takes bytes that were read.
    fn take(&mut self, count: usize) -> Buffer {
        match self.chain.front_mut() {
            Some(first) if count < first.len() => {
                self.buffered_bytes -= count;
                first.split_to(count)
            }
            Some(first) if count == first.len() => self.pop(),
            _ => {
                let joined = self.joined(count);
                self.consume(count);
                joined
            }
        }
    }

    fn pop(&mut self) -> Buffer {
        let first = self.chain.pop_front().unwrap_or_default();
        self.buffered_bytes -= first.len();
        first
    }

    /// A copy of the first `count` bytes, which were read.
    fn joined(&mut self, count: usize) -> Buffer {
        if count == 0 {
            return Buffer::new();
        }
        let mut copy = BufferMut::with_capacity(0, count);
        for part in &self.chain {
            let part = &part[..part.len().min(count - copy.len())];
            copy.extend_from_slice(part).expect("the copy was made for so many bytes");
        }
        self.copies.count(count);
        copy.freeze()
    }

    /// Where `delimiter` first is among what was read.
    fn find(&self, delimiter: u8) -> Option<usize> {
        let mut before = 0;
        for part in &self.chain {
            if let Some(at) = position(part, delimiter) {
                return Some(before + at);
            }
            before += part.len();
        }
        None
    }
}

fn position(part: &[u8], delimiter: u8) -> Option<usize> {
    part.iter().position(|&byte| byte == delimiter)
}

impl<R: Read> BufReader<R> {
    /// Reads more, once; answers whether any came, which is false at the end.
    ///
    /// # Errors
    /// As for [`Read::poll_read`]. What was read before is still there.
    pub async fn fill(&mut self) -> Result<bool, Error> {
        if self.is_at_end {
            return Ok(false);
        }
        let bytes = poll_fn(|cx| self.source.poll_read(cx)).await?;
        self.is_at_end = bytes.is_empty();
        if !self.is_at_end {
            self.buffered_bytes += bytes.len();
            self.chain.push_back(bytes);
        }
        Ok(!self.is_at_end)
    }

    /// Reads until `count` bytes are there, or the end; answers whether they are.
    async fn fill_to(&mut self, count: usize) -> Result<bool, Error> {
        while self.buffered_bytes < count {
            if !self.fill().await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The next bytes, as they came. An empty buffer is the end.
    ///
    /// # Errors
    /// As for [`Read::poll_read`].
    pub async fn read(&mut self) -> Result<Buffer, Error> {
        if self.chain.is_empty() {
            self.fill().await?;
        }
        Ok(self.pop())
    }

    /// The next `count` bytes in one piece, without taking them; fewer only at the end.
    ///
    /// # Errors
    /// As for [`Read::poll_read`].
    pub async fn peek(&mut self, count: usize) -> Result<&[u8], Error> {
        let count = if self.fill_to(count).await? { count } else { self.buffered_bytes };
        if self.chunk().len() < count {
            let joined = self.joined(count);
            self.consume(count);
            self.unread(joined);
        }
        Ok(&self.chunk()[..count])
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// [`Error::UnexpectedEnd`] if there are fewer, which can still be read; otherwise as for [`Read::poll_read`].
    pub async fn read_exact(&mut self, count: usize) -> Result<Buffer, Error> {
        if self.fill_to(count).await? { Ok(self.take(count)) } else { Err(Error::UnexpectedEnd) }
    }

    /// The bytes up to `delimiter`, and it; none at the end of the stream.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`] if the delimiter is not among the first `limit_bytes`, [`Error::UnexpectedEnd`] if the stream
    /// ends after some bytes without it; the bytes can still be read then. Otherwise as for [`Read::poll_read`].
    pub async fn read_until(&mut self, delimiter: u8, limit_bytes: usize) -> Result<Option<Buffer>, Error> {
        let mut found = self.find(delimiter);
        loop {
            if let Some(at) = found {
                return if at < limit_bytes { Ok(Some(self.take(at + 1))) } else { Err(Error::LimitExceeded) };
            }
            let searched = self.buffered_bytes;
            if searched >= limit_bytes {
                return Err(Error::LimitExceeded);
            }
            if !self.fill().await? {
                return if searched == 0 { Ok(None) } else { Err(Error::UnexpectedEnd) };
            }
            found = self.chain.back().and_then(|last| position(last, delimiter)).map(|at| searched + at);
        }
    }

    /// The next line without its end, which is `\n` or `\r\n` and counts for the limit; none at the end of the stream.
    ///
    /// # Errors
    /// As for [`BufReader::read_until`].
    pub async fn read_line(&mut self, limit_bytes: usize) -> Result<Option<Buffer>, Error> {
        let line = self.read_until(b'\n', limit_bytes).await?;
        Ok(line.map(|mut line| {
            line.truncate(line.len() - 1);
            if line.last() == Some(&b'\r') {
                line.truncate(line.len() - 1);
            }
            line
        }))
    }
}

impl<R: fmt::Debug> fmt::Debug for BufReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.buffered_bytes;
        f.debug_struct("BufReader")
            .field("source", &self.source)
            .field("buffered_bytes", &bytes)
            .finish_non_exhaustive()
    }
}

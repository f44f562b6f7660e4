//! Bytes to be sent: lines and small values one behind the other in frames, large values as they are.

use alloc::vec::Vec;

use sunstar_packet::{Buffer, BufferMut};

use crate::endpoint::{Endpoint, FRAME_BYTES};
use crate::number::Decimal;
use crate::value::Value;

/// Values up to this size are copied behind what is sent before them: one buffer costs a device or system call more than copying it.
pub const COPIED_VALUE_BYTES: usize = 1024;

/// What waits to be sent on a connection.
#[derive(Debug)]
pub struct Output {
    endpoint: Endpoint,
    /// What is complete, first bytes first.
    ready: Vec<Buffer>,
    ready_bytes: usize,
    /// What follows it, and is being written.
    tail: Option<BufferMut>,
}

impl Output {
    /// Without bytes.
    pub fn new(endpoint: &Endpoint) -> Self {
        Self { endpoint: endpoint.clone(), ready: Vec::new(), ready_bytes: 0, tail: None }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.ready_bytes + self.tail.as_ref().map_or(0, |tail| tail.len())
    }

    /// Moves everything to `out`, and answers how many bytes that were.
    pub fn poll_transmit(&mut self, out: &mut impl Extend<Buffer>) -> usize {
        let bytes = self.len();
        // Most often all of it lies in one frame.
        if !self.ready.is_empty() {
            out.extend(self.ready.drain(..));
            self.ready_bytes = 0;
        }
        out.extend(self.tail.take().filter(|tail| !tail.is_empty()).map(BufferMut::freeze));
        bytes
    }

    /// Puts bytes behind.
    pub fn put(&mut self, bytes: &[u8]) {
        self.put_all([bytes]);
    }

    /// Puts several parts behind.
    #[inline]
    pub fn put_all<const N: usize>(&mut self, parts: [&[u8]; N]) {
        let tail = self.tail.get_or_insert_with(|| self.endpoint.frame());
        if tail.extend_from_slices(parts).is_err() {
            parts.into_iter().for_each(|part| self.put_long(part));
        }
    }

    /// Puts a number behind, in decimal.
    pub fn put_number(&mut self, number: u64) {
        self.put(Decimal::new(number).as_bytes());
    }

    /// Puts a buffer behind, by copying it if it is small.
    pub fn push(&mut self, buffer: Buffer) {
        if buffer.len() <= COPIED_VALUE_BYTES {
            self.put(&buffer);
        } else {
            self.retire();
            self.ready_bytes += buffer.len();
            self.ready.push(buffer);
        }
    }

    /// Puts a value behind, by copying it if it is small.
    pub fn push_value(&mut self, value: Value) {
        value.into_pieces().for_each(|piece| self.push(piece));
    }

    /// Puts bytes behind for which the frame has no room.
    #[cold]
    fn put_long(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let tail = self.tail.get_or_insert_with(|| self.endpoint.frame());
            let (front, rest) = bytes.split_at(bytes.len().min(tail.tailroom()));
            tail.extend_from_slice(front).expect("the front is as long as there is room");
            bytes = rest;
            if !bytes.is_empty() {
                self.retire();
            }
        }
    }

    /// What was written is complete.
    fn retire(&mut self) {
        if let Some(tail) = self.tail.take()
            && !tail.is_empty()
        {
            self.ready_bytes += tail.len();
            self.ready.push(tail.freeze());
        }
    }
}

// A frame has room for any line but those with many keys.
const _: () = assert!(FRAME_BYTES > 1024);

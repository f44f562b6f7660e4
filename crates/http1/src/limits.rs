//! What a peer may ask for.

/// The most header fields a head may have, whatever [`Limits::headers`] says.
pub const MAX_HEADERS: usize = 128;

/// The most bytes a head may have, whatever the limits say.
pub const MAX_HEAD_BYTES: usize = u16::MAX as usize;

/// Bounds on what a peer may send and on what waits here for it.
///
/// A connection holds at most one head under way, `input_bytes` and one more buffer of input, and `output_bytes` plus what its
/// owner still adds of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The first line of a message, with its end. Longer ones of requests are answered by 414.
    pub start_line_bytes: usize,
    /// All header lines together, with the empty line. Larger ones of requests are answered by 431.
    pub header_bytes: usize,
    /// Header fields per message, at most [`MAX_HEADERS`]. More of them in a request are answered by 431.
    pub headers: usize,
    /// The body of a message, decoded. Larger ones of requests are answered by 413.
    pub body_bytes: u64,
    /// Extensions of all chunks of one body; they are skipped. More of them in a request are answered by 400.
    pub chunk_extension_bytes: usize,
    /// The trailer section of a chunked body, at most 40 KiB, of as many fields as a head. Larger ones of requests are answered by
    /// 431.
    pub trailer_bytes: usize,
    /// Requests that are not answered yet. The input behind them is left alone until one of them is.
    pub pipelined_requests: usize,
    /// Interim responses (1xx) before a final one. More of them end the client's side of the connection.
    pub interim_responses: usize,
    /// Input that is kept until it can be looked at. With more, [`wants_input`](crate::Connection::wants_input) is false.
    pub input_bytes: usize,
    /// Buffers of input that are kept, as small ones may hold much memory; one with 0.
    pub input_buffers: usize,
    /// Output that waits to be taken. With more, no further request is looked at.
    pub output_bytes: usize,
}

impl Limits {
    /// The limits that the documentation of each field is about, as a server on the open Internet wants them.
    pub const DEFAULT: Self = Self {
        start_line_bytes: 8 << 10,
        header_bytes: 16 << 10,
        headers: 100,
        body_bytes: 1 << 20,
        chunk_extension_bytes: 4 << 10,
        trailer_bytes: 4 << 10,
        pipelined_requests: 32,
        interim_responses: 16,
        input_bytes: 64 << 10,
        input_buffers: 16,
        output_bytes: 64 << 10,
    };

    /// The most bytes that a head can have.
    pub(crate) fn head_bytes(&self) -> usize {
        self.start_line_bytes.saturating_add(self.header_bytes).min(MAX_HEAD_BYTES)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

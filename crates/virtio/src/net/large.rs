//! Frames for what is long: what is done for each frame is done seldom then.

/// Room in a frame for large packets: the largest ones of TCP, whose segments fill whole packets of Ethernet, lie in two.
pub const LARGE_FRAME_BYTES: usize = 32 << 10;

/// Room before that, for headers.
pub const LARGE_HEADROOM_BYTES: usize = 64;

/// What is as long is put into such frames, so that at most half of one stays empty.
pub const LARGE_FROM_BYTES: usize = LARGE_FRAME_BYTES / 2;

/// Tells whether most of the packets that came of late were long.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trend {
    excess: u8,
}

/// So many long packets are remembered.
const MEMORY: u8 = 16;

impl Trend {
    /// A packet has come.
    #[inline]
    pub(crate) fn note(&mut self, bytes: usize) {
        let excess = self.excess;
        self.excess = if bytes >= LARGE_FROM_BYTES { (excess + 1).min(MEMORY) } else { excess.saturating_sub(1) };
    }

    /// Whether the next ones are likely to be long too.
    #[inline]
    pub(crate) fn is_long(self) -> bool {
        self.excess > MEMORY / 2
    }
}

//! Bytes as a row of choices.

use core::time::Duration;

/// What is left of the bytes. Behind their end there are zeros.
pub(super) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    /// Which of two hosts.
    pub(super) fn host(&mut self) -> usize {
        usize::from(self.byte() & 1)
    }

    pub(super) fn one_of<T: Copy, const N: usize>(&mut self, choices: [T; N]) -> T {
        choices[usize::from(self.byte()) % N]
    }

    /// A length: mostly what is worth to be tried.
    pub(super) fn len(&mut self) -> usize {
        self.one_of([1, 10, 500, 1_000, 1_448, 1_460, 2_920, 5_000, 14_600, 20_000, 40_000, 0])
    }

    pub(super) fn wait(&mut self) -> Duration {
        Duration::from_millis(self.one_of([0, 1, 5, 20, 50, 200, 600, 3_000, 20_000, 70_000, 400_000]))
    }

    /// How far from what would be right.
    pub(super) fn offset(&mut self) -> i32 {
        let small = i32::from(self.byte().cast_signed());
        let scale = self.one_of([1, 1, 500, 30_000, 10_000_000]);
        small * scale
    }
}

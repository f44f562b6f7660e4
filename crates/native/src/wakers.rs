//! Who waits for what of the sockets.

use std::task::{Context, Waker};

/// From so many places on a table grows by an eighth of itself.
const LARGE: usize = 1 << 16;

/// Tasks that wait, by the small numbers of what they wait for.
#[derive(Debug)]
pub(crate) struct Table<T>(Vec<T>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Default> Table<T> {
    /// The place of a socket.
    pub(crate) fn at(&mut self, index: usize) -> &mut T {
        if index >= self.0.len() {
            self.grow(index);
        }
        &mut self.0[index]
    }

    /// Makes places up to this one. A large table has little room beyond that.
    #[cold]
    fn grow(&mut self, index: usize) {
        let wanted = index + 1;
        if wanted > self.0.capacity() && wanted > LARGE {
            self.0.reserve_exact(wanted + wanted / 8 - self.0.len());
        }
        self.0.resize_with(wanted, T::default);
    }

    /// Has the place of a socket fetched that will be looked at soon.
    pub(crate) fn prefetch(&self, index: usize) {
        if let Some(place) = self.0.get(index) {
            sunstar_packet::prefetch(place);
        }
    }

    /// Gives back the places behind the last one that is not empty.
    pub(crate) fn shrink(&mut self, is_empty: impl Fn(&T) -> bool) {
        let used = self.0.iter().rposition(|waiting| !is_empty(waiting)).map_or(0, |last| last + 1);
        self.0.truncate(used);
        self.0.shrink_to_fit();
    }

    /// The place of a socket, if anybody has ever waited there.
    pub(crate) fn get(&mut self, index: usize) -> Option<&mut T> {
        self.0.get_mut(index)
    }
}

/// Who waits for a stream. Of very many idle ones each has a reader that waits, and few ever had a writer.
#[derive(Debug)]
pub(crate) enum StreamWaiters {
    /// A reader alone.
    Reader(Waker),
    /// Nobody, or, in memory of its own, whoever waits; kept from when somebody waited to write until the stream is gone.
    Others(Option<Box<Both>>),
}

#[derive(Debug, Default)]
pub(crate) struct Both {
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// The writer waits until fewer bytes than this are not acknowledged.
    below: u32,
}

/// Two words, though each of both sides may wait.
const _: () = assert!(size_of::<StreamWaiters>() <= 2 * size_of::<usize>());

impl Default for StreamWaiters {
    fn default() -> Self {
        Self::Others(None)
    }
}

impl StreamWaiters {
    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Reader(_) => false,
            Self::Others(both) => both.as_ref().is_none_or(|both| both.reader.is_none() && both.writer.is_none()),
        }
    }

    pub(crate) fn wait_to_read(&mut self, cx: &Context<'_>) {
        match self {
            Self::Reader(waker) => waker.clone_from(cx.waker()),
            Self::Others(Some(both)) => keep(&mut both.reader, cx),
            Self::Others(None) => *self = Self::Reader(cx.waker().clone()),
        }
    }

    pub(crate) fn wait_to_write(&mut self, below: u32, cx: &Context<'_>) {
        if let Self::Reader(_) | Self::Others(None) = self {
            let reader = self.reader();
            *self = Self::Others(Some(Box::new(Both { reader, ..Both::default() })));
        }
        if let Self::Others(Some(both)) = self {
            both.below = below;
            keep(&mut both.writer, cx);
        }
    }

    /// The reader.
    #[inline]
    pub(crate) fn reader(&mut self) -> Option<Waker> {
        match self {
            Self::Others(None) => None,
            Self::Others(Some(both)) => both.reader.take(),
            Self::Reader(_) => match std::mem::take(self) {
                Self::Reader(waker) => Some(waker),
                Self::Others(_) => None,
            },
        }
    }

    /// The writer, if so many bytes that are not acknowledged are few enough.
    #[inline]
    pub(crate) fn writer(&mut self, unacknowledged: u32) -> Option<Waker> {
        let Self::Others(Some(both)) = self else { return None };
        both.writer.take_if(|_| unacknowledged < both.below)
    }

    /// Both, since nothing is going to happen any more.
    pub(crate) fn all(&mut self) -> [Option<Waker>; 2] {
        let reader = self.reader();
        let Self::Others(Some(both)) = self else { return [reader, None] };
        [reader, both.writer.take()]
    }
}

/// Notes who waits, instead of who waited there before.
pub(crate) fn keep(place: &mut Option<Waker>, cx: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *place = Some(cx.waker().clone()),
    }
}

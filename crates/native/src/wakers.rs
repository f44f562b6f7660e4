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

/// Who waits for a stream.
#[derive(Debug, Default)]
pub(crate) struct StreamWaiters {
    pub(crate) reader: Option<Waker>,
    /// In memory of its own, since few ever wait to write; kept until the stream is gone.
    writer: Option<Box<Writer>>,
}

#[derive(Debug, Default)]
struct Writer {
    waker: Option<Waker>,
    /// It waits until fewer bytes than this are not acknowledged.
    below: u32,
}

impl StreamWaiters {
    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.reader.is_none() && self.writer.as_ref().is_none_or(|writer| writer.waker.is_none())
    }

    pub(crate) fn wait_to_write(&mut self, below: u32, cx: &Context<'_>) {
        let writer = self.writer.get_or_insert_default();
        writer.below = below;
        keep(&mut writer.waker, cx);
    }

    /// The writer, if so many bytes that are not acknowledged are few enough.
    pub(crate) fn writer(&mut self, unacknowledged: u32) -> Option<Waker> {
        let writer = self.writer.as_mut()?;
        writer.waker.take_if(|_| unacknowledged < writer.below)
    }

    /// Both, since nothing is going to happen any more.
    pub(crate) fn all(&mut self) -> [Option<Waker>; 2] {
        [self.reader.take(), self.writer.as_mut().and_then(|writer| writer.waker.take())]
    }
}

/// Notes who waits, instead of who waited there before.
pub(crate) fn keep(place: &mut Option<Waker>, cx: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *place = Some(cx.waker().clone()),
    }
}

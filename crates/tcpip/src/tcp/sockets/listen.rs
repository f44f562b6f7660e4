//! Listeners and their backlogs.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::net::SocketAddr;

use super::{Event, ListenerId, OpenError, Options, SocketId, Sockets};
use crate::tcp::fast_open::FastOpenListener;
use crate::time::Instant;

/// Who listens at an address.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) local: SocketAddr,
    pub(super) options: Rc<Options>,
    /// Open connections that nobody has accepted yet.
    pub(super) queue: VecDeque<SocketId>,
    /// Strangers who have not confirmed.
    pub(super) half_open: usize,
    pub(super) backlog: usize,
    /// Until when there may be cookies that are good.
    pub(super) cookies_until: Instant,
    /// How it takes data that come with a SYN.
    pub(super) fast_open: Option<FastOpenListener>,
    /// Whether an event waits that tells of it: there is one, however many connections have come since.
    pub(super) has_event: bool,
}

impl Listener {
    /// Whether a further connection has room. As in Linux one more than the backlog has.
    pub(super) fn has_room(&self) -> bool {
        self.queue.len() <= self.backlog
    }
}

impl Sockets {
    /// Listens at an address; the unspecified one stands for all of its version. At most `backlog` connections wait to be accepted,
    /// and about as many to be confirmed.
    ///
    /// # Errors
    /// [`OpenError::InUse`].
    pub fn listen(
        &mut self,
        local: SocketAddr,
        backlog: usize,
        options: impl Into<Rc<Options>>,
    ) -> Result<ListenerId, OpenError> {
        let key = (local.port(), local.ip());
        if self.bound.contains_key(&key) {
            return Err(OpenError::InUse);
        }
        let listener = Listener {
            local,
            options: options.into(),
            queue: VecDeque::new(),
            half_open: 0,
            backlog,
            cookies_until: Instant::default(),
            fast_open: None,
            has_event: false,
        };
        let place = self.listeners.insert(listener);
        self.bound.insert(key, place);
        Ok(ListenerId(place))
    }

    /// Changes the options of connections that a listener will open. Answers whether there is such a listener.
    pub fn set_listener_options(&mut self, listener: ListenerId, options: impl Into<Rc<Options>>) -> bool {
        let listener = self.listeners.get_mut(listener.0);
        listener.map(|listener| listener.options = options.into()).is_some()
    }

    /// From now on a listener takes data that come with a SYN, or no longer does (RFC 7413). Answers whether there is such a listener.
    pub fn set_fast_open(&mut self, listener: ListenerId, fast_open: Option<FastOpenListener>) -> bool {
        let listener = self.listeners.get_mut(listener.0);
        listener.map(|listener| listener.fast_open = fast_open).is_some()
    }

    /// Lets a connection wait to be accepted, and notes that the application should look at its listener.
    pub(super) fn offer(&mut self, place: u32, id: SocketId) {
        let Some(listener) = self.listeners.get_mut(place) else { return };
        listener.queue.push_back(id);
        if !core::mem::replace(&mut listener.has_event, true) {
            self.events.push_back(Event::Listener(ListenerId(place)));
        }
    }

    /// How many connections wait to be accepted.
    pub fn acceptable(&self, listener: ListenerId) -> usize {
        self.listeners.get(listener.0).map_or(0, |listener| listener.queue.len())
    }

    /// The connection that has waited longest.
    pub fn accept(&mut self, listener: ListenerId) -> Option<SocketId> {
        let id = self.listeners.get_mut(listener.0)?.queue.pop_front()?;
        let entry = self.entry_mut(id)?;
        entry.is_accepted = true;
        // What it received while it waited.
        self.notify(id.place);
        Some(id)
    }

    /// Stops listening. Connections that nobody has accepted are reset, strangers forgotten.
    pub fn unlisten(&mut self, now: Instant, listener: ListenerId) {
        let Some(removed) = self.listeners.remove(listener.0) else { return };
        self.bound.remove(&(removed.local.port(), removed.local.ip()));
        for id in removed.queue {
            self.abort(now, id);
        }
        self.events.retain(|event| *event != Event::Listener(listener));
        // A later listener in the same place has nothing to do with them.
        let strangers = self.half_open.iter().filter(|(_, waiting)| waiting.listener == listener.0);
        let strangers: Vec<u32> = strangers.map(|(place, _)| place).collect();
        strangers.into_iter().for_each(|place| self.forget(place));
    }
}

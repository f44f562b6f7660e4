//! Listeners and their backlogs.

use alloc::collections::VecDeque;
use alloc::collections::btree_map::Entry as Bound;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

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
        self.listen_at(local, &[local.ip()], backlog, options.into())
    }

    /// Listens at all addresses of both versions (RFC 3493 §3.7), by one backlog.
    ///
    /// # Errors
    /// [`OpenError::InUse`], also if only all addresses of one version are listened at.
    pub fn listen_dual(
        &mut self,
        port: u16,
        backlog: usize,
        options: impl Into<Rc<Options>>,
    ) -> Result<ListenerId, OpenError> {
        let local = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        self.listen_at(local, &[local.ip(), Ipv4Addr::UNSPECIFIED.into()], backlog, options.into())
    }

    fn listen_at(
        &mut self,
        local: SocketAddr,
        addresses: &[IpAddr],
        backlog: usize,
        options: Rc<Options>,
    ) -> Result<ListenerId, OpenError> {
        if addresses.iter().any(|address| self.bound.contains_key(&(local.port(), *address))) {
            return Err(OpenError::InUse);
        }
        let listener = Listener {
            local,
            options,
            queue: VecDeque::new(),
            half_open: 0,
            backlog,
            cookies_until: Instant::default(),
            fast_open: None,
            has_event: false,
        };
        let place = self.listeners.insert(listener);
        for address in addresses {
            self.bound.insert((local.port(), *address), place);
        }
        Ok(ListenerId(place))
    }

    /// Whether a connection was accepted at an address of IPv6, or [is to be shown so](Self::show_as_v6): those of its addresses that are of IPv4
    /// are to be shown in the form of IPv6 (RFC 4291 §2.5.5.2).
    pub fn is_shown_as_v6(&self, id: SocketId) -> bool {
        let entry = self.connections.get(id.place).filter(|entry| entry.generation == id.generation);
        entry.is_some_and(|entry| entry.is_shown_as_v6)
    }

    /// A connection was opened to an address of IPv4 in the form of IPv6.
    pub fn show_as_v6(&mut self, id: SocketId) {
        if let Some(entry) = self.entry_mut(id) {
            entry.is_shown_as_v6 = true;
        }
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

    /// How many strangers have asked a listener and not confirmed yet, as its backlog counts them; those who were answered by cookies are
    /// not among them. None for a listener that is gone.
    pub fn unconfirmed(&self, listener: ListenerId) -> usize {
        self.listeners.get(listener.0).map_or(0, |listener| listener.half_open)
    }

    /// The connection that has waited longest.
    pub fn accept(&mut self, listener: ListenerId) -> Option<SocketId> {
        let listener = self.listeners.get_mut(listener.0)?;
        let is_shown_as_v6 = listener.local.is_ipv6();
        let id = listener.queue.pop_front()?;
        let entry = self.entry_mut(id)?;
        (entry.is_accepted, entry.is_shown_as_v6) = (true, is_shown_as_v6);
        // What it received while it waited.
        self.notify(id.place);
        Some(id)
    }

    /// Stops listening. Connections that nobody has accepted are reset, strangers forgotten.
    pub fn unlisten(&mut self, now: Instant, listener: ListenerId) {
        let Some(removed) = self.listeners.remove(listener.0) else { return };
        for address in [removed.local.ip(), Ipv4Addr::UNSPECIFIED.into()] {
            // Of both versions, perhaps.
            if let Bound::Occupied(bound) = self.bound.entry((removed.local.port(), address))
                && *bound.get() == listener.0
            {
                bound.remove();
            }
        }
        self.ports.forget_exhausted();
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

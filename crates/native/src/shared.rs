//! What the sockets of a shard's network share, and its part in the shard's rounds.

use std::cell::{Cell, RefCell, RefMut};
use std::fmt;
use std::rc::Rc;
use std::task::{Context, Waker};

use sunstar_executor::{Instant, Poller, timer};
use sunstar_tcpip::stack::Stack;
use sunstar_tcpip::tcp::connection;
use sunstar_tcpip::time;

use crate::ending::{Ending, Phase};
use crate::state::{State, stack_time};

/// A shard's network, as its sockets know it.
pub(crate) struct Shared {
    state: RefCell<State>,
    /// The time of the latest round.
    now: Cell<Instant>,
    /// Whether something may have been asked of the stack since it last sent.
    has_work: Cell<bool>,
    /// Whether the stack may have something to send: also what it was told by others, and what devices had no room for.
    must_send: Cell<bool>,
    /// Streams that somebody has.
    pub(crate) open_streams: Cell<usize>,
    /// What streams are made with.
    pub(crate) options: Rc<connection::Options>,
    /// How the shard ends, once it does.
    pub(crate) ending: Ending,
    /// Who is to be woken; empty between calls.
    wakes: RefCell<Vec<Waker>>,
}

impl Shared {
    pub(crate) fn new(stack: Stack, options: connection::Options) -> Self {
        Self {
            state: RefCell::new(State::new(stack)),
            now: Cell::new(timer::now()),
            has_work: Cell::new(false),
            must_send: Cell::new(true),
            open_streams: Cell::new(0),
            options: Rc::new(options),
            ending: Ending::default(),
            wakes: RefCell::default(),
        }
    }

    /// The network, of which something is going to be asked. No waker must be called meanwhile.
    pub(crate) fn state(&self) -> RefMut<'_, State> {
        self.has_work.set(true);
        self.state.borrow_mut()
    }

    /// Something was asked of the stack that it may have to tell others.
    pub(crate) fn was_asked(&self) {
        self.has_work.set(true);
    }

    /// The network, to be looked at.
    pub(crate) fn look<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        f(&mut self.state.borrow_mut())
    }

    /// Wakes those for whom something has happened; answers whether anything has.
    fn wake(&self) -> bool {
        let mut wakes = self.wakes.take();
        let found = self.state.borrow_mut().collect(&mut wakes);
        wakes.drain(..).for_each(Waker::wake);
        self.wakes.replace(wakes);
        found
    }

    /// The time of the latest round on the stack's clock.
    pub(crate) fn now(&self) -> time::Instant {
        stack_time(self.now.get())
    }
}

impl Poller for Shared {
    fn poll(&self, now: Instant) -> usize {
        self.now.set(now);
        let (came, is_due) = {
            let mut state = self.state.borrow_mut();
            (state.receive(now), state.pass_time(now))
        };
        if came > 0 || is_due {
            self.must_send.set(true);
            self.wake();
        }
        // What was only due is done at the end of this round, and no sign that more comes.
        came
    }

    fn submit(&self, now: Instant) -> bool {
        let was_asked = self.has_work.replace(false);
        let mut state = self.state.borrow_mut();
        if !self.must_send.get() && !was_asked && state.is_told() {
            state.flush(now);
            return false;
        }
        let sent = state.transmit(now);
        let has_news = state.has_news();
        drop(state);
        self.must_send.set(!sent.is_all);
        // What went to ourselves has arrived.
        has_news && self.wake() || sent.is_any
    }

    fn deadline(&self) -> Option<Instant> {
        self.state.borrow().deadline()
    }

    fn prepare_sleep(&self, cx: &mut Context<'_>) -> bool {
        self.state.borrow_mut().prepare_sleep(cx) && !self.has_work.get()
    }

    fn free_unused_memory(&self) {
        self.look(State::free_unused_memory);
        self.wakes.borrow_mut().shrink_to_fit();
    }

    fn finish(&self) {
        self.ending.note_quiet();
        // What came from other shards belongs there, and has to go home before they end.
        drop(self.look(State::finish));
    }

    fn lingers(&self) -> bool {
        let mut state = self.state();
        let [connections, ..] = state.stack.tcp().counts();
        let ending = self.ending.look(self.now.get(), connections > self.open_streams.get());
        // First the connections, which need the addresses, and the queues of this shard, which others send by.
        ending == Phase::Waits || state.stack.leave(self.now()) || ending == Phase::Leaves
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("now", &self.now).finish_non_exhaustive()
    }
}

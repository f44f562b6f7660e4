//! Looking ahead for connections that have one request each.
//!
//! The items of several requests are fetched from memory together (`Store::look_ahead`), and a connection with one request has nothing to
//! fetch together with. But when the server has much to do, many connections are ready at the same time. So each leaves its key here and
//! lets the others run before it goes on, and the first that goes on fetches what all of them need.

use std::cell::RefCell;

use sunstar::executor::yield_now;
use sunstar_memcache::{KEYS_AHEAD, Key, Store};

/// A store of fewer pages is in the processor's caches anyway.
const PAGES: usize = 2;

/// Keys that connections of a shard are about to ask for, at most [`KEYS_AHEAD`].
#[derive(Default)]
pub(crate) struct Ahead {
    hashes: RefCell<Vec<u64>>,
}

impl Ahead {
    /// Lets others leave their keys, and fetches what is needed to find the items of all of them.
    pub(crate) async fn join(&self, store: &RefCell<Store>, key: Key<'_>) {
        if store.borrow().pages() < PAGES {
            return;
        }
        self.leave(store, key);
        yield_now().await;
        self.look(store);
    }

    fn leave(&self, store: &RefCell<Store>, key: Key<'_>) {
        self.hashes.borrow_mut().push(key.hash());
        if self.hashes.borrow().len() == KEYS_AHEAD {
            self.look(store);
        }
    }

    /// Fetches what all need that have left their keys, and answers how many those are. One alone may as well wait when it asks.
    fn look(&self, store: &RefCell<Store>) -> usize {
        let mut hashes = self.hashes.borrow_mut();
        if hashes.len() > 1 {
            store.borrow().look_ahead(hashes.iter().map(|hash| Key::with_hash(&[], *hash)));
        }
        hashes.drain(..).count()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use sunstar_memcache::{KEYS_AHEAD, KeyHash, Store};

    use super::Ahead;

    #[test]
    fn the_first_that_goes_on_looks_for_all_and_no_more_wait_than_may_be_looked_at() {
        let (ahead, hash) = (Ahead::default(), KeyHash::new([1, 2]));
        let store = RefCell::new(Store::new(hash, 1 << 20));
        let leave = |name: &str| ahead.leave(&store, hash.key(name.as_bytes()));
        ["one", "two", "three"].into_iter().for_each(leave);
        assert_eq!([ahead.look(&store), ahead.look(&store)], [3, 0]);
        (0..KEYS_AHEAD).for_each(|number| leave(&number.to_string()));
        assert_eq!(ahead.look(&store), 0, "the last that there was room for has looked");
        leave("one");
        assert_eq!(ahead.look(&store), 1);
    }
}

//! Looking ahead for connections that have one request each.
//!
//! The items of several requests are fetched from memory together (`Store::look_ahead`), and a connection with one request has nothing to
//! fetch together with. But when the server has much to do, many connections are ready at the same time. So each leaves its key here and
//! lets the others run before it goes on, and the first that goes on fetches what all of them need.

use std::cell::RefCell;

use sunstar::executor::yield_now;
use sunstar_memcache::{KEYS_AHEAD, Key, Store};

/// A store of fewer pages, which is a MiB, is in the processor's caches anyway.
const PAGES: usize = 16;

/// Keys that connections of a shard are about to ask for, at most [`KEYS_AHEAD`].
#[derive(Default)]
pub(crate) struct Ahead {
    hashes: RefCell<Vec<u64>>,
}

impl Ahead {
    /// Lets others leave their keys, and fetches what is needed to find the items of all of them; answers how many it has fetched for.
    pub(crate) async fn join(&self, store: &RefCell<Store>, key: Key<'_>) -> usize {
        if store.borrow().pages() < PAGES {
            return 0;
        }
        let left = self.leave(store, key);
        yield_now().await;
        left + self.look(store)
    }

    fn leave(&self, store: &RefCell<Store>, key: Key<'_>) -> usize {
        self.hashes.borrow_mut().push(key.hash());
        if self.hashes.borrow().len() == KEYS_AHEAD { self.look(store) } else { 0 }
    }

    /// Fetches what all need that have left their keys, and answers how many it was. One alone may as well wait when it asks.
    fn look(&self, store: &RefCell<Store>) -> usize {
        let mut hashes = self.hashes.borrow_mut();
        let count = if hashes.len() > 1 { hashes.len() } else { 0 };
        store.borrow().look_ahead_by_hash(hashes.drain(..).filter(|_| count > 0));
        count
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
        assert_eq!(["one", "two", "three"].map(leave), [0; 3]);
        assert_eq!([ahead.look(&store), ahead.look(&store)], [3, 0]);
        assert_eq!((0..KEYS_AHEAD).map(|number| leave(&number.to_string())).sum::<usize>(), KEYS_AHEAD);
        assert_eq!(ahead.look(&store), 0, "the last that there was room for has looked");
        assert_eq!((leave("one"), ahead.look(&store)), (0, 0), "one alone has nothing to be fetched together with");
    }
}

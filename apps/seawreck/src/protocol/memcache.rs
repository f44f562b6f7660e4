//! The memcache text protocol: keys drawn by chance, values that say themselves whether they are right.

pub(crate) mod datagrams;
mod keys;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use sunstar::packet::Buffer;
use sunstar_memcache::{
    ClientConnection, ClientEvent, Endpoint, Item, Limits, Reply, RetrievalCommand, StorageCommand, StorageVerb,
};

use super::{Heard, Protocol, Verdict};
use crate::fault::Fault;
pub(crate) use keys::Keys;
use keys::Popularity;

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Mix {
    pub(crate) keys: Keys,
    /// The part of the requests that are `get`, between zero and one; the others are `set`.
    pub(crate) gets: f64,
    /// Keys of a `get`.
    pub(crate) keys_per_get: usize,
    /// How much more often some keys are asked for than others, as the exponent of Zipf's law; nothing for all alike.
    pub(crate) zipf: Option<f64>,
    /// Whether values are looked at.
    pub(crate) verifies: bool,
}

/// The memcache protocol on all connections of a shard.
pub(crate) struct Memcache {
    mix: Mix,
    endpoint: Endpoint,
    popularity: Popularity,
    random: RefCell<SmallRng>,
    /// All values are parts of it.
    pattern: Buffer,
    /// The key to be stored next, where all are to be stored in turn.
    filling: Option<Cell<u64>>,
    /// The keys of a request, and what a connection sends.
    scratch: RefCell<(Vec<u8>, Vec<Buffer>)>,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    gets: Cell<u64>,
    sets: Cell<u64>,
    hits: Cell<u64>,
    misses: Cell<u64>,
}

/// A connection.
pub(crate) struct Session {
    connection: ClientConnection,
    /// Of each request that is not answered: how many keys it gets, none if it sets one.
    asked: VecDeque<u32>,
    /// The keys of those requests for which no item has come yet, if values are looked at.
    keys: VecDeque<u64>,
    /// How many keys of the oldest request are not in there any more.
    passed: u32,
    /// Items of the oldest request that have come.
    items: u32,
    has_wrong_value: bool,
    answered: Answered,
}

impl Session {
    /// Whether the oldest request that is not answered is a get.
    fn gets(&self) -> bool {
        self.asked.front().is_some_and(|keys| *keys > 0)
    }

    /// Takes the next of the oldest request's keys, whose items come in the order of the keys.
    fn next_key(&mut self) -> Option<u64> {
        let keys = *self.asked.front()?;
        if self.passed == keys {
            return None;
        }
        self.passed += 1;
        self.keys.pop_front()
    }

    /// Whether this is the item of a key that was asked for. Those before it were missed.
    fn passes(&mut self, key: u64) -> bool {
        std::iter::from_fn(|| self.next_key()).any(|next| next == key)
    }
}

/// What was answered last.
#[derive(Clone, Copy, Debug, Default)]
struct Answered {
    is_get: bool,
    hits: u32,
    misses: u32,
}

impl Memcache {
    /// Requests by chance, drawn from a seed. `place` puts bytes where they are sent from.
    pub(crate) fn new(mix: &Mix, seed: u64, place: impl Fn(&[u8]) -> Buffer) -> Self {
        // Longer values than the server takes are its own business.
        let limits =
            Limits { item_bytes: Limits::DEFAULT.item_bytes.max(mix.keys.longest_value() + 1024), ..Limits::DEFAULT };
        Self {
            endpoint: Endpoint::new(limits),
            popularity: Popularity::new(mix.keys.count, mix.zipf),
            random: RefCell::new(SmallRng::seed_from_u64(seed)),
            pattern: place(&mix.keys.pattern()),
            filling: None,
            scratch: RefCell::default(),
            counts: Counts::default(),
            mix: mix.clone(),
        }
    }

    /// Stores all keys in turn, from this one on.
    pub(crate) fn filling(mix: &Mix, first: u64, place: impl Fn(&[u8]) -> Buffer) -> Self {
        Self { filling: Some(Cell::new(first)), ..Self::new(mix, 0, place) }
    }

    /// A number by chance.
    fn draw_u16(&self) -> u16 {
        self.random.borrow_mut().random()
    }

    fn set(&self, session: &mut Session, key: u64) {
        let (scratch, _) = &mut *self.scratch.borrow_mut();
        scratch.clear();
        self.mix.keys.write(key, scratch);
        let command =
            StorageCommand { verb: StorageVerb::Set, key: &scratch[..], flags: 0, exptime: 0, noreply: false };
        let value = self.pattern.slice(self.mix.keys.value(key));
        session.connection.store(&command, value).expect("the options let neither keys nor values be malformed");
        session.asked.push_back(0);
    }

    fn get(&self, session: &mut Session, keys: impl Iterator<Item = u64>) {
        let (scratch, _) = &mut *self.scratch.borrow_mut();
        scratch.clear();
        for key in keys {
            self.mix.keys.write(key, scratch);
            if self.mix.verifies {
                session.keys.push_back(key);
            }
        }
        let keys = scratch.chunks_exact(self.mix.keys.len_bytes);
        session.asked.push_back(u32::try_from(keys.len()).unwrap_or(u32::MAX));
        let retrieved = session.connection.retrieve(RetrievalCommand::GET, keys);
        retrieved.expect("the options let no key be malformed");
    }

    /// Whether an item was asked for and has the value that its key wants.
    fn is_right(&self, session: &mut Session, item: &Item) -> bool {
        if !self.mix.verifies {
            return true;
        }
        let Some(key) = self.mix.keys.read(&item.key) else { return false };
        session.passes(key) && item.value == self.pattern[self.mix.keys.value(key)]
    }

    /// Takes note of an answer that is measured.
    fn count(&self, answered: Answered) {
        let Answered { is_get, hits, misses } = answered;
        add(if is_get { &self.counts.gets } else { &self.counts.sets }, 1);
        add(&self.counts.hits, hits.into());
        add(&self.counts.misses, misses.into());
    }

    fn on_reply(session: &mut Session, reply: &Reply) -> Result<Verdict, Fault> {
        while session.next_key().is_some() {}
        session.passed = 0;
        let keys = session.asked.pop_front().ok_or(Fault::BadAnswer)?;
        let (items, has_wrong_value) =
            (std::mem::take(&mut session.items), std::mem::take(&mut session.has_wrong_value));
        session.answered = Answered { is_get: keys > 0, hits: items, misses: 0 };
        Ok(match reply {
            Reply::End if keys > 0 => {
                session.answered.misses = keys.saturating_sub(items);
                if has_wrong_value { Verdict::Bad(Fault::WrongBytes) } else { Verdict::Good }
            }
            Reply::Stored if keys == 0 => Verdict::Good,
            _ => Verdict::Bad(Fault::WrongStatus),
        })
    }
}

fn add(count: &Cell<u64>, more: u64) {
    count.set(count.get() + more);
}

impl Protocol for Memcache {
    type Session = Session;

    fn session(&self) -> Session {
        Session {
            connection: self.endpoint.connect(),
            asked: VecDeque::new(),
            keys: VecDeque::new(),
            passed: 0,
            items: 0,
            has_wrong_value: false,
            answered: Answered::default(),
        }
    }

    fn ask(&self, session: &mut Session, count: usize, _is_last: bool, send: impl FnMut(Buffer)) {
        let random = &mut *self.random.borrow_mut();
        for _ in 0..count {
            if let Some(next) = &self.filling {
                self.set(session, next.replace(next.get() + 1) % self.mix.keys.count);
            } else if random.random::<f64>() < self.mix.gets {
                let keys = std::iter::repeat_with(|| self.popularity.draw(random));
                self.get(session, keys.take(self.mix.keys_per_get));
            } else {
                self.set(session, self.popularity.draw(random));
            }
        }
        let (_, buffers) = &mut *self.scratch.borrow_mut();
        session.connection.poll_transmit(buffers);
        buffers.drain(..).for_each(send);
    }

    fn hear(&self, session: &mut Session, bytes: &mut Buffer) -> Result<Heard, Fault> {
        if !bytes.is_empty() {
            // The engine asks until there is no more, so the input before was looked at.
            session.connection.handle_input(std::mem::take(bytes)).map_err(|_| Fault::BadAnswer)?;
        }
        loop {
            match session.connection.poll_event() {
                None => return Ok(Heard::More),
                Some(ClientEvent::Item(item)) => {
                    session.items += 1;
                    session.has_wrong_value |= !self.is_right(session, &item);
                }
                Some(ClientEvent::Reply(reply)) => {
                    let verdict = Self::on_reply(session, &reply)?;
                    return Ok(Heard::Answer { place: 0, verdict, is_last: false });
                }
                Some(ClientEvent::Figure(..) | ClientEvent::Error(_)) => return Err(Fault::BadAnswer),
            }
        }
    }

    fn measured(&self, session: &Session) {
        self.count(session.answered);
    }

    fn figures(&self) -> Vec<(&'static str, u64)> {
        let Counts { gets, sets, hits, misses } = &self.counts;
        vec![("gets", gets.get()), ("sets", sets.get()), ("hits", hits.get()), ("misses", misses.get())]
    }
}

//! From a name to an answer: domains, memory, servers, aliases.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::rc::{Rc, Weak};
use alloc::string::String;
use core::cell::{Cell, RefCell};
use core::future::Future;
use core::net::SocketAddr;
use core::time::Duration;

use sunstar_executor::combine::with_timeout;
use sunstar_executor::sync::SharedFuture;
use sunstar_executor::timer;

use super::cache::{Answer, Cache, Key};
use super::exchange::Question;
use super::hosts::{candidates, is_name, key};
use super::message::{RecordKind, Reply};
use super::{MAX_ALIASES, NameError, ResolverCounters, ResolverOptions};

/// A question that is under way.
type Asking = SharedFuture<dyn Future<Output = Answer>>;

/// What a resolver knows.
pub(super) struct State {
    pub(super) options: ResolverOptions,
    pub(super) counters: Cell<ResolverCounters>,
    cache: RefCell<Cache>,
    /// With those who wait for each.
    under_way: RefCell<BTreeMap<Key, (Rc<Asking>, usize)>>,
    /// The server that has answered last.
    preferred: Cell<Option<SocketAddr>>,
}

/// Somebody who waits for a question. The last one to go takes it along.
struct Waiting<'a> {
    state: &'a State,
    key: Key,
    asking: Rc<Asking>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut under_way = self.state.under_way.borrow_mut();
        let Some((asking, waiting)) = under_way.get_mut(&self.key) else { return };
        if !Rc::ptr_eq(asking, &self.asking) {
            return;
        }
        *waiting -= 1;
        if *waiting == 0 {
            under_way.remove(&self.key);
        }
    }
}

impl State {
    pub(super) fn new(options: ResolverOptions) -> Self {
        let cache = RefCell::new(Cache::new(options.answers));
        let (counters, under_way, preferred) = Default::default();
        Self { options, counters, cache, under_way, preferred }
    }

    pub(super) fn levels(&self) -> (usize, usize) {
        (self.cache.borrow().len(), self.under_way.borrow().len())
    }

    fn count(&self, change: fn(&mut ResolverCounters)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }

    /// Gives up when the time for a question has passed.
    async fn in_time(&self, answer: impl Future<Output = Answer>) -> Answer {
        with_timeout(self.options.deadline, answer).await.unwrap_or(Err(NameError::TimedOut))
    }

    /// Looks for a name as it is and in the domains, in the order that its dots ask for.
    pub(super) async fn search(self: &Rc<Self>, name: &str, kind: RecordKind) -> Answer {
        self.in_time(self.search_all(name, kind)).await
    }

    async fn search_all(self: &Rc<Self>, name: &str, kind: RecordKind) -> Answer {
        if !is_name(name) {
            return Err(NameError::Invalid);
        }
        let search = (self.options.servers)().search;
        for candidate in candidates(name, &search, self.options.dots) {
            // One of which only something else is known is the one that is meant: so both versions of IP find the same host.
            let answer = self.lookup(&candidate, kind).await;
            if !matches!(answer, Err(NameError::NotFound)) {
                return answer;
            }
        }
        Err(NameError::NotFound)
    }

    /// Looks for a name as it is.
    pub(super) async fn lookup(self: &Rc<Self>, name: &str, kind: RecordKind) -> Answer {
        let key: Key = (key(name), kind);
        if let Some(answer) = self.cache.borrow_mut().get(timer::now(), &key) {
            self.count(|counters| counters.from_memory += 1);
            return answer;
        }
        let waiting = self.wait_for(key)?;
        waiting.asking.get().await
    }

    /// Joins an equal question, or asks.
    fn wait_for(self: &Rc<Self>, key: Key) -> Result<Waiting<'_>, NameError> {
        let mut under_way = self.under_way.borrow_mut();
        if let Some((asking, waiting)) = under_way.get_mut(&key) {
            *waiting += 1;
            let asking = Rc::clone(asking);
            self.count(|counters| counters.joined += 1);
            return Ok(Waiting { state: self, key, asking });
        }
        if under_way.len() >= self.options.lookups {
            self.count(|counters| counters.refused += 1);
            return Err(NameError::Busy);
        }
        // It must not hold what holds it.
        let (state, asked) = (Rc::downgrade(self), key.clone());
        let asking = Rc::new(SharedFuture::from_boxed(Box::pin(resolve(state, asked)) as _));
        under_way.insert(key.clone(), (Rc::clone(&asking), 1));
        drop(under_way);
        Ok(Waiting { state: self, key, asking })
    }

    /// Asks, follows aliases, and remembers what comes of it.
    async fn resolve(&self, key: Key) -> Answer {
        let mut name = String::from(&*key.0);
        let mut longest = Duration::MAX;
        for _ in 0..=MAX_ALIASES {
            let (answer, ttl) = match self.ask(&name, key.1).await? {
                Reply::Found(data, ttl) => (Ok(data.into()), Some(ttl)),
                Reply::Missing { is_name_unknown: true, ttl } => (Err(NameError::NotFound), ttl),
                Reply::Missing { is_name_unknown: false, ttl } => (Err(NameError::NoData), ttl),
                Reply::Alias(other, ttl) => {
                    (name, longest) = (other.into(), longest.min(ttl));
                    continue;
                }
                Reply::Truncated | Reply::NoExtensions | Reply::Failed => return Err(NameError::Failed),
            };
            if let Some(ttl) = ttl.map(|ttl| ttl.min(longest)).filter(|ttl| !ttl.is_zero()) {
                let now = timer::now();
                self.cache.borrow_mut().insert(now, key, answer.clone(), now + ttl);
                self.count(|counters| counters.remembered += 1);
            }
            return answer;
        }
        Err(NameError::Aliases)
    }

    /// Asks one server after the other, first the one that has answered last.
    async fn ask(&self, name: &str, kind: RecordKind) -> Result<Reply, NameError> {
        let mut servers = (self.options.servers)().servers;
        let preferred = self.preferred.get();
        servers.sort_by_key(|server| Some(*server) != preferred);
        if servers.is_empty() {
            return Err(NameError::NoServer);
        }
        let question = Question { name, kind, timeout: self.options.timeout };
        let mut outcome = NameError::TimedOut;
        for _ in 0..self.options.attempts.max(1) {
            for server in &servers {
                match question.ask(*server, &|change| self.count(change)).await {
                    None => {}
                    Some(Reply::Failed | Reply::NoExtensions | Reply::Truncated) => outcome = NameError::Failed,
                    Some(reply) => {
                        self.preferred.set(Some(*server));
                        return Ok(reply);
                    }
                }
                self.count(|counters| counters.failures += 1);
            }
        }
        Err(outcome)
    }
}

async fn resolve(state: Weak<State>, key: Key) -> Answer {
    match state.upgrade() {
        // Whoever joins it later does not prolong it.
        Some(state) => state.in_time(state.resolve(key)).await,
        // Nobody is left who could have asked.
        None => Err(NameError::Failed),
    }
}

//! Names of hosts and services, and the servers that know them (RFC 1035).
//!
//! A [`Resolver`] is one shard's. It asks over whatever network the shard has: several servers, one after the other; by UDP, and by TCP
//! what does not fit. It remembers answers, also that there is none (RFC 2308), for as long as they say; equal questions that are asked at the same
//! time are asked once.
//!
//! | what is bounded | by | what happens at the bound |
//! |---|---|---|
//! | questions under way | [`ResolverOptions::lookups`] | [`NameError::Busy`] |
//! | answers that are remembered | [`ResolverOptions::answers`] | what ends first is forgotten |
//! | records of an answer | [`MAX_RECORDS`] | further ones are left out |
//! | aliases on the way to an answer | [`MAX_ALIASES`] | [`NameError::Aliases`] |
//! | datagrams that are no answer | [`MAX_STRAYS`] for each question | the next server is asked |
//! | labels and pointers of names in an answer | a fixed number of each name, and of all | it is no answer |
//! | time | [`ResolverOptions::timeout`] each time a server is asked, [`ResolverOptions::attempts`], [`ResolverOptions::deadline`] for all | [`NameError::TimedOut`] |
//! | time to connect to a host | [`CONNECT_TIME`] | [`Error::TimedOut`] |
//!
//! # Whom it believes
//! An answer comes from the server that was asked, to the port and with the number that were drawn for the question, and repeats the question. All
//! else is counted and passed over. Names are those of hosts, with underscores (RFC 1123 §2.1, RFC 2782), in ASCII.

mod cache;
mod exchange;
mod hosts;
mod lookup;
mod message;
#[cfg(test)]
mod naive;
mod order;
mod race;
#[cfg(test)]
mod tests;
mod wire;

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use sunstar_executor::local;
use thiserror::Error as ThisError;

use crate::error::Error;
pub use hosts::{Hosts, ResolvConf};
use lookup::State;
pub use message::{MAX_RECORDS, RecordKind};

/// Aliases (CNAME) that are followed on the way to an answer.
pub const MAX_ALIASES: usize = 8;

/// Datagrams that are no answer, for each question to one server.
pub const MAX_STRAYS: usize = 64;

/// How long [`Resolver::connect`] and [`TcpStream::connect_host`](crate::TcpStream::connect_host) take at most, names included. Who has less
/// patience drops them.
pub const CONNECT_TIME: Duration = Duration::from_secs(60);

/// The port of name servers.
pub const NAME_SERVER_PORT: u16 = 53;

/// Why a name has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ThisError)]
#[non_exhaustive]
pub enum NameError {
    /// It is no name.
    #[error("this is no name of a host")]
    Invalid,
    /// There is no such name.
    #[error("there is no such name")]
    NotFound,
    /// There is such a name, but nothing of that kind is known of it.
    #[error("nothing of that kind is known of the name")]
    NoData,
    /// Nobody is there to be asked.
    #[error("there is no name server to be asked")]
    NoServer,
    /// No server has answered in time.
    #[error("no name server has answered in time")]
    TimedOut,
    /// The servers could not, or would not, answer.
    #[error("the name servers could not answer")]
    Failed,
    /// More aliases lead on than are followed, or in a circle.
    #[error("too many aliases")]
    Aliases,
    /// As many questions as may be are under way.
    #[error("too many names are being looked up")]
    Busy,
}

impl From<NameError> for Error {
    fn from(error: NameError) -> Self {
        match error {
            NameError::Invalid => Self::InvalidInput,
            NameError::NotFound | NameError::NoData | NameError::Aliases => Self::UnknownHost,
            NameError::NoServer | NameError::TimedOut | NameError::Failed => Self::NameServers,
            NameError::Busy => Self::LimitExceeded,
        }
    }
}

/// Where a service is (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The smaller, the sooner it is to be tried.
    pub priority: u16,
    /// Of equal ones, how often.
    pub weight: u16,
    /// Its port.
    pub port: u16,
    /// Its host.
    pub target: Box<str>,
}

/// Whom to ask, and in which domains names without dots are looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Servers {
    /// The servers, in their order.
    pub servers: Vec<SocketAddr>,
    /// The domains, in their order.
    pub search: Vec<Box<str>>,
}

/// What a resolver is made with.
#[derive(Clone)]
pub struct ResolverOptions {
    /// Asked for each question, since it may change: by DHCP, for example.
    pub servers: Rc<dyn Fn() -> Servers>,
    /// Names that are known without asking.
    pub hosts: Rc<Hosts>,
    /// How long a server may take each time it is asked, also if it wants to be asked in another way: without extensions, or by TCP.
    pub timeout: Duration,
    /// How long it takes at most to find what is known of a name: with all servers, attempts, aliases and domains.
    pub deadline: Duration,
    /// How often each server is asked.
    pub attempts: u32,
    /// With so many dots a name is looked for as it is before it is in the domains.
    pub dots: usize,
    /// Questions under way at most.
    pub lookups: usize,
    /// Answers that are remembered at most.
    pub answers: usize,
}

impl ResolverOptions {
    /// The usual patience, and nobody to ask.
    pub fn new(servers: impl Fn() -> Servers + 'static) -> Self {
        Self {
            servers: Rc::new(servers),
            hosts: Rc::default(),
            timeout: Duration::from_secs(3),
            deadline: Duration::from_secs(20),
            attempts: 2,
            dots: 1,
            lookups: 256,
            answers: 1_024,
        }
    }
}

impl fmt::Debug for ResolverOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResolverOptions").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// What a resolver has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResolverCounters {
    /// Questions that were sent by UDP.
    pub questions: u64,
    /// Questions that were sent again by TCP, since the answer did not fit a datagram.
    pub by_tcp: u64,
    /// Answers that were remembered.
    pub remembered: u64,
    /// Questions that were answered from memory.
    pub from_memory: u64,
    /// Questions that waited for an equal one.
    pub joined: u64,
    /// Datagrams that were no answer to what was asked.
    pub strays: u64,
    /// Servers that did not answer in time, or could not.
    pub failures: u64,
    /// Questions that were refused since too many were under way.
    pub refused: u64,
}

/// One shard's way to know names. Its clones are handles to the same one.
#[derive(Clone)]
pub struct Resolver {
    state: Rc<State>,
}

/// What a shard finds its resolver by.
struct Installed(Resolver);

impl Resolver {
    /// A resolver that remembers nothing yet.
    pub fn new(options: ResolverOptions) -> Self {
        Self { state: Rc::new(State::new(options)) }
    }

    /// Makes it the current shard's, by which [`TcpStream::connect_host`](crate::TcpStream::connect_host) finds hosts.
    ///
    /// # Panics
    /// Outside of any shard.
    pub fn install(self) {
        local::set(Rc::new(Installed(self)));
    }

    /// The current shard's, if one was installed.
    ///
    /// # Panics
    /// Outside of any shard.
    pub fn current() -> Option<Self> {
        local::get::<Installed>().map(|installed| installed.0.clone())
    }

    /// The addresses of a host, in the order in which they are to be tried (RFC 6724 §6, as far as it does not need to know our own).
    /// An address stands for itself. Dropping the future gives the question up, if nobody else waits for it.
    ///
    /// # Errors
    /// See [`NameError`]. That one version of IP has no address is none if the other one has.
    ///
    /// # Panics
    /// When polled outside of any shard.
    pub async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, NameError> {
        let both = (self.addresses_of(name, RecordKind::Aaaa), self.addresses_of(name, RecordKind::A));
        let (v6, v4) = sunstar_executor::combine::when_all(both).await;
        let mut all: Vec<IpAddr> = [&v6, &v4].into_iter().flatten().flatten().copied().collect();
        if all.is_empty() {
            return Err(worse(v6.err(), v4.err()));
        }
        order::sort(&mut all);
        Ok(all)
    }

    /// The addresses of a host of one version of IP.
    pub(crate) async fn addresses_of(&self, name: &str, kind: RecordKind) -> Result<Vec<IpAddr>, NameError> {
        if let Some(known) = hosts::known(&self.state.options.hosts, name) {
            let of_kind = |ip: &IpAddr| ip.is_ipv4() == (kind == RecordKind::A);
            let known: Vec<IpAddr> = known.into_iter().filter(of_kind).collect();
            return if known.is_empty() { Err(NameError::NoData) } else { Ok(known) };
        }
        let answer = self.state.search(name, kind).await?;
        Ok(answer.iter().filter_map(message::Data::ip).collect())
    }

    /// Where a service is, as in `_http._tcp.example.org` (RFC 2782): by priority, and of equal priority by chance, as the weights say.
    ///
    /// # Errors
    /// See [`NameError`].
    ///
    /// # Panics
    /// When polled outside of any shard.
    pub async fn services(&self, name: &str) -> Result<Vec<Service>, NameError> {
        let answer = self.state.search(name, RecordKind::Srv).await?;
        let mut services: Vec<Service> = answer.iter().filter_map(message::Data::service).collect();
        // A target that is the root says that there is no such service (RFC 2782); it is no host's name, and was left out.
        if services.is_empty() {
            return Err(NameError::NoData);
        }
        order::draw(&mut services, exchange::random);
        Ok(services)
    }

    /// The names of an address, by the domains in which they are kept (RFC 1035 §3.5, RFC 3596 §2.5).
    ///
    /// # Errors
    /// See [`NameError`].
    ///
    /// # Panics
    /// When polled outside of any shard.
    pub async fn names_of(&self, ip: IpAddr) -> Result<Vec<Box<str>>, NameError> {
        let answer = self.state.lookup(&hosts::reverse_name(ip), RecordKind::Ptr).await?;
        Ok(answer.iter().filter_map(message::Data::name).collect())
    }

    /// What was counted.
    pub fn counters(&self) -> ResolverCounters {
        self.state.counters.get()
    }

    /// How many answers are remembered, and how many questions are under way.
    pub fn levels(&self) -> (usize, usize) {
        self.state.levels()
    }
}

/// What says more of why there is no address.
fn worse(one: Option<NameError>, other: Option<NameError>) -> NameError {
    match (one, other) {
        (Some(NameError::NoData | NameError::NotFound), Some(other)) => other,
        (Some(one), _) => one,
        (None, other) => other.unwrap_or(NameError::NoData),
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("counters", &self.counters()).finish_non_exhaustive()
    }
}

//! A connection to a host of several addresses (RFC 8305).

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::future::{Future, poll_fn};
use core::net::{IpAddr, SocketAddr};
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use sunstar_executor::combine::with_timeout;
use sunstar_executor::timer::sleep;

use super::{CONNECT_TIME, NameError, RecordKind, Resolver, order, worse};
use crate::error::Error;
use crate::stream::Stream;

/// RFC 8305 §3: so long addresses of IPv4 wait for those of IPv6.
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

/// RFC 8305 §5: so long an attempt has for itself.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Addresses that are tried at most.
const MAX_ATTEMPTS: usize = 16;

type Boxed<T> = Pin<Box<dyn Future<Output = T>>>;

/// Addresses of one version of IP, that are being asked for.
type Asked = Option<Boxed<Result<Vec<IpAddr>, NameError>>>;

/// The attempts to connect to one host.
struct Race {
    port: u16,
    v6: Asked,
    v4: Asked,
    /// Not tried yet, in order.
    waiting: VecDeque<IpAddr>,
    /// How many have been tried.
    tried: usize,
    attempts: Vec<Boxed<Result<Stream, Error>>>,
    /// Nothing is tried before this is over.
    pause: Option<Boxed<()>>,
    /// Whether addresses of IPv4 have waited for those of IPv6.
    has_waited: bool,
    name_error: Option<NameError>,
    error: Option<Error>,
}

impl Resolver {
    /// Connects to a host: its addresses are tried in turn, a quarter of a second apart or as soon as one fails, and the first connection
    /// counts (RFC 8305). Dropping the future gives all of them up.
    ///
    /// # Errors
    /// [`Error::UnknownHost`] and [`Error::NameServers`] if there is no address; [`Error::TimedOut`] after [`CONNECT_TIME`]; otherwise that
    /// of the attempt that has failed last.
    ///
    /// # Panics
    /// When polled outside of any shard.
    pub async fn connect(&self, name: &str, port: u16) -> Result<Stream, Error> {
        let ask = |kind| {
            let (resolver, name) = (self.clone(), String::from(name));
            Some(Box::pin(async move { resolver.addresses_of(&name, kind).await }) as Boxed<_>)
        };
        let mut race = Race {
            port,
            v6: ask(RecordKind::Aaaa),
            v4: ask(RecordKind::A),
            waiting: VecDeque::new(),
            tried: 0,
            attempts: Vec::new(),
            pause: None,
            has_waited: false,
            name_error: None,
            error: None,
        };
        let connecting = poll_fn(|cx| race.poll(cx));
        with_timeout(CONNECT_TIME, connecting).await.unwrap_or(Err(Error::TimedOut))
    }
}

impl Race {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Stream, Error>> {
        loop {
            self.take_addresses(cx);
            if let Some(stream) = self.poll_attempts(cx) {
                return Poll::Ready(Ok(stream));
            }
            if let Some(pause) = &mut self.pause {
                if pause.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.pause = None;
            }
            if !self.begin() {
                break;
            }
        }
        let is_over = self.attempts.is_empty() && self.v4.is_none() && self.v6.is_none();
        if !is_over {
            return Poll::Pending;
        }
        let unknown = self.name_error.unwrap_or(NameError::NoData);
        Poll::Ready(Err(self.error.unwrap_or_else(|| unknown.into())))
    }

    /// Begins the next attempt, or a wait before it; answers whether there was something to begin.
    fn begin(&mut self) -> bool {
        if self.waiting.is_empty() {
            return false;
        }
        // RFC 8305 §3.
        if self.v6.is_some() && !self.has_waited && self.tried == 0 {
            self.has_waited = true;
            self.pause = Some(Box::pin(sleep(RESOLUTION_DELAY)));
            return true;
        }
        let Some(ip) = self.waiting.pop_front().filter(|_| self.tried < MAX_ATTEMPTS) else { return false };
        self.tried += 1;
        self.attempts.push(Box::pin(Stream::connect(SocketAddr::new(ip, self.port))));
        self.pause = Some(Box::pin(sleep(ATTEMPT_DELAY)));
        true
    }

    fn take_addresses(&mut self, cx: &mut Context<'_>) {
        for asked in [&mut self.v6, &mut self.v4] {
            let Some(Poll::Ready(outcome)) = asked.as_mut().map(|asked| asked.as_mut().poll(cx)) else { continue };
            *asked = None;
            match outcome {
                Ok(more) => {
                    let mut all: Vec<IpAddr> = self.waiting.drain(..).chain(more).collect();
                    order::sort(&mut all);
                    self.waiting = all.into();
                }
                Err(error) => self.name_error = Some(worse(self.name_error, Some(error))),
            }
        }
        // Nothing more is to be waited for.
        if self.v6.is_none() && self.tried == 0 {
            self.pause = None;
        }
    }

    /// Looks at the attempts under way. If one fails, the next one begins at once.
    fn poll_attempts(&mut self, cx: &mut Context<'_>) -> Option<Stream> {
        let mut place = 0;
        while let Some(attempt) = self.attempts.get_mut(place) {
            match attempt.as_mut().poll(cx) {
                Poll::Pending => place += 1,
                Poll::Ready(Ok(stream)) => return Some(stream),
                Poll::Ready(Err(error)) => {
                    drop(self.attempts.remove(place));
                    self.error = Some(error);
                    self.pause = None;
                }
            }
        }
        None
    }
}

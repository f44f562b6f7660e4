//! Connecting: the request, its answer, and the future that waits for it.

use std::future::Future;
use std::net::SocketAddrV4;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use sunstar_net::Error;
use sunstar_net::socket::StreamSocket;

use super::connection::{Connection, End};
use super::half::{Holder, Item};
use super::host_net::HostNet;
use super::stream::SimStream;
use super::{Event as NetworkEvent, Network};
use crate::trace::{Record, Side};
use crate::world::{Event, ShardIo};

/// After this long without an answer a request to connect is made again; then after twice as long, and so on (RFC 6298, 2.1).
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// So many requests are made, as by Linux.
const REQUESTS: u32 = 7;
/// So long it takes to find out that there is no such host, as on Linux.
const UNREACHABLE_AFTER: Duration = Duration::from_secs(3);

impl Network {
    /// Asks for a connection.
    pub(super) fn connect(
        self: &Rc<Self>,
        io: &Rc<ShardIo>,
        from: SocketAddrV4,
        to: SocketAddrV4,
    ) -> Result<Connect, Error> {
        let host = io.place.host;
        let to_here = to.ip().is_loopback() || to.ip().is_unspecified();
        let hosts = self.hosts.borrow().len();
        let there = if to_here { Some(host) } else { HostNet::number(*to.ip()).filter(|&number| number < hosts) };
        let from = self.with_host(host, |here| {
            let ip = if !from.ip().is_unspecified() {
                *from.ip()
            } else if to_here {
                *to.ip()
            } else {
                here.ip
            };
            here.address_to_connect(SocketAddrV4::new(ip, from.port()))
        });
        let from = from.map_err(|error| match error {
            Error::AddressInUse => Error::AddressNotAvailable,
            error => error,
        })?;
        let client = End::new(from, host);
        client.io.replace(Some(Rc::clone(io)));
        let connection = Connection::new(self, client, End::new(to, there.unwrap_or(usize::MAX)));
        connection.with(Side::Client, |half, _| half.holder = Holder::Socket);
        self.count(|counters| counters.connections += 1);
        let (delay, event) = match there {
            Some(_) => (self.delay(connection.is_local), NetworkEvent::Request(Rc::clone(&connection))),
            None => (UNREACHABLE_AFTER, NetworkEvent::Unanswered(Rc::clone(&connection), Error::HostUnreachable)),
        };
        self.world.schedule(self.world.now() + delay, Event::Network(event));
        self.world.note(&Record::Connect { connection: connection.number, from, to, delay });
        Ok(Connect { connection: Some(connection) })
    }

    /// A request to connect has arrived.
    pub(super) fn requested(self: &Rc<Self>, connection: &Rc<Connection>) {
        if connection.with(Side::Client, |half, _| half.holder == Holder::Nobody) {
            return;
        }
        let server = connection.end(Side::Server);
        let mut listeners = self.with_host(server.host, |host| host.listeners.at(server.address));
        listeners.retain(|listener| listener.is_open());
        let refuses = !connection.is_local && self.options.refuse.happens(&mut self.random());
        if listeners.is_empty() || refuses {
            self.count(|counters| counters.refused += 1);
            connection.with(Side::Server, |half, _| connection.send(Side::Server, half, Item::Refused));
            return;
        }
        let choice = if listeners.len() > 1 { self.random().index(listeners.len()) } else { 0 };
        if listeners[choice].offer(connection) {
            connection.with(Side::Server, |half, _| {
                half.is_established = true;
                connection.send(Side::Server, half, Item::Granted);
            });
        } else {
            self.ask_again(connection);
        }
    }

    /// The backlog was full: the request was dropped, and the client's host makes it again later.
    fn ask_again(&self, connection: &Rc<Connection>) {
        self.count(|counters| counters.full_backlogs += 1);
        let attempt = connection.attempts.get();
        connection.attempts.set(attempt + 1);
        let after = FIRST_RETRY * (1 << attempt);
        connection.note(&Record::ConnectAgain { connection: connection.number, after });
        let event = if attempt + 1 < REQUESTS {
            NetworkEvent::Request(Rc::clone(connection))
        } else {
            NetworkEvent::Unanswered(Rc::clone(connection), Error::TimedOut)
        };
        self.world.schedule(self.world.now() + after, Event::Network(event));
    }
}

/// Waits for the answer to a request to connect.
pub(super) struct Connect {
    /// None once it was answered.
    connection: Option<Rc<Connection>>,
}

impl Future for Connect {
    type Output = Result<Rc<dyn StreamSocket>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(connection) = &self.connection else { return Poll::Ready(Err(Error::NotConnected)) };
        let (failure, is_established) = connection.with(Side::Client, |half, _| (half.failure, half.is_established));
        let answer = match failure {
            Some(error) => Err(error),
            None if is_established => {
                let stream: Rc<dyn StreamSocket> = SimStream::new(Rc::clone(connection), Side::Client);
                Ok(stream)
            }
            None => {
                connection.end(Side::Client).reader.register(cx);
                return Poll::Pending;
            }
        };
        self.connection = None;
        Poll::Ready(answer)
    }
}

impl Drop for Connect {
    /// Gives the connection up: where it is made nevertheless, it is reset.
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let is_established = connection.with(Side::Client, |half, _| {
            half.holder = Holder::Nobody;
            half.is_established
        });
        drop(connection.end(Side::Client).reader.take());
        if is_established {
            connection.reset(Side::Client);
        }
    }
}

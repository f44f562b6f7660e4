//! Datagrams: lost, doubled and overtaken as the options say.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddrV4;
use std::rc::Rc;
use std::task::{Context, Poll};

use sunstar_net::socket::{DEFAULT_SEND_QUEUE_BYTES, DatagramOptions, DatagramSocket};
use sunstar_net::{Address, Error};
use sunstar_packet::Buffer;

use super::half::WakerSlot;
use super::host_net::{Bound, HostNet};
use super::stack::inet;
use super::stream::received;
use super::{Event as NetworkEvent, Network, add, subtract};
use crate::trace::{Record, content};
use crate::world::{Event, ShardIo};

/// The longest datagram in bytes: what UDP over IPv4 takes.
const LONGEST_DATAGRAM_BYTES: usize = 65_507;

/// A datagram under way.
pub(crate) struct Datagram {
    from: SocketAddrV4,
    to: SocketAddrV4,
    /// The host that it goes to.
    host: usize,
    /// Where a refusal goes.
    sender: usize,
    content: Content,
}

enum Content {
    Bytes(Vec<u8>),
    /// Nobody listens where a datagram was sent from here.
    Refusal,
}

/// What has arrived for a datagram socket.
pub(super) struct DatagramQueue {
    address: SocketAddrV4,
    shares_port: bool,
    io: Rc<ShardIo>,
    peer: Cell<Option<SocketAddrV4>>,
    arrived: RefCell<VecDeque<(Vec<u8>, SocketAddrV4)>>,
    error: Cell<Option<Error>>,
    receiver: WakerSlot,
    /// What was put into the send queue since the shard has last sent.
    queued_bytes: Cell<usize>,
}

impl Bound for DatagramQueue {
    fn address(&self) -> SocketAddrV4 {
        self.address
    }

    fn shares_port(&self) -> bool {
        self.shares_port
    }
}

impl DatagramQueue {
    fn wake(&self) {
        if let Some(waker) = self.receiver.take() {
            self.io.wake(waker);
        }
    }

    fn takes_from(&self, from: SocketAddrV4) -> bool {
        self.peer.get().is_none_or(|peer| peer == from)
    }
}

impl Network {
    pub(super) fn bind(
        self: &Rc<Self>,
        io: &Rc<ShardIo>,
        address: SocketAddrV4,
        options: &DatagramOptions,
    ) -> Result<SimDatagram, Error> {
        let host = io.place.host;
        let address = self.with_host(host, |host| host.address_for_datagrams(address, options.reuse_port))?;
        let queue = Rc::new(DatagramQueue {
            address,
            shares_port: options.reuse_port,
            io: Rc::clone(io),
            peer: Cell::new(None),
            arrived: RefCell::default(),
            error: Cell::new(None),
            receiver: WakerSlot::default(),
            queued_bytes: Cell::new(0),
        });
        add(&self.gauges.sockets, 1);
        self.with_host(host, |host| host.datagrams.add(&queue));
        self.world.note(&Record::Bind { place: io.place, address });
        Ok(SimDatagram { network: Rc::clone(self), queue: Some(queue) })
    }

    fn send(&self, sender: usize, from: SocketAddrV4, to: SocketAddrV4, bytes: Vec<u8>) {
        self.count(|counters| counters.datagrams += 1);
        let is_local = to.ip().is_loopback() || to.ip().is_unspecified();
        let host = if is_local { Some(sender) } else { HostNet::number(*to.ip()) };
        let len = bytes.len();
        let is_far = host != Some(sender);
        let is_lost = is_far && self.options.datagram_loss.happens(&mut self.random());
        let host = host.filter(|&host| !is_lost && host < self.hosts.borrow().len());
        let Some(host) = host else {
            self.count(|counters| counters.lost_datagrams += 1);
            self.world.note(&Record::DatagramLost { from, to, bytes: len });
            return;
        };
        if is_far && self.options.datagram_duplication.happens(&mut self.random()) {
            self.count(|counters| counters.duplicated_datagrams += 1);
            self.dispatch(Datagram { from, to, host, sender, content: Content::Bytes(bytes.clone()) });
        }
        self.dispatch(Datagram { from, to, host, sender, content: Content::Bytes(bytes) });
    }

    /// Each datagram is under way for a time of its own, so they overtake each other.
    fn dispatch(&self, datagram: Datagram) {
        let delay = self.delay(datagram.host == datagram.sender);
        if let Content::Bytes(bytes) = &datagram.content {
            let Datagram { from, to, .. } = datagram;
            self.world.note(&Record::Datagram { from, to, bytes: bytes.len(), delay });
        }
        let event = NetworkEvent::Datagram(Box::new(datagram));
        self.world.schedule(self.world.now() + delay, Event::Network(event));
    }

    pub(super) fn arrive(&self, datagram: Datagram) {
        let Datagram { from, to, host, sender, content } = datagram;
        let queues = self.with_host(host, |host| host.datagrams.at(to));
        match content {
            Content::Refusal => {
                for queue in queues.iter().filter(|queue| queue.peer.get() == Some(from)) {
                    queue.error.set(Some(Error::ConnectionRefused));
                    queue.wake();
                }
            }
            Content::Bytes(bytes) => {
                let mut queues: Vec<_> = queues.into_iter().filter(|queue| queue.takes_from(from)).collect();
                let is_connected = queues.iter().any(|queue| queue.peer.get().is_some());
                queues.retain(|queue| !is_connected || queue.peer.get().is_some());
                match queues.len() {
                    0 => {
                        self.drop_datagram(to, &bytes);
                        self.dispatch(Datagram {
                            from: to,
                            to: from,
                            host: sender,
                            sender: host,
                            content: Content::Refusal,
                        });
                    }
                    1 => self.deliver(&queues[0], bytes, from, to),
                    count => {
                        let choice = self.random().index(count);
                        self.deliver(&queues[choice], bytes, from, to);
                    }
                }
            }
        }
    }

    fn deliver(&self, queue: &DatagramQueue, bytes: Vec<u8>, from: SocketAddrV4, to: SocketAddrV4) {
        if queue.arrived.borrow().len() >= self.options.datagram_queue.max(1) {
            self.drop_datagram(to, &bytes);
            return;
        }
        self.world.note(&Record::DatagramArrived { to, bytes: bytes.len(), content: content(&bytes) });
        queue.arrived.borrow_mut().push_back((bytes, from));
        queue.wake();
    }

    fn drop_datagram(&self, to: SocketAddrV4, bytes: &[u8]) {
        self.count(|counters| counters.dropped_datagrams += 1);
        self.world.note(&Record::DatagramDropped { to, bytes: bytes.len() });
    }
}

/// A datagram socket.
pub(super) struct SimDatagram {
    network: Rc<Network>,
    /// None while it is being dropped.
    queue: Option<Rc<DatagramQueue>>,
}

impl SimDatagram {
    fn queue(&self) -> &DatagramQueue {
        self.queue.as_deref().expect("a socket has its queue until it is dropped")
    }

    /// The address that the receiver sees.
    fn source(&self, to: SocketAddrV4) -> SocketAddrV4 {
        let queue = self.queue();
        let ip = match *queue.address.ip() {
            ip if !ip.is_unspecified() => ip,
            _ if to.ip().is_loopback() => *to.ip(),
            _ => self.network.with_host(queue.io.place.host, |host| host.ip),
        };
        SocketAddrV4::new(ip, queue.address.port())
    }
}

impl DatagramSocket for SimDatagram {
    fn local_address(&self) -> Result<Address, Error> {
        Ok(Address::Inet(self.queue().address.into()))
    }

    fn poll_receive(&self, cx: &mut Context<'_>) -> Poll<Result<(Buffer, Address), Error>> {
        let queue = self.queue();
        if let Some(error) = queue.error.take() {
            return Poll::Ready(Err(error));
        }
        let next = queue.arrived.borrow_mut().pop_front();
        match next {
            Some((bytes, from)) => Poll::Ready(Ok((received(bytes, &self.network), Address::Inet(from.into())))),
            None => {
                queue.receiver.register(cx);
                Poll::Pending
            }
        }
    }

    /// A full queue leaves when the shard polls next. So time passes for who does nothing but send.
    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let queue = self.queue();
        if let Some(error) = queue.error.take() {
            return Poll::Ready(Err(error));
        }
        if queue.queued_bytes.get() < DEFAULT_SEND_QUEUE_BYTES {
            return Poll::Ready(Ok(()));
        }
        queue.queued_bytes.set(0);
        queue.io.wake(cx.waker().clone());
        Poll::Pending
    }

    fn enqueue(&self, bytes: Buffer, to: Option<&Address>) {
        let queue = self.queue();
        // An empty one takes a place, too.
        queue.queued_bytes.set(queue.queued_bytes.get().saturating_add(bytes.len().max(1)));
        let to = match to {
            Some(address) => inet(address),
            None => queue.peer.get().ok_or(Error::NotConnected),
        };
        match to {
            Ok(_) if bytes.len() > LONGEST_DATAGRAM_BYTES => queue.error.set(Some(Error::MessageTooLong)),
            Ok(to) => self.network.send(queue.io.place.host, self.source(to), to, bytes.to_vec()),
            Err(error) => queue.error.set(Some(error)),
        }
    }

    fn connect(&self, peer: &Address) -> Result<(), Error> {
        self.queue().peer.set(Some(inet(peer)?));
        Ok(())
    }
}

impl Drop for SimDatagram {
    fn drop(&mut self) {
        subtract(&self.network.gauges.sockets, 1);
        if let Some(queue) = self.queue.take() {
            let (host, port) = (queue.io.place.host, queue.address.port());
            drop(queue);
            self.network.with_host(host, |host| host.datagrams.prune(port));
        }
    }
}

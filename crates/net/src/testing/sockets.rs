//! The sockets of the contract over the network in memory.

use std::any::Any;
use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use sunstar_packet::Buffer;

use super::datagrams::MemDatagram;
use super::network::{Listening, Network};
use crate::address::{Address, UnixAddress};
use crate::error::Error;
use crate::socket::{
    ConnectOptions, Connecting, DatagramOptions, DatagramSocket, Detached, ListenOptions, ListenSocket, Stack,
    StreamOption, StreamSocket,
};

/// An end of a stream that somebody has; dropping it closes the end.
struct Held {
    network: Network,
    id: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.network.state().close(self.id);
    }
}

impl Stack for Network {
    fn listen(&self, address: &Address, options: &ListenOptions) -> Result<Rc<dyn ListenSocket>, Error> {
        let mut state = self.state();
        let address = match address {
            Address::Inet(inet) => state.free_port(*inet).into(),
            Address::Unix(_) => address.clone(),
        };
        let name = address.to_string();
        if !options.reuse_port && state.listeners.keys().any(|(at, _)| *at == name) {
            return Err(Error::AddressInUse);
        }
        let key = (name, state.number());
        let backlog_limit = options.backlog as usize;
        let listening = Listening { backlog_limit, with_peer: options.with_peer, ..Listening::default() };
        state.listeners.insert(key.clone(), listening);
        Ok(Rc::new(MemListener { network: self.clone(), key, address }))
    }

    fn connect(&self, address: &Address, options: &ConnectOptions) -> Connecting {
        let (network, to, from) = (self.clone(), address.clone(), options.from.clone());
        Connecting::new(async move {
            let held = {
                let mut state = network.state();
                let from = match (&to, from) {
                    (_, Some(from)) => from,
                    (Address::Inet(_), None) => state.free_port(([127, 0, 0, 1], 0).into()).into(),
                    (Address::Unix(_), None) => UnixAddress::Unnamed.into(),
                };
                let id = state.connect(from, &to)?;
                Held { network: network.clone(), id }
            };
            poll_fn(|cx| {
                let mut state = network.state();
                let Some(end) = state.ends.get_mut(&held.id) else { return Poll::Ready(Err(Error::ConnectionRefused)) };
                if end.is_reset {
                    return Poll::Ready(Err(Error::ConnectionRefused));
                }
                if end.is_connected {
                    return Poll::Ready(Ok(()));
                }
                end.connector = Some(cx.waker().clone());
                Poll::Pending
            })
            .await?;
            Ok(stream(held))
        })
    }

    fn attach(&self, stream: Detached) -> Result<Rc<dyn StreamSocket>, Error> {
        let held: Held = stream.into_inner()?;
        {
            let mut state = self.state();
            if state.failing_attaches > 0 {
                state.failing_attaches -= 1;
                drop(state);
                return Err(Error::OutOfMemory);
            }
        }
        Ok(self::stream(held))
    }

    fn bind(&self, address: &Address, _: &DatagramOptions) -> Result<Rc<dyn DatagramSocket>, Error> {
        Ok(Rc::new(MemDatagram::bind(self.clone(), address)?))
    }
}

struct MemListener {
    network: Network,
    key: (String, u64),
    address: Address,
}

impl ListenSocket for MemListener {
    fn local_address(&self) -> Result<Address, Error> {
        Ok(self.address.clone())
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Result<Detached, Error>> {
        let mut state = self.network.state();
        if state.failing_accepts > 0 {
            state.failing_accepts -= 1;
            return Poll::Ready(Err(Error::OutOfDescriptors));
        }
        let listening = state.listeners.get_mut(&self.key).unwrap();
        let with_peer = listening.with_peer;
        if let Some(id) = listening.backlog.pop_front() {
            let peer = with_peer.then(|| state.ends[&id].peer_address.clone());
            let held = Held { network: self.network.clone(), id };
            return Poll::Ready(Ok(Detached::new(held, peer)));
        }
        if listening.is_closed && listening.arriving.is_empty() {
            return Poll::Ready(Err(Error::Stopped));
        }
        listening.acceptor = Some(cx.waker().clone());
        Poll::Pending
    }

    fn close(&self) {
        let mut state = self.network.state();
        let listening = state.listeners.get_mut(&self.key).unwrap();
        listening.is_closed = true;
        let acceptor = listening.acceptor.take();
        drop(state);
        acceptor.into_iter().for_each(std::task::Waker::wake);
    }
}

impl Drop for MemListener {
    fn drop(&mut self) {
        let mut wakers = Vec::new();
        let mut state = self.network.state();
        let listening = state.listeners.remove(&self.key).unwrap();
        for id in listening.arriving.into_iter().chain(listening.backlog) {
            state.reset(id, &mut wakers);
            state.close(id);
        }
        drop(state);
        wakers.into_iter().for_each(std::task::Waker::wake);
    }
}

fn stream(held: Held) -> Rc<dyn StreamSocket> {
    Rc::new(MemStream { held: RefCell::new(Some(held)) })
}

struct MemStream {
    /// None after it was detached.
    held: RefCell<Option<Held>>,
}

impl MemStream {
    fn with<R>(&self, f: impl FnOnce(&mut super::network::End) -> Result<R, Error>) -> Result<R, Error> {
        let held = self.held.borrow();
        let held = held.as_ref().ok_or(Error::NotConnected)?;
        f(held.network.state().ends.get_mut(&held.id).ok_or(Error::NotConnected)?)
    }

    fn poll<R>(&self, f: impl FnOnce(&mut super::network::End) -> Result<Poll<R>, Error>) -> Poll<Result<R, Error>> {
        match self.with(f) {
            Ok(poll) => poll.map(Ok),
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl StreamSocket for MemStream {
    fn local_address(&self) -> Result<Address, Error> {
        self.with(|end| Ok(end.local.clone()))
    }

    fn peer_address(&self) -> Result<Address, Error> {
        self.with(|end| Ok(end.peer_address.clone()))
    }

    fn poll_read(&self, cx: &mut Context<'_>) -> Poll<Result<Buffer, Error>> {
        self.poll(|end| {
            if let Some(bytes) = end.arrived.pop_front() {
                return Ok(Poll::Ready(bytes.into()));
            }
            if end.is_reset {
                return Err(Error::ConnectionReset);
            }
            if end.is_at_end {
                return Ok(Poll::Ready(Buffer::new()));
            }
            end.reader = Some(cx.waker().clone());
            Ok(Poll::Pending)
        })
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll(|end| {
            if end.is_reset || end.is_shut_down {
                return Err(Error::BrokenPipe);
            }
            if end.queued.len() < end.queue_bytes {
                return Ok(Poll::Ready(()));
            }
            end.writer = Some(cx.waker().clone());
            Ok(Poll::Pending)
        })
    }

    fn enqueue(&self, bytes: Buffer) {
        let _ = self.with(|end| {
            if !end.is_reset && !end.is_shut_down {
                end.queued.extend(bytes.iter());
            }
            Ok(())
        });
    }

    fn enqueue_file(&self, file: &Rc<dyn Any>, offset: u64, len_bytes: u64) -> Result<(), Error> {
        let file = file.downcast_ref::<Vec<u8>>().ok_or(Error::Unsupported)?;
        let start = usize::try_from(offset).unwrap();
        let part = &file[start..start + usize::try_from(len_bytes).unwrap()];
        self.enqueue(Buffer::copy_from_slice(part));
        Ok(())
    }

    fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll(|end| {
            if end.is_reset {
                return Err(Error::BrokenPipe);
            }
            if end.queued.is_empty() {
                return Ok(Poll::Ready(()));
            }
            end.flusher = Some(cx.waker().clone());
            Ok(Poll::Pending)
        })
    }

    fn unacknowledged_bytes(&self) -> u64 {
        self.with(|end| Ok(end.queued.len() as u64)).unwrap_or(0)
    }

    fn shutdown(&self) {
        let _ = self.with(|end| {
            end.is_shut_down = true;
            Ok(())
        });
    }

    fn abort(&self) {
        let mut wakers = Vec::new();
        if let Some(held) = self.held.borrow().as_ref() {
            held.network.state().reset(held.id, &mut wakers);
        }
        wakers.into_iter().for_each(std::task::Waker::wake);
    }

    fn poll_detach(&self, cx: &mut Context<'_>) -> Poll<Result<Detached, Error>> {
        let peer = std::task::ready!(self.poll(|end| {
            if end.is_reset || end.is_shut_down {
                return Err(Error::NotConnected);
            }
            if end.queued.is_empty() {
                return Ok(Poll::Ready(end.peer_address.clone()));
            }
            end.flusher = Some(cx.waker().clone());
            Ok(Poll::Pending)
        }))?;
        let held = self.held.take().ok_or(Error::NotConnected)?;
        Poll::Ready(Ok(Detached::new(held, Some(peer))))
    }

    fn set_option(&self, option: StreamOption) -> Result<(), Error> {
        let StreamOption::SendQueueBytes(bytes) = option else { return Err(Error::Unsupported) };
        self.with(|end| {
            end.queue_bytes = bytes;
            Ok(())
        })
    }
}

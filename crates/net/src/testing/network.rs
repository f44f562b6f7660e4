//! The network's state, and how its bytes and connections move.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;

use super::datagrams::Mailbox;
use crate::address::Address;
use crate::error::Error;
use crate::socket::DEFAULT_SEND_QUEUE_BYTES;

/// A generator of numbers (xorshift), so that a seed says all.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % bound as u64).unwrap()
    }
}

/// One end of a stream.
pub(super) struct End {
    pub(super) local: Address,
    pub(super) peer_address: Address,
    pub(super) peer: u64,
    /// Bytes that have arrived, in the pieces in which they did.
    pub(super) arrived: VecDeque<Vec<u8>>,
    pub(super) is_at_end: bool,
    pub(super) is_reset: bool,
    /// Bytes on their way.
    pub(super) queued: VecDeque<u8>,
    pub(super) queue_bytes: usize,
    pub(super) is_shut_down: bool,
    told_end: bool,
    /// Nobody has it any more; it goes when its bytes are sent.
    pub(super) is_closed: bool,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    pub(super) flusher: Option<Waker>,
    pub(super) connector: Option<Waker>,
    pub(super) is_connected: bool,
}

/// A socket that listens.
#[derive(Default)]
pub(super) struct Listening {
    /// Connections that are not established, or find no room.
    pub(super) arriving: VecDeque<u64>,
    pub(super) backlog: VecDeque<u64>,
    pub(super) backlog_limit: usize,
    pub(super) is_closed: bool,
    pub(super) acceptor: Option<Waker>,
    pub(super) with_peer: bool,
}

pub(super) struct State {
    pub(super) random: Random,
    pub(super) ends: BTreeMap<u64, End>,
    /// By address and number; several only if they share the port.
    pub(super) listeners: BTreeMap<(String, u64), Listening>,
    pub(super) mailboxes: BTreeMap<String, Mailbox>,
    pub(super) last: u64,
    pub(super) last_port: u16,
    pub(super) failing_accepts: usize,
    pub(super) failing_attaches: usize,
    resets: usize,
}

/// A network that shards on one thread share.
#[derive(Clone)]
pub(crate) struct Network(Arc<Mutex<State>>);

impl Network {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            random: Random::new(seed),
            ends: BTreeMap::new(),
            listeners: BTreeMap::new(),
            mailboxes: BTreeMap::new(),
            last: 0,
            last_port: 40_000,
            failing_accepts: 0,
            failing_attaches: 0,
            resets: 0,
        })))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// How many ends of streams there are.
    pub(crate) fn ends(&self) -> usize {
        self.state().ends.len()
    }

    pub(crate) fn listeners(&self) -> usize {
        self.state().listeners.len()
    }

    /// How often an end lost bytes because the other one was gone.
    pub(crate) fn resets(&self) -> usize {
        self.state().resets
    }

    /// Lets the next accepts fail for want of descriptors.
    pub(crate) fn fail_accepts(&self, count: usize) {
        self.state().failing_accepts = count;
    }

    /// Lets the next attaches fail.
    pub(crate) fn fail_attaches(&self, count: usize) {
        self.state().failing_attaches = count;
    }

    /// Moves some of what is under way; answers whether anything is.
    pub(crate) fn step(&self) -> bool {
        let mut wakers = Vec::new();
        let is_busy = self.state().step(&mut wakers);
        wakers.into_iter().for_each(Waker::wake);
        is_busy
    }
}

impl State {
    pub(super) fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    pub(super) fn free_port(&mut self, mut address: SocketAddr) -> SocketAddr {
        if address.port() == 0 {
            self.last_port += 1;
            address.set_port(self.last_port);
        }
        address
    }

    fn end(local: Address, peer_address: Address, peer: u64) -> End {
        End {
            local,
            peer_address,
            peer,
            arrived: VecDeque::new(),
            is_at_end: false,
            is_reset: false,
            queued: VecDeque::new(),
            queue_bytes: DEFAULT_SEND_QUEUE_BYTES,
            is_shut_down: false,
            told_end: false,
            is_closed: false,
            reader: None,
            writer: None,
            flusher: None,
            connector: None,
            is_connected: false,
        }
    }

    /// Begins a connection and answers the client's end.
    pub(super) fn connect(&mut self, from: Address, to: &Address) -> Result<u64, Error> {
        let name = to.to_string();
        let open: Vec<_> = self
            .listeners
            .iter()
            .filter(|((at, _), it)| *at == name && !it.is_closed)
            .map(|(key, _)| key.clone())
            .collect();
        if open.is_empty() {
            return Err(Error::ConnectionRefused);
        }
        let key = open[self.random.below(open.len())].clone();
        let (client, server) = (self.number(), self.number());
        self.ends.insert(client, Self::end(from.clone(), to.clone(), server));
        self.ends.insert(server, Self::end(to.clone(), from, client));
        self.listeners.get_mut(&key).unwrap().arriving.push_back(server);
        Ok(client)
    }

    /// Lets go of an end: what is queued is still sent.
    pub(super) fn close(&mut self, id: u64) {
        if let Some(end) = self.ends.get_mut(&id) {
            end.is_closed = true;
            end.is_shut_down = true;
        }
    }

    /// Breaks a stream: both ends fail.
    pub(super) fn reset(&mut self, id: u64, wakers: &mut Vec<Waker>) {
        let peer = self.ends.get(&id).map(|end| end.peer);
        for id in [Some(id), peer].into_iter().flatten() {
            if let Some(end) = self.ends.get_mut(&id) {
                end.is_reset = true;
                end.queued.clear();
                wakers.extend(
                    [&mut end.reader, &mut end.writer, &mut end.flusher, &mut end.connector]
                        .into_iter()
                        .filter_map(Option::take),
                );
            }
        }
    }

    fn step(&mut self, wakers: &mut Vec<Waker>) -> bool {
        let is_busy = self.establish(wakers);
        let mut is_moving = false;
        for id in self.ends.keys().copied().collect::<Vec<_>>() {
            is_moving |= self.send(id, wakers);
        }
        self.ends.retain(|_, end| !end.is_closed || !(end.is_reset || end.told_end && end.queued.is_empty()));
        is_busy || is_moving
    }

    fn establish(&mut self, wakers: &mut Vec<Waker>) -> bool {
        let mut is_busy = false;
        for listening in self.listeners.values_mut() {
            if listening.backlog.len() >= listening.backlog_limit {
                continue;
            }
            is_busy |= !listening.arriving.is_empty();
            if self.random.below(2) == 0 {
                continue;
            }
            if let Some(server) = listening.arriving.pop_front() {
                let client = self.ends[&server].peer;
                for id in [server, client] {
                    if let Some(end) = self.ends.get_mut(&id) {
                        end.is_connected = true;
                        wakers.extend(end.connector.take());
                    }
                }
                listening.backlog.push_back(server);
                wakers.extend(listening.acceptor.take());
            }
        }
        is_busy
    }

    /// Moves some bytes of one end to the other; answers whether there were any.
    fn send(&mut self, id: u64, wakers: &mut Vec<Waker>) -> bool {
        let Some(end) = self.ends.get(&id).filter(|end| !end.is_reset) else { return false };
        let (peer, is_shut_down, told_end) = (end.peer, end.is_shut_down, end.told_end);
        let (queued, is_connected) = (end.queued.len(), end.is_connected);
        if (queued == 0 && (!is_shut_down || told_end)) || !is_connected {
            return false;
        }
        if self.random.below(3) == 0 {
            return true;
        }
        let largest = [1, 7, 100, 100_000][self.random.below(4)];
        let count = if queued == 0 { 0 } else { 1 + self.random.below(queued.min(largest)) };
        let end = self.ends.get_mut(&id).unwrap();
        let bytes: Vec<u8> = end.queued.drain(..count).collect();
        if end.queued.len() < end.queue_bytes {
            wakers.extend(end.writer.take());
        }
        let is_end = end.queued.is_empty() && end.is_shut_down;
        end.told_end |= is_end;
        if end.queued.is_empty() {
            wakers.extend(end.flusher.take());
        }
        match self.ends.get_mut(&peer).filter(|peer| !peer.is_closed) {
            Some(peer) => {
                if !bytes.is_empty() {
                    peer.arrived.push_back(bytes);
                }
                peer.is_at_end |= is_end;
                wakers.extend(peer.reader.take());
            }
            None if !bytes.is_empty() => {
                self.resets += 1;
                self.reset(id, wakers);
            }
            None => {}
        }
        true
    }
}

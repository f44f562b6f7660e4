//! Requests in datagrams.
//!
//! Who sends a datagram can name any address as his own, and what answers it goes there. Servers that answer more than they are
//! asked are how one host with little bandwidth buries another one. So an answer has fewer bytes than its request, by which two servers
//! that answer each other come to an end too. A request can be made longer by spaces before its end.
//!
//! While a connection from the same address is served, somebody is there who wants to talk with this server. Then an answer may be
//! longer, up to 48 datagrams, as far as the address has a budget: so many bytes a second on each shard.
//!
//! What changes items is done only if it is certain before that its answer may be sent. What looks at all that is stored is not done at all:
//! a datagram of some bytes would keep all shards busy for as long as there are items. What is withheld or not done is counted.

use std::cell::Cell;
use std::future::poll_fn;
use std::iter;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;

use sunstar::executor::TaskBuilder;
use sunstar::executor::combine::when_all;
use sunstar::executor::maybe_yield;
use sunstar::executor::sync::{Aborted, with_abort};
use sunstar::executor::timer::lowres;
use sunstar::net::socket::DatagramOptions;
use sunstar::net::{self, DatagramReceiver, DatagramSender, UdpSocket};
use sunstar::prelude::*;
use sunstar_memcache::{FRAME_HEADER_BYTES, RequestId, single_get};

use super::budget::MOST_ANSWER_BYTES;
use super::sources::{Paid, Sources};
use super::{Counters as ServerCounters, Server};
use crate::connection::datagram::{self, Effect};

/// So many datagrams are answered together at most, so that what they ask of other shards goes there at the same time.
const TOGETHER: usize = 16;

/// What the datagrams of a shard are served with.
pub(crate) struct Udp {
    pub(crate) counters: Counters,
    pub(crate) sources: Sources,
}

impl Udp {
    /// For answers at this rate.
    pub(crate) fn new(bytes_per_s: usize) -> Self {
        Self { counters: Counters::default(), sources: Sources::new(bytes_per_s) }
    }
}

/// What a datagram asks for.
struct Asked {
    id: RequestId,
    requests: Buffer,
    peer: SocketAddr,
    /// So many bytes the datagram has.
    asked_bytes: usize,
    /// So many are paid for before it is done, and given back as far as they are not needed.
    reserved_bytes: usize,
}

impl Asked {
    /// Whether nothing is answered together with it. Those that are take no more out of a budget at the same time than the longest answer,
    /// however little of it they need in the end: who has that much left has all of them done.
    fn is_alone(&self) -> bool {
        self.reserved_bytes > MOST_ANSWER_BYTES / TOGETHER
    }
}

/// What answers a datagram, and to whom it goes.
struct Answer {
    id: RequestId,
    reply: Vec<Buffer>,
    peer: SocketAddr,
}

/// What was done with datagrams.
#[derive(Clone, Default)]
pub(crate) struct Counters {
    pub(crate) received: Cell<u64>,
    /// Those that have no frame header, or are a part of a request.
    pub(crate) refused: Cell<u64>,
    /// Answers that were not sent since they are longer than they may be.
    pub(crate) withheld: Cell<u64>,
    /// Answers that were not sent since too little was left of their address's budget.
    pub(crate) over_budget: Cell<u64>,
    /// Datagrams that were not done: changes of which it was not certain that they could be answered, and what looks at all that is stored.
    pub(crate) not_done: Cell<u64>,
    /// Those that were answered before the network has seen them.
    pub(crate) answered_in_hook: Cell<u64>,
}

impl Server {
    /// Receives datagrams at an address until the server stops.
    pub(crate) async fn listen_for_datagrams(self: Rc<Self>, address: SocketAddr) -> Result<(), net::Error> {
        let options = DatagramOptions { reuse_port: true, ..DatagramOptions::default() };
        let socket = UdpSocket::bind_with(address, &options)?;
        let inside = self.inside.enter_owned().map_err(|_| net::Error::Stopped)?;
        TaskBuilder::new().name("memcached datagrams").spawn(async move {
            let _inside = inside;
            self.serve_datagrams(socket).await;
        });
        Ok(())
    }

    async fn serve_datagrams(&self, mut socket: UdpSocket) {
        let (receiver, sender) = socket.split();
        loop {
            let requests = match with_abort(&self.stop, receiver.recv_from()).await {
                Err(_) | Ok(Err(net::Error::Stopped)) => return,
                // Somebody has gone before his answer came.
                Ok(Err(_)) => Vec::new(),
                Ok(Ok(first)) => waiting(receiver, first).await,
            };
            let mut asked = requests.into_iter().filter_map(|(datagram, peer)| self.look(datagram, peer)).peekable();
            while let Some(first) = asked.next() {
                let mut together = vec![first];
                if !together[0].is_alone() {
                    together.extend(iter::from_fn(|| asked.next_if(|next| !next.is_alone())));
                }
                let answers: Vec<_> = together.into_iter().map(|asked| self.answer(asked)).collect();
                // They wait for other shards, which may take longer than a stop should.
                let Ok(answers) = with_abort(&self.stop, when_all(answers)).await else { return };
                for answer in answers.into_iter().flatten() {
                    if self.send(sender, answer).await.is_err() {
                        return;
                    }
                }
            }
            maybe_yield().await;
        }
    }

    async fn send(&self, sender: &mut DatagramSender<SocketAddr>, answer: Answer) -> Result<(), Aborted> {
        for frame in answer.id.frames(&answer.reply) {
            ServerCounters::add(&self.counters.bytes_written, frame.len());
            // What became of earlier ones matters to nobody.
            let _ = with_abort(&self.stop, sender.send_to(frame, answer.peer)).await?;
        }
        Ok(())
    }

    /// What is asked for by a datagram, if that may be done as far as it can be seen before.
    fn look(&self, mut datagram: Buffer, peer: SocketAddr) -> Option<Asked> {
        let asked_bytes = datagram.len();
        self.count_received(asked_bytes);
        let Some(id) = RequestId::of(&datagram) else {
            ServerCounters::add(&self.udp.counters.refused, 1);
            return None;
        };
        let is_single_get = single_get(&datagram).is_some();
        datagram.advance(FRAME_HEADER_BYTES);
        let effect = if is_single_get { Effect::None } else { datagram::effect(self, &datagram) };
        let Some(reserved_bytes) = reserved_bytes(effect, asked_bytes) else {
            ServerCounters::add(&self.udp.counters.not_done, 1);
            return None;
        };
        Some(Asked { id, requests: datagram, peer, asked_bytes, reserved_bytes })
    }

    /// What answers a datagram, if anything does.
    async fn answer(&self, asked: Asked) -> Option<Answer> {
        let Asked { id, requests, peer, asked_bytes, reserved_bytes } = asked;
        let sources = &self.udp.sources;
        if reserved_bytes > 0 && sources.pay(peer.ip(), reserved_bytes, lowres::now()) != Paid::Yes {
            ServerCounters::add(&self.udp.counters.not_done, 1);
            return None;
        }
        let answered = datagram::answer(self, requests, MOST_ANSWER_BYTES).await;
        // How much too long it is does not matter.
        let reply_bytes = answered.as_ref().map_or(usize::MAX, |output| output.len());
        if !self.may_answer(peer, asked_bytes, reserved_bytes, reply_bytes) {
            return None;
        }
        let mut output = answered.ok()?;
        let mut reply: Vec<Buffer> = Vec::new();
        output.poll_transmit(&mut reply);
        Some(Answer { id, reply, peer })
    }

    pub(super) fn count_received(&self, bytes: usize) {
        ServerCounters::add(&self.udp.counters.received, 1);
        ServerCounters::add(&self.counters.bytes_read, bytes);
    }

    /// Whether a datagram of so many bytes from there may be answered by so many bytes, which are put into frames, when so many were paid
    /// for before. What is not needed of those goes back.
    pub(super) fn may_answer(
        &self,
        peer: SocketAddr,
        asked_bytes: usize,
        paid_bytes: usize,
        reply_bytes: usize,
    ) -> bool {
        let Udp { counters, sources } = &self.udp;
        let bytes = RequestId::frames_bytes(reply_bytes).unwrap_or(usize::MAX);
        let needed_bytes = if bytes < asked_bytes { 0 } else { bytes };
        if needed_bytes <= paid_bytes {
            sources.give_back(peer.ip(), paid_bytes - needed_bytes);
            return true;
        }
        sources.give_back(peer.ip(), paid_bytes);
        let paid =
            if bytes > MOST_ANSWER_BYTES { Paid::Stranger } else { sources.pay(peer.ip(), bytes, lowres::now()) };
        match paid {
            Paid::Yes => return true,
            Paid::Short => ServerCounters::add(&counters.over_budget, 1),
            Paid::Stranger => ServerCounters::add(&counters.withheld, 1),
        }
        false
    }
}

/// What is to be paid for before a datagram of so many bytes is done; `None` if it must not be done. If it changes items, that is its
/// longest answer, since it must not turn out too late that nobody may be told. What answers with items may do so by as much as any answer
/// may have.
fn reserved_bytes(effect: Effect, asked_bytes: usize) -> Option<usize> {
    let bytes = match effect {
        Effect::None => return Some(0),
        Effect::LooksAtEverything => return None,
        Effect::Change { longest_answer_bytes: None } => MOST_ANSWER_BYTES,
        Effect::Change { longest_answer_bytes: Some(bytes) } => RequestId::frames_bytes(bytes)?,
    };
    if bytes < asked_bytes { Some(0) } else { Some(bytes).filter(|bytes| *bytes <= MOST_ANSWER_BYTES) }
}

/// A datagram that has come, and those that wait behind it.
async fn waiting(
    receiver: &mut DatagramReceiver<SocketAddr>,
    first: (Buffer, SocketAddr),
) -> Vec<(Buffer, SocketAddr)> {
    let mut all = vec![first];
    while all.len() < TOGETHER {
        match poll_fn(|cx| Poll::Ready(receiver.poll_recv_from(cx))).await {
            Poll::Ready(Ok(next)) => all.push(next),
            // What goes wrong is told again, or was about earlier answers.
            Poll::Ready(Err(_)) | Poll::Pending => break,
        }
    }
    all
}

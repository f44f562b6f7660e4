//! Requests in datagrams.
//!
//! Who sends a datagram can name any address as his own, and what answers it goes there. Servers that answer more than they are
//! asked are how one host with little bandwidth buries another one. So an answer has no more bytes than its request, unless a
//! connection from the same address is served, which shows that somebody is there who wants to talk with this server; a request can
//! be made longer by spaces before its end. What is withheld is counted.

use std::cell::Cell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;

use sunstar::executor::TaskBuilder;
use sunstar::executor::combine::when_all;
use sunstar::executor::maybe_yield;
use sunstar::executor::sync::with_abort;
use sunstar::metrics::Figure;
use sunstar::net::socket::DatagramOptions;
use sunstar::net::{self, DatagramReceiver, UdpSocket};
use sunstar::prelude::*;
use sunstar_memcache::{FRAME_HEADER_BYTES, MAX_DATAGRAM_REPLY_BYTES, RequestId};

use super::sources::Sources;
use super::{Counters as ServerCounters, Server};
use crate::connection;

/// So many datagrams are answered together at most, so that what they ask of other shards goes there at the same time.
const TOGETHER: usize = 16;

/// An answer may be as long as the largest item, and so much more.
const BESIDE_ITEM_BYTES: usize = 64 << 10;

/// What the datagrams of a shard are served with.
#[derive(Default)]
pub(crate) struct Udp {
    pub(crate) counters: Counters,
    pub(crate) sources: Sources,
}

/// What answers a datagram, and to whom it goes.
struct Answer {
    id: RequestId,
    reply: Vec<Buffer>,
    peer: SocketAddr,
}

/// What was done with datagrams.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) received: Cell<u64>,
    /// Those that have no frame header, or are a part of a request.
    pub(crate) refused: Cell<u64>,
    /// Answers that were not sent since they are longer than they may be.
    pub(crate) withheld: Cell<u64>,
    /// Those that were answered before the network has seen them.
    pub(crate) answered_in_hook: Cell<u64>,
}

impl Counters {
    /// All of them, in the order in which they stand there.
    pub(crate) fn all(&self) -> [u64; 4] {
        [&self.received, &self.refused, &self.withheld, &self.answered_in_hook].map(Cell::get)
    }
}

pub(crate) const FIGURES: &[Figure<Counters>] = &[
    Figure::counter("sunstar_memcached_datagrams_total", "Datagrams that were received.", |of| of.received.get()),
    Figure::counter(
        "sunstar_memcached_datagrams_refused_total",
        "Datagrams without a frame header, or with a part of a request.",
        |of| of.refused.get(),
    ),
    Figure::counter(
        "sunstar_memcached_datagrams_withheld_total",
        "Answers that were not sent since they are longer than they may be.",
        |of| of.withheld.get(),
    ),
    Figure::counter(
        "sunstar_memcached_datagrams_in_hook_total",
        "Datagrams that were answered by a packet filter, before the network has seen them.",
        |of| of.answered_in_hook.get(),
    ),
];

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
            let answers: Vec<_> = requests.into_iter().map(|(datagram, peer)| self.answer(datagram, peer)).collect();
            for Answer { id, reply, peer } in when_all(answers).await.into_iter().flatten() {
                for frame in id.frames(&reply) {
                    ServerCounters::add(&self.counters.bytes_written, frame.len());
                    // What became of earlier ones matters to nobody.
                    if with_abort(&self.stop, sender.send_to(frame, peer)).await.is_err() {
                        return;
                    }
                }
            }
            maybe_yield().await;
        }
    }

    /// What answers a datagram, if anything does.
    async fn answer(&self, mut datagram: Buffer, peer: SocketAddr) -> Option<Answer> {
        let len = datagram.len();
        self.count_received(len);
        let Some(id) = RequestId::of(&datagram) else {
            ServerCounters::add(&self.udp.counters.refused, 1);
            return None;
        };
        datagram.advance(FRAME_HEADER_BYTES);
        let limit_bytes = (self.settings.bounds.item_bytes + BESIDE_ITEM_BYTES).min(MAX_DATAGRAM_REPLY_BYTES);
        let answered = connection::datagram::answer(self, datagram, limit_bytes).await.ok();
        let Some(mut output) = answered.filter(|output| self.may_answer(peer, len, output.len())) else {
            self.withhold();
            return None;
        };
        let mut reply: Vec<Buffer> = Vec::new();
        output.poll_transmit(&mut reply);
        Some(Answer { id, reply, peer })
    }

    pub(super) fn count_received(&self, bytes: usize) {
        ServerCounters::add(&self.udp.counters.received, 1);
        ServerCounters::add(&self.counters.bytes_read, bytes);
    }

    pub(super) fn withhold(&self) {
        ServerCounters::add(&self.udp.counters.withheld, 1);
    }

    /// Whether a datagram of so many bytes from there may be answered by so many bytes, which are put into frames.
    pub(super) fn may_answer(&self, peer: SocketAddr, asked_bytes: usize, reply_bytes: usize) -> bool {
        let answer_bytes = RequestId::frames_bytes(reply_bytes);
        answer_bytes.is_some_and(|bytes| bytes <= asked_bytes || self.udp.sources.has(peer.ip()))
    }
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

//! Datagrams that are answered by a packet filter, before the network has seen them.
//!
//! That is for a `get` or `gets` of one key whose item is this shard's and whose answer is one datagram. All else goes the usual
//! way, and so does what comes in fragments.

use std::net::SocketAddr;
use std::rc::{Rc, Weak};

use sunstar::native_stack::Network;
use sunstar::native_stack::filter::{Direction, Filtered, Request, TooManyFilters, Verdict};
use sunstar::packet::Packet;
use sunstar::prelude::*;
use sunstar_memcache::{FRAME_HEADER_BYTES, MAX_DATAGRAM_BYTES, Operation, Output, RequestId, Value, single_get};

use super::{Counters, Server};

impl Server {
    /// Has datagrams to this address, or to the port of all addresses, answered so until the server is gone.
    pub(crate) fn hook(self: &Rc<Self>, network: &Network, address: SocketAddr) -> Result<(), TooManyFilters> {
        let server = Rc::downgrade(self);
        network.add_filter(Direction::Input, move |packet: &mut Filtered<'_>| look(&server, address, packet))?;
        Ok(())
    }
}

/// What becomes of a packet.
fn look(server: &Weak<Server>, address: SocketAddr, packet: &mut Filtered<'_>) -> Verdict {
    let is_meant = |dst: SocketAddr| dst == address || address.ip().is_unspecified() && dst.port() == address.port();
    let answer = match packet.udp() {
        Some(request) if is_meant(request.dst) => server.upgrade().and_then(|server| server.reply(&request)),
        _ => None,
    };
    match answer {
        None => Verdict::Pass,
        Some(None) => Verdict::Consume,
        Some(Some(answer)) => packet.answer_udp(answer),
    }
}

impl Server {
    /// The answer; `None` if the request goes the usual way, and nothing inside if it is not answered.
    fn reply(&self, request: &Request<'_>) -> Option<Option<Packet>> {
        let id = RequestId::of(request.payload)?;
        let (command, key) = single_get(request.payload)?;
        let key = self.key(key);
        if shard_count() > 1 && self.shard_of(key) != shard_id() {
            return None;
        }
        let mut store = self.store.try_borrow_mut().ok()?;
        let mut output = Output::new(&self.endpoint);
        output.put(&id.header(0, 1));
        store.execute(&Operation::RetrieveLast(command), key, &Value::new(), self.now_s(), &mut output);
        // It is looked for once more then, and counted twice.
        if output.len() > MAX_DATAGRAM_BYTES {
            return None;
        }
        self.count_received(request.payload.len());
        Counters::add(&self.counters.operations, 1);
        Counters::add(&self.udp.counters.answered_in_hook, 1);
        if !self.may_answer(request.src, request.payload.len(), 0, output.len() - FRAME_HEADER_BYTES) {
            return Some(None);
        }
        Counters::add(&self.counters.bytes_written, output.len());
        let mut buffers: Vec<Buffer> = Vec::new();
        output.poll_transmit(&mut buffers);
        // It lies in one frame.
        Some(buffers.pop().map(Packet::from))
    }
}

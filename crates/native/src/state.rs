//! The stack of a shard, its devices, and who waits for its sockets.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::task::{Context, Waker};

use sunstar_executor::Instant;
use sunstar_packet::{BufferMut, Packet};
use sunstar_tcpip::interface::InterfaceId;
use sunstar_tcpip::stack::{Event, Limits, Stack};
use sunstar_tcpip::tcp::connection::State as TcpState;
use sunstar_tcpip::tcp::sockets::{self, SocketId};
use sunstar_tcpip::time;

use crate::configuration::Changes;
use crate::groups::Groups;
use crate::port::{Port, RX_BURST};
use crate::spread::Lease;
use crate::wakers::{StreamWaiters, Table};

/// Packets that leave in a round at most; there is another one then.
const TX_BUDGET: usize = 1_024;

/// While more waits in a device than a round takes in, so many rounds of [`RX_BURST`] packets pass without time for the stack: what it waits for, such as an
/// acknowledgement, may be there. A flood holds its timers up no longer.
const MAX_ROUNDS_BEHIND: u32 = 256;

/// All of a shard's network that changes.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) stack: Stack,
    pub(crate) ports: Vec<Port>,
    pub(crate) streams: Table<StreamWaiters>,
    pub(crate) acceptors: Table<Option<Waker>>,
    pub(crate) receivers: Table<Option<Waker>>,
    /// Ports that the stack itself uses.
    pub(crate) leases: Vec<Lease>,
    /// Who waits for room for datagrams.
    pub(crate) senders: Vec<Waker>,
    /// What other shards have to be told.
    pub(crate) changes: Changes,
    /// What the shard has to be told that tells of groups.
    pub(crate) groups: Groups,
    inbox: VecDeque<Packet>,
    /// The stack's deadline as it was when the last round had been submitted: nothing changes it in between but what is looked at
    /// anyhow.
    due: Option<time::Instant>,
    /// In so many rounds in a row a device had more than was taken in, and the stack was not told what time it is.
    rounds_behind: u32,
}

/// What has left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transmitted {
    /// Whether there was anything.
    pub(crate) is_any: bool,
    /// Whether the stack has nothing more to send.
    pub(crate) is_all: bool,
}

impl State {
    pub(crate) fn new(stack: Stack) -> Self {
        Self {
            stack,
            ports: Vec::new(),
            streams: Table::default(),
            acceptors: Table::default(),
            receivers: Table::default(),
            leases: Vec::new(),
            senders: Vec::new(),
            changes: Changes::default(),
            groups: Groups::default(),
            inbox: VecDeque::new(),
            due: None,
            rounds_behind: 0,
        }
    }

    /// Hands what is to be sent to the devices, as far as they have room; answers how that went.
    pub(crate) fn transmit(&mut self, now: Instant) -> Transmitted {
        self.look_for_room(now);
        let mut count = 0;
        let is_all = loop {
            if count == TX_BUDGET || self.is_full() {
                break false;
            }
            if !self.stack.may_transmit() {
                break self.ports.iter().all(Port::has_room);
            }
            // Most leave by the first device, so they are made where they wait for it.
            let mut elsewhere = Packet::new();
            let mut first = self.ports.first_mut();
            let slot = first.as_deref_mut().map_or(&mut elsewhere, Port::slot);
            let Some(interface) = self.stack.transmit_into(stack_time(now), slot) else {
                break self.ports.iter().all(Port::has_room);
            };
            count += 1;
            match first {
                Some(first) if first.interface == interface => first.take_slot(now),
                first => {
                    let packet = first.map_or(elsewhere, |first| std::mem::take(first.slot()));
                    if let Some(port) = self.port(interface) {
                        port.push(now, packet);
                    }
                }
            }
            if self.ports.len() > 1 {
                self.pause_if_full(interface);
            }
        };
        self.flush(now);
        self.due = self.stack.deadline();
        Transmitted { is_any: count > 0, is_all }
    }

    /// Whether no device takes anything.
    fn is_full(&self) -> bool {
        !self.ports.is_empty() && !self.ports.iter().any(Port::has_room)
    }

    /// A device that is full does not stop the others.
    fn pause_if_full(&mut self, interface: InterfaceId) {
        if self.port(interface).is_some_and(|port| !port.has_room()) {
            self.stack.pause(interface);
        }
    }

    /// Devices that were full may have room again.
    fn look_for_room(&mut self, now: Instant) {
        for port in &mut self.ports {
            if !port.has_room() {
                port.flush(now);
            }
            if port.has_room() {
                self.stack.resume(port.interface);
            }
        }
    }

    /// Lets the devices have what waits for them, and those that delay packets know the time.
    pub(crate) fn flush(&mut self, now: Instant) {
        // The first one of a device sends for those that share it.
        self.ports.iter_mut().rev().for_each(|port| port.flush(now));
    }

    fn port(&mut self, interface: InterfaceId) -> Option<&mut Port> {
        self.ports.iter_mut().find(|port| port.interface == interface)
    }

    /// An empty buffer with room for `bytes`, in the memory of the device by which what goes to an address leaves, or of the first device that has
    /// any.
    pub(crate) fn allocate_buffer(&mut self, bytes: usize, to: Option<IpAddr>) -> BufferMut {
        let port = match (&mut self.ports[..], to) {
            ([only], _) => Some(only),
            (ports, None) => ports.iter_mut().find(|port| port.buffers.is_some()),
            (ports, Some(to)) => {
                let interface = self.stack.interface_for(to);
                ports.iter_mut().find(|port| Some(port.interface) == interface)
            }
        };
        port.map_or_else(|| BufferMut::with_capacity(0, bytes), |port| port.allocate_buffer(bytes))
    }

    /// Takes in what has come; answers how many packets there were.
    pub(crate) fn receive(&mut self, now: Instant) -> usize {
        let (mut found, mut is_behind) = (0, false);
        for port in &mut self.ports {
            is_behind |= port.receive(now, &mut self.inbox);
            // Whatever the device says: what stayed there would be taken for the next one's.
            if !self.inbox.is_empty() {
                found += self.inbox.len();
                self.stack.prefetch(port.interface, &self.inbox, |index| self.streams.prefetch(index));
                self.stack.handle_packets(stack_time(now), port.interface, &mut self.inbox);
                self.inbox.clear();
            }
        }
        while let Some((interface, packet)) = self.stack.poll_reassembled() {
            if let Some(device) = self.port(interface).and_then(|port| port.shared.as_ref()) {
                device.give_back(packet);
            }
        }
        let rounds = u32::try_from(found.div_ceil(RX_BURST)).unwrap_or(u32::MAX);
        self.rounds_behind = if is_behind { self.rounds_behind.saturating_add(rounds) } else { 0 };
        found
    }

    /// Lets the time be known, if somebody waits for it; answers whether somebody did.
    pub(crate) fn pass_time(&mut self, now: Instant) -> bool {
        let now = stack_time(now);
        let is_behind = (1..=MAX_ROUNDS_BEHIND).contains(&self.rounds_behind);
        let is_due = !is_behind && self.due.is_some_and(|deadline| deadline <= now);
        if is_due {
            self.rounds_behind = 0;
            self.stack.handle_timeout(now);
        }
        is_due
    }

    /// Whether there may be somebody to be woken.
    pub(crate) fn has_news(&self) -> bool {
        self.stack.has_event() || self.stack.has_group_change() || !self.senders.is_empty() || !self.is_told()
    }

    /// Whether other shards were told all that they have to know.
    pub(crate) fn is_told(&self) -> bool {
        self.changes.is_told() && self.groups.is_told()
    }

    /// Finds who is to be woken; answers whether anything has happened.
    pub(crate) fn collect(&mut self, wakes: &mut Vec<Waker>) -> bool {
        let mut found = false;
        while let Some(event) = self.stack.poll_event() {
            found = true;
            match event {
                Event::Tcp(sockets::Event::Socket(id)) => self.look_at(id, wakes),
                Event::Tcp(sockets::Event::Listener(id)) => {
                    wakes.extend(self.acceptors.get(id.index()).and_then(Option::take));
                }
                Event::Udp(id) => wakes.extend(self.receivers.get(id.index()).and_then(Option::take)),
                Event::AddressConflict { address, mac, .. } => {
                    log::warn!("another station, {mac}, uses our address {address}");
                }
                Event::AddressTaken { address, .. } => log::warn!("another station has the address {address}"),
            }
        }
        found |= self.changes.take_in(&mut self.stack, wakes);
        self.groups.tell(&mut self.stack);
        if !self.senders.is_empty() && self.stack.has_room_for_datagrams() {
            wakes.append(&mut self.senders);
        }
        found
    }

    /// A connection has changed.
    fn look_at(&mut self, id: SocketId, wakes: &mut Vec<Waker>) {
        let Some(waiters) = self.streams.get(id.index()) else { return };
        let Some(connection) = self.stack.tcp().connection(id) else { return };
        let is_over = connection.state() == TcpState::Closed;
        if is_over {
            wakes.extend(waiters.all().into_iter().flatten());
            return;
        }
        let is_at_end = connection.is_at_end() && !planted::is("end_untold");
        if (connection.receivable() > 0 || is_at_end)
            && let Some(reader) = waiters.reader()
        {
            wakes.push(reader);
            if planted::is("writer_forgotten") {
                return;
            }
        }
        if let Some(writer) = waiters.writer(connection.unacknowledged()) {
            wakes.push(writer);
        }
    }

    /// Whether the shard may sleep as far as the devices go.
    pub(crate) fn prepare_sleep(&mut self, cx: &mut Context<'_>) -> bool {
        self.is_told() && self.ports.iter_mut().all(|port| port.prepare_sleep(cx))
    }

    /// Lets all packets go: those that wait in the devices' queues, and those of connections. Nothing is sent or received any more.
    /// The stack is returned, to be dropped when nobody holds the state: its filters may own sockets.
    #[must_use]
    pub(crate) fn finish(&mut self) -> Stack {
        self.ports.clear();
        self.inbox.clear();
        // Sockets that somebody still has find nothing in it, as if their connections were over.
        std::mem::replace(&mut self.stack, Stack::new([0; 16], Limits::DEFAULT))
    }

    /// Gives back what is kept for reuse. There is nothing to do.
    pub(crate) fn free_unused_memory(&mut self) {
        self.stack.free_unused_memory();
        self.ports.iter_mut().for_each(Port::free_unused_memory);
        self.streams.shrink(StreamWaiters::is_empty);
        self.acceptors.shrink(Option::is_none);
        self.receivers.shrink(Option::is_none);
        self.senders.shrink_to_fit();
        self.inbox.shrink_to_fit();
    }

    /// When something is due though nothing comes.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let early_nanos = if planted::is("deadline_early") { 1_000 } else { 0 };
        let nanos = |deadline: time::Instant| deadline.as_micros().saturating_mul(1_000).saturating_sub(early_nanos);
        let stack = self.stack.deadline().map(|deadline| Instant::from_nanos(nanos(deadline)));
        let devices = self.ports.iter().filter_map(Port::deadline);
        stack.into_iter().chain(devices).min()
    }
}

/// A point in time of the executor's clock on that of the stack.
pub(crate) const fn stack_time(now: Instant) -> time::Instant {
    time::Instant::from_micros(now.as_nanos() / 1_000)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sunstar_device::{Capabilities, Counters, LinkOptions, LinkQueue, Queue, QueueError, Readiness, link};
    use sunstar_packet::Buffer;

    use super::*;

    /// One that does not say what it has put in.
    struct Understating(LinkQueue);

    impl Queue for Understating {
        fn capabilities(&self) -> &Capabilities {
            self.0.capabilities()
        }

        fn rx_burst(&mut self, now: Instant, out: &mut VecDeque<Packet>, max: usize) -> Result<usize, QueueError> {
            self.0.rx_burst(now, out, max).map(|_| 0)
        }

        fn tx_burst(&mut self, now: Instant, packets: &mut VecDeque<Packet>) -> Result<usize, QueueError> {
            self.0.tx_burst(now, packets)
        }

        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Readiness<'_> {
            self.0.poll_ready(cx)
        }

        fn deadline(&self) -> Option<Instant> {
            self.0.deadline()
        }

        fn counters(&self) -> Counters {
            self.0.counters()
        }
    }

    #[test]
    fn what_one_device_has_received_is_never_taken_for_anothers() {
        let (mut here, there) = link(LinkOptions::default());
        let mut stack = Stack::new([1; 16], Limits::DEFAULT);
        let interface = stack.add_interface(Port::interface_options(&there)).expect("there is room");
        let mut state = State::new(stack);
        state.ports.push(Port::new(interface, "link", Box::new(Understating(there)), None));
        let mut packets = VecDeque::from([Packet::from(Buffer::from(vec![0; 60]))]);
        here.tx_burst(Instant::ORIGIN, &mut packets).expect("the link is there");
        assert_eq!(state.receive(Instant::ORIGIN), 1);
        assert!(state.inbox.is_empty());
    }

    #[test]
    fn time_passes_when_what_has_come_was_taken_in() {
        let (mut here, there) =
            link(LinkOptions { ring_packets: RX_BURST * (MAX_ROUNDS_BEHIND as usize + 2), ..LinkOptions::default() });
        let mut stack = Stack::new([1; 16], Limits::DEFAULT);
        let interface = stack.add_interface(Port::interface_options(&there)).expect("there is room");
        let mut state = State::new(stack);
        state.ports.push(Port::new(interface, "link", Box::new(there), None));
        let now = Instant::ORIGIN + Duration::from_secs(1);
        state.due = Some(stack_time(Instant::ORIGIN));
        let mut send = |count| {
            let mut packets = (0..count).map(|_| Packet::from(Buffer::from(vec![0; 60]))).collect();
            assert_eq!(here.tx_burst(now, &mut packets).expect("the link is there"), count);
        };
        send(RX_BURST + 1);
        assert!(state.receive(now) > 0 && !state.pass_time(now), "one more waits");
        assert!(state.receive(now) > 0 && state.pass_time(now));
        send(RX_BURST * (MAX_ROUNDS_BEHIND as usize + 1));
        let rounds = (0..=MAX_ROUNDS_BEHIND).take_while(|_| state.receive(now) > 0 && !state.pass_time(now)).count();
        assert_eq!(rounds, MAX_ROUNDS_BEHIND as usize, "a flood stops no timers");
    }
}

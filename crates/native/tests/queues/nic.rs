//! Network cards in memory, which choose queues as those of machines do: by the lowest bits of a hash, which are the place in a table.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use sunstar_device::{
    Capabilities, Counters, FlowHash, Indirection, IndirectionTable, Offloads, Queue, QueueError, Readiness,
};
use sunstar_executor::current::{shard_count, shard_id};
use sunstar_executor::timer::sleep;
use sunstar_executor::{Instant, ShardId, invoke_on_all, local, submit_to};
use sunstar_native::{Network, SpreadCounters};
use sunstar_packet::{Buffer, Packet};
use sunstar_sim::Sim;
use sunstar_wire::MacAddr;
use sunstar_wire::toeplitz::{KEY_BYTES, MICROSOFT_KEY};

use crate::talk::{HOSTS, Shared, both, connect, exchange_datagrams, serve, sum};

const SHARDS: usize = 4;

/// As a driver may draw it: no two windows of it are alike.
const DRAWN_KEY: [u8; KEY_BYTES] = {
    let mut key = [0; KEY_BYTES];
    let (mut at, mut state) = (0, 0x9e_u8);
    while at < KEY_BYTES {
        state = state.wrapping_mul(181).wrapping_add(59);
        key[at] = state ^ (state >> 3);
        at += 1;
    }
    key
};

/// What a card does with what comes.
#[derive(Clone)]
struct Card {
    key: [u8; KEY_BYTES],
    table: Vec<u16>,
}

impl Card {
    /// The hash that its driver tells.
    fn told(&self) -> FlowHash {
        let table = IndirectionTable::new(&self.table).expect("its length is a power of two");
        FlowHash { key: self.key, indirection: Indirection::Table(table) }
    }

    /// The queue of a frame: of TCP over IPv4 by addresses and ports, of other IPv4 by addresses, and the first one of all else.
    fn queue(&self, frame: &[u8]) -> usize {
        const TCP: u8 = 6;

        if frame[12..14] != [8, 0] {
            return 0;
        }
        let input = if frame[23] == TCP { &frame[26..38] } else { &frame[26..34] };
        usize::from(self.table[self.hash(input) as usize % self.table.len()])
    }

    /// Toeplitz's hash by its definition: a bit that is set adds the 32 bits of the key from its place on.
    fn hash(&self, input: &[u8]) -> u32 {
        let bit = |bytes: &[u8], at: usize| bytes[at / 8] >> (7 - at % 8) & 1;
        let window = |from: usize| (from..from + 32).fold(0, |word, at| word << 1 | u32::from(bit(&self.key, at)));
        (0..8 * input.len()).filter(|at| bit(input, *at) == 1).fold(0, |hash, at| hash ^ window(at))
    }
}

/// What has come to a queue, and who waits for it.
#[derive(Default)]
struct Ring {
    frames: VecDeque<Vec<u8>>,
    waits: Option<Waker>,
}

/// Two cards, a cable between them.
struct Cable {
    cards: [Card; 2],
    rings: [Vec<RefCell<Ring>>; 2],
}

thread_local! {
    /// All shards of a simulated host share the thread.
    static CABLE: RefCell<Option<Rc<Cable>>> = const { RefCell::new(None) };
}

/// The current shard's queue of one of the cards.
struct CardQueue {
    cable: Rc<Cable>,
    side: usize,
    capabilities: Capabilities,
}

impl CardQueue {
    fn new(cable: &Rc<Cable>, side: usize) -> Self {
        let mac = MacAddr([2, 0, 0, 0, 0, u8::try_from(side).expect("there are two")]);
        let (tx, rx) = (Offloads::NONE, Offloads::NONE);
        let rss = Some(cable.cards[side].told());
        let capabilities = Capabilities { mac, mtu_bytes: 1_500, queues: SHARDS, tx, rx, rss };
        Self { cable: Rc::clone(cable), side, capabilities }
    }

    fn ring(&self) -> &RefCell<Ring> {
        &self.cable.rings[self.side][shard_id().index()]
    }
}

impl Queue for CardQueue {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn rx_burst(&mut self, _now: Instant, out: &mut VecDeque<Packet>, max: usize) -> Result<usize, QueueError> {
        let mut ring = self.ring().borrow_mut();
        let count = ring.frames.len().min(max);
        out.extend(ring.frames.drain(..count).map(|frame| Packet::from(Buffer::from(frame))));
        Ok(count)
    }

    fn tx_burst(&mut self, _now: Instant, packets: &mut VecDeque<Packet>) -> Result<usize, QueueError> {
        let (count, other) = (packets.len(), 1 - self.side);
        for packet in packets.drain(..) {
            let frame: Vec<u8> = packet.buffers().iter().flat_map(|buffer| buffer.to_vec()).collect();
            let ring = &self.cable.rings[other][self.cable.cards[other].queue(&frame)];
            ring.borrow_mut().frames.push_back(frame);
            let waits = ring.borrow_mut().waits.take();
            waits.into_iter().for_each(Waker::wake);
        }
        Ok(count)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Readiness<'_> {
        let mut ring = self.ring().borrow_mut();
        if !ring.frames.is_empty() {
            return Readiness::Ready;
        }
        ring.waits = Some(cx.waker().clone());
        Readiness::Woken
    }

    fn counters(&self) -> Counters {
        Counters::default()
    }
}

/// What a shard has of both hosts.
struct Here([Rc<Network>; 2]);

async fn start(hosts: [Shared; 2]) {
    let cable = CABLE.with_borrow(|cable| cable.clone()).expect("it was laid");
    let end = |side: usize| {
        let queue = CardQueue::new(&cable, side);
        hosts[side].start(hosts[side].device.attach(Box::new(queue)), None, HOSTS[side])
    };
    let networks = [end(0), end(1)];
    for (network, address) in networks.iter().zip(HOSTS) {
        serve(network, address).await;
    }
    local::set(Rc::new(Here(networks)));
}

fn counted() -> SpreadCounters {
    both(&local::get::<Here>().expect("it is there").0)
}

/// What a test has seen.
struct Outcome {
    /// After connections.
    connected: SpreadCounters,
    /// After datagrams.
    sent: SpreadCounters,
    /// How many connections were between two shards.
    elsewhere: usize,
}

/// Two hosts with a card each open connections to each other on all shards, and then exchange datagrams. Each follows the hash that it is told.
fn run(cards: [Card; 2], told: [Option<FlowHash>; 2]) -> Outcome {
    let rings = || (0..SHARDS).map(|_| RefCell::default()).collect();
    CABLE.set(Some(Rc::new(Cable { cards, rings: [rings(), rings()] })));
    let mut sim = Sim::new(3);
    let outcome = Rc::new(Cell::new(None));
    let seen = Rc::clone(&outcome);
    sim.background_host("both", SHARDS, move || async move {
        let hosts = told.map(|rss| Shared::new(rss, SHARDS));
        invoke_on_all(move || start(hosts)).await.expect("all shards run");
        let mut elsewhere = 0;
        for shard in ShardId::all(shard_count()) {
            let talk = || async {
                let here = local::get::<Here>().expect("it is there");
                connect(&here.0[0], HOSTS[1]).await + connect(&here.0[1], HOSTS[0]).await
            };
            elsewhere += submit_to(shard, talk).await.expect("it runs");
        }
        // Until all connections are over.
        sleep(Duration::from_secs(1)).await;
        let connected = sum(counted).await;
        for shard in ShardId::all(shard_count()) {
            let exchange = || async {
                let here = local::get::<Here>().expect("it is there");
                exchange_datagrams(&here.0[0], HOSTS[0], HOSTS[1]).await;
            };
            submit_to(shard, exchange).await.expect("it runs");
        }
        seen.set(Some(Outcome { connected, sent: sum(counted).await, elsewhere }));
        std::future::pending().await
    });
    sim.host("clock", 1, || sleep(Duration::from_secs(60)));
    sim.run().expect("the world ends well");
    CABLE.set(None);
    outcome.take().expect("a minute is long")
}

/// As i40e's driver has it at first, and one whose first queue has more than the others, with another key.
fn cards() -> [Card; 2] {
    let queues = 0..u16::try_from(SHARDS).expect("there are few");
    let even: Vec<u16> = queues.cycle().take(512).collect();
    let uneven: Vec<u16> = (0..128).map(|place: u16| [0, 1, 0, 2, 0, 3, 0, 0][usize::from(place / 16)]).collect();
    [Card { key: DRAWN_KEY, table: even }, Card { key: MICROSOFT_KEY, table: uneven }]
}

#[test]
fn with_a_queue_for_each_shard_no_packet_of_a_connection_is_forwarded() {
    let told = cards().map(|card| Some(card.told()));
    let Outcome { connected, sent, elsewhere } = run(cards(), told);
    assert_eq!((connected.rx_forwarded, connected.tx_forwarded, connected.dropped), (0, 0, 0));
    assert!(connected.rx_told > 0, "where the other host is all shards have to know");
    assert!(elsewhere > 20, "{elsewhere}: each card has a hash of its own");
    // They come by a queue that their addresses choose, and belong to the shard that has the port.
    assert!(sent.rx_forwarded > 20 && (sent.tx_forwarded, sent.dropped) == (0, 0), "{sent:?}");
}

#[test]
fn who_is_not_told_the_hash_or_another_one_forwards() {
    let highest = |card: Card| FlowHash { key: card.key, indirection: Indirection::Highest };
    for told in [[None, None], cards().map(|card| Some(highest(card)))] {
        let Outcome { connected, .. } = run(cards(), told);
        assert!(connected.rx_forwarded > 100, "{connected:?}");
        assert_eq!((connected.tx_forwarded, connected.dropped), (0, 0));
    }
}

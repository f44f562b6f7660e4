//! A net device as rust-vmm's crates have one: rings, memory, messages, and the threads that wait for them are theirs.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::support::until;
use sunstar_virtio::net::{HEADER_BYTES, features};
use vhost::vhost_user::{Listener, VhostUserProtocolFeatures};
use vhost_user_backend::{Error, ShutdownHandle, VhostUserBackendMut, VhostUserDaemon, VringMutex, VringState, VringT};
use virtio_queue::{QueueOwnedT, QueueT};
use vm_memory::{GuestAddressSpace, GuestMemoryAtomic, GuestMemoryMmap};
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::event::{EventConsumer, EventFlag, EventNotifier, new_event_consumer_and_notifier};

type Memory = GuestMemoryAtomic<GuestMemoryMmap>;
type Daemon = VhostUserDaemon<Arc<Mutex<Net>>>;

/// What the crates can: they have no packed rings.
pub(super) const ALL: u64 = features::VERSION_1
    | features::MRG_RXBUF
    | features::CSUM
    | features::GUEST_CSUM
    | features::HOST_TSO4
    | features::HOST_TSO6
    | features::GUEST_TSO4
    | features::GUEST_TSO6
    | features::INDIRECT_DESC
    | features::EVENT_IDX
    | features::MQ
    | features::VHOST_USER_PROTOCOL;

/// Packets that may wait for room, of each pair of queues. What comes behind them stays in its ring.
const WAITING: usize = 64;

/// The device. What is sent by a pair of queues arrives by the next one, and so by the same if there is only one.
pub(super) struct Net {
    offered: u64,
    pairs: usize,
    memory: Memory,
    agreed: u64,
    /// Headers and packets that were sent by each pair, on their way to the next one.
    waiting: Vec<VecDeque<Vec<u8>>>,
    /// Packets for which no chain was long enough.
    lost: usize,
    /// How often the front end had a ring stop.
    pub(super) stops: usize,
}

impl Net {
    pub(super) fn new(offered: u64, pairs: usize) -> Self {
        let memory = Memory::new(GuestMemoryMmap::new());
        Self { offered, pairs, memory, agreed: 0, waiting: vec![VecDeque::new(); pairs], lost: 0, stops: 0 }
    }

    fn has(&self, feature: u64) -> bool {
        self.agreed & feature != 0
    }

    /// Takes what was sent by a pair; answers whether there was anything.
    fn take(&mut self, pair: usize, ring: &mut VringState) -> bool {
        let memory = self.memory.memory();
        let waiting = &mut self.waiting[pair];
        let before = waiting.len();
        while waiting.len() < WAITING
            && let Some(chain) = ring.get_queue_mut().pop_descriptor_chain(memory.clone())
        {
            let mut packet = Vec::new();
            let head = chain.head_index();
            chain.reader(&memory).unwrap().read_to_end(&mut packet).unwrap();
            assert!(packet.len() >= HEADER_BYTES, "a header comes first");
            waiting.push_back(packet);
            ring.add_used(head, 0).unwrap();
        }
        waiting.len() > before
    }

    /// Hands over what has come for a pair, as far as there is room; answers whether there was any.
    fn give(&mut self, pair: usize, ring: &mut VringState) -> bool {
        let from = (pair + self.pairs - 1) % self.pairs;
        let mut is_given = false;
        while let Some(packet) = self.waiting[from].pop_front() {
            if !self.put(ring, &packet) {
                self.waiting[from].push_front(packet);
                break;
            }
            is_given = true;
        }
        is_given
    }

    /// Puts a packet into as many chains as it takes. If there are too few, none is touched.
    fn put(&mut self, ring: &mut VringState, packet: &[u8]) -> bool {
        let memory = self.memory.memory();
        let most = if self.has(features::MRG_RXBUF) { usize::MAX } else { 1 };
        let (mut chains, mut room) = (Vec::new(), 0);
        while room < packet.len() && chains.len() < most {
            let Some(chain) = ring.get_queue_mut().pop_descriptor_chain(memory.clone()) else {
                chains.iter().for_each(|_| ring.get_queue_mut().go_to_previous_position());
                return false;
            };
            room += chain.clone().writer(&memory).unwrap().available_bytes();
            chains.push(chain);
        }
        let mut packet = packet.to_vec();
        if room < packet.len() {
            self.lost += 1;
            packet.clear();
        } else {
            let count = u16::try_from(chains.len()).unwrap();
            packet[HEADER_BYTES - 2..HEADER_BYTES].copy_from_slice(&count.to_le_bytes());
        }
        let mut left = &packet[..];
        for chain in chains {
            let head = chain.head_index();
            let mut writer = chain.writer(&memory).unwrap();
            let part = left.len().min(writer.available_bytes());
            writer.write_all(&left[..part]).unwrap();
            left = &left[part..];
            ring.add_used(head, u32::try_from(part).unwrap()).unwrap();
        }
        true
    }
}

/// Tells the driver, if it wants to be told.
fn tell(ring: &mut VringState) {
    if ring.needs_notification().unwrap() {
        ring.signal_used_queue().unwrap();
    }
}

fn is_running(ring: &VringState) -> bool {
    ring.is_enabled() && ring.get_queue().ready()
}

impl VhostUserBackendMut for Net {
    type Bitmap = ();
    type Vring = VringMutex;

    fn num_queues(&self) -> usize {
        2 * self.pairs
    }

    fn max_queue_size(&self) -> usize {
        1_024
    }

    fn features(&self) -> u64 {
        self.offered
    }

    fn acked_features(&mut self, features: u64) {
        self.agreed = features;
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        VhostUserProtocolFeatures::MQ
    }

    fn set_event_idx(&mut self, _: bool) {}

    fn update_memory(&mut self, memory: Memory) -> io::Result<()> {
        self.memory = memory;
        Ok(())
    }

    fn exit_event(&self, _: usize) -> Option<(EventConsumer, EventNotifier)> {
        new_event_consumer_and_notifier(EventFlag::NONBLOCK | EventFlag::CLOEXEC).ok()
    }

    fn stop_vring(&mut self, _: u32) -> io::Result<()> {
        self.stops += 1;
        Ok(())
    }

    /// Something was sent, or there is room again: goes on until neither is so.
    fn handle_event(&mut self, _: u16, _: EventSet, rings: &[VringMutex], _: usize) -> io::Result<()> {
        let mut is_busy = true;
        while is_busy {
            is_busy = false;
            for pair in 0..self.pairs {
                let mut sent = rings[2 * pair + 1].get_mut();
                if is_running(&sent) {
                    is_busy |= self.take(pair, &mut sent);
                    tell(&mut sent);
                    is_busy |= sent.enable_notification().unwrap() && self.waiting[pair].len() < WAITING;
                }
                drop(sent);
                let mut received = rings[2 * ((pair + 1) % self.pairs)].get_mut();
                if is_running(&received) {
                    is_busy |= self.give((pair + 1) % self.pairs, &mut received);
                    tell(&mut received);
                    is_busy |= received.enable_notification().unwrap() && !self.waiting[pair].is_empty();
                }
            }
        }
        Ok(())
    }
}

/// A device with its threads, for one session.
pub(super) struct Running {
    thread: JoinHandle<Result<(), Error>>,
    /// Filled when a front end is there.
    shutdown: Receiver<ShutdownHandle>,
    net: Arc<Mutex<Net>>,
}

impl Running {
    /// Listens for a front end.
    pub(super) fn listen(path: &Path, net: Net) -> Self {
        let mut listener = Listener::new(path, false).unwrap();
        Self::start(net, move |daemon| daemon.start(&mut listener))
    }

    /// Connects to a front end, or will do as soon as it listens.
    pub(super) fn connect(path: &Path, net: Net) -> Self {
        let path = path.to_str().unwrap().to_owned();
        Self::start(net, move |daemon| {
            until("the front end listens", || {
                std::thread::yield_now();
                daemon.start_client(&path).ok()
            });
            Ok(())
        })
    }

    fn start(net: Net, mut meet: impl FnMut(&mut Daemon) -> Result<(), Error> + Send + 'static) -> Self {
        let net = Arc::new(Mutex::new(net));
        let (connected, shutdown) = channel();
        let device = Arc::clone(&net);
        let thread = std::thread::spawn(move || {
            let memory = Memory::new(GuestMemoryMmap::new());
            let mut daemon = VhostUserDaemon::new("net".to_owned(), device, memory)?;
            meet(&mut daemon)?;
            connected.send(daemon.shutdown_handle().unwrap()).unwrap();
            daemon.wait()
        });
        Self { thread, shutdown, net }
    }

    /// Ends the session, as when the process ends. Answers what the driver was promised.
    pub(super) fn end(self) -> u64 {
        self.shutdown.recv().unwrap().shutdown();
        self.thread.join().unwrap().unwrap();
        let net = self.net.lock().unwrap();
        assert_eq!(net.lost, 0, "each packet finds room");
        net.agreed
    }

    /// Waits until the front end has ended the session; answers why it has ended, and how many rings were stopped before.
    pub(super) fn ended(self) -> (Error, usize) {
        let error = self.thread.join().unwrap().unwrap_err();
        (error, self.net.lock().unwrap().stops)
    }
}

//! Vhost-user: a front end and a back end, each with two shards of its own and a pair of queues for each.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use sunstar_device::{
    BackOptions, DetachedQueue, Device, FlowHash, FrontOptions, Rss, SharedMemory, VhostUserBack, VhostUserFront,
};
use sunstar_executor::combine::with_timeout;
use sunstar_executor::timer::sleep;
use sunstar_executor::{ShardId, local, submit_to};
use sunstar_native::{Network, SpreadCounters, Watch};
use sunstar_packet::PoolOptions;
use sunstar_reactor::{Config, DescriptorWatch, run};

use crate::talk::{HOSTS, Shared, assert_nothing_is_forwarded, serve, sum, talk};

const SHARDS: usize = 2;

/// What takes longer than this never comes.
const FUSE: Duration = Duration::from_secs(60);

/// Waits for the queue by the reactor.
struct Descriptor(DescriptorWatch);

impl Watch for Descriptor {
    fn arm(&self, descriptor: BorrowedFd<'_>, readable: bool, writable: bool) -> io::Result<()> {
        self.0.arm(descriptor, readable, writable)
    }
}

/// The current shard's network.
struct Here(Rc<Network>);

async fn start(shared: Shared, queue: DetachedQueue, address: Ipv4Addr) {
    let frames = PoolOptions { frame_bytes: 2_048, headroom_bytes: 64, limit_frames: 4_000 };
    let pool = Rc::new(queue.pool(frames).expect("there is room"));
    let queue = queue.attach(pool).expect("frames suit");
    let watch = DescriptorWatch::new().map(|watch| Box::new(Descriptor(watch)) as Box<dyn Watch>);
    let network = shared.start(shared.device.attach(queue), watch, address);
    serve(&network, address).await;
    local::set(Rc::new(Here(network)));
}

fn counted() -> SpreadCounters {
    local::get::<Here>().expect("it is there").0.spread_counters()
}

/// One of the two hosts: talks to the other one, and goes on until that is done too.
async fn host(
    queues: Vec<DetachedQueue>,
    rss: Option<FlowHash>,
    [own, other]: [Ipv4Addr; 2],
    done: Arc<AtomicUsize>,
) -> (SpreadCounters, usize) {
    let shared = Shared::new(rss, queues.len());
    for (shard, queue) in ShardId::all(SHARDS).zip(queues) {
        let shared = shared.clone();
        submit_to(shard, move || start(shared, queue, own)).await.expect("it runs");
    }
    let mut elsewhere = 0;
    for shard in ShardId::all(SHARDS) {
        let talk = move || async move {
            let here = local::get::<Here>().expect("it is there");
            talk(&here.0, own, other).await
        };
        elsewhere += submit_to(shard, talk).await.expect("it runs");
    }
    done.fetch_add(1, Ordering::Relaxed);
    for round in 0.. {
        if done.load(Ordering::Relaxed) == 2 {
            break;
        }
        assert!(round < 60_000, "the other one is not done within a minute");
        sleep(Duration::from_millis(1)).await;
    }
    (sum(counted).await, elsewhere)
}

/// Runs both hosts; answers what each has counted.
fn both(rss: Rss) -> [(SpreadCounters, usize); 2] {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let back = BackOptions { is_server: true, queues: SHARDS, rss, ..BackOptions::new(&path) };
    let mut back = VhostUserBack::open(&back).expect("the folder is new");
    let front = FrontOptions { queues: SHARDS, rss, ..FrontOptions::new(&path) };
    let memory = SharedMemory::new(VhostUserFront::memory_bytes(SHARDS) + (64 << 20)).expect("there is memory");
    let mut front = VhostUserFront::open(&front, memory).expect("the back end is there");
    let done = Arc::new(AtomicUsize::new(0));
    let [own, other] = HOSTS;
    let devices: [(&mut dyn Device, [Ipv4Addr; 2]); 2] = [(&mut back, [own, other]), (&mut front, [other, own])];
    let threads = devices.map(|(device, addresses)| {
        let rss = device.capabilities().rss.clone();
        let queues: Vec<_> = (0..SHARDS).map(|index| device.take_queue(index).expect("it is there")).collect();
        let done = Arc::clone(&done);
        let config = Config {
            smp: Some(SHARDS),
            overprovisioned: true,
            stop_on_signals: false,
            blocked_reactor_notify: Duration::ZERO,
            ..Config::default()
        };
        thread::spawn(move || run(config, move || with_timeout(FUSE, host(queues, rss, addresses, done))))
    });
    threads.map(|thread| thread.join().expect("it ends").expect("it runs").expect("it does not take for ever"))
}

#[test]
fn with_a_queue_for_each_shard_nothing_is_forwarded() {
    for (counted, elsewhere) in both(Rss::default()) {
        assert_nothing_is_forwarded(counted, elsewhere);
    }
}

#[test]
fn with_secret_keys_what_comes_to_another_shard_is_forwarded() {
    let counted = both(Rss::Secret);
    let forwarded: u64 = counted.iter().map(|(counted, _)| counted.rx_forwarded).sum();
    assert!(forwarded > 20, "{counted:?}");
}

//! Futures of every operation are dropped at random moments. No byte, connection or descriptor may get lost.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::File;
use std::future::{Future, poll_fn};
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use rustix::fs::{Advice, fadvise};
use sunstar_executor::combine::when_all;
use sunstar_executor::{JoinHandle, spawn, yield_now};
use sunstar_net::socket::StreamOption;
use sunstar_net::{Address, Error};
use sunstar_packet::Buffer;
use sunstar_reactor::blocking;

use crate::support::*;

/// Connections that each seed makes.
const CLIENTS: usize = 60;
const HEADER_BYTES: usize = 17;
const FILE_BYTES: usize = 200_000;

/// xorshift64*.
struct Rng(Cell<u64>);

impl Rng {
    fn new(seed: u64) -> Self {
        Self(Cell::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1))
    }

    fn below(&self, limit: usize) -> usize {
        let mut state = self.0.get();
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        self.0.set(state);
        usize::try_from(state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).expect("it has 31 bits") % limit
    }

    fn one_in(&self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// What a client is going to do, as its header says.
#[derive(Clone, Copy, PartialEq)]
enum Plan {
    /// Send, end, and read the same again.
    Echo,
    /// Send, and drop the stream at once.
    Drop,
    /// Send something, and abort.
    Abort,
}

/// What the whole test knows.
struct World {
    rng: Rng,
    file: Rc<dyn Any>,
    next_id: Cell<u64>,
    /// By id, how each connection ended at the server.
    served: RefCell<BTreeMap<u64, Result<(), Error>>>,
    /// The ids of clients that do not abort.
    orderly: RefCell<Vec<u64>>,
}

impl World {
    /// The output of the future that `make` makes, after some of them were dropped.
    async fn persist<T, F: Future<Output = T>>(&self, mut make: impl FnMut() -> F) -> T {
        loop {
            let mut patience = self.rng.below(5);
            let mut future = Box::pin(make());
            let outcome = poll_fn(|cx| match future.as_mut().poll(cx) {
                Poll::Ready(output) => Poll::Ready(Some(output)),
                Poll::Pending if patience == 0 => Poll::Ready(None),
                Poll::Pending => {
                    patience -= 1;
                    if self.rng.one_in(3) {
                        cx.waker().wake_by_ref();
                    }
                    Poll::Pending
                }
            })
            .await;
            drop(future);
            match outcome {
                Some(output) => return output,
                None => yield_now().await,
            }
        }
    }

    async fn write(&self, stream: &Stream, offset: usize, len: usize) -> Result<(), Error> {
        self.persist(|| writable(stream)).await?;
        if self.rng.one_in(4) {
            if self.rng.one_in(3) {
                // From now on it must be read from the disk.
                let file = self.file.downcast_ref::<File>().expect("it is one");
                fadvise(file, 0, None, Advice::DontNeed).expect("it is a file");
            }
            stream.enqueue_file(&self.file, (offset % 251) as u64, len as u64)?;
        } else {
            stream.enqueue(Buffer::from(pattern(offset, len)));
        }
        if self.rng.one_in(5) {
            self.persist(|| flush(stream)).await?;
        }
        Ok(())
    }
}

async fn client(world: Rc<World>, address: Address) {
    let plan = [Plan::Echo, Plan::Echo, Plan::Drop, Plan::Abort][world.rng.below(4)];
    let count = if world.rng.one_in(3) { world.rng.below(600_000) } else { world.rng.below(3000) };
    let stream = world.persist(|| connect(&address)).await.expect("it listens");
    stream.set_option(StreamOption::SendQueueBytes(1 + world.rng.below(100_000))).expect("all have it");
    let id = world.next_id.replace(world.next_id.get() + 1);
    if plan != Plan::Abort {
        world.orderly.borrow_mut().push(id);
    }
    let header = [&id.to_le_bytes()[..], &(count as u64).to_le_bytes(), &[plan as u8]].concat();
    write(&stream, header).await.expect("it is connected");
    let send = async {
        let mut sent = 0;
        while sent < count {
            let len = (1 + world.rng.below(if world.rng.one_in(4) { 150_000 } else { 2000 })).min(count - sent);
            world.write(&stream, sent, len).await.expect("the server reads to the end");
            sent += len;
            if plan == Plan::Abort && world.rng.one_in(10) {
                return;
            }
        }
        if plan == Plan::Echo {
            stream.shutdown();
            world.persist(|| flush(&stream)).await.expect("the server reads to the end");
        }
    };
    let receive = async {
        let mut received = 0;
        if plan != Plan::Echo {
            return;
        }
        loop {
            let bytes = world.persist(|| read(&stream)).await.expect("the server ends in order");
            if bytes.is_empty() {
                assert_eq!(received, count, "of connection {id}");
                return;
            }
            assert!(bytes == pattern(received, bytes.len()), "connection {id} at {received}");
            received += bytes.len();
        }
    };
    when_all((send, receive)).await;
    if plan == Plan::Abort {
        stream.abort();
    }
}

async fn serve(world: Rc<World>, mut stream: Stream) {
    let mut header = Vec::new();
    while header.len() < HEADER_BYTES {
        match world.persist(|| read(&stream)).await {
            Ok(bytes) if !bytes.is_empty() => header.extend_from_slice(&bytes),
            // A client whose first attempt to connect was dropped, or one that aborts.
            _ => return,
        }
    }
    let id = u64::from_le_bytes(header[..8].try_into().expect("eight bytes"));
    let count = u64::from_le_bytes(header[8..16].try_into().expect("eight bytes"));
    let (echoes, aborts) = (header[16] == Plan::Echo as u8, header[16] == Plan::Abort as u8);
    let mut bytes = Buffer::from(header[HEADER_BYTES..].to_vec());
    let mut received = 0;
    let outcome = loop {
        assert!(bytes == pattern(received, bytes.len()), "connection {id} at {received}");
        received += bytes.len();
        if echoes && !bytes.is_empty() {
            world.persist(|| writable(&stream)).await.expect("the client reads to the end");
            stream.enqueue(bytes);
        }
        if world.rng.one_in(20) {
            match world.persist(|| detach(&stream)).await {
                Ok(detached) => stream = attach(detached),
                Err(error) => break Err(error),
            }
        }
        match world.persist(|| read(&stream)).await {
            Ok(next) if next.is_empty() => break Ok(()),
            Ok(next) => bytes = next,
            Err(error) => break Err(error),
        }
    };
    if !aborts {
        assert_eq!((received as u64, outcome), (count, Ok(())), "connection {id}");
    }
    let before = world.served.borrow_mut().insert(id, outcome);
    assert!(before.is_none(), "connection {id} was accepted twice");
}

fn accept_all(world: &Rc<World>, listener: Listener) -> JoinHandle<()> {
    let world = Rc::clone(world);
    spawn(async move {
        let mut tasks = Vec::new();
        loop {
            match world.persist(|| accept(&listener)).await {
                Ok(detached) => tasks.push(spawn(serve(Rc::clone(&world), attach(detached)))),
                Err(error) => break assert_eq!(error, Error::Stopped),
            }
        }
        for task in tasks {
            task.await.expect("no panic");
        }
    })
}

async fn one_seed(seed: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(&pattern(0, FILE_BYTES)).expect("it is ours");
    file.sync_all().expect("it can be written");
    let file: Rc<File> = Rc::new(file);
    let (next_id, served, orderly) = (Cell::new(0), RefCell::default(), RefCell::default());
    let world = Rc::new(World { rng: Rng::new(seed), file, next_id, served, orderly });
    let listeners = addresses(&folder).map(|address| listen(&address));
    let servers: Vec<_> = listeners.iter().map(|(listener, _)| accept_all(&world, Rc::clone(listener))).collect();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let (_, address) = &listeners[world.rng.below(listeners.len())];
        clients.push(spawn(client(Rc::clone(&world), address.clone())));
        if world.rng.one_in(10) {
            let sum = world.persist(|| blocking(|| 6 * 7)).await.expect("no panic");
            assert_eq!(sum, 42);
        }
    }
    for client in clients {
        client.await.expect("no panic");
    }
    // All have connected: now they may be let in, or wait to be.
    listeners.iter().for_each(|(listener, _)| listener.close());
    for server in servers {
        server.await.expect("no panic");
    }
    assert_eq!(world.next_id.get(), CLIENTS as u64);
    let served = world.served.borrow();
    assert!(world.orderly.borrow().iter().all(|id| served.contains_key(id)), "each connection was accepted");
}

/// How long to go on with new seeds, in seconds. Without it the seeds are always the same.
const SECONDS: &str = "SUNSTAR_SOAK_SECONDS";

/// The seed to begin with.
const SEED: &str = "SUNSTAR_SEED";

fn number_from(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}

/// A seed that no run before had.
fn fresh_seed() -> u64 {
    let mut bytes = [0; 4];
    let mut source = File::open("/dev/urandom").expect("the system has a source of randomness");
    source.read_exact(&mut bytes).expect("it never ends");
    u32::from_le_bytes(bytes).into()
}

/// Becomes true after so many seconds.
fn timer(seconds: u64) -> Arc<AtomicBool> {
    let is_over = Arc::new(AtomicBool::new(false));
    let timer = Arc::clone(&is_over);
    thread::spawn(move || {
        thread::sleep(Duration::from_secs(seconds));
        timer.store(true, Ordering::Relaxed);
    });
    is_over
}

fn run_seeds(usual: std::ops::Range<u64>) {
    let seconds = number_from(SECONDS);
    let first = number_from(SEED).unwrap_or_else(|| seconds.map_or(usual.start, |_| fresh_seed()));
    let last = seconds.map_or(first + usual.end - usual.start, |_| u64::MAX);
    for backend in backends() {
        let before = descriptors();
        // Half of the time for each driver.
        let is_over = seconds.map(|seconds| timer(seconds / 2));
        let goes_on = |_: &u64| is_over.as_ref().is_none_or(|is_over| !is_over.load(Ordering::Relaxed));
        for seed in (first..last).take_while(goes_on) {
            println!("{SEED}={seed}");
            on_driver(backend, 1, move || one_seed(seed));
            assert_eq!(descriptors(), before, "after seed {seed}");
        }
    }
}

#[test]
fn dropped_futures_lose_nothing() {
    if is_alone("random::dropped_futures_lose_nothing") {
        run_seeds(0..8);
    }
}

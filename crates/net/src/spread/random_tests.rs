//! Connections under random conditions: futures are dropped at any moment, streams move, listeners come and go.
//!
//! Whatever happens, every connection is served and every byte comes back.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::Read;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use sunstar_executor::{ShardId, spawn};

use super::tests::address;
use crate::testing::{Random, World, give_up_after, tick};
use crate::{Error, ListenerOptions, Spread, Stream, TcpListener, TcpStream};

const SHARDS: usize = 3;

/// The generator that the tasks of a world share.
#[derive(Clone)]
struct Chance(Rc<RefCell<Random>>);

impl Chance {
    fn below(&self, bound: usize) -> usize {
        self.0.borrow_mut().below(bound)
    }

    /// After how many rounds to give up.
    fn patience(&self) -> usize {
        if self.below(3) == 0 { self.below(4) } else { usize::MAX }
    }
}

/// Echoes until the end; reads and writes are dropped and tried again.
async fn echo(mut stream: Stream, seed: u64, mut moves: usize) {
    let chance = Chance(Rc::new(RefCell::new(Random::new(seed))));
    loop {
        if moves > 0 && chance.below(4) == 0 {
            moves -= 1;
            let to = ShardId::new(u16::try_from(chance.below(SHARDS)).unwrap());
            let left = moves;
            let moved = stream.hand_over(to, move |stream| echo(stream, seed + 1, left));
            match give_up_after(chance.below(6), moved).await {
                Some(Ok(())) => return,
                Some(Err(error)) => panic!("moving failed: {error}"),
                // It may be on its way by itself.
                None if stream.peer_address() == Err(Error::NotConnected) => return,
                None => {}
            }
        }
        let Some(read) = give_up_after(chance.patience(), stream.read()).await else { continue };
        let bytes = read.expect("nobody breaks the stream");
        if bytes.is_empty() {
            stream.shutdown();
            return;
        }
        while give_up_after(chance.patience(), stream.write(bytes.clone())).await.is_none() {}
    }
}

async fn accept_all(mut listener: TcpListener, chance: Chance, accepted: Rc<Cell<usize>>, lifetime: usize) {
    for _ in 0..lifetime {
        // Waits are short, so that a listener ends although nobody connects.
        let Some(stream) = give_up_after(chance.below(8), listener.accept()).await else {
            tick().await;
            continue;
        };
        let stream = stream.expect("nobody closes the listener");
        accepted.set(accepted.get() + 1);
        let (seed, moves) = (chance.below(1_000_000) as u64, chance.below(3));
        drop(spawn(echo(stream.into(), seed, moves)));
    }
}

/// Listens on a shard again and again until told to stop; the listeners overlap on purpose only by chance.
async fn serve(spread: Spread, chance: Chance, accepted: Rc<Cell<usize>>, lasting: bool, stop: Rc<Cell<bool>>) {
    while !stop.get() {
        let options = ListenerOptions { spread, accept_queue: 1 + chance.below(4), ..ListenerOptions::default() };
        let bound = give_up_after(chance.patience(), TcpListener::bind(address(80), options)).await;
        let Some(listener) = bound else { continue };
        let listener = listener.expect("one spread only is used");
        if lasting {
            return accept_all(listener, chance, accepted, usize::MAX).await;
        }
        accept_all(listener, chance.clone(), Rc::clone(&accepted), 1 + chance.below(60)).await;
    }
}

/// Sends random bytes and compares what comes back; answers whether it came to be connected.
async fn client(chance: Chance) -> bool {
    let connected = give_up_after(chance.patience(), TcpStream::connect(address(80))).await;
    let Some(connected) = connected else { return false };
    let (mut reader, mut writer) = connected.expect("somebody listens").into_split();
    let sent: Vec<u8> = (0..chance.below(2000)).map(|_| u8::try_from(chance.below(256)).unwrap()).collect();
    let (bytes, writes) = (sent.clone(), chance.clone());
    drop(spawn(async move {
        for piece in bytes.chunks(1 + writes.below(700)) {
            while give_up_after(writes.patience(), writer.write(piece.to_vec())).await.is_none() {}
        }
        writer.shutdown();
    }));
    let mut received = Vec::new();
    loop {
        let Some(bytes) = give_up_after(chance.patience(), reader.read()).await else { continue };
        let bytes = bytes.expect("nobody breaks the stream");
        if bytes.is_empty() {
            break;
        }
        received.extend_from_slice(&bytes);
    }
    assert!(received == sent, "{} bytes came back of {}", received.len(), sent.len());
    true
}

fn run(seed: u64) {
    let world = World::new(seed, SHARDS);
    let chance = Chance(Rc::new(RefCell::new(Random::new(seed + 1))));
    let spread = [Spread::LeastConnections, Spread::ClientPort][chance.below(2)];
    let (accepted, stop) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
    // One listener stays, so that there is always somebody; it is not always the owner.
    let lasting = chance.below(SHARDS);
    let order = chance.below(SHARDS);
    for shard in (0..SHARDS).map(|n| (n + order) % SHARDS) {
        let served = serve(spread, chance.clone(), Rc::clone(&accepted), shard == lasting, Rc::clone(&stop));
        drop(world.spawn(shard, served));
        for _ in 0..chance.below(20) {
            (0..SHARDS).for_each(|shard| {
                world.round(shard);
            });
        }
    }
    // Until the lasting one is there.
    for _ in 0..200 {
        (0..SHARDS).for_each(|shard| {
            world.round(shard);
        });
    }
    let clients: Vec<_> = (0..40).map(|n| (n % SHARDS, world.spawn(n % SHARDS, client(chance.clone())))).collect();
    for _ in 0..100_000 {
        let shard = chance.below(SHARDS);
        world.round(shard);
        if clients.iter().all(|(_, client)| client.is_finished()) {
            break;
        }
    }
    let connected = clients.into_iter().map(|(shard, client)| usize::from(world.output(shard, client))).sum::<usize>();
    stop.set(true);
    for _ in 0..2000 {
        (0..SHARDS).for_each(|shard| {
            world.round(shard);
        });
    }
    // Those that gave up may have been accepted too.
    assert!(accepted.get() >= connected && connected > 0);
    assert_eq!(world.network.resets(), 0);
    assert_eq!(world.network.ends(), 0, "every stream has ended");
}

/// A seed that no run before had.
fn fresh_seed() -> u64 {
    let mut bytes = [0; 4];
    let mut source = File::open("/dev/urandom").expect("the system has a source of randomness");
    source.read_exact(&mut bytes).expect("it never ends");
    u32::from_le_bytes(bytes).into()
}

#[test]
fn spread_random_loses_no_connection_and_no_byte() {
    let number_from = |variable| Some(std::env::var(variable).ok()?.parse::<u64>().expect("a number"));
    // So many seconds long, new seeds; without it, always the same.
    let seconds = number_from("SUNSTAR_SOAK_SECONDS");
    let is_over = Arc::new(AtomicBool::new(false));
    if let Some(seconds) = seconds {
        let is_over = Arc::clone(&is_over);
        thread::spawn(move || {
            thread::sleep(Duration::from_secs(seconds));
            is_over.store(true, Ordering::Relaxed);
        });
    }
    let first = number_from("SUNSTAR_SEED").unwrap_or_else(|| seconds.map_or(0, |_| fresh_seed()));
    let last = seconds.map_or(first + 299, |_| u64::MAX);
    for seed in (first..=last).take_while(|_| !is_over.load(Ordering::Relaxed)) {
        println!("SUNSTAR_SEED={seed}");
        run(seed);
    }
}

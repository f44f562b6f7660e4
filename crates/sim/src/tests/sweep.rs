//! The scenario that is swept over seeds: an echo server whose connections are spread over its shards, and clients that
//! write, read, give up waits, close and vanish at random, on a network drawn from the seed.

use std::cell::Cell;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use sunstar_executor::combine::with_timeout;
use sunstar_executor::message::ShardId;
use sunstar_executor::timer::sleep;
use sunstar_executor::{current, invoke_on_all, spawn, submit_to};
use sunstar_net::{Error, ListenerOptions, Spread, StreamOption, TcpListener, TcpStream};

use super::support::*;
use crate::{Random, Report, Sim, SimError, SimOptions, for_each_seed};

const SHARDS: usize = 2;
const PORT: u16 = 7;

/// Few in the ordinary run; `cargo xtask sim` tries others.
#[test]
fn sim_sweep_echo() {
    for_each_seed(0..30, |seed| world(seed, |_| ()));
}

/// Runs the world of a seed.
pub(super) fn world(seed: u64, prepare: impl FnOnce(&Sim)) -> Result<Report, SimError> {
    let mut random = Random::stream(seed, 1000);
    let mut sim = Sim::with_options(seed, SimOptions::drawn(seed));
    prepare(&sim);
    let spreads = [Spread::LeastConnections, Spread::ClientPort, Spread::ReusePort, Spread::Off];
    let options = ListenerOptions {
        spread: spreads[random.index(spreads.len())],
        backlog: 1 << random.between(0, 8),
        accept_queue: 1 << random.between(0, 8),
        ..ListenerOptions::default()
    };
    sim.background_host("server", SHARDS, move || serve(options));
    for number in 0..random.between(1, 3) {
        let (clients, random) = (random.between(1, 8), Random::stream(seed, 2000 + number));
        let shards = 1 + usize::from(number == 0);
        sim.host(&format!("client-{number}"), shards, move || run_clients(clients, random));
    }
    sim.run()
}

/// Listens on all shards, which share the connections out as the options say.
pub(super) async fn serve(options: ListenerOptions) {
    let serving = invoke_on_all(move || serve_shard(options)).await;
    assert!(serving.is_err(), "it is stopped before it ends");
}

async fn serve_shard(options: ListenerOptions) {
    if options.spread == Spread::Off && current::shard_id() != ShardId::new(0) {
        return;
    }
    let mut listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT).into(), options).await.unwrap();
    while let Ok(stream) = listener.accept().await {
        drop(spawn(echo(stream)));
    }
}

/// Sends back what it reads, until the end.
async fn echo(mut stream: TcpStream) -> Result<(), Error> {
    loop {
        let bytes = stream.read().await?;
        if bytes.is_empty() {
            stream.shutdown();
            return stream.flush().await;
        }
        stream.write(bytes).await?;
    }
}

/// Runs clients on all shards of their host, and waits for them.
async fn run_clients(count: u64, mut random: Random) {
    let mut clients = Vec::new();
    for number in 0..count {
        let shard = ShardId::all(current::shard_count()).nth(random.index(current::shard_count())).unwrap();
        let random = Random::stream(random.next_u64(), number);
        clients.push(spawn(submit_to(shard, move || client(random))));
    }
    for client in clients {
        client.await.unwrap().unwrap();
    }
}

/// What may go wrong on a network that refuses, resets and times out.
fn is_expected(error: Error) -> bool {
    matches!(error, Error::ConnectionRefused | Error::ConnectionReset | Error::TimedOut)
}

/// Some conversations with the server, each on a connection of its own.
async fn client(mut random: Random) {
    for _ in 0..random.between(1, 4) {
        pause(&mut random).await;
        if let Err(error) = converse(Random::stream(random.next_u64(), 0)).await {
            assert!(is_expected(error), "{error}");
        }
    }
}

pub(super) async fn pause(random: &mut Random) {
    if random.below(3) == 0 {
        sleep(Duration::from_micros(random.below(20_000))).await;
    }
}

/// A number of up to so many bits: small ones are as likely as large ones.
pub(super) fn size(random: &mut Random, bits: u64) -> u64 {
    let end = 1 << random.between(0, bits);
    random.below(end)
}

/// Byte `at` of what a client sends.
pub(super) fn pattern(key: u64, at: u64) -> u8 {
    (key.wrapping_add(at).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56).to_le_bytes()[0]
}

async fn converse(mut random: Random) -> Result<(), Error> {
    let to = at("server", PORT);
    let patience = Duration::from_micros(random.below(2_000_000));
    // A wait that is given up leaves nothing behind.
    let Ok(stream) = with_timeout(patience, connect(&to)).await else { return Ok(()) };
    let stream = stream?;
    let key = random.next_u64();
    let total = size(&mut random, 17);
    stream.set_option(StreamOption::SendQueueBytes(1 << random.between(0, 16)))?;
    let read_bytes = Rc::new(Cell::new(0));
    let reader = spawn(read_back(Rc::clone(&stream), key, Rc::clone(&read_bytes), random.clone()));
    let sent = send(&stream, key, total, &mut random).await;
    match random.below(8) {
        0 => stream.abort(),
        1 => {
            reader.abort();
            drop(reader.await);
            return sent;
        }
        _ => stream.shutdown(),
    }
    let was_aborted = sent.is_err();
    match reader.await.expect("the reader does not panic") {
        Err(Error::ConnectionAborted) => Ok(()),
        Err(error) => Err(error),
        Ok(()) => {
            assert!(was_aborted || read_bytes.get() == total, "{} of {total} bytes came back", read_bytes.get());
            sent
        }
    }
}

pub(super) async fn send(stream: &Stream, key: u64, total: u64, random: &mut Random) -> Result<(), Error> {
    let mut sent = 0;
    while sent < total {
        let end = total.min(sent + 1 + size(random, 15));
        let bytes: Vec<u8> = (sent..end).map(|at| pattern(key, at)).collect();
        write(stream, bytes).await?;
        sent = end;
        pause(random).await;
    }
    Ok(())
}

/// Reads what comes back to the end, giving up some waits on the way.
pub(super) async fn read_back(
    stream: Stream,
    key: u64,
    read_bytes: Rc<Cell<u64>>,
    mut random: Random,
) -> Result<(), Error> {
    loop {
        let patience = Duration::from_micros(random.below(5_000));
        let Ok(bytes) = with_timeout(patience, read(&stream)).await else { continue };
        let bytes = bytes?;
        if bytes.is_empty() {
            return Ok(());
        }
        for &byte in bytes.iter() {
            assert_eq!(byte, pattern(key, read_bytes.get()), "byte {} came back", read_bytes.get());
            read_bytes.set(read_bytes.get() + 1);
        }
        pause(&mut random).await;
    }
}

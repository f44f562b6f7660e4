//! A small replicated key-value server, tested through partitions and restarts.
//!
//! Three replicas keep versions of values on their disks. Who writes asks a majority for the latest version and gives a later one to a
//! majority; who reads asks a majority for the latest version and, before he believes it, gives that to a majority (Attiya, Bar-Noy,
//! Dolev: *Sharing memory robustly in message-passing systems*). Two majorities have a replica in common, so what was acknowledged is
//! never forgotten: not when replicas crash, come back, or are kept apart.
//!
//! That is what [`client`] checks, over many seeds: each draws the network, when replicas crash and whom a partition keeps apart. With
//! answers of one replica instead of two ([`MAJORITY`]) some seeds fail, and each of those fails again whenever it is run.
//!
//! What to take from here for a test of your own:
//! - a host's main function runs again after each restart; what survives, as a disk does, it gets from outside;
//! - faults are made between calls of [`Sim::run_for`], with random numbers of the seed;
//! - at the end everything is healed, and [`Sim::limit_time`] demands that the clients get ready.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use sunstar_executor::combine::with_timeout;
use sunstar_executor::spawn;
use sunstar_executor::sync::Semaphore;
use sunstar_executor::timer::sleep;
use sunstar_net::{Error, ListenerOptions, TcpListener, TcpStream};
use sunstar_sim::{LinkOptions, NativeOptions, PortOptions, Random, Report, Sim, SimError, SimOptions, for_each_seed};

const REPLICAS: [&str; 3] = ["replica-0", "replica-1", "replica-2"];
const MAJORITY: usize = 2;
const PORT: u16 = 4_000;
/// A replica that has not answered by then is asked again.
const PATIENCE: Duration = Duration::from_secs(1);

/// A value with its version: later ones are larger.
type Versioned = (u64, u64);

/// What survives a crash of its replica.
type Disk = Rc<RefCell<BTreeMap<u64, Versioned>>>;

fn main() {
    for_each_seed(0..50, |seed| world(seed, MAJORITY));
}

/// Runs the world of a seed, in which so many replicas have to agree.
fn world(seed: u64, quorum: usize) -> Result<Report, SimError> {
    let mut random = Random::new(seed);
    let mut sim = Sim::with_options(seed, SimOptions::drawn(seed));
    let lan = sim.lan();
    for name in REPLICAS {
        let mut port = PortOptions::new(lan);
        (port.up, port.down) = (LinkOptions::drawn(&mut random), LinkOptions::drawn(&mut random));
        let disk = Disk::default();
        sim.native_background_host(name, NativeOptions::new([port]), move || serve(Rc::clone(&disk)));
    }
    for number in 0..2 {
        let options = NativeOptions::new([PortOptions::new(lan)]);
        sim.native_host(&format!("client-{number}"), options, move || client(number, quorum));
    }
    for _ in 0..20 {
        sim.run_for(Duration::from_millis(random.below(1_000)))?;
        let (one, other) = (REPLICAS[random.index(3)], REPLICAS[random.index(3)]);
        match random.below(5) {
            0 => drop(sim.crash(one)?),
            1 => drop(sim.restart(one)),
            2 => sim.partition(&[one], &[other, "client-0"]),
            3 => sim.partition(&[one], &["client-1"]),
            _ => sim.reunite(&[one, other], &["client-0", "client-1", REPLICAS[0], REPLICAS[1], REPLICAS[2]]),
        }
    }
    sim.heal();
    for name in REPLICAS {
        sim.restart(name);
    }
    sim.limit_time(Duration::from_secs(600));
    sim.run()
}

/// Writes to a key of its own and reads it: what was acknowledged is there.
async fn client(key: u64, quorum: usize) {
    for value in 1..=40 {
        write(key, value, quorum).await;
        let found = read(key, quorum).await;
        assert_eq!(found, value, "what was written was acknowledged");
        sleep(Duration::from_millis(100)).await;
    }
}

async fn write(key: u64, value: u64, quorum: usize) {
    let (version, _) = latest(key, quorum).await;
    ask_replicas(Request { key, offer: (version + 1, value) }, quorum).await;
}

async fn read(key: u64, quorum: usize) -> u64 {
    let offer = latest(key, quorum).await;
    ask_replicas(Request { key, offer }, quorum).await;
    offer.1
}

/// What the most up to date of some replicas has.
async fn latest(key: u64, quorum: usize) -> Versioned {
    let answers = ask_replicas(Request { key, offer: (0, 0) }, quorum).await;
    answers.into_iter().max().expect("somebody has answered")
}

/// An offer of a version of a key: a replica keeps it unless it has a later one, and answers with what it has then.
#[derive(Clone, Copy)]
struct Request {
    key: u64,
    offer: Versioned,
}

/// Asks all replicas until so many have answered.
async fn ask_replicas(request: Request, quorum: usize) -> Vec<Versioned> {
    let answers: Rc<RefCell<Vec<Versioned>>> = Rc::default();
    let count = Rc::new(Semaphore::new(0));
    let asking: Vec<_> = REPLICAS
        .into_iter()
        .map(|name| {
            let (answers, count) = (Rc::clone(&answers), Rc::clone(&count));
            spawn(async move {
                loop {
                    if let Ok(Ok(answer)) = with_timeout(PATIENCE, ask(name, request)).await {
                        answers.borrow_mut().push(answer);
                        count.add_units(1);
                        return;
                    }
                    sleep(PATIENCE / 10).await;
                }
            })
        })
        .collect();
    drop(count.acquire(quorum).await);
    asking.iter().for_each(|task| task.abort());
    answers.take()
}

async fn ask(replica: &str, request: Request) -> Result<Versioned, Error> {
    let address = sunstar_sim::resolve(replica).expect("there is one");
    let mut stream = TcpStream::connect((address, PORT).into()).await?;
    let (version, value) = request.offer;
    stream.write([request.key, version, value].map(u64::to_be_bytes).concat()).await?;
    let [version, value] = numbers(&mut stream).await?;
    Ok((version, value))
}

/// Serves requests, one per connection.
async fn serve(disk: Disk) {
    let address = (Ipv4Addr::UNSPECIFIED, PORT).into();
    let mut listener = TcpListener::bind(address, ListenerOptions::default()).await.expect("the port is free");
    while let Ok(mut stream) = listener.accept().await {
        let disk = Rc::clone(&disk);
        let answering = async move {
            let [key, version, value] = numbers(&mut stream).await?;
            let kept = {
                let mut disk = disk.borrow_mut();
                let kept = disk.entry(key).or_default();
                *kept = (*kept).max((version, value));
                *kept
            };
            stream.write([kept.0, kept.1].map(u64::to_be_bytes).concat()).await?;
            stream.shutdown();
            stream.flush().await
        };
        drop(spawn(with_timeout(10 * PATIENCE, answering)));
    }
}

/// Reads so many numbers.
async fn numbers<const N: usize>(stream: &mut TcpStream) -> Result<[u64; N], Error> {
    let mut bytes = Vec::new();
    while bytes.len() < 8 * N {
        let more = stream.read().await?;
        if more.is_empty() {
            return Err(Error::ConnectionAborted);
        }
        bytes.extend_from_slice(&more);
    }
    let number = |at: usize| u64::from_be_bytes(bytes[8 * at..][..8].try_into().expect("eight bytes"));
    Ok(std::array::from_fn(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_acknowledged_stays() {
        for_each_seed(0..10, |seed| world(seed, MAJORITY));
    }

    #[test]
    fn without_majorities_it_gets_lost() {
        assert!((0..50).any(|seed| world(seed, 1).is_err()), "no seed has shown it");
    }
}

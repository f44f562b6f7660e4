//! The scenario that is swept over seeds: clients of all kinds at a server that is stopped meanwhile.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sunstar_executor::timer::{now, sleep};
use sunstar_executor::{Instant, spawn};
use sunstar_net::Error;
use sunstar_sim::{Chance, Random, Report, Sim, SimError, SimOptions, for_each_seed};

use super::client::{Client, Ending};
use super::site::{add_server, body};

/// What became of requests that a client sent at once.
struct Burst {
    sent_at: Instant,
    asked: usize,
    answered: usize,
    ending: Option<Ending>,
}

type Bursts = Rc<RefCell<Vec<Burst>>>;

/// Few in the ordinary run; `cargo xtask sim` tries others.
#[test]
fn sim_sweep_stop_answers_what_has_arrived() {
    let mut answered_in_all = 0;
    for_each_seed(0..40, |seed| {
        let mut options = SimOptions::drawn(seed);
        let network = &mut options.network;
        (network.reset, network.refuse) = (Chance::NEVER, Chance::NEVER);
        let latest = Duration::from_millis(5);
        network.latency = (*network.latency.start()).min(latest)..=(*network.latency.end()).min(latest);
        network.hold_up_time = Duration::ZERO..=latest;
        // A request is under way for so long at most, and rounds take some time on both sides.
        let under_way = *network.latency.end() + latest + Duration::from_millis(1);
        let (report, bursts, stopped_at) = world(seed, options)?;
        for burst in bursts.borrow().iter() {
            let Burst { sent_at, asked, answered, ending } = burst;
            assert_ne!(*ending, Some(Ending::BrokenOff), "connections end between responses");
            assert!(
                answered == asked || *sent_at + under_way > stopped_at,
                "{answered} of {asked} requests that were sent at {sent_at:?} were answered ({ending:?}); the stop came at {stopped_at:?}"
            );
        }
        answered_in_all += bursts.borrow().iter().map(|burst| burst.answered).sum::<usize>();
        Ok(report)
    });
    assert!(answered_in_all > 0);
}

/// Networks that reset, refuse, and hold up for long: nothing is promised, but that all ends and nothing is left.
#[test]
fn sim_sweep_stop_ends_on_hostile_networks() {
    for_each_seed(0..40, |seed| world(seed, SimOptions::drawn(seed)).map(|(report, ..)| report));
}

#[test]
fn a_seed_gives_the_same_trace_again_and_another_gives_another() {
    let digest = |seed| world(seed, SimOptions::drawn(seed)).unwrap().0.digest;
    assert_eq!(digest(5), digest(5));
    assert_ne!(digest(5), digest(6));
}

fn world(seed: u64, options: SimOptions) -> Result<(Report, Bursts, Instant), SimError> {
    let mut random = Random::stream(seed, 1000);
    let mut sim = Sim::with_options(seed, options);
    let control = add_server(&mut sim);
    let bursts = Bursts::default();
    for number in 0..random.between(1, 2) {
        let (count, random, bursts) = (random.between(1, 12), Random::stream(seed, 2000 + number), Rc::clone(&bursts));
        sim.host(&format!("client-{number}"), 1, move || run_clients(count, random, bursts));
    }
    let (stop, delay) = (Rc::clone(&control), Duration::from_micros(random.between(1, 300_000)));
    sim.host("operator", 1, move || async move {
        sleep(delay).await;
        stop.stop.set(true);
    });
    let report = sim.run()?;
    assert!(control.stop_took.get() < Duration::from_secs(10), "the stop took {:?}", control.stop_took.get());
    let stopped_at = control.stopped_at.get().expect("the server was stopped");
    Ok((report, bursts, stopped_at))
}

async fn run_clients(count: u64, mut random: Random, bursts: Bursts) {
    let clients: Vec<_> =
        (0..count).map(|number| spawn(client(Random::stream(random.next_u64(), number), Rc::clone(&bursts)))).collect();
    for client in clients {
        client.await.unwrap();
    }
}

async fn pause(random: &mut Random) {
    if random.below(3) == 0 {
        sleep(Duration::from_micros(random.below(20_000))).await;
    }
}

/// Connects again and again until nobody listens.
async fn client(mut random: Random, bursts: Bursts) {
    sleep(Duration::from_micros(random.below(100_000))).await;
    for _ in 0..20 {
        let Ok(mut client) = Client::connect().await else { return };
        let ended = match random.below(8) {
            0 => idle(&mut client, &mut random).await,
            1 => unfinished(&mut client, &mut random).await,
            2 => upload(&mut client, &mut random, &bursts).await,
            _ => converse(&mut client, &mut random, &bursts).await,
        };
        if ended.is_err() {
            return;
        }
        pause(&mut random).await;
    }
}

/// Waits for what never comes.
async fn idle(client: &mut Client, random: &mut Random) -> Result<(), Ending> {
    let patience = Duration::from_millis(random.below(500));
    let waited = sunstar_executor::combine::with_timeout(patience, client.stream.read()).await;
    if waited.is_ok() { Err(Ending::Closed) } else { Ok(()) }
}

/// Sends a part of a request, and leaves or stays.
async fn unfinished(client: &mut Client, random: &mut Random) -> Result<(), Ending> {
    let request = "POST /count HTTP/1.1\r\nHost: server\r\nContent-Length: 9\r\n\r\n12345678";
    let end = random.index(request.len());
    client.raw(&request.as_bytes()[..end]).await.map_err(Ending::Net)?;
    if random.below(2) == 0 {
        client.stream.abort();
        return Ok(());
    }
    idle(client, random).await
}

/// Sends a body piece by piece.
async fn upload(client: &mut Client, random: &mut Random, bursts: &Bursts) -> Result<(), Ending> {
    client.begin("/count", None, &[]);
    for piece in body(200).chunks(1 + random.index(100)) {
        client.http.send_body(piece.to_vec()).unwrap();
        client.transmit().await.map_err(Ending::Net)?;
        pause(random).await;
    }
    client.http.end_body().unwrap();
    client.transmit().await.map_err(Ending::Net)?;
    let sent_at = now();
    // It may have begun after the stop, and is not promised an answer unless all of it was there.
    let answer = client.answer().await;
    let ending = answer.as_ref().err().copied();
    bursts.borrow_mut().push(Burst { sent_at, asked: 1, answered: usize::from(ending.is_none()), ending });
    answer.map(|answer| assert_eq!(answer.body, b"200"))
}

/// Sends bursts of requests, each when the one before was answered.
async fn converse(client: &mut Client, random: &mut Random, bursts: &Bursts) -> Result<(), Ending> {
    for _ in 0..random.between(1, 30) {
        let targets: Vec<_> = (0..random.between(1, 4)).map(|_| target(random)).collect();
        for (target, _) in &targets {
            client.ask("GET", target);
        }
        let sent_at = now();
        let mut ending = client.transmit().await.map_err(Ending::Net).err();
        let mut answered = 0;
        for (target, expected) in &targets {
            if ending.is_some() {
                break;
            }
            match client.answer().await {
                Ok(answer) => {
                    answered += 1;
                    assert_eq!(&answer.body, expected, "{target}");
                }
                Err(error) => ending = Some(error),
            }
        }
        bursts.borrow_mut().push(Burst { sent_at, asked: targets.len(), answered, ending });
        if let Some(ending) = ending {
            let is_expected =
                !matches!(ending, Ending::Net(error) if error != Error::ConnectionReset && error != Error::BrokenPipe);
            assert!(is_expected, "{ending:?}");
            return Err(ending);
        }
        if client.http.is_closed() {
            return Err(Ending::Closed);
        }
        pause(random).await;
    }
    Ok(())
}

/// What may be asked for, and its answer.
fn target(random: &mut Random) -> (String, Vec<u8>) {
    let number = random.below(20);
    match random.below(4) {
        0 => (format!("/bytes?{number}"), body(usize::try_from(number).unwrap())),
        // What is asked behind it arrives meanwhile.
        1 => (format!("/sleep?{}", number * 8), b"slept".to_vec()),
        2 => ("/pieces?3".to_owned(), b"xxxxxx".to_vec()),
        _ => ("/".to_owned(), b"hello, world".to_vec()),
    }
}

//! Clients of all kinds at servers of all kinds, over seeds.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use sunstar_executor::combine::with_timeout;
use sunstar_executor::spawn;
use sunstar_executor::timer::sleep;
use sunstar_sim::{Chance, Random, Report, Sim, SimError, SimOptions, for_each_seed};

use super::world::{Peer, add_server, of};
use crate::client::{Client, ClientError, ClientOptions, RetryPolicy};

const TASKS: u64 = 12;
const REQUESTS: u64 = 15;

/// What servers have seen.
#[derive(Default)]
struct Seen {
    /// How often each request came.
    requests: RefCell<BTreeMap<String, u32>>,
    /// Requests on connections that were said to serve no more.
    uninvited: Cell<u32>,
}

/// Few in the ordinary run; `cargo xtask sim` tries others.
#[test]
fn sim_sweep_client_gets_what_it_asked_for_or_an_error() {
    let mut answered = 0;
    for_each_seed(0..40, |seed| {
        let (report, count) = world(seed, SimOptions::drawn(seed), true)?;
        answered += count;
        Ok(report)
    });
    assert!(answered > 0);
}

/// Networks that lose nothing and servers that close when they want, but never within a response.
#[test]
fn sim_sweep_client_gets_all_that_can_be_had() {
    for_each_seed(0..20, |seed| {
        let mut options = SimOptions::drawn(seed);
        let network = &mut options.network;
        (network.reset, network.refuse) = (Chance::NEVER, Chance::NEVER);
        world(seed, options, false).map(|(report, _)| report)
    });
}

fn world(seed: u64, options: SimOptions, is_hostile: bool) -> Result<(Report, usize), SimError> {
    let mut random = Random::stream(seed, 1000);
    let mut sim = Sim::with_options(seed, options);
    let seen = Rc::new(Seen::default());
    for number in 0..2 {
        let (seen, seed) = (Rc::clone(&seen), random.next_u64());
        add_server(&mut sim, &format!("server-{number}"), move |peer| {
            let random = Random::stream(seed, u64::try_from(peer.number).unwrap());
            serve(peer, random, Rc::clone(&seen), is_hostile)
        });
    }
    let answered = Rc::new(RefCell::new(0));
    let told = Rc::clone(&answered);
    sim.host("client", 1, move || async move {
        let options = ClientOptions {
            connections_per_host: random.index(6) + 1,
            connections: random.index(10) + 1,
            idle_per_host: random.index(4),
            idle_timeout: Duration::from_millis(random.between(1, 200)),
            // A server may say a body byte by byte, while twelve tasks wait for its one connection.
            wait_timeout: Duration::from_secs(3600),
            drain_bytes: random.index(2000),
            retry: RetryPolicy { retries: 50, ..RetryPolicy::default() },
            ..ClientOptions::default()
        };
        let (per_host, total) = (options.connections_per_host as u64, options.connections as u64);
        let client = Client::new(options);
        let tasks: Vec<_> = (0..TASKS)
            .map(|number| spawn(ask(client.clone(), number, Random::stream(random.next_u64(), number), is_hostile)))
            .collect();
        for task in tasks {
            *told.borrow_mut() += task.await.unwrap();
            assert!(client.stats().open <= total.min(2 * per_host));
        }
        sleep(Duration::from_secs(1)).await;
        let stats = client.stats();
        assert_eq!((stats.open, stats.waiting), (stats.idle, 0), "{stats:?}");
    });
    let report = sim.run()?;
    assert_eq!(seen.uninvited.get(), 0);
    for (request, times) in &*seen.requests.borrow() {
        assert!(*times == 1 || request.starts_with("GET"), "{request} was served {times} times");
    }
    let count = *answered.borrow();
    Ok((report, count))
}

/// What a request for `/task/number/length` is answered by.
fn body(target: &str) -> String {
    let length = target.rsplit('/').next().and_then(|length| length.parse().ok()).expect("a length");
    target.chars().cycle().take(length).collect()
}

async fn pause(random: &mut Random) {
    if random.below(3) == 0 {
        sleep(Duration::from_micros(random.below(20_000))).await;
    }
}

/// Answers requests in all forms, until it has enough of it.
async fn serve(mut peer: Peer, mut random: Random, seen: Rc<Seen>, is_hostile: bool) {
    let mut invited: Option<u64> = None;
    while let Some(head) = peer.head().await {
        if invited == Some(0) {
            seen.uninvited.set(seen.uninvited.get() + 1);
        }
        invited = invited.map(|count| count.saturating_sub(1));
        let mut words = head.split(' ');
        let (method, target) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
        if is_hostile && random.below(20) == 0 {
            return peer.reset();
        }
        if head.contains("Content-Length: 9\r\n") {
            peer.take(9).await;
        } else if method == "POST" {
            // Chunks of nine bytes, as the client sends them.
            let mut line = peer.take(3).await;
            while line == b"9\r\n" {
                peer.take(11).await;
                line = peer.take(3).await;
            }
            if line != b"0\r\n" || peer.take(2).await != b"\r\n" {
                return;
            }
        }
        *seen.requests.borrow_mut().entry(format!("{method} {target}")).or_default() += 1;
        pause(&mut random).await;
        if random.below(8) == 0 {
            peer.say("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n").await;
        }
        let (mut text, closes) = response(&body(&target), &mut random);
        // Nobody can tell a part of a body that ends with the connection from the whole (RFC 9112 §8).
        let tells_end = !text.contains("\r\n\r\n/") || text.contains("Content-Length");
        if random.below(8) == 0 {
            let count = random.below(4);
            invited = Some(count);
            text = text.replacen(" OK\r\n", &format!(" OK\r\nKeep-Alive: timeout=5, max={count}\r\n"), 1);
        }
        let breaks_off = is_hostile && tells_end && random.below(20) == 0;
        if breaks_off {
            text.truncate(random.index(text.len()));
        }
        for part in text.as_bytes().chunks(1 + random.index(text.len() + 1)) {
            peer.say(part.to_vec()).await;
            pause(&mut random).await;
        }
        if closes || breaks_off || (is_hostile && random.below(10) == 0) {
            return;
        }
    }
}

/// A response in any framing, and whether the connection ends with it.
fn response(body: &str, random: &mut Random) -> (String, bool) {
    let length = body.len();
    match random.below(5) {
        0 => (format!("HTTP/1.1 200 OK\r\n\r\n{body}"), true),
        1 => (format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"), true),
        2 if length > 0 => {
            let (first, second) = body.split_at(random.index(length));
            let chunk =
                |part: &str| if part.is_empty() { String::new() } else { format!("{:x}\r\n{part}\r\n", part.len()) };
            let chunks = [chunk(first), chunk(second)].concat();
            (format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"), false)
        }
        _ => (format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"), false),
    }
}

/// Asks again and again; answers how many answers it got to the end.
async fn ask(client: Client, task: u64, mut random: Random, is_hostile: bool) -> usize {
    let mut answered = 0;
    for number in 0..REQUESTS {
        pause(&mut random).await;
        let length = [0, 5, 100, 5000][random.index(4)];
        let target = format!("/{task}/{number}/{length}");
        let uri = of(&format!("server-{}", random.below(2)), &target);
        let is_upload = is_hostile && random.below(3) == 0;
        let patience =
            if random.below(4) == 0 { Duration::from_micros(random.below(30_000)) } else { Duration::from_secs(300) };
        let skips_body = random.below(5) == 0;
        let exchange = exchange(&client, &uri, is_upload, skips_body, &mut random);
        match with_timeout(patience, exchange).await {
            Ok(Ok(Some(text))) => {
                assert!(text == body(&target), "{target}");
                answered += 1;
            }
            Ok(Ok(None)) | Err(_) => {}
            Ok(Err(error)) => assert!(is_hostile || error == ClientError::Busy, "{target}: {error}"),
        }
    }
    answered
}

/// One request. The response's body, unless it is skipped.
async fn exchange(
    client: &Client,
    uri: &str,
    is_upload: bool,
    skips_body: bool,
    random: &mut Random,
) -> Result<Option<String>, ClientError> {
    let mut response = if is_upload && random.below(2) == 0 {
        client.post(uri).body("123456789").send().await?
    } else if is_upload {
        let mut upload = client.post(uri).stream(None).await?;
        for _ in 0..random.below(5) {
            match upload.send_body("123456789").await {
                Err(ClientError::Answered) => break,
                sent => sent?,
            }
            pause(random).await;
        }
        upload.finish().await?
    } else {
        client.get(uri).send().await?
    };
    if skips_body {
        return Ok(None);
    }
    pause(random).await;
    let bytes = response.collect(10_000).await?;
    Ok(Some(String::from_utf8(bytes.to_vec()).expect("text")))
}

//! Clients that misbehave in every way at random, for as long as one likes.

use std::env;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::path::Path;
use std::process;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::client::{Client, HELLO, REQUEST};
use super::files::{content, root};
use super::metrics::figure;
use super::refused::{Refused, refused};
use super::server::{Httpd, PATIENCE, command, with_each_backend};

/// How long to go on, in seconds.
const SECONDS: &str = "SUNSTAR_SOAK_SECONDS";

/// The seed; without it there is a new one.
const SEED: &str = "SUNSTAR_SEED";

/// How long the ordinary tests go on.
const USUAL_SECONDS: u64 = 5;

/// Clients that misbehave at the same time.
const CLIENTS: u64 = 16;

/// What may be left of memory: heaps have holes.
const LEFT_KIB: u64 = 3072;

const TIMEOUTS: [&str; 8] =
    ["--head-timeout-s", "1", "--body-timeout-s", "1", "--idle-timeout-s", "1", "--output-timeout-s", "1"];

const POST: &[u8] = b"POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
const DOWNLOAD: &[u8] = b"GET /file/large HTTP/1.1\r\nHost: a\r\n\r\n";
const LARGE_BYTES: usize = 3_000_000;

/// xorshift64*.
struct Rng(u64);

impl Rng {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).expect("it has 31 bits") % limit
    }
}

/// What servers may do to who misbehaves: end the connection. Any other error, such as that nothing comes, is none of these.
fn excuse(error: &io::Error) {
    let kinds = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe, ErrorKind::ConnectionAborted];
    assert!(kinds.contains(&error.kind()) || error.kind() == ErrorKind::UnexpectedEof, "{error}");
}

/// Reads all that still comes. There must be an end.
fn rest(client: Client) -> Vec<u8> {
    client.rest().inspect_err(excuse).unwrap_or_default()
}

/// One client that does one thing.
fn misbehave(address: SocketAddr, rng: &mut Rng, corpus: &[Refused]) -> io::Result<()> {
    let mut client = Client::connect(address)?;
    let part = rng.below(REQUEST.len());
    match rng.below(12) {
        0 => {
            // Begins to ask, and says nothing more.
            client.send(&REQUEST[..part])?;
            rest(client);
        }
        1 => {
            client.send(&REQUEST[..part])?;
            client.reset();
        }
        2 => {
            let case = &corpus[rng.below(corpus.len())];
            client.send(&case.bytes)?;
            let text = String::from_utf8_lossy(&rest(client)).into_owned();
            assert!(text.is_empty() || text.starts_with(&format!("HTTP/1.1 {} ", case.status)), "{case:?}: {text}");
        }
        3 => {
            // A download that is given up.
            client.send(DOWNLOAD)?;
            let mut some = vec![0; 1 + rng.below(LARGE_BYTES)];
            client.stream.read_exact(&mut some)?;
            client.reset();
        }
        4 => stall(client, rng)?,
        5 => say_no_more(client, rng)?,
        6 => {
            client.send(&REQUEST.repeat(1 + rng.below(500)))?;
            client.reset();
        }
        7 => {
            // A body that stalls.
            client.send(POST)?;
            client.send(b"3\r\nabc\r\n")?;
            rest(client);
        }
        8 => drip(client, rng)?,
        9 => {
            // Idles until it is put out.
            client.get("/")?;
            assert_eq!(rest(client), b"");
        }
        10 => send_too_much(client, rng)?,
        _ => {
            client.send(DOWNLOAD)?;
            client.stream.shutdown(Shutdown::Write)?;
        }
    }
    Ok(())
}

/// Asks for much, takes nothing for a while, then all that still comes.
fn stall(mut client: Client, rng: &mut Rng) -> io::Result<()> {
    client.stream.set_write_timeout(Some(Duration::from_millis(50)))?;
    let request = if rng.below(2) == 0 { DOWNLOAD } else { REQUEST };
    // Until the server reads no more.
    let _full = client.stream.write_all(&request.repeat(1000));
    let _full = client.stream.write_all(&request.repeat(1000));
    thread::sleep(Duration::from_millis(rng.below(3000) as u64));
    client.reset();
    Ok(())
}

/// Asks a few times, ends its side, and gets all answers.
fn say_no_more(mut client: Client, rng: &mut Rng) -> io::Result<()> {
    let count = 1 + rng.below(30);
    client.send(&REQUEST.repeat(count))?;
    client.stream.shutdown(Shutdown::Write)?;
    for _ in 0..count {
        assert_eq!(client.answer()?.body, HELLO);
    }
    assert_eq!(rest(client), b"");
    Ok(())
}

/// Sends bytes one by one, and not always all of them.
fn drip(mut client: Client, rng: &mut Rng) -> io::Result<()> {
    let pause = Duration::from_millis(rng.below(60) as u64);
    for byte in REQUEST {
        client.send(&[*byte])?;
        thread::sleep(pause);
    }
    let answer = client.answer()?;
    assert!(matches!(answer.status(), "200" | "408"), "{answer:?}");
    Ok(())
}

/// A head or a body that never ends.
fn send_too_much(mut client: Client, rng: &mut Rng) -> io::Result<()> {
    let (begin, more): (&[u8], &[u8]) = match rng.below(4) {
        0 => (b"GET /", b"x"),
        1 => (b"GET / HTTP/1.1\r\nHost: a\r\n", b"A: b\r\n"),
        2 => (POST, b"1;x\r\nx\r\n"),
        _ => (POST, b"10\r\n0123456789abcdef\r\n"),
    };
    client.send(begin)?;
    let more = more.repeat(1000);
    loop {
        client.send(&more)?;
    }
}

/// A client that does nothing wrong. It may be idle for too long where others need the processor; then it comes again.
fn behave(address: SocketAddr, is_over: &AtomicBool, served: &AtomicU64) {
    while !is_over.load(Ordering::Relaxed) {
        let mut client = Client::connect(address).expect("it listens");
        while !is_over.load(Ordering::Relaxed) {
            match client.get("/") {
                Ok(answer) if answer.status() == "408" => break,
                Ok(answer) => assert_eq!(answer.body, HELLO),
                Err(error) => {
                    assert_ne!(error.kind(), ErrorKind::UnexpectedEof, "connections end between responses");
                    excuse(&error);
                    break;
                }
            }
            served.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Clients of both kinds for so long.
fn go_on(address: SocketAddr, seed: u64, time: Duration, corpus: &[Refused]) {
    let (is_over, served, done) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| behave(address, &is_over, &served));
        }
        for number in 0..CLIENTS {
            let (is_over, done) = (&is_over, &done);
            scope.spawn(move || {
                let mut rng = Rng::new(seed.wrapping_add(number));
                while !is_over.load(Ordering::Relaxed) {
                    misbehave(address, &mut rng, corpus).unwrap_or_else(|error| excuse(&error));
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        thread::sleep(time);
        is_over.store(true, Ordering::Relaxed);
    });
    let (served, done) = (served.into_inner(), done.into_inner());
    println!("{done} clients have misbehaved, {served} requests were served beside them");
    assert!(served > 0 && done > 0);
}

/// What is in use while nobody asks anything.
#[derive(Debug)]
struct Levels {
    descriptors: usize,
    resident_kib: u64,
    /// Connections, frames that received bytes lie in, and frames that output lies in, while there is one connection.
    figures: [f64; 3],
}

impl Levels {
    fn of(httpd: &Httpd) -> Self {
        let names = ["sunstar_http_connections_live", "sunstar_buffers_lent_frames", "sunstar_http_output_frames"];
        let (descriptors, resident_kib) = (httpd.descriptors(), httpd.resident_kib());
        Self { descriptors, resident_kib, figures: names.map(|name| figure(httpd.address, name, "")) }
    }

    fn are_reached(&self, now: &Self) -> bool {
        let mut figures = self.figures.iter().zip(&now.figures);
        now.descriptors <= self.descriptors
            && now.resident_kib <= self.resident_kib + LEFT_KIB
            && figures.all(|(before, now)| now <= before)
    }

    /// Waits until no more is in use than was.
    fn wait_for(&self, httpd: &Httpd) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // A shard gives memory back when nothing has come for a second.
            thread::sleep(Duration::from_millis(1500));
            let now = Self::of(httpd);
            if self.are_reached(&now) {
                return println!("before: {self:?}\nafter:  {now:?}");
            }
            assert!(Instant::now() < deadline, "in use are {now:?}, before it were {self:?}");
        }
    }
}

fn number_from(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

fn soak(root: &Path, seed: u64, seconds: u64) {
    let corpus = refused();
    with_each_backend(|setup| {
        println!("{SEED}={seed}");
        let httpd = Httpd::run(command(setup).arg("--root").arg(root).args(TIMEOUTS));
        // Half of the time for each driver; of that a fifth for what is made once and kept.
        let time = Duration::from_secs(seconds) / 10;
        let start = Levels::of(&httpd);
        go_on(httpd.address, seed, time, &corpus);
        let kept = Levels { resident_kib: u64::MAX / 2, ..start };
        kept.wait_for(&httpd);
        let levels = Levels { resident_kib: httpd.resident_kib(), ..kept };
        go_on(httpd.address, seed.wrapping_add(CLIENTS), 4 * time, &corpus);
        levels.wait_for(&httpd);
        let mut client = Client::connect(httpd.address).expect("it listens");
        assert!(client.get("/file/large").expect("it answers").body == content(LARGE_BYTES));
        httpd.stop();
    });
}

#[test]
fn clients_that_misbehave_leave_nothing_behind() {
    let clock = || std::time::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs());
    let seed = number_from(SEED).unwrap_or_else(|| clock().wrapping_add(process::id().into()) % 1_000_000);
    soak(&root("misbehave"), seed, number_from(SECONDS).unwrap_or(USUAL_SECONDS));
}

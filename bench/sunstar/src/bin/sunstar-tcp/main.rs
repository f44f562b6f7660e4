//! TCP with both ends on one core, through reactor and `net` as any application: two hosts on one shard, each with a stack of its
//! own, and a link in memory between them. The loops are those of `sunstar_bench_common::tcp`, with a task for each end.

mod bare;
mod million;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::rc::Rc;
use std::task::{Poll, Waker};

use sunstar_bench_common::cli::{self, Entry};
use sunstar_bench_common::measure::{Plan, Reporter, Sample, sample_batches};
use sunstar_bench_common::tcp::{CHUNK, COMING, MANY, MESSAGE, Pattern, REQUEST, RESPONSE};
use sunstar_device::{LinkOptions, LinkQueue, link};
use sunstar_executor::spawn;
use sunstar_native::{Network, NetworkOptions, Prefix};
use sunstar_net::{ListenerOptions, TcpListener, TcpStream, socket};
use sunstar_packet::Buffer;
use sunstar_reactor::{Config, CpuSet, run};

const NAME: &str = "sunstar";
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// Where requests are answered, and where streams are taken.
const PORT: u16 = 80;
const STREAM_PORT: u16 = 81;
const KIB: u64 = 1024;
const ENDS_WELL: &str = "nobody breaks a connection";

fn main() -> ExitCode {
    let ours = [
        Entry::new(NAME, "tcp_rr", |reporter| time(reporter, 1_500, |plan, _| one_at_a_time(plan, 1))),
        Entry::new(NAME, "tcp_rr_1000", |reporter| time(reporter, 1_500, |plan, _| one_at_a_time(plan, MANY))),
        Entry::new(NAME, "tcp_rr_1000_all", |reporter| {
            time(reporter, 1_500, |plan, tally| all_at_once(plan, tally, MANY, false))
        }),
        Entry::new(NAME, "tcp_connect", |reporter| {
            time(reporter, 1_500, |plan, tally| all_at_once(plan, tally, COMING, true))
        }),
        Entry::new(NAME, "tcp_bulk_1500", |reporter| time(reporter, 1_500, bulk)),
        Entry::new(NAME, "tcp_bulk_64k", |reporter| time(reporter, usize::from(u16::MAX), bulk)),
        Entry::new(NAME, "tcp_million", |reporter| {
            million::report(reporter, &run_bench(reporter.plan, 1_500, million::million));
        }),
    ];
    let floor = sunstar_bench_common::tcp_entries!("floor", bare::Stacks);
    cli::main(&ours.into_iter().chain(floor).collect::<Vec<_>>())
}

/// Runs a benchmark on a shard with two hosts, and reports the time of one operation.
fn time<F: Future<Output = Sample> + 'static>(reporter: Reporter, mtu_bytes: usize, bench: fn(Plan, Rc<Tally>) -> F) {
    reporter.nanos_per_op(run_bench(reporter.plan, mtu_bytes, bench));
}

/// Runs a benchmark on a shard with two hosts.
fn run_bench<F>(plan: Plan, mtu_bytes: usize, bench: fn(Plan, Rc<Tally>) -> F) -> F::Output
where
    F: Future<Output: Send> + 'static,
{
    let mut cpuset = CpuSet::default();
    cpuset.insert(0);
    let config = Config { smp: Some(1), cpuset: Some(cpuset), ..Config::default() };
    let outcome = run(config, move || async move {
        let (here, there) = link(LinkOptions { mtu_bytes, ..LinkOptions::default() });
        host(there, SERVER);
        let tally = Rc::new(Tally::default());
        spawn(serve(listen(PORT).await));
        spawn(take(listen(STREAM_PORT).await, Rc::clone(&tally)));
        for port in million::PORTS {
            spawn(serve(listen(port).await));
        }
        host(here, CLIENT);
        bench(plan, tally).await
    });
    outcome.expect("the core exists and may be used")
}

/// Starts a host. What listens and connects from here on does so there.
fn host(queue: LinkQueue, address: Ipv4Addr) {
    let network = Network::new(NetworkOptions::DEFAULT);
    let interface = network.add_queue("link", Box::new(queue), None).expect("there is room");
    let prefix = Prefix::new(IpAddr::V4(address), 24).expect("24 bits are fewer than 32");
    network.add_address(interface, prefix).expect("a station's address");
    network.start();
    socket::install(Rc::new(network));
}

async fn listen(port: u16) -> TcpListener {
    let listener = TcpListener::bind(SocketAddr::from((SERVER, port)), ListenerOptions::default()).await;
    listener.expect("the port is free")
}

/// Answers requests.
async fn serve(mut listener: TcpListener) {
    while let Ok(stream) = listener.accept().await {
        spawn(answer(stream));
    }
}

fn message(is_response: bool) -> Buffer {
    Buffer::copy_from_slice(if is_response { &RESPONSE } else { &REQUEST })
}

/// Reads a message and compares it; false at the end of the stream.
async fn read_message(stream: &mut TcpStream, expected: &[u8]) -> bool {
    let mut came = 0;
    while came < MESSAGE {
        let bytes = stream.read().await.expect(ENDS_WELL);
        if bytes.is_empty() {
            return false;
        }
        assert_eq!(bytes, expected[came..came + bytes.len()], "it is what was sent");
        came += bytes.len();
    }
    true
}

async fn answer(mut stream: TcpStream) {
    let (request, response) = (message(false), message(true));
    while read_message(&mut stream, &request).await {
        stream.write(response.clone()).await.expect(ENDS_WELL);
    }
}

async fn connect_to(port: u16) -> TcpStream {
    TcpStream::connect(SocketAddr::from((SERVER, port))).await.expect("it listens")
}

async fn ask(stream: &mut TcpStream, request: &Buffer, response: &[u8]) {
    stream.write(request.clone()).await.expect(ENDS_WELL);
    assert!(read_message(stream, response).await, "{ENDS_WELL}");
}

async fn one_at_a_time(plan: Plan, open: usize) -> Sample {
    let (request, response) = (message(false), message(true));
    let mut streams = Vec::new();
    for _ in 0..open {
        streams.push(connect_to(PORT).await);
    }
    let mut at = 0;
    sample_batches(plan.target, async |count| {
        for _ in 0..count {
            ask(&mut streams[at], &request, &response).await;
            at = (at + 1) % open;
        }
        count
    })
    .await
}

async fn all_at_once(plan: Plan, tally: Rc<Tally>, tasks: usize, comes_and_goes: bool) -> Sample {
    for _ in 0..tasks {
        // One after the other, as for the others.
        let stream = connect_to(PORT).await;
        spawn(keep_asking(Rc::clone(&tally), stream, comes_and_goes));
    }
    sample_batches(plan.target, async |count| tally.wait_for(count).await).await
}

async fn keep_asking(tally: Rc<Tally>, mut stream: TcpStream, comes_and_goes: bool) {
    let (request, response) = (message(false), message(true));
    let mut ports = million::PORTS.cycle();
    loop {
        ask(&mut stream, &request, &response).await;
        tally.add(1);
        if comes_and_goes {
            drop(stream);
            // Ports in turn, so that the local ones of each are not used up by what lingers in TIME-WAIT.
            stream = connect_to(ports.next().unwrap_or(PORT)).await;
        }
    }
}

/// A stream as fast as it goes: its bytes are the pattern's, sent without copies.
async fn bulk(plan: Plan, tally: Rc<Tally>) -> Sample {
    let mut sender = connect_to(STREAM_PORT).await;
    spawn(async move {
        let whole = Buffer::copy_from_slice(Pattern::default().whole());
        let mut sent = 0;
        loop {
            let begin = Pattern::offset(sent);
            sender.write(whole.slice(begin..begin + CHUNK)).await.expect(ENDS_WELL);
            sent += CHUNK as u64;
        }
    });
    sample_batches(plan.target, async |count| tally.wait_for(count * KIB).await / KIB).await
}

/// Compares what comes with the pattern, where it lies.
async fn take(mut listener: TcpListener, tally: Rc<Tally>) {
    let pattern = Pattern::default();
    let mut stream = listener.accept().await.expect(ENDS_WELL);
    let mut came = 0;
    loop {
        let bytes = stream.read().await.expect(ENDS_WELL);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (part, later) = rest.split_at(rest.len().min(CHUNK));
            assert!(part == &pattern.at(came)[..part.len()], "it is what was sent");
            came += part.len() as u64;
            rest = later;
        }
        tally.add(bytes.len() as u64);
    }
}

/// How much was done, and who waits for more.
#[derive(Default)]
struct Tally {
    done: Cell<u64>,
    goal: Cell<u64>,
    waiting: RefCell<Option<Waker>>,
}

impl Tally {
    fn add(&self, more: u64) {
        self.done.set(self.done.get() + more);
        if self.done.get() >= self.goal.get()
            && let Some(waker) = self.waiting.take()
        {
            waker.wake();
        }
    }

    /// Waits until at least so much more is done, and answers how much that was.
    async fn wait_for(&self, more: u64) -> u64 {
        let before = self.done.get();
        self.goal.set(before + more);
        poll_fn(|cx| {
            if self.done.get() >= self.goal.get() {
                return Poll::Ready(());
            }
            self.waiting.replace(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
        self.done.get() - before
    }
}

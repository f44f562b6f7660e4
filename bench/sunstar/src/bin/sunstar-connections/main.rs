//! Very many idle connections of one process on Sunstar's own stack, and then one request on each: `sunstar-connections COUNT`.
//!
//! The server is an application like others: a listener, and a task for each connection that waits for a request and answers. The
//! clients are computed ([`generator`]), so nearly all of the memory is the server's.

mod generator;

use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant as Clock};

use generator::{Clients, GATEWAY, MESSAGE, MOST, Orders, PORT, SERVER, response_to};
use sunstar_bench_common::idle::resident_mib;
use sunstar_bench_common::memory::{self, Counting};
use sunstar_executor::{spawn, timer};
use sunstar_native::{Network, NetworkOptions, Prefix};
use sunstar_net::{Listener, ListenerOptions, TcpListener, TcpStream, socket};
use sunstar_packet::Buffer;
use sunstar_reactor::{Config, run};
use sunstar_tcpip::routes::Route;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What is counted apart: the stack, with the tables by which native finds who waits; sockets; tasks.
const STACK: usize = 0;
const SOCKETS: usize = 1;
const TASKS: usize = 2;

/// How often is looked how far the clients are, and after how long without any progress something is wrong.
const LOOK_EVERY: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(20);
/// Connections are idle for so long before they are counted, and asked: a quiet shard gives back what it keeps since a peak, as the room
/// of tables, and takes up to two seconds to find out that it is quiet.
const REST: Duration = Duration::from_secs(4);

/// What came of it.
struct Outcome {
    open: Duration,
    ask: Duration,
    /// The longest time for which the shard did nothing but open connections.
    stall: Duration,
    answers: u32,
    failures: u32,
    /// For each connection, in bytes: of the parts as the allocator was asked, and of the process as the kernel sees it.
    parts: [f64; 3],
    resident: f64,
    /// The same after all were asked.
    resident_after: f64,
}

fn main() -> ExitCode {
    let count = std::env::args().nth(1).and_then(|count| count.parse().ok()).filter(|count| (1..=MOST).contains(count));
    let Some(count) = count else {
        eprintln!("usage: sunstar-connections COUNT, at most {MOST}");
        return ExitCode::FAILURE;
    };
    let config = Config { smp: Some(1), ..Config::default() };
    let outcome = run(config, move || measure(count)).expect("there is a core that may be used");
    let Outcome { open, stall, ask, answers, failures, parts: [stack, sockets, tasks], resident, resident_after } =
        outcome;
    println!(
        "{{\"connections\":{count},\"stack_bytes\":{stack:.1},\"socket_bytes\":{sockets:.1},\"task_bytes\":{tasks:.1},\
         \"resident_bytes\":{resident:.1},\"resident_bytes_after\":{resident_after:.1},\"open_seconds\":{:.3},\"stall_ms\":{:.0},\
         \"ask_seconds\":{:.3},\"answers\":{answers},\"failures\":{failures}}}",
        open.as_secs_f64(),
        1e3 * stall.as_secs_f64(),
        ask.as_secs_f64(),
    );
    if answers == count && failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn measure(count: u32) -> Outcome {
    let orders = Rc::new(Orders::default());
    start(count, Rc::clone(&orders));
    let options = ListenerOptions { backlog: 4_096, ..ListenerOptions::default() };
    let listener = TcpListener::bind(SocketAddr::from((SERVER, PORT)), options).await.expect("the port is free");
    spawn(serve(listener.into()));
    // One for what is made once.
    orders.to_connect.set(1);
    wait(&orders, || orders.connected.get() == 1).await;
    let (before, resident_before) = (memory::bytes(), resident_mib());

    let begin = Clock::now();
    orders.to_connect.set(count);
    let stall = wait(&orders, || orders.connected.get() >= count).await;
    let open = begin.elapsed();
    timer::sleep(REST).await;
    let now = memory::bytes();
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let each = |part: usize| (now[part] - before[part]) as f64 / f64::from(count);
    let grown = || (resident_mib() - resident_before) * f64::from(1 << 20) / f64::from(count);
    let (parts, resident) = ([STACK, SOCKETS, TASKS].map(each), grown());

    let begin = Clock::now();
    orders.to_ask.set(count);
    wait(&orders, || orders.answered.get() >= count).await;
    let ask = begin.elapsed();
    timer::sleep(REST).await;
    let (answers, failures) = (orders.answered.get(), orders.failures.get());
    Outcome { open, stall, ask, answers, failures, parts, resident, resident_after: grown() }
}

/// Starts the server's network, with the clients at the other end of its link.
fn start(count: u32, orders: Rc<Orders>) {
    let mut options = NetworkOptions::DEFAULT;
    options.limits.tcp.connections = count.max(options.limits.tcp.connections);
    let network = Network::new(options);
    let interface = network.add_queue("clients", Box::new(Clients::new(orders)), None).expect("there is room");
    let prefix = |address: Ipv4Addr, bits| Prefix::new(IpAddr::V4(address), bits).expect("there are as many bits");
    network.add_address(interface, prefix(SERVER, 24)).expect("a station's address");
    let everywhere = prefix(Ipv4Addr::UNSPECIFIED, 0);
    let route = Route { prefix: everywhere, gateway: Some(GATEWAY.into()), interface, metric: 0 };
    network.add_route(route).expect("the gateway is on the link");
    network.start();
    socket::install(Rc::new(network));
}

/// Waits until the clients are as far as that, or get no further; answers by how much it was woken too late at most.
async fn wait(orders: &Orders, is_done: impl Fn() -> bool) -> Duration {
    let state = || [orders.connected.get(), orders.answered.get()];
    let (mut seen, mut since) = (state(), Clock::now());
    let mut late = Duration::ZERO;
    while !is_done() && since.elapsed() < PATIENCE {
        let begin = Clock::now();
        timer::sleep(LOOK_EVERY).await;
        late = late.max(begin.elapsed().saturating_sub(LOOK_EVERY));
        if state() != seen {
            (seen, since) = (state(), Clock::now());
        }
    }
    late
}

/// Counts what this poll allocates as of this part.
fn counted<R>(part: usize, poll: impl FnOnce() -> R) -> R {
    let before = memory::enter(part);
    let answer = poll();
    memory::enter(before);
    answer
}

async fn serve(mut listener: Listener) {
    loop {
        let accepted = poll_fn(|cx| counted(SOCKETS, || listener.poll_accept(cx))).await;
        let Ok(stream) = accepted else { return };
        let stream = TcpStream::try_from(stream).expect("the listener is one of TCP");
        counted(TASKS, || spawn(answer(stream)));
    }
}

/// Answers requests, each of which comes in one piece. It waits by the polls of the stream, since each of very many tasks has room for
/// the largest of its futures.
async fn answer(mut stream: TcpStream) {
    while let Ok(bytes) = poll_fn(|cx| stream.poll_read(cx)).await
        && let Ok(request) = <&[u8; MESSAGE]>::try_from(&bytes[..])
        && poll_fn(|cx| stream.poll_writable(cx)).await.is_ok()
    {
        stream.enqueue(Buffer::copy_from_slice(&response_to(request)));
    }
}

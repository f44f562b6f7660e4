//! What simulated HTTP costs: keep-alive clients on one host and a server on another, two shards each, for so many virtual
//! seconds, ten requests in each. Arguments: the virtual seconds (10,000 by default) and the seed.

use std::env;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use sunstar_executor::timer::{now, sleep_until};
use sunstar_executor::{Sharded, invoke_on_all};
use sunstar_http::{Error, Exchange, Limits, Request, Server, Status};
use sunstar_http1::{ClientConnection, ClientEvent, Endpoint};
use sunstar_net::{Address, ListenerOptions, Stream};
use sunstar_packet::Buffer;
use sunstar_sim::{Sim, SimOptions, resolve};

const SHARDS: u64 = 2;
const PORT: u16 = 80;
/// Requests in a virtual second, of all clients together.
const PER_SECOND: u64 = 10;

fn main() {
    let mut arguments = env::args().skip(1).map(|argument| argument.parse::<u64>().expect("a number"));
    let seconds = arguments.next().unwrap_or(10_000);
    let seed = arguments.next().unwrap_or(1);
    let mut options = SimOptions::default();
    options.time_limit = Duration::from_secs(seconds + 3600);
    let mut sim = Sim::with_options(seed, options);
    sim.background_host("server", 2, serve);
    sim.host("client", 2, move || async move {
        let requests = seconds * PER_SECOND / SHARDS;
        invoke_on_all(move || async move { ask(requests).await.expect("the network is reliable") })
            .await
            .expect("no client panics");
    });
    let begun = Instant::now();
    let report = sim.run().unwrap_or_else(|error| panic!("{error}"));
    let took = begun.elapsed();
    let requests = seconds * PER_SECOND;
    println!(
        "{requests} requests in {:.0} virtual seconds: {:.3} s, {:.0} ns per request; {} rounds, {} events, digest {:016x}",
        Duration::from_nanos(report.ended_at.as_nanos()).as_secs_f64(),
        took.as_secs_f64(),
        took.as_nanos() as f64 / requests as f64,
        report.rounds,
        report.events,
        report.digest,
    );
}

async fn serve() {
    let servers = Sharded::start(|| async { Server::new(greet) }).await.expect("no shard has stopped");
    let listen = |server: Rc<Server<_>>| async move {
        let address = Address::Inet((Ipv4Addr::UNSPECIFIED, PORT).into());
        server.listen(address, ListenerOptions::default()).await.expect("the port is free");
    };
    servers.map(listen).await.expect("no shard has stopped");
    // Until the host is stopped.
    std::future::pending::<()>().await;
}

async fn greet(_request: Request, exchange: &mut Exchange<'_>) -> Result<(), Error> {
    exchange.respond(Status::OK)?.send("hello, world");
    Ok(())
}

/// Makes requests at an even pace.
async fn ask(count: u64) -> Result<(), sunstar_net::Error> {
    let server: Ipv4Addr = resolve("server").expect("the server has a name");
    let mut stream = Stream::connect(Address::Inet((server, PORT).into())).await?;
    let mut http = Endpoint::new(Limits::DEFAULT).connect();
    let begun = now();
    for number in 0..count {
        sleep_until(begun + Duration::from_micros(number * 1_000_000 * SHARDS / PER_SECOND)).await;
        http.request("GET", "/", "server").expect("the server keeps the connection").send("");
        let mut buffers = Vec::<Buffer>::new();
        http.poll_transmit(&mut buffers);
        stream.write_buffers(buffers).await?;
        answered(&mut stream, &mut http).await?;
    }
    Ok(())
}

/// Reads a response to its end.
async fn answered(stream: &mut Stream, http: &mut ClientConnection) -> Result<(), sunstar_net::Error> {
    loop {
        match http.poll_event() {
            Some(ClientEvent::End) => return Ok(()),
            Some(ClientEvent::Error(error)) => panic!("{error}"),
            Some(_) => {}
            None => http.handle_input(stream.read().await?).expect("there is room"),
        }
    }
}

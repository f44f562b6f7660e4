//! What simulated time costs: exchanges of small messages over kept connections, between two hosts of two shards each, for
//! so many virtual seconds, ten exchanges in each. Arguments: the virtual seconds (10,000 by default) and the seed.

use std::env;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use sunstar_executor::timer::{now, sleep_until};
use sunstar_executor::{invoke_on_all, spawn};
use sunstar_net::{Error, ListenerOptions, TcpListener, TcpStream};
use sunstar_sim::{Sim, SimOptions, resolve};

const SHARDS: u64 = 2;
const PORT: u16 = 80;
/// Exchanges in a virtual second, of all clients together.
const PER_SECOND: u64 = 10;
const REQUEST: &str = "GET / HTTP/1.1\r\nhost: server\r\n\r\n";
const RESPONSE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\nhello, world";

fn main() {
    let mut arguments = env::args().skip(1).map(|argument| argument.parse::<u64>().expect("a number"));
    let seconds = arguments.next().unwrap_or(10_000);
    let seed = arguments.next().unwrap_or(1);
    let mut options = SimOptions::default();
    options.time_limit = Duration::from_secs(seconds + 3600);
    let mut sim = Sim::with_options(seed, options);
    sim.background_host("server", 2, || async {
        drop(invoke_on_all(serve).await);
    });
    sim.host("client", 2, move || async move {
        let exchanges = seconds * PER_SECOND / SHARDS;
        invoke_on_all(move || async move { exchange(exchanges).await.expect("the network is reliable") })
            .await
            .expect("no client panics");
    });
    let begun = Instant::now();
    let report = sim.run().unwrap_or_else(|error| panic!("{error}"));
    let took = begun.elapsed();
    let exchanges = report.network.stream_bytes / (REQUEST.len() + RESPONSE.len()) as u64;
    println!(
        "{exchanges} exchanges in {:.0} virtual seconds: {:.3} s, {:.0} ns per exchange; {} rounds, {} events, digest {:016x}",
        Duration::from_nanos(report.ended_at.as_nanos()).as_secs_f64(),
        took.as_secs_f64(),
        took.as_nanos() as f64 / exchanges as f64,
        report.rounds,
        report.events,
        report.digest,
    );
}

async fn serve() {
    let address = (Ipv4Addr::UNSPECIFIED, PORT).into();
    let mut listener = TcpListener::bind(address, ListenerOptions::default()).await.expect("the port is free");
    while let Ok(stream) = listener.accept().await {
        drop(spawn(respond(stream)));
    }
}

async fn respond(mut stream: TcpStream) -> Result<(), Error> {
    while read_exactly(&mut stream, REQUEST.len()).await? {
        stream.write(RESPONSE).await?;
    }
    Ok(())
}

/// Makes requests at an even pace.
async fn exchange(count: u64) -> Result<(), Error> {
    let server = resolve("server").expect("the server has a name");
    let mut stream = TcpStream::connect((server, PORT).into()).await?;
    let begun = now();
    for number in 0..count {
        sleep_until(begun + Duration::from_micros(number * 1_000_000 * SHARDS / PER_SECOND)).await;
        stream.write(REQUEST).await?;
        assert!(read_exactly(&mut stream, RESPONSE.len()).await?, "the server closes last");
    }
    Ok(())
}

/// Reads a message of known length; false at the end.
async fn read_exactly(stream: &mut TcpStream, len_bytes: usize) -> Result<bool, Error> {
    let mut missing = len_bytes;
    while missing > 0 {
        let bytes = stream.read().await?;
        if bytes.is_empty() {
            return Ok(false);
        }
        missing -= bytes.len();
    }
    Ok(true)
}

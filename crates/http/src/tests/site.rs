//! What the servers of the tests answer, and the worlds that they are in.

use std::cell::Cell;
use std::future::Future;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use sunstar_executor::combine::with_timeout;
use sunstar_executor::timer::{now, sleep};
use sunstar_executor::{Instant, Sharded, spawn, yield_now};
use sunstar_http1::{BodyLength, HeaderLines, HeaderName};
use sunstar_metrics::{MAX_WAITING, gather};
use sunstar_net::{Address, ListenerOptions, Stream};
use sunstar_packet::Buffer;
use sunstar_sim::{Report, Sim, SimError, SimOptions, resolve};

use crate::{
    Error, Exchange, Handler, Limits, Request, Server, ServerOptions, ServerStats, Status, Timeouts, serve_metrics,
};

pub(super) const PORT: u16 = 80;
const SHARDS: usize = 2;
const LIMITS: Limits = Limits { body_bytes: 1000, input_bytes: 4096, ..Limits::DEFAULT };

/// How the server treats its clients, unless a test says otherwise: it has small limits and ends nothing.
pub(super) const OPTIONS: ServerOptions =
    ServerOptions { limits: LIMITS, timeouts: Timeouts::OFF, ..ServerOptions::DEFAULT };

/// What the server is told, and what it tells.
#[derive(Default)]
pub(super) struct Control {
    pub(super) stop: Cell<bool>,
    /// When it was asked to stop, and how long that took.
    pub(super) stopped_at: Cell<Option<Instant>>,
    pub(super) stop_took: Cell<Duration>,
    /// The sum over its shards, when it was asked to stop.
    pub(super) stats: Cell<ServerStats>,
}

/// Lets one main function talk to a server of two shards, which stops in order after it.
pub(super) fn visit<M>(
    sim: Sim,
    main: impl FnOnce(Rc<Control>) -> M + 'static,
) -> Result<(Report, Rc<Control>), SimError>
where
    M: Future<Output = ()> + 'static,
{
    visit_with(sim, OPTIONS, main)
}

/// As [`visit`], of a server with these options.
pub(super) fn visit_with<M>(
    sim: Sim,
    options: ServerOptions,
    main: impl FnOnce(Rc<Control>) -> M + 'static,
) -> Result<(Report, Rc<Control>), SimError>
where
    M: Future<Output = ()> + 'static,
{
    visit_server(sim, move || Server::with_options(site, options), main)
}
/// The same with a server of one's own.
pub(super) fn visit_server<H, M>(
    sim: Sim,
    server: impl Fn() -> Server<H> + Clone + Send + 'static,
    main: impl FnOnce(Rc<Control>) -> M + 'static,
) -> Result<(Report, Rc<Control>), SimError>
where
    H: Handler + 'static,
    M: Future<Output = ()> + 'static,
{
    let mut sim = sim;
    let control = add_server_of(&mut sim, server);
    let stop = Rc::clone(&control);
    sim.host("client", 1, move || async move {
        main(Rc::clone(&stop)).await;
        stop.stop.set(true);
    });
    let report = sim.run()?;
    Ok((report, control))
}

/// A world without surprises, which does not wait for long for what never comes.
pub(super) fn quiet_world() -> Sim {
    let mut options = SimOptions::default();
    options.time_limit = Duration::from_secs(400);
    Sim::with_options(1, options)
}

/// As [`visit`], in a quiet world that must end well.
pub(super) fn quiet<M>(main: impl FnOnce() -> M + 'static) -> ServerStats
where
    M: Future<Output = ()> + 'static,
{
    let (_, control) = visit(quiet_world(), |_| main()).unwrap();
    control.stats.get()
}

/// As [`quiet`], of a server with these options.
pub(super) fn quiet_with<M>(options: ServerOptions, main: impl FnOnce() -> M + 'static) -> ServerStats
where
    M: Future<Output = ()> + 'static,
{
    let (_, control) = visit_with(quiet_world(), options, |_| main()).unwrap();
    control.stats.get()
}

/// Adds a host that serves the site until it is told to stop.
pub(super) fn add_server(sim: &mut Sim) -> Rc<Control> {
    add_server_of(sim, || Server::with_options(site, OPTIONS))
}

fn add_server_of<H: Handler + 'static>(
    sim: &mut Sim,
    server: impl Fn() -> Server<H> + Clone + Send + 'static,
) -> Rc<Control> {
    let control = Rc::new(Control::default());
    let told = Rc::clone(&control);
    sim.host("server", SHARDS, move || async move {
        let servers = Sharded::start(move || {
            let server = server.clone();
            async move { server() }
        })
        .await
        .unwrap();
        servers.map(|server| async move { server.publish("site") }).await.unwrap().into_iter().for_each(Result::unwrap);
        let address = Address::Inet((Ipv4Addr::UNSPECIFIED, PORT).into());
        let listen = move |server: Rc<Server<H>>| {
            let address = address.clone();
            async move { server.listen(address, ListenerOptions::default()).await }
        };
        servers.map(listen).await.unwrap().into_iter().for_each(|listening| drop(listening.unwrap()));
        while !told.stop.get() {
            sleep(Duration::from_millis(1)).await;
        }
        servers.map(|server| async move { server.check_rest() }).await.unwrap();
        told.stats.set(sum(servers.map(|server| async move { server.stats() }).await.unwrap()));
        let stopped_at = now();
        told.stopped_at.set(Some(stopped_at));
        servers.stop().await.unwrap();
        told.stop_took.set(now() - stopped_at);
    });
    control
}

fn sum(shards: Vec<ServerStats>) -> ServerStats {
    shards.into_iter().fold(ServerStats::default(), |sum, shard| ServerStats {
        accepted: sum.accepted + shard.accepted,
        live: sum.live + shard.live,
        held_back: sum.held_back + shard.held_back,
        requests: sum.requests + shard.requests,
        refused: sum.refused + shard.refused,
        failed: sum.failed + shard.failed,
        head_timeouts: sum.head_timeouts + shard.head_timeouts,
        body_timeouts: sum.body_timeouts + shard.body_timeouts,
        idle_timeouts: sum.idle_timeouts + shard.idle_timeouts,
        displaced: sum.displaced + shard.displaced,
        output_timeouts: sum.output_timeouts + shard.output_timeouts,
        #[cfg(feature = "compression")]
        uncompressed: sum.uncompressed + shard.uncompressed,
    })
}

/// A body of so many bytes.
pub(super) fn body(len_bytes: usize) -> Vec<u8> {
    (0..len_bytes).map(|at| (at % 251).to_le_bytes()[0]).collect()
}

/// The number that a target ends in, as `7` in `/bytes?7`.
fn number(request: &Request) -> usize {
    let query = request.query().expect("a number");
    std::str::from_utf8(query).unwrap().parse().unwrap()
}

/// Where nobody listens.
fn nobody(ip: Ipv4Addr) -> Address {
    Address::Inet((ip, 9).into())
}

/// What each path answers.
pub(super) async fn site(request: Request, exchange: &mut Exchange<'_>) -> Result<(), Error> {
    match request.path() {
        b"/" => exchange.respond(Status::OK)?.send("hello, world"),
        b"/bytes" => exchange.respond(Status::OK)?.send(body(number(&request))),
        b"/bytes-close" => send_and_close(body(number(&request)), exchange)?,
        b"/pieces" => {
            // Each piece is one byte longer than the last.
            exchange.respond(Status::OK)?.stream(None);
            for len_bytes in 1..=number(&request) {
                exchange.send_body(vec![b'x'; len_bytes]).await?;
                sleep(Duration::from_micros(100)).await;
            }
            exchange.end_body()?;
        }
        b"/trickle" | b"/flushed" | b"/begun" | b"/sleep" | b"/afterwards" => {
            return take_time(&request, exchange).await;
        }
        b"/echo" => {
            let length = if let BodyLength::Known(length) = request.body() { Some(length) } else { None };
            exchange.respond(Status::OK)?.stream(length);
            while let Some(bytes) = exchange.body().await? {
                exchange.send_body(bytes).await?;
            }
            exchange.end_body()?;
        }
        b"/trailers" => trailers(exchange).await?,
        b"/count" => {
            let mut count = 0;
            while let Some(bytes) = exchange.body().await? {
                count += bytes.len();
            }
            if request.query().is_some() {
                sleep(Duration::from_millis(number(&request) as u64)).await;
            }
            exchange.respond(Status::OK)?.send(Buffer::from(count.to_string().into_bytes()));
        }
        b"/close" => send_and_close("bye", exchange)?,
        b"/limited" => {
            exchange.limit_body(10);
            while exchange.body().await?.is_some() {}
            exchange.respond(Status::OK)?.send("few enough");
        }
        b"/impatient" => return count_impatiently(exchange).await,
        b"/metrics" => return serve_metrics(request, exchange).await,
        b"/metrics-for-many" => {
            let others: Vec<_> = (0..=MAX_WAITING).map(|_| spawn(gather())).collect();
            yield_now().await;
            serve_metrics(request, exchange).await?;
            drop(others);
        }
        _ => return misbehave(&request, exchange).await,
    }
    Ok(())
}

/// The handlers that send or sleep in parts.
async fn take_time(request: &Request, exchange: &mut Exchange<'_>) -> Result<(), Error> {
    let sleep_as_asked = || sleep(Duration::from_millis(number(request) as u64));
    match request.path() {
        b"/trickle" => {
            exchange.respond(Status::OK)?.stream(None);
            exchange.send_body("first").await?;
            exchange.flush().await?;
            sleep(Duration::from_secs(10)).await;
            exchange.send_body("second").await?;
            exchange.end_body()?;
        }
        b"/flushed" => {
            exchange.respond(Status::OK)?.stream(Some(7));
            exchange.send_body("flushed").await?;
            exchange.flush().await?;
            exchange.end_body()?;
        }
        b"/begun" => {
            exchange.respond(Status::OK)?.stream(None);
            sleep_as_asked().await;
            exchange.send_body("begun").await?;
            exchange.end_body()?;
        }
        b"/afterwards" => {
            exchange.respond(Status::OK)?.send("before");
            sleep_as_asked().await;
        }
        _ => {
            sleep_as_asked().await;
            exchange.respond(Status::OK)?.send("slept");
        }
    }
    Ok(())
}

fn send_and_close(body: impl Into<Buffer>, exchange: &mut Exchange<'_>) -> Result<(), Error> {
    let mut response = exchange.respond(Status::OK)?;
    response.close();
    response.send(body);
    Ok(())
}

/// A wait for the body is given up again and again; what comes is lost by none of them.
async fn count_impatiently(exchange: &mut Exchange<'_>) -> Result<(), Error> {
    let mut count = 0;
    loop {
        match with_timeout(Duration::from_micros(50), exchange.body()).await {
            Ok(Ok(Some(bytes))) => count += bytes.len(),
            Ok(Ok(None)) => break,
            Ok(Err(error)) => return Err(error),
            Err(_) => {}
        }
    }
    exchange.respond(Status::OK)?.send(Buffer::from(count.to_string().into_bytes()));
    Ok(())
}

/// Counts the body, and sends the digest behind it back behind the answer.
async fn trailers(exchange: &mut Exchange<'_>) -> Result<(), Error> {
    let mut count = 0;
    while let Some(bytes) = exchange.body().await? {
        assert!(exchange.trailers().is_none());
        count += bytes.len();
    }
    let digest = exchange.trailers().and_then(|trailers| trailers.get("digest")).map(<[u8]>::to_vec);
    let mut lines = HeaderLines::new();
    lines.add(HeaderName::constant("Digest"), digest.as_deref().unwrap_or(b"none"))?;
    let mut response = exchange.respond(Status::OK)?;
    response.announce_trailers(&[HeaderName::constant("Digest")]);
    response.stream(None);
    exchange.send_body(count.to_string().into_bytes()).await?;
    exchange.end_body_with(&lines)
}

/// The handlers that leave something to be desired.
async fn misbehave(request: &Request, exchange: &mut Exchange<'_>) -> Result<(), Error> {
    match request.path() {
        b"/nothing" => {}
        b"/begin" => drop(exchange.respond(Status::OK)?.header(HeaderName::CONTENT_TYPE, "text/plain")?),
        b"/break-off" => {
            exchange.respond(Status::OK)?.stream(Some(100));
            exchange.send_body("not all").await?;
        }
        b"/break-off-open" => {
            exchange.respond(Status::OK)?.stream(None);
            exchange.send_body("not all").await?;
            if request.query() == Some(b"panic") {
                panic!("within a response");
            }
        }
        b"/answered" => {
            let mut response = exchange.respond(Status::OK)?;
            response.close();
            response.send("bye");
            assert_eq!(exchange.body().await, Err(Error::Answered));
        }
        b"/upstream" => drop(Stream::connect(resolve("server").map(nobody).expect("it is itself")).await?),
        b"/short" => {
            exchange.respond(Status::OK)?.stream(Some(100));
            exchange.end_body()?;
        }
        b"/panic" => panic!("on request"),
        b"/fail" => {
            if request.query().is_some() {
                sleep(Duration::from_millis(number(request) as u64)).await;
            }
            return Err(Error::Handler("on request"));
        }
        _ => exchange.respond(Status::NOT_FOUND)?.send("not found"),
    }
    Ok(())
}

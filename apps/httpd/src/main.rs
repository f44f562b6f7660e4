//! A small HTTP server on every core: the first thing to try, and what the benchmarks measure.
//!
//! `/` answers a hello, `/shard` the number of the shard that served it.
#![forbid(unsafe_code)]

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;

use sunstar::http::{self, Exchange, HeaderName, Request, RouteError, Router, Server, Status};
use sunstar::net::ListenerOptions;
use sunstar::prelude::*;

/// What `/` answers.
const HELLO: &[u8] = b"Hello world\n";

#[derive(clap::Args)]
struct Args {
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    address: IpAddr,
    /// The port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 10000)]
    port: u16,
}

fn main() -> ExitCode {
    App::new("httpd").about("Serves HTTP from every core").version(env!("CARGO_PKG_VERSION")).run(serve)
}

async fn serve(args: Args) -> Result<(), Error> {
    let asked = SocketAddr::from((args.address, args.port));
    let servers = Sharded::start(|| async { Server::new(routes().expect("the routes are well-formed")) }).await?;
    let listen =
        move |server: std::rc::Rc<Server<_>>| async move { server.listen(asked, ListenerOptions::default()).await };
    let listening: Result<Vec<_>, _> = servers.map(listen).await?.into_iter().collect();
    // All shards share one address.
    let addresses = listening.map_err(|error| Error::listening(asked, error))?;
    log::info!("listening on {}", addresses[0]);
    stop_requested().await;
    Ok(servers.stop().await?)
}

/// What the server has.
fn routes() -> Result<Router, RouteError> {
    let mut router = Router::new();
    router.get("/", hello)?.get("/shard", shard)?;
    Ok(router)
}

async fn hello(_: Request, exchange: &mut Exchange<'_>) -> Result<(), http::Error> {
    text(exchange, Buffer::from(HELLO))
}

async fn shard(_: Request, exchange: &mut Exchange<'_>) -> Result<(), http::Error> {
    text(exchange, Buffer::from(format!("{}\n", shard_id()).into_bytes()))
}

fn text(exchange: &mut Exchange<'_>, body: Buffer) -> Result<(), http::Error> {
    let mut response = exchange.respond(Status::OK)?;
    response.header(HeaderName::CONTENT_TYPE, "text/plain")?;
    response.send(body);
    Ok(())
}

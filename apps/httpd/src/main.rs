//! A small HTTP server on every core: the first thing to try, and what the benchmarks measure.
//!
//! `/` answers a hello, `/shard` the number of the shard that served it, `/metrics` the metrics of all shards.
#![forbid(unsafe_code)]

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;

use sunstar::http::{self, Exchange, HeaderName, Request, Server, Status};
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
    let servers = Sharded::start(|| async { Server::new(answer) }).await?;
    let published: Result<Vec<_>, _> =
        servers.map(|server| async move { server.publish("httpd") }).await?.into_iter().collect();
    published?;
    let listen =
        move |server: std::rc::Rc<Server<_>>| async move { server.listen(asked, ListenerOptions::default()).await };
    let listening: Result<Vec<_>, _> = servers.map(listen).await?.into_iter().collect();
    // All shards share one address.
    let addresses = listening.map_err(|error| Error::listening(asked, error))?;
    log::info!("listening on {}", addresses[0]);
    stop_requested().await;
    Ok(servers.stop().await?)
}

async fn answer(request: Request, exchange: &mut Exchange<'_>) -> Result<(), http::Error> {
    if request.path() == b"/metrics" {
        return http::serve_metrics(request, exchange).await;
    }
    let (status, body) = match request.path() {
        b"/" => (Status::OK, Buffer::from(HELLO)),
        b"/shard" => (Status::OK, Buffer::from(format!("{}\n", shard_id()).into_bytes())),
        _ => (Status::NOT_FOUND, Buffer::from("not found\n")),
    };
    let mut response = exchange.respond(status)?;
    response.header(HeaderName::CONTENT_TYPE, "text/plain")?;
    response.send(body);
    Ok(())
}

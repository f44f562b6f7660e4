//! A memcache server on every core.
//!
//! Items are spread over the shards by their keys. A connection stays on the shard that has accepted it, and reaches all items.
#![forbid(unsafe_code)]

mod batch;
mod connection;
mod metrics;
mod options;
mod server;
mod stats;

use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

use sunstar::native_stack::Network;
use sunstar::net::{Address, ListenerOptions, UnixAddress, socket};
use sunstar::prelude::*;

use server::{Server, Settings};

#[derive(clap::Args)]
struct Args {
    /// The address to listen on [default: 127.0.0.1, the stack's own on the native stack]
    #[arg(long)]
    address: Option<IpAddr>,
    /// The port to listen on; 0 takes a free one
    #[arg(short, long, default_value_t = 11211, value_parser = options::port, allow_negative_numbers = true)]
    port: u16,
    /// Listen on a Unix socket at this path and not on a port
    #[arg(short = 's', long, value_name = "PATH", conflicts_with = "address")]
    unix_socket: Option<PathBuf>,
    /// The port to take datagrams at; 0 for none
    #[arg(short = 'U', long, value_name = "PORT", default_value_t = 0, value_parser = options::port, allow_negative_numbers = true)]
    udp_port: u16,
    /// Answer datagrams that get an item of their shard before the network sees them, on the native stack
    #[arg(long)]
    udp_in_hook: bool,
    #[command(flatten)]
    limits: options::Limits,
}

fn main() -> ExitCode {
    App::new("memcached").about("Keeps items in memory, on every core").version(env!("CARGO_PKG_VERSION")).run(serve)
}

async fn serve(args: Args) -> Result<(), Error> {
    // From here on a stop is an orderly one.
    let stop = stop_requested();
    let asked: Address = match &args.unix_socket {
        Some(path) => UnixAddress::new(path.as_os_str().as_bytes())
            .map_err(|error| Error::usage(format_args!("cannot listen on {}: {error}", path.display())))?
            .into(),
        None => {
            let address = args.address.map_or_else(|| socket::stack().map(|stack| stack.default_address()), Ok)?;
            SocketAddr::from((address, args.port)).into()
        }
    };
    let settings = Settings::new(args.limits.checked()?, asked.inet().map(|address| address.port()), args.udp_port);
    let servers = Sharded::start(move || async move { Server::new(settings) }).await?;
    servers.invoke_on_all(move |server| async move { server.join(servers) }).await?;
    let published: Result<Vec<_>, _> =
        servers.map(|server| async move { metrics::publish(&server) }).await?.into_iter().collect();
    published?;
    let address = asked.clone();
    let listening: Result<Vec<_>, _> = servers
        .map(move |server| {
            let address = address.clone();
            async move { server.listen(address, ListenerOptions::default()).await }
        })
        .await?
        .into_iter()
        .collect();
    // All shards share one address.
    let addresses = listening.map_err(|error| Error::listening(&asked, error))?;
    take_datagrams(servers, &args).await?;
    log::info!("listening on {}", addresses[0]);
    stop.await;
    servers.stop().await?;
    Ok(())
}

/// Lets all shards take datagrams, if they are wanted.
async fn take_datagrams(servers: Sharded<Server>, args: &Args) -> Result<(), Error> {
    let (port, is_hooked) = (args.udp_port, args.udp_in_hook);
    if port == 0 {
        return if is_hooked { Err(Error::usage("--udp-in-hook needs --udp-port")) } else { Ok(()) };
    }
    let ip = args.address.map_or_else(|| socket::stack().map(|stack| stack.default_address()), Ok)?;
    let address = SocketAddr::new(ip, port);
    let listening = servers.map(move |server| server.listen_for_datagrams(address)).await?;
    let listening: Result<Vec<()>, _> = listening.into_iter().collect();
    listening.map_err(|error| Error::listening(Address::from(address), error))?;
    if is_hooked {
        let hooked: Result<Vec<()>, _> =
            servers.map(move |server| async move { hook(&server, port) }).await?.into_iter().collect();
        hooked?;
    }
    log::info!("taking datagrams at {address}");
    Ok(())
}

fn hook(server: &Rc<Server>, port: u16) -> Result<(), Error> {
    let network = Network::current().ok_or_else(|| Error::usage("--udp-in-hook needs --network-stack native"))?;
    server.hook(&network, port).map_err(Error::failure)
}

//! A memcache server on every core.
//!
//! Items are spread over the shards by their keys. A connection stays on the shard that has accepted it, and reaches all items.
//!
//! # Order
//!
//! - Requests of one connection are answered in their order.
//! - What one connection does to one item happens in the order of its requests, so it always sees what it has done. Requests for items
//!   of other shards go there together, up to 64 at a time.
//! - `flush_all`, `stats` and `cache_memlimit` happen after all requests before them and before all that follow them. `flush_all` and
//!   `cache_memlimit` happen on the shards one by one: while they are not answered, others may find some items gone and some not.
//! - Changes of different items in one pipeline happen in any order if the items are on different shards: others may see a later one
//!   before an earlier one. Who needs that order waits for the answer to the first.
//!
//! # Memory
//!
//! `--cache-memory` is the most for items and all that belongs to them: pages, the hash table, values that are not complete or on their
//! way to another shard, and large values that are gone and that answers still hold. The process has no more than that, 5 % for the gaps
//! of the heap, and 24 MiB for itself.
//!
//! - Values that come in parts have an eighth of a shard's memory, which they take as they come. When it is used up, one of which
//!   nothing has come for three seconds gives way (`values_given_up`), or the next is refused (`values_refused`).
//! - What answers still hold is not evicted, since that would free nothing (`lrutail_reflocked`). When they hold more than an eighth of
//!   the memory in values that are gone, clients that have taken nothing for two seconds are ended (`slow_ended`).
//! - If all that is left is held, values are refused (`store_no_memory`).
//!
//! # Statistics
//!
//! `stats` has memcached's names for what memcached has too, and counts it alike. `stats reset` lets all that is counted begin anew, as
//! memcached does; what Prometheus is shown goes on. `stats shards` tells some of it of each shard.
//!
//! - Where more connections come than may be (`--max-connections`), they wait: `listen_disabled_num` tells how often a shard has stopped to
//!   accept, whether somebody waited or not, `time_in_listen_disabled_us` for how long, and `accepting_conns` is 0 while all shards have.
//!   Nobody is rejected (`rejected_connections` is 0), and nobody has to say who he is (`auth_cmds` and `auth_errors` are 0).
//! - `store_too_large` counts packets, and values that would have grown too large, too; memcached does not. `reclaimed` and
//!   `expired_unfetched` count dead items that somebody looked for or that were found when there was time, too.
//! - What there is nothing of here is missing: other libraries' figures (`libevent`), memory of connections that is kept for others
//!   (`response_obj_*`, `read_buf_*`, `reserved_fds`), turns that a connection gives up (`conn_yields`: it does after each), threads that
//!   move items (`lru_maintainer_juggles`, `lru_bumps_dropped`, `slab_reassign_*`, `slab_global_page_pool`), stores that do
//!   their work (`direct_reclaims`: who stores always makes room himself), the segment for what lives shortly (`number_temp`, `hits_to_temp`), references that
//!   are lost (`tailrepairs`), `evicted_active` (active items are not told apart when they go), `malloc_fails`, logs that are watched (`log_*`), and
//!   `unexpected_napi_ids` and `round_robin_fallback`.
//! - `stats items` alone tells `moves_*` and `crawler_*`. The latter count what every look for dead items has seen, page by page, whether `lru_crawler`
//!   asked for it or it was time. `mem_requested` counts the header that an item has here. Large values are a class of their own, the last one:
//!   all of their bytes count there, and the chunks with their keys as `used_chunks` of other classes.
//!
//! # Datagrams
//!
//! Who sends a datagram (`--udp-port`) can name any address as his own, and what answers it goes there.
//!
//! - An answer has fewer bytes than its request, both with their frame headers. Spaces before its end make a request longer.
//! - While a connection from the same address is served, an answer may be longer, up to 48 datagrams of 1400 bytes. Each shard answers
//!   an address by `--udp-budget` bytes a second in such answers, and by a second's worth at once, or one answer if that is more. A
//!   new connection brings no new budget, but where 4096 other addresses have left since (`udp_sources_forgotten`).
//! - What may not be answered is withheld and counted (`datagrams_withheld`, or `datagrams_over_budget` if it is the budget).
//! - What changes items is done only if the longest answer that it may have could be sent (`datagrams_not_done`), so that nothing is
//!   done and then withheld. For what answers with items too, as `gat` does, that is 48 datagrams: it takes an address with a
//!   connection, and only what is longer than that is done and withheld. Such requests are done one after the other, and what they
//!   don't need of that goes back. Meta commands count as changes, since they may say who is to renew an item.
//! - What looks at all that is stored is not done (`datagrams_not_done`): `lru_crawler` with `crawl`, `metadump` or `mgdump`, and `stats` with
//!   `sizes` or `cachedump`.
//! - An unknown command is not answered: it may be the answer of another server.
//! - With `-s` there are no datagrams.
#![forbid(unsafe_code)]

mod ahead;
mod batch;
mod clock;
mod connection;
mod connections;
mod figures;
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
    /// The port to take datagrams at; 0 for none. An answer has fewer bytes than its request, or comes out of --udp-budget and has 48
    /// datagrams at most
    #[arg(short = 'U', long, value_name = "PORT", default_value_t = 0, value_parser = options::port, allow_negative_numbers = true)]
    udp_port: u16,
    /// What each shard may answer an address by datagrams beyond what it was asked, while a connection from there is served: bytes a
    /// second, or with a suffix K, M or G
    #[arg(long, value_name = "SIZE", default_value = "1M", value_parser = options::bytes)]
    udp_budget: usize,
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
    let port = asked.inet().map(|address| address.port());
    if args.unix_socket.is_some() && args.udp_port != 0 {
        // Who listens at a path alone has no connection that an address could be known by.
        return Err(Error::usage("--unix-socket listens at a path alone, which --udp-port does not go with"));
    }
    let settings = Settings::new(args.limits.checked(shard_count())?, port, args.udp_port, args.udp_budget);
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
            servers.map(move |server| async move { hook(&server, address) }).await?.into_iter().collect();
        hooked?;
    }
    log::info!("taking datagrams at {address}");
    Ok(())
}

fn hook(server: &Rc<Server>, address: SocketAddr) -> Result<(), Error> {
    let network = Network::current().ok_or_else(|| Error::usage("--udp-in-hook needs --network-stack native"))?;
    server.hook(&network, address).map_err(Error::failure)
}

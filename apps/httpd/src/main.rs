//! A small HTTP server on every core: the first thing to try, and what the benchmarks measure.
//!
//! `/` answers a hello, `/shard` the number of the shard that served it, and `/file/` what is below the directory of `--root`.
#![forbid(unsafe_code)]

use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

use sunstar::http::files::{Files, FilesOptions};
use sunstar::http::{self, Exchange, HeaderName, Request, Server, Status};
use sunstar::net::ListenerOptions;
use sunstar::prelude::*;
use sunstar::storage;

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
    /// The directory whose files are served below /file/; without it there are none
    #[arg(long, value_name = "DIRECTORY")]
    root: Option<PathBuf>,
}

fn main() -> ExitCode {
    App::new("httpd").about("Serves HTTP from every core").version(env!("CARGO_PKG_VERSION")).run(serve)
}

async fn serve(args: Args) -> Result<(), Error> {
    let Args { address, port, root } = args;
    let asked = SocketAddr::from((address, port));
    let (sites, shown) = (
        Sharded::start({
            let root = root.clone();
            move || Site::open(root)
        })
        .await?,
        root.unwrap_or_default(),
    );
    let failures = sites.map(|site| async move { site.failure }).await?;
    if let Some(failure) = failures.into_iter().flatten().next() {
        return Err(Error::usage(format_args!("cannot serve {}: {failure}", shown.display())));
    }
    let make = move || async move {
        let site = sites.local();
        Server::new(async move |request, exchange: &mut Exchange<'_>| site.answer(request, exchange).await)
    };
    let servers = Sharded::start(make).await?;
    let listen = move |server: Rc<Server<_>>| async move { server.listen(asked, ListenerOptions::default()).await };
    let listening: Result<Vec<_>, _> = servers.map(listen).await?.into_iter().collect();
    // All shards share one address.
    let addresses = listening.map_err(|error| Error::listening(asked, error))?;
    log::info!("listening on {}", addresses[0]);
    stop_requested().await;
    servers.stop().await?;
    Ok(sites.stop().await?)
}

/// What a shard serves.
struct Site {
    /// Below `/file/`.
    files: Option<Files>,
    /// Why there are no files, though there should be.
    failure: Option<storage::Error>,
}

impl Site {
    async fn open(root: Option<PathBuf>) -> Self {
        let Some(root) = root else { return Self { files: None, failure: None } };
        match Files::open(root.as_os_str().as_bytes(), FilesOptions::default()).await {
            Ok(files) => Self { files: Some(files), failure: None },
            Err(failure) => Self { files: None, failure: Some(failure) },
        }
    }

    async fn answer(&self, request: Request, exchange: &mut Exchange<'_>) -> Result<(), http::Error> {
        let (status, body) = match (request.path(), &self.files) {
            (b"/", _) => (Status::OK, Buffer::from(HELLO)),
            (b"/shard", _) => (Status::OK, Buffer::from(format!("{}\n", shard_id()).into_bytes())),
            ([b'/', b'f', b'i', b'l', b'e', b'/', path @ ..], Some(files)) => {
                return files.serve(&request, path, exchange).await;
            }
            _ => (Status::NOT_FOUND, Buffer::from("not found\n")),
        };
        let mut response = exchange.respond(status)?;
        response.header(HeaderName::CONTENT_TYPE, "text/plain")?;
        response.send(body);
        Ok(())
    }
}

impl Service for Site {}

//! A small HTTP server on every core: the first thing to try, and what the benchmarks measure.
//!
//! `/` answers a hello, `/shard` the number of the shard that served it, `/count` how many bytes it was sent, `/metrics` the metrics
//! of all shards, and `/file/` what is below the directory of `--root`.
#![forbid(unsafe_code)]

mod options;

use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

use sunstar::http::files::{Files, FilesOptions};
use sunstar::http::{self, AccessFormat, AccessLog, Exchange, HeaderName, Request, RouteError, Router, Server, Status};
use sunstar::logging::{LogFile, LogStats};
use sunstar::net::{ListenerOptions, socket};
use sunstar::prelude::*;
use sunstar::reactor::blocking;
use sunstar::storage;

/// What `/` answers.
const HELLO: &[u8] = b"Hello world\n";

#[derive(clap::Args)]
struct Args {
    /// The address to listen on [default: 127.0.0.1, the stack's own on the native stack]
    #[arg(long)]
    address: Option<IpAddr>,
    /// The port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 10000, value_parser = options::port, allow_negative_numbers = true)]
    port: u16,
    /// Log requests: into this file, or without one as `access` into the log
    #[arg(long, value_name = "PATH", num_args = 0..=1, require_equals = true)]
    access_log: Option<Option<PathBuf>>,
    /// The directory whose files are served below /file/; without it there are none
    #[arg(long, value_name = "DIRECTORY")]
    root: Option<PathBuf>,
    #[command(flatten)]
    clients: options::Clients,
}

fn main() -> ExitCode {
    App::new("httpd").about("Serves HTTP from every core").version(env!("CARGO_PKG_VERSION")).run(serve)
}

async fn serve(args: Args) -> Result<(), Error> {
    // From here on a stop is an orderly one.
    let stop = stop_requested();
    let address = args.address.map_or_else(|| socket::stack().map(|stack| stack.default_address()), Ok)?;
    let asked = SocketAddr::from((address, args.port));
    let access_log = AccessLogOption::open(args.access_log)?;
    let log = access_log.clone();
    let root = args.root.clone();
    let options = args.clients.server_options();
    let sites = Sharded::start(move || Site::open(root)).await?;
    let failures = sites.map(|site| async move { site.failure }).await?;
    if let Some(failure) = failures.into_iter().flatten().next() {
        let root = args.root.unwrap_or_default();
        let why = match failure {
            storage::Error::NotFound => "there is no such directory".to_owned(),
            failure => failure.to_string(),
        };
        return Err(Error::usage(format_args!("cannot serve {}: {why}", root.display())));
    }
    let servers = Sharded::start(move || async move {
        let server = Server::with_options(routes(sites.local()).expect("the routes are well-formed"), options);
        log.log().into_iter().fold(server, Server::with_access_log)
    })
    .await?;
    let published: Result<Vec<_>, _> =
        servers.map(|server| async move { server.publish("httpd") }).await?.into_iter().collect();
    published?;
    let listen = move |server: Rc<Server<_>>| async move { server.listen(asked, ListenerOptions::default()).await };
    let listening: Result<Vec<_>, _> = servers.map(listen).await?.into_iter().collect();
    // All shards share one address.
    let addresses = listening.map_err(|error| Error::listening(asked, error))?;
    log::info!("listening on {}", addresses[0]);
    stop.await;
    servers.stop().await?;
    sites.stop().await?;
    access_log.flush().await;
    Ok(())
}

/// What is done with the lines about requests.
#[derive(Clone)]
enum AccessLogOption {
    Off,
    ToLog,
    ToFile(LogFile),
}

impl AccessLogOption {
    fn open(option: Option<Option<PathBuf>>) -> Result<Self, Error> {
        match option {
            None => Ok(Self::Off),
            Some(None) => Ok(Self::ToLog),
            Some(Some(path)) => match LogFile::open(&path) {
                Ok(file) => {
                    file.publish("access")?;
                    Ok(Self::ToFile(file))
                }
                Err(error) => Err(Error::usage(format!("cannot open the access log {}: {error}", path.display()))),
            },
        }
    }

    /// A shard's log.
    fn log(self) -> Option<AccessLog> {
        match self {
            Self::Off => None,
            Self::ToLog => Some(AccessLog::to_log(AccessFormat::Combined)),
            Self::ToFile(file) => Some(AccessLog::new(AccessFormat::Combined, move |line| file.put(line))),
        }
    }

    async fn flush(self) {
        if let Self::ToFile(file) = self {
            // At the end nothing else can be done about it.
            let _ = blocking(move || {
                file.flush();
                let LogStats { written, dropped } = file.stats();
                log::info!("the access log has {written} more lines: {dropped} were dropped");
            })
            .await;
        }
    }
}

/// What the server has.
fn routes(site: Rc<Site>) -> Result<Router, RouteError> {
    let mut router = Router::new();
    router.get("/", hello)?.get("/shard", shard)?.post("/count", count)?.get("/metrics", http::serve_metrics)?;
    if site.files.is_some() {
        let files = async move |request: Request, exchange: &mut Exchange<'_>| site.file(&request, exchange).await;
        router.get("/file/{path...}", files)?;
    }
    Ok(router)
}

/// The files of a shard.
struct Site {
    files: Option<Files>,
    /// Why there are none, though there should be.
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

    async fn file(&self, request: &Request, exchange: &mut Exchange<'_>) -> Result<(), http::Error> {
        // As it came: what is encoded in it is the files' business.
        let path = exchange.params().and_then(|params| params.raw("path").map(<[u8]>::to_vec));
        match (&self.files, path) {
            (Some(files), Some(path)) => files.serve(request, &path, exchange).await,
            _ => {
                exchange.respond(Status::NOT_FOUND)?.send("");
                Ok(())
            }
        }
    }
}

impl Service for Site {}

async fn hello(_: Request, exchange: &mut Exchange<'_>) -> Result<(), http::Error> {
    text(exchange, Buffer::from(HELLO))
}

async fn shard(_: Request, exchange: &mut Exchange<'_>) -> Result<(), http::Error> {
    text(exchange, Buffer::from(format!("{}\n", shard_id()).into_bytes()))
}

async fn count(_: Request, exchange: &mut Exchange<'_>) -> Result<(), http::Error> {
    let mut count: u64 = 0;
    while let Some(bytes) = exchange.body().await? {
        count += bytes.len() as u64;
    }
    text(exchange, Buffer::from(format!("{count}\n").into_bytes()))
}

fn text(exchange: &mut Exchange<'_>, body: Buffer) -> Result<(), http::Error> {
    let mut response = exchange.respond(Status::OK)?;
    response.header(HeaderName::CONTENT_TYPE, "text/plain")?;
    response.send(body);
    Ok(())
}

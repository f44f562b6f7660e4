//! The command line, and what it asks for.

mod memcache;
mod quantity;

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use sunstar::http::client::{Scheme, Uri};
use sunstar::prelude::*;

use crate::arrivals::{Rate, Spacing};
use crate::plan::{Arrivals, Plan, Transport};
use crate::protocol::http::request::{Parts, Requests};
use crate::protocol::memcache::Mix;
use crate::protocol::numbers::MOST_UNDER_WAY;
use quantity::{count, rates, size, span, whole};

/// How long a load is, if nothing else ends it.
const DEFAULT_DURATION: Duration = Duration::from_secs(10);
/// The most connections and requests under way on each that may be asked for.
const MAX_CONNECTIONS: usize = 1 << 24;
const MAX_PIPELINE: usize = 1024;
/// The largest message of a ping-pong over a stream, and over datagrams in any network.
const MAX_MESSAGE: usize = 1 << 20;
const MAX_DATAGRAM: usize = 65_000;

/// What stands below the options.
const ENDINGS: &str = "Exit code:
  0  all requests that were measured were answered well, or it was interrupted and none had failed
  1  some requests failed, timed out, were not sent or had no answer within --timeout after the end; some connections could not be made; or
     nothing could be measured. The report is written all the same, and one line on standard error says what it was.
  2  what was asked for makes no sense

Latencies count requests that were answered well, and those that were given up (no answer within --timeout, or due and not sent for want of a
free connection until --timeout after the end) with the time for which they had waited by then. Requests that are given up too soon to tell, because an older
one on the same connection had no answer in time, have no latency, but the percentiles count them as slower than all others: then what stands at the
highest is less than it took. When it is interrupted, requests without an answer count with what they have waited if that is longer than any other
took, and else not at all. A WARNING says so, also where seawreck itself had no time left.";

#[derive(clap::Args, Debug)]
#[command(after_help = ENDINGS)]
pub(crate) struct Args {
    /// Where to: http://HOST:PORT/PATH, several for requests in turn; memcached://HOST:PORT or memcached-udp://HOST:PORT; tcp://HOST:PORT or udp://HOST:PORT, where what is sent is echoed
    #[arg(value_name = "URL")]
    urls: Vec<String>,
    /// A file with more URLs, one a line
    #[arg(short, long, value_name = "FILE")]
    input_file: Option<PathBuf>,

    /// Connections, of all shards together
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = whole::<1, MAX_CONNECTIONS>)]
    connections: usize,
    /// A local address to connect from; several in turn, for more connections than one has ports for
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) from: Vec<IpAddr>,
    /// Requests under way on each connection at the same time, 1024 at most; 100 over UDP, where an answer that is lost holds up no other one
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<1, MAX_PIPELINE>)]
    pipeline: usize,
    /// Requests after which a connection is ended and another one made; 1 for a new connection for each
    #[arg(long, value_name = "N", value_parser = count)]
    requests_per_connection: Option<u64>,

    /// How long to measure, as in 500ms, 30s, 5m. Answers are waited for afterwards, --timeout at most; what --rate had due before and found no
    /// connection in time is sent meanwhile, and that time counts [default: 10s, any time with --requests]
    #[arg(short, long, value_name = "TIME", value_parser = span)]
    duration: Option<Duration>,
    /// Requests in all, as in 1000, 50k, 2m; then it ends
    #[arg(short = 'n', long, value_name = "N", value_parser = count)]
    requests: Option<u64>,
    /// How long to send requests before those that are measured
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = span)]
    warm_up: Duration,
    /// Open the connections evenly over this time, while requests are sent already
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = span)]
    ramp: Duration,

    /// Send so many requests per second whatever the server does, and count latencies from when each was due; FROM:TO changes evenly
    /// over --duration
    #[arg(long, value_name = "RATE", value_parser = rates)]
    rate: Option<(f64, f64)>,
    /// The times between requests of --rate: constant or poisson
    #[arg(long, value_name = "HOW", default_value = "constant", value_parser = ["constant", "poisson"], requires = "rate")]
    arrivals: String,
    /// By which chance is drawn
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// For a connection to be made
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = span)]
    connect_timeout: Duration,
    /// For an answer, from when its request was sent; then the connection is ended, but over UDP only the request is given up
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = span)]
    timeout: Duration,

    /// HTTP: the method [default: GET, POST with --data]
    #[arg(long, value_name = "NAME")]
    method: Option<String>,
    /// HTTP: a header field; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// HTTP: the body of each request
    #[arg(long, value_name = "TEXT", conflicts_with = "data_file")]
    data: Option<String>,
    /// HTTP: a file with the body of each request
    #[arg(long, value_name = "FILE")]
    data_file: Option<PathBuf>,
    /// HTTP: the only status that is a good one [default: 200 to 399]
    #[arg(long, value_name = "CODE", value_parser = clap::value_parser!(u16).range(100..=599))]
    expect_status: Option<u16>,
    /// tcp and udp: bytes of a message, as in 64, 16k
    #[arg(long, value_name = "BYTES", default_value = "64", value_parser = size)]
    size: usize,

    /// tcp: what the server does with what is sent: echo it; sink, take it without an answer; source, send without being asked
    #[arg(long, value_name = "WHAT", default_value = "echo", value_parser = ["echo", "sink", "source"])]
    server: String,
    /// Ask nothing for --duration, and then once on each connection, on 256 of each shard at the same time
    #[arg(long, conflicts_with_all = ["rate", "requests", "requests_per_connection", "ramp"])]
    idle: bool,

    #[command(flatten)]
    memcached: memcache::Memcached,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// What is told, and where.
#[derive(clap::Args, Debug)]
pub(crate) struct Output {
    /// Write the report as JSON into this file, or with - in place of the summary
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write a line of comma-separated values for each second into this file
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
    /// Write the report as a page for browsers into this file, which needs no other one
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Whether to show a line each second: auto, on a terminal; always; never
    #[arg(long, value_name = "WHEN", default_value = "auto", value_parser = ["auto", "always", "never"])]
    pub(crate) progress: String,
}

/// What the command line asks for, but for the address, which is not known yet.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) what: What,
    pub(crate) target: String,
    pub(crate) arrivals: Option<Arrivals>,
    pub(crate) duration: Option<Duration>,
}

/// What is spoken.
#[derive(Clone, Debug)]
pub(crate) enum What {
    Http(Requests),
    Echo {
        size: usize,
    },
    EchoDatagrams {
        size: usize,
    },
    Memcache {
        mix: Mix,
        fills: bool,
    },
    /// The same over UDP.
    MemcacheDatagrams {
        mix: Mix,
        fills: bool,
        /// Whether a connection is there besides.
        is_introduced: bool,
    },
    Sink {
        size: usize,
    },
    Source,
}

impl Args {
    /// The plan without address and arrivals.
    pub(crate) fn plan(&self, wish: &Wish, target: std::net::SocketAddr) -> Plan {
        let transport = match wish.what {
            What::EchoDatagrams { .. } | What::MemcacheDatagrams { .. } => Transport::Udp,
            What::Http(_) | What::Echo { .. } | What::Memcache { .. } | What::Sink { .. } | What::Source => {
                Transport::Tcp
            }
        };
        Plan {
            target,
            from: self.from.clone(),
            transport,
            connections: self.connections,
            pipeline: self.pipeline,
            requests_per_connection: self.requests_per_connection,
            arrivals: wish.arrivals,
            requests: self.requests,
            duration: wish.duration,
            warm_up: self.warm_up,
            ramp: self.ramp,
            connect_timeout: self.connect_timeout,
            timeout: self.timeout,
            is_idle: self.idle,
            seed: self.seed,
        }
    }

    /// What is to be done. Reads the files that the options name.
    ///
    /// # Errors
    /// Says what is wrong, or contradicts what.
    pub(crate) fn wish(&self) -> Result<Wish, String> {
        let urls = self.all_urls()?;
        let first = urls.first().ok_or("where to? A URL is missing, as in http://127.0.0.1:10000/")?;
        let (scheme, rest) = first.split_once("://").ok_or_else(|| format!("{first:?} is no URL: no :// in it"))?;
        if scheme != "tcp" && self.server != "echo" {
            return Err("--server is for tcp://".to_owned());
        }
        let (host, port, what) = match scheme {
            "http" => self.http(&urls)?,
            "tcp" | "udp" | "memcached" | "memcached-udp" => self.at_port(scheme, rest, &urls)?,
            "https" => return Err("https is not spoken yet".to_owned()),
            _ => return Err(format!("{scheme}:// is not spoken; http, memcached, memcached-udp, tcp and udp are")),
        };
        let duration = match (self.duration, self.requests) {
            (Some(Duration::ZERO), _) => return Err("--duration must be longer than nothing".to_owned()),
            (None, None) => Some(DEFAULT_DURATION),
            (duration, _) => duration,
        };
        if self.timeout.is_zero() || self.connect_timeout.is_zero() {
            return Err("--timeout and --connect-timeout must be longer than nothing".to_owned());
        }
        let target = if urls.len() > 1 { format!("{first} and {} more", urls.len() - 1) } else { first.clone() };
        Ok(Wish { host, port, what, target, arrivals: self.open_loop(duration)?, duration })
    }

    fn all_urls(&self) -> Result<Vec<String>, String> {
        let mut urls = self.urls.clone();
        if let Some(path) = &self.input_file {
            let text = fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            urls.extend(lines.map(str::to_owned));
        }
        Ok(urls)
    }

    fn http(&self, urls: &[String]) -> Result<(String, u16, What), String> {
        let parse = |url: &String| url.parse::<Uri>().map_err(|error| format!("{url:?}: {error}"));
        let uris = urls.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let server = uris[0].authority();
        if let Some(at) = uris.iter().position(|uri| uri.authority() != server) {
            return Err(format!("{} and {} are not of one server", urls[0], urls[at]));
        }
        if server.scheme() == Scheme::Https {
            return Err("https is not spoken yet".to_owned());
        }
        let file = match &self.data_file {
            Some(path) => Some(fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?),
            None => None,
        };
        let body = file.as_deref().or(self.data.as_ref().map(String::as_bytes));
        let default = if body.is_some() { "POST" } else { "GET" };
        let method = self.method.as_deref().unwrap_or(default);
        let parts = Parts { method, headers: &self.headers, body, expected_status: self.expect_status };
        Ok((server.host().to_owned(), server.port(), What::Http(Requests::new(&uris, &parts)?)))
    }

    /// What is spoken with something that has an address and no path.
    fn at_port(&self, scheme: &str, rest: &str, urls: &[String]) -> Result<(String, u16, What), String> {
        let [url] = urls else { return Err(format!("{scheme}:// takes one URL")) };
        let own = self.method.is_some() || !self.headers.is_empty() || self.data.is_some() || self.data_file.is_some();
        if own || self.expect_status.is_some() {
            return Err(format!("{scheme}:// has no methods, headers, bodies and statuses"));
        }
        let malformed = || format!("{url:?} is not {scheme}://HOST:PORT");
        let (host, port) = rest.trim_end_matches('/').rsplit_once(':').ok_or_else(malformed)?;
        let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(malformed)?;
        // What hosts look like, the URIs of HTTP know.
        let uri: Uri = format!("http://{host}:{port}/").parse().map_err(|_| malformed())?;
        let host = uri.authority().host().to_owned();
        if scheme == "memcached" {
            let mix = self.memcached.mix()?;
            return Ok((host, port, What::Memcache { mix, fills: self.memcached.fill }));
        }
        let is_udp = matches!(scheme, "udp" | "memcached-udp");
        if is_udp && self.pipeline > MOST_UNDER_WAY {
            return Err(format!("over UDP --pipeline is {MOST_UNDER_WAY} at most"));
        }
        if scheme == "memcached-udp" {
            let mix = self.memcached.mix_of_datagrams(MAX_DATAGRAM)?;
            let memcache::Memcached { fill, hold_connection, .. } = self.memcached;
            return Ok((host, port, What::MemcacheDatagrams { mix, fills: fill, is_introduced: hold_connection }));
        }
        if scheme == "tcp" {
            if self.size > MAX_MESSAGE {
                return Err(format!("--size is {MAX_MESSAGE} at most over TCP"));
            }
            return match &*self.server {
                "echo" => Ok((host, port, What::Echo { size: self.size })),
                _ if self.has_requests() => Err(format!("a {} has no requests to be counted or paced", self.server)),
                "sink" => Ok((host, port, What::Sink { size: self.size })),
                _ => Ok((host, port, What::Source)),
            };
        }
        if self.size > MAX_DATAGRAM {
            return Err(format!("over UDP --size is {MAX_DATAGRAM} at most"));
        }
        Ok((host, port, What::EchoDatagrams { size: self.size }))
    }

    /// Whether an option says how many requests there are, or when.
    const fn has_requests(&self) -> bool {
        let is_counted = self.requests.is_some() || self.requests_per_connection.is_some();
        is_counted || self.rate.is_some() || self.pipeline > 1 || self.idle
    }

    fn open_loop(&self, duration: Option<Duration>) -> Result<Option<Arrivals>, String> {
        let Some((from, to)) = self.rate else { return Ok(None) };
        let spacing = if self.arrivals == "poisson" { Spacing::Poisson } else { Spacing::Constant };
        // A rate that changes does so while it is measured, and before as well.
        let over = match duration {
            Some(duration) => duration + self.warm_up,
            None if from.to_bits() == to.to_bits() => Duration::ZERO,
            None => return Err("a --rate that changes does so over --duration, which is missing".to_owned()),
        };
        Ok(Some(Arrivals { rate: Rate { from, to, over }, spacing }))
    }

    /// How the load is driven, in words.
    pub(crate) fn load(&self) -> String {
        let of = |count: usize, one: &str| if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") };
        let mut words = of(self.connections, "connection");
        if self.pipeline > 1 {
            words += &format!(" with {} requests under way on each", self.pipeline);
        }
        if let Some(requests) = self.requests_per_connection {
            words += &if requests == 1 {
                ", a new one for each request".to_owned()
            } else {
                format!(", each for {requests} requests")
            };
        }
        match self.rate {
            None if self.idle => format!("idle, {words}, each asked once at the end"),
            None if self.server != "echo" => format!("{}, {words}", self.server),
            None => format!("closed loop, {words}"),
            Some((from, to)) if from.to_bits() == to.to_bits() => {
                format!("open loop at {from} requests per second ({}), {words}", self.arrivals)
            }
            Some((from, to)) => {
                format!("open loop from {from} to {to} requests per second ({}), {words}", self.arrivals)
            }
        }
    }
}

//! One end of `cargo xtask bench bypass`: a server that echoes messages and compares streams, or a client that loads it. An application
//! as any other, so it runs on the kernel's sockets and on Sunstar's own stack over any device.
//!
//! `sunstar-bypass --role server`, and then `sunstar-bypass --role client --server ADDRESS --load messages`. The client prints a line of
//! JSON ([`sunstar_bench_common::bypass::Outcome`]).

mod bulk;
mod client;
mod http;
mod meter;
mod server;

use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;

use sunstar::clap::{self, ValueEnum};
use sunstar::prelude::*;

/// What the process is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Role {
    Server,
    Client,
}

/// What a client does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Load {
    /// Messages and their echoes on many connections, each of which is closed and opened again after some or none
    Messages,
    /// A stream of bytes on each connection, as fast as it goes
    Bulk,
    /// Requests to an HTTP server on connections that stay open
    Http,
}

#[derive(clap::Args, Clone, Debug)]
struct Args {
    /// What this process is
    #[arg(long)]
    role: Role,
    /// What the client does
    #[arg(long, default_value = "messages")]
    load: Load,
    /// Where the client finds the server, and on the kernel's sockets where the server listens
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    server: IpAddr,
    /// The port of an HTTP server
    #[arg(long, default_value_t = 10_000)]
    http_port: u16,
    /// Connections at a time
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Messages on a connection before it is closed and another one opened; 0 for all that go
    #[arg(long, default_value_t = 1)]
    messages: u64,
    /// Bytes of a message, for both ends alike
    #[arg(long, default_value_t = 64, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=65_536))]
    size: usize,
    /// Bytes of each write of a stream
    #[arg(long, default_value_t = 65_536, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=65_536))]
    write: usize,
    /// Copy what is sent out of the application's memory and what is received into it, as sockets do, rather than lend it
    #[arg(long)]
    copy: bool,
    /// Seconds that are measured
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Seconds before that
    #[arg(long, default_value_t = 0.5)]
    warm_up: f64,
}

fn main() -> ExitCode {
    App::new("sunstar-bypass").about("Loads Sunstar's network, or is loaded").run(|args: Args| async move {
        match args.role {
            Role::Server => server::run(&args).await,
            Role::Client => client::run(&args).await,
        }
    })
}

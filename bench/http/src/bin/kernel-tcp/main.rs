//! The kernel's TCP in the loops of `sunstar-bypass`: a bare epoll program without an executor, one thread on one processor.
//!
//! It is a server, a client, or both in one loop, so that two such processes can divide a machine by connections instead of by ends.

mod client;
mod poll;
mod server;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};
use sunstar_bench_common::bypass::{Counts, Outcome, Usage};
use sunstar_bench_http::cpu;

use client::{Client, Control};
use poll::{Poll, Side};
use server::Server;

/// How long something has to be done at last.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Role {
    Server,
    Client,
    Both,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Load {
    Messages,
    Bulk,
}

/// One end of a benchmark on the kernel's TCP, or both ends.
#[derive(Parser, Clone, Debug)]
struct Cli {
    #[arg(long)]
    role: Role,
    #[arg(long, default_value = "messages")]
    load: Load,
    /// The first of the addresses at which the server listens
    #[arg(long, default_value_t = Ipv4Addr::LOCALHOST)]
    server: Ipv4Addr,
    /// How many addresses in a row are used
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    addresses: u8,
    /// Connections at a time
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Messages on a connection before it is closed and another one opened; 0 for all that go
    #[arg(long, default_value_t = 1)]
    messages: u64,
    /// Bytes of a message
    #[arg(long, default_value_t = 64)]
    size: usize,
    /// Bytes of each write of a stream
    #[arg(long, default_value_t = 65_536)]
    write: usize,
    /// Seconds that are measured
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Seconds before that
    #[arg(long, default_value_t = 0.5)]
    warm_up: f64,
    /// The processor to run on
    #[arg(long)]
    cpu: usize,
    /// Spin rather than sleep
    #[arg(long)]
    spin: bool,
    /// Let small segments leave at once (Nagle's algorithm off), as Sunstar does
    #[arg(long)]
    no_delay: bool,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let sizes = [cli.size, cli.write];
    ensure!(sizes.iter().all(|size| (1..=65_536).contains(size)), "a message or write has 1 to 65,536 bytes");
    cpu::pin(cli.cpu)?;
    let mut ends = Ends { poll: Poll::new(cli.spin)?, server: None, client: None };
    if cli.role != Role::Client {
        ends.server = Some(Server::new(&cli, &ends.poll)?);
    }
    if cli.role == Role::Server {
        eprintln!("listening");
        loop {
            ends.turn()?;
        }
    }
    let control = if cli.role == Role::Client { Some(Control::connect(&cli)?) } else { None };
    ends.client = Some(Client::new(&cli, &ends.poll)?);
    println!("{}", ends.measure(&cli, control)?.line());
    Ok(())
}

/// What is in this process.
struct Ends {
    poll: Poll,
    server: Option<Server>,
    client: Option<Client>,
}

impl Ends {
    /// Waits, and lets both ends do what there is to do.
    fn turn(&mut self) -> Result<()> {
        let ready = self.poll.wait()?;
        for event in &ready {
            match event.side {
                Side::Server(kind) => {
                    self.server.as_mut().map(|server| server.on_event(&self.poll, kind, event.place)).transpose()?;
                }
                Side::Client => {
                    self.client.as_mut().map(|client| client.on_event(&self.poll, event)).transpose()?;
                }
            }
        }
        self.poll.put_back(ready);
        Ok(())
    }

    fn measure(&mut self, cli: &Cli, mut control: Option<Control>) -> Result<Outcome> {
        self.run_for(Duration::from_secs_f64(cli.warm_up))?;
        let mut ask = || control.as_mut().map(Control::ask).transpose();
        let server = ask()?;
        let (begun, counts, client) = (Instant::now(), self.counts(), self.poll.usage());
        self.set_measuring(true);
        self.run_for(Duration::from_secs_f64(cli.seconds))?;
        // On a machine that others use nothing may have been done yet.
        let deadline = Instant::now() + PATIENCE;
        while self.counts() == counts {
            ensure!(Instant::now() < deadline, "nothing was done");
            self.turn()?;
        }
        self.set_measuring(false);
        let (time, done) = (begun.elapsed(), self.counts());
        let client = self.poll.usage().since(client);
        let server: Option<(Usage, Usage)> = ask()?.zip(server);
        let counts = Counts {
            connections: done.connections - counts.connections,
            messages: done.messages - counts.messages,
            bytes: done.bytes - counts.bytes,
        };
        let latencies = self.client.as_mut().map(Client::take_latencies).unwrap_or_default();
        Ok(Outcome { time, counts, latencies, client, server: server.map(|(after, before)| after.since(before)) })
    }

    fn run_for(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.turn()?;
        }
        Ok(())
    }

    fn counts(&self) -> Counts {
        self.client.as_ref().map(Client::counts).unwrap_or_default()
    }

    fn set_measuring(&mut self, is_measuring: bool) {
        if let Some(client) = &mut self.client {
            client.set_measuring(is_measuring);
        }
    }
}

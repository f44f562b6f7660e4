//! A load generator: it asks a server over many connections, and tells how many answers came and how long they took.
//!
//! `seawreck --connections 64 http://127.0.0.1:10000/` asks as soon as each answer is there (a closed loop), `--rate 50k` at a rate that
//! does not depend on the server (an open loop). `--help` shows the rest.
#![forbid(unsafe_code)]

mod acquaintance;
mod arrivals;
mod engine;
mod fault;
mod load_side;
mod options;
mod plan;
mod protocol;
mod report;
mod run;
mod tally;

use std::fs;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use sunstar::net::Resolver;
use sunstar::prelude::*;
use sunstar::reactor::blocking;

use options::{Args, Output, What};
use plan::{Plan, Share};
use protocol::flow::Flow;
use protocol::http::Http;
use protocol::memcache::datagrams::Datagrams;
use protocol::memcache::{Memcache, Mix};
use protocol::ping_pong::{Echo, EchoDatagrams};
use protocol::{Protocol, in_buffer};
use report::{Description, csv, html, human, json};
use run::{Outcome, Row, Why};

/// Requests under way on each connection while keys are stored.
const FILLING: usize = 32;

fn main() -> ExitCode {
    // It runs beside a server of the same host, and its summary is what people want to see.
    App::new("seawreck")
        .about("Loads a server and tells how it does")
        .version(env!("CARGO_PKG_VERSION"))
        .with_defaults(&[("prometheus-port", "0"), ("log-level", "warn")])
        .run(load)
}

async fn load(args: Args) -> Result<(), Error> {
    let mut stop = stop_requested();
    let wish = args.wish().map_err(Error::usage)?;
    let target = SocketAddr::new(address(&wish.host).await?, wish.port);
    if let Some(other) = args.from.iter().find(|from| from.is_ipv4() != target.is_ipv4()) {
        return Err(Error::usage(format_args!("nobody gets from {other} to {}", target.ip())));
    }
    let plan = args.plan(&wish, target);
    let description = Description { target: wish.target.clone(), load: args.load() };
    let shows_progress = match &*args.output.progress {
        "always" => true,
        "never" => false,
        _ => std::io::stderr().is_terminal(),
    };
    let tell = move |row: &Row| {
        if shows_progress {
            let line = human::progress(row);
            // Whoever reads it slowly holds nobody up but the helper thread.
            drop(spawn(blocking(move || eprintln!("{line}"))));
        }
    };
    let is_stranger = !matches!(wish.what, What::MemcacheDatagrams { is_introduced: true, .. });
    let _acquaintance = if is_stranger { Vec::new() } else { acquaintance::make(&plan).await? };
    let asks = !matches!(wish.what, What::Sink { .. } | What::Source);
    match &wish.what {
        What::Memcache { mix, fills: true } => {
            let of_all = mix.clone();
            let make = move |_: &Plan, share: &Share| Memcache::filling(&of_all, share.requests_before, in_buffer);
            fill(&plan, mix, plan.pipeline.max(FILLING), make, &mut stop).await?;
        }
        What::MemcacheDatagrams { mix, fills: true, .. } => {
            let of_all = mix.clone();
            let make = move |_: &Plan, share: &Share| Datagrams::filling(&of_all, share.requests_before);
            // Who sends more than is taken loses it.
            fill(&plan, mix, 1, make, &mut stop).await?;
        }
        _ => {}
    }
    let stop = &mut stop;
    let outcome = match wish.what {
        What::Http(requests) => run::run(&plan, move |plan, _| Http::new(&requests, plan.pipeline), stop, tell).await?,
        What::Memcache { mix, .. } => {
            run::run(&plan, move |_, share| Memcache::new(&mix, share.seed, in_buffer), stop, tell).await?
        }
        What::MemcacheDatagrams { mix, .. } => {
            run::run(&plan, move |_, share| Datagrams::new(&mix, share.seed), stop, tell).await?
        }
        What::Echo { size } => run::run(&plan, move |_, _| Echo::new(size, in_buffer), stop, tell).await?,
        What::Sink { size } => run::run(&plan, move |_, _| Flow::to_sink(size, in_buffer), stop, tell).await?,
        What::Source => run::run(&plan, |_, _| Flow::from_source(), stop, tell).await?,
        What::EchoDatagrams { size } => {
            run::run(&plan, move |_, _| EchoDatagrams::new(size, in_buffer), stop, tell).await?
        }
    };
    let failure = outcome.failure(asks);
    let output = args.output;
    blocking(move || tell_of(&description, &outcome, &output)).await??;
    failure.map_or(Ok(()), |why| Err(Error::failure(format_args!("{target}: {why}"))))
}

/// Stores all keys, so that who gets them finds them.
async fn fill<P: Protocol>(
    plan: &Plan,
    mix: &Mix,
    pipeline: usize,
    make: impl FnOnce(&Plan, &Share) -> P + Clone + Send + 'static,
    stop: &mut (impl Future<Output = ()> + Unpin),
) -> Result<(), Error> {
    let plan = Plan {
        requests: Some(mix.keys.count),
        duration: None,
        arrivals: None,
        requests_per_connection: None,
        is_idle: false,
        ramp: Duration::ZERO,
        warm_up: Duration::ZERO,
        pipeline,
        ..plan.clone()
    };
    let outcome = run::run(&plan, make, stop, |_| ()).await?;
    let (stored, keys) = (outcome.total.good(), plan.requests.unwrap_or(0));
    if stored == keys || outcome.why == Why::Stopped {
        return Ok(());
    }
    let why = outcome.failure(true).filter(|_| stored == 0);
    let why = why.unwrap_or_else(|| format!("only {stored} of {keys} keys were stored"));
    Err(Error::failure(format_args!("{}: {why}", plan.target)))
}

/// The first of a host's addresses.
async fn address(host: &str) -> Result<std::net::IpAddr, Error> {
    if let Ok(address) = host.parse() {
        return Ok(address);
    }
    let unknown = |why: String| Error::failure(format_args!("{host}: {why}"));
    let resolver = Resolver::current().ok_or_else(|| unknown("names can't be looked up here".to_owned()))?;
    let addresses = resolver.addresses(host).await.map_err(|error| unknown(error.to_string()))?;
    addresses.first().copied().ok_or_else(|| unknown("it has no address".to_owned()))
}

/// Writes what was asked for. Blocks.
fn tell_of(description: &Description, outcome: &Outcome, output: &Output) -> Result<(), Error> {
    let mut shows_summary = true;
    if let Some(path) = &output.json {
        let mut text = serde_json::to_string_pretty(&json::report(description, outcome))?;
        text.push('\n');
        if path.as_os_str() == "-" {
            shows_summary = false;
            std::io::stdout().write_all(text.as_bytes())?;
        } else {
            write(path, &text)?;
        }
    }
    if let Some(path) = &output.csv {
        write(path, &csv::report(&outcome.series))?;
    }
    if let Some(path) = &output.html {
        write(path, &html::report(description, outcome))?;
    }
    if shows_summary {
        std::io::stdout().write_all(human::summary(description, outcome).as_bytes())?;
    }
    Ok(())
}

fn write(path: &std::path::Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|error| Error::failure(format_args!("cannot write {}: {error}", path.display())))
}

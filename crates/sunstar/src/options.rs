//! The options that every application has.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args};
use sunstar_metrics::collectd;
use sunstar_reactor::{Backend, Config, CpuSet};

use crate::error::Error;
use crate::logging::LogFilter;
use crate::names::Names;
use crate::native::{self, NativeOptions};
use crate::telling::Telling;

/// The most shards that one process has. Between each two of them lie two rings, so that memory grows with the square.
const MAX_SHARDS: usize = 1024;

/// The longest time that an option takes, in seconds: a year.
const MAX_SECONDS: f64 = 366.0 * 86_400.0;

/// The id of the option that names a file.
pub(crate) const CONFIG: &str = "config";

#[derive(Args, Debug)]
#[group(skip)]
pub(crate) struct Options {
    /// Shards to run [default: one per processor]
    #[arg(short = 'c', long, value_name = "N", value_parser = shards, allow_negative_numbers = true)]
    smp: Option<usize>,

    /// Processors to run on, as in 0,2-3 [default: all]
    #[arg(long, value_name = "LIST")]
    cpuset: Option<CpuSet>,

    /// Share the processors with others: don't pin, don't poll, allow more shards than processors
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(action = ArgAction::Set, value_parser = truth)]
    overprovisioned: Option<bool>,

    /// Whether to pin each shard to its processor, 0 or 1 [default: 1, 0 if overprovisioned]
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, value_parser = truth)]
    thread_affinity: Option<bool>,

    /// Driver: io_uring or epoll [default: the best that works]
    #[arg(long, value_name = "NAME", value_parser = backend(), hide_possible_values = true)]
    reactor_backend: Option<Backend>,

    /// Poll for ever rather than sleep when idle
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(action = ArgAction::Set, value_parser = truth)]
    poll_mode: Option<bool>,

    /// Microseconds to poll without work before sleeping [default: 200, 0 if overprovisioned]
    #[arg(long, value_name = "US", value_parser = whole, allow_negative_numbers = true)]
    idle_poll_time_us: Option<u32>,

    /// Milliseconds that tasks of one scheduling group run before others get their turn; may have a fraction
    #[arg(long, value_name = "MS", default_value = "0.5", value_parser = task_quota, allow_negative_numbers = true)]
    task_quota_ms: f64,

    /// Milliseconds after which a task that has not yielded is reported; 0 for never
    #[arg(long, value_name = "MS", default_value = "25", value_parser = whole, allow_negative_numbers = true)]
    blocked_reactor_notify_ms: u32,

    /// Network stack: posix, the kernel's, or native, Sunstar's own over a device
    #[arg(long, value_name = "NAME", default_value = "posix", value_parser = ["posix", "native"], hide_possible_values = true)]
    network_stack: String,

    #[command(flatten)]
    native: NativeOptions,

    /// Server to be asked for names, in the place of those that resolv.conf or DHCP names; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    name_server: Vec<IpAddr>,

    /// Seconds that work in progress has to end after SIGINT or SIGTERM; may have a fraction
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds, allow_negative_numbers = true)]
    stop_timeout_s: f64,

    /// off, error, warn, info, debug or trace, also for single modules, as in net=debug,info
    #[arg(long, value_name = "LEVELS", default_value = "info")]
    pub(crate) log_level: LogFilter,

    /// Address at which Prometheus gets metrics
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    prometheus_address: IpAddr,

    /// Port at which Prometheus gets metrics; 0 for none
    #[arg(long, value_name = "PORT", default_value_t = 9180, value_parser = port, allow_negative_numbers = true)]
    prometheus_port: u16,

    /// Send metrics to collectd there, as in 192.0.2.1 or 192.0.2.1:25826 [default port: 25826]
    #[arg(long, value_name = "ADDRESS", value_parser = collectd_address)]
    collectd: Option<SocketAddr>,

    /// Milliseconds from one report to collectd to the next
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = period, allow_negative_numbers = true)]
    #[arg(requires = "collectd")]
    collectd_poll_period_ms: u32,

    /// What collectd calls this host [default: its name]
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    #[arg(requires = "collectd")]
    collectd_hostname: Option<String>,

    /// TOML file with any of these options by their long names; the command line wins
    #[arg(id = CONFIG, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Options {
    /// The runtime's options.
    ///
    /// # Errors
    /// If options contradict each other.
    pub(crate) fn runtime(&self) -> Result<Config, Error> {
        let (poll_mode, overprovisioned) = (self.poll_mode == Some(true), self.overprovisioned == Some(true));
        if poll_mode && self.idle_poll_time_us.is_some() {
            return Err(contradiction("--poll-mode", "--idle-poll-time-us", "who polls for ever never sleeps"));
        }
        if poll_mode && overprovisioned {
            let why = "who polls for ever takes a processor, which would be shared";
            return Err(contradiction("--poll-mode", "--overprovisioned", why));
        }
        Ok(Config {
            smp: self.smp,
            cpuset: self.cpuset.clone(),
            overprovisioned,
            thread_affinity: self.thread_affinity,
            reactor_backend: self.reactor_backend,
            poll_mode,
            idle_poll_time: self.idle_poll_time_us.map(|time| Duration::from_micros(time.into())),
            task_quota: Duration::from_secs_f64(self.task_quota_ms / 1_000.0),
            blocked_reactor_notify: Duration::from_millis(self.blocked_reactor_notify_ms.into()),
            stop_timeout: Duration::from_secs_f64(self.stop_timeout_s),
            ..Config::default()
        })
    }
}

impl Options {
    /// The native network that is asked for, if it is.
    ///
    /// # Errors
    /// If its options are incomplete, make no sense together, or stand there without it.
    pub(crate) fn native(&self) -> Result<Option<native::Plan>, Error> {
        self.native.plan(self.network_stack == "native")
    }

    /// Where names of hosts come from.
    pub(crate) fn names(&self) -> Names {
        Names { servers: self.name_server.clone(), is_native: self.network_stack == "native" }
    }

    /// To whom metrics are told.
    pub(crate) fn telling(&self) -> Telling {
        let prometheus = (self.prometheus_port != 0).then(|| (self.prometheus_address, self.prometheus_port).into());
        let collectd = self.collectd.map(|address| collectd::Options {
            address,
            period: Duration::from_millis(self.collectd_poll_period_ms.into()),
            host: self.collectd_hostname.clone().unwrap_or_else(host_name),
        });
        Telling { prometheus, collectd }
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn collectd_address(text: &str) -> Result<SocketAddr, String> {
    let in_brackets = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let ip = in_brackets.unwrap_or(text).parse().map(|ip| SocketAddr::new(ip, collectd::DEFAULT_PORT));
    match text.parse().or(ip) {
        Ok(address) if address.port() != 0 => Ok(address),
        Ok(_) => Err("nobody listens on port 0".to_owned()),
        Err(_) => Err("it must be an IP address, with or without a port".to_owned()),
    }
}

fn contradiction(one: &str, other: &str, why: &str) -> Error {
    Error::usage(format!("{one} contradicts {other}: {why}"))
}

fn shards(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("there must be at least one shard".to_owned()),
        Ok(shards @ 1..=MAX_SHARDS) => Ok(shards),
        Ok(_) => Err(format!("there are at most {MAX_SHARDS} shards")),
        Err(_) => Err("it must be a whole number".to_owned()),
    }
}

pub(crate) fn truth(text: &str) -> Result<bool, String> {
    match text {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err("it must be 0 or 1".to_owned()),
    }
}

fn whole(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("it must be a whole number from 0 to {}", u32::MAX))
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| format!("it must be a whole number from 0 to {}", u16::MAX))
}

fn period(text: &str) -> Result<u32, String> {
    match whole(text)? {
        0 => Err("it must be more than 0".to_owned()),
        period => Ok(period),
    }
}

fn backend() -> impl TypedValueParser<Value = Backend> {
    PossibleValuesParser::new(["io_uring", "epoll"]).try_map(|name| name.parse::<Backend>())
}

fn task_quota(text: &str) -> Result<f64, String> {
    let quota_ms = number(text, MAX_SECONDS * 1_000.0)?;
    // What is rounded to zero nanoseconds is no time.
    if quota_ms < 1e-6 { Err("it must be more than 0".to_owned()) } else { Ok(quota_ms) }
}

fn seconds(text: &str) -> Result<f64, String> {
    number(text, MAX_SECONDS)
}

fn number(text: &str, limit: f64) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (0.0..=limit).contains(&number) => Ok(number),
        Ok(_) => Err(format!("it must be a number between 0 and {limit}")),
        Err(_) => Err("it must be a number, which may have a fraction".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collectd_listens_at_an_address_with_or_without_a_port() {
        for (text, address) in [
            ("192.0.2.1", "192.0.2.1:25826"),
            ("192.0.2.1:7", "192.0.2.1:7"),
            ("2001:db8::1", "[2001:db8::1]:25826"),
            ("[2001:db8::1]", "[2001:db8::1]:25826"),
            ("[2001:db8::1]:7", "[2001:db8::1]:7"),
        ] {
            assert_eq!(collectd_address(text).map(|address| address.to_string()), Ok(address.to_owned()));
        }
        for text in ["", "localhost", "192.0.2.1:", "192.0.2.1:0", "[192.0.2.1", "[2001:db8::1]:65536"] {
            assert!(collectd_address(text).is_err(), "{text}");
        }
    }
}

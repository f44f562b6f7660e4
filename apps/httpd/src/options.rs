//! How httpd treats its clients, as its options say.

use std::time::Duration;

use sunstar::http::{Pace, ServerOptions, Timeouts};
use sunstar::prelude::clap;

/// What clients may ask for, and how long they may take.
#[derive(clap::Args)]
pub(crate) struct Clients {
    /// Seconds from the first byte of a request, or from the accept, to the end of its head; 0 for any time
    #[arg(long, value_name = "SECONDS", value_parser = whole, allow_negative_numbers = true, default_value_t = Timeouts::DEFAULT.head.map_or(0, seconds))]
    head_timeout_s: u32,
    /// Seconds that a body may stall; 0 for any time, and at any rate
    #[arg(long, value_name = "SECONDS", value_parser = whole, allow_negative_numbers = true, default_value_t = Timeouts::DEFAULT.body.map_or(0, stall))]
    body_timeout_s: u32,
    /// Seconds between requests; 0 for any time
    #[arg(long, value_name = "SECONDS", value_parser = whole, allow_negative_numbers = true, default_value_t = Timeouts::DEFAULT.idle.map_or(0, seconds))]
    idle_timeout_s: u32,
    /// Seconds in which nothing of a response is taken, up to twice as long; 0 for any time, and at any rate
    #[arg(long, value_name = "SECONDS", value_parser = whole, allow_negative_numbers = true, default_value_t = Timeouts::DEFAULT.output.map_or(0, stall))]
    output_timeout_s: u32,
    /// Connections that each shard serves at the same time, others wait; 0 for any number
    #[arg(long, value_name = "COUNT", value_parser = whole, allow_negative_numbers = true, default_value_t = most(ServerOptions::DEFAULT.connections))]
    max_connections: u32,
}

impl Clients {
    pub(crate) fn server_options(&self) -> ServerOptions {
        let time = |seconds: u32| Some(Duration::from_secs(seconds.into()));
        let pace = |default: Option<Pace>, seconds: u32| {
            default.map(|pace| Pace { stall: Duration::from_secs(seconds.into()), ..pace })
        };
        ServerOptions {
            timeouts: Timeouts {
                head: time(self.head_timeout_s),
                body: pace(Timeouts::DEFAULT.body, self.body_timeout_s),
                idle: time(self.idle_timeout_s),
                output: pace(Timeouts::DEFAULT.output, self.output_timeout_s),
                ..Timeouts::DEFAULT
            },
            connections: usize::try_from(self.max_connections).unwrap_or(usize::MAX),
            ..ServerOptions::DEFAULT
        }
    }
}

fn whole(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("it must be a whole number from 0 to {}", u32::MAX))
}

pub(crate) fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| format!("it must be a whole number from 0 to {}", u16::MAX))
}

fn most(connections: usize) -> u32 {
    u32::try_from(connections).unwrap_or(u32::MAX)
}

/// A time in whole seconds.
fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

fn stall(pace: Pace) -> u32 {
    seconds(pace.stall)
}

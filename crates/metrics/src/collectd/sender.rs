//! Sends the metrics of a program to collectd again and again.

use alloc::string::String;
use core::convert::Infallible;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;

use sunstar_executor::timer::{interval, unix_time};
use sunstar_net::{Error, UdpSocket};

use crate::collectd::encode;
use crate::error::RegisterError;
use crate::family::Family;
use crate::gather::gather_within;
use crate::handle::Counter;
use crate::registry::Registry;

const PACKETS: Family = Family::counter("sunstar_collectd_packets_total", "Packets that were sent to collectd.");
const FAILURES: Family = Family::counter(
    "sunstar_collectd_failures_total",
    "Packets that could not be sent to collectd, as far as is known.",
);
const LEFT_OUT: Family = Family::counter(
    "sunstar_collectd_left_out_total",
    "Samples whose names are too long for collectd, or not their own there.",
);

/// To whom, how often, and as whom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Where collectd listens.
    pub address: SocketAddr,
    /// The time from one report to the next; more than zero.
    pub period: Duration,
    /// The name of this host.
    pub host: String,
}

/// Sends metrics to collectd.
#[derive(Debug)]
pub struct Sender {
    socket: UdpSocket,
    options: Options,
    packets: Counter,
    failures: Counter,
    left_out: Counter,
    /// The last packet could not be sent, which was logged.
    is_failing: bool,
}

/// Why there is no sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SenderError {
    /// There is no socket to send by.
    #[error("cannot send to collectd")]
    Net(#[from] Error),
    /// Its counters are there already: a shard has one sender.
    #[error(transparent)]
    Register(#[from] RegisterError),
}

impl Sender {
    /// Makes the socket. Whether somebody listens there shows later, if at all.
    ///
    /// # Errors
    /// If the network has no socket for it, or this shard sends to collectd already.
    ///
    /// # Panics
    /// Outside of any shard.
    pub fn new(options: Options) -> Result<Self, SenderError> {
        let any = match options.address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let socket = UdpSocket::bind((any, 0).into())?;
        socket.connect(options.address)?;
        let registry = Registry::here();
        Ok(Self {
            socket,
            options,
            packets: registry.counter(PACKETS, &[])?,
            failures: registry.counter(FAILURES, &[])?,
            left_out: registry.counter(LEFT_OUT, &[])?,
            is_failing: false,
        })
    }

    /// Sends a report every period, the first one period from now. What can't be sent is counted and left; the first of several such is logged.
    ///
    /// Dropping the future ends it.
    ///
    /// # Panics
    /// If the period is zero.
    pub async fn run(mut self) -> Infallible {
        let mut ticks = interval(self.options.period);
        loop {
            ticks.tick().await;
            self.report().await;
        }
    }

    async fn report(&mut self) {
        // A report that is late because a shard is would be taken for a wrong one.
        let gathered = gather_within(self.options.period).await;
        let encoded = encode(&self.options.host, unix_time(), self.options.period, &gathered);
        self.left_out.add(encoded.left_out);
        for packet in encoded.packets {
            match self.socket.send(packet).await {
                Ok(()) => {
                    self.packets.add(1);
                    self.is_failing = false;
                }
                Err(error) => {
                    self.failures.add(1);
                    if !core::mem::replace(&mut self.is_failing, true) {
                        log::warn!("sending metrics to collectd at {} failed: {error}", self.options.address);
                    }
                }
            }
        }
    }
}

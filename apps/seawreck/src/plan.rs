//! What is to be done, as the command line says and with nothing left open; and a shard's share of it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::arrivals::{Rate, Spacing};

/// What all shards do together.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) target: SocketAddr,
    /// Addresses to connect from, in turn; none for one that suits.
    pub(crate) from: Vec<IpAddr>,
    pub(crate) transport: Transport,
    pub(crate) connections: usize,
    /// Requests under way on a connection at the same time; at least one.
    pub(crate) pipeline: usize,
    /// Requests after which a connection ends, at least one; nothing for as many as the server takes.
    pub(crate) requests_per_connection: Option<u64>,
    /// Nothing in a closed loop.
    pub(crate) arrivals: Option<Arrivals>,
    /// Requests in all.
    pub(crate) requests: Option<u64>,
    /// How long is measured.
    pub(crate) duration: Option<Duration>,
    /// How long requests are sent before.
    pub(crate) warm_up: Duration,
    /// Over which the connections are opened evenly, while requests are sent already; zero for first the ones and then the others.
    pub(crate) ramp: Duration,
    pub(crate) connect_timeout: Duration,
    /// For an answer, from the moment when its request was sent.
    pub(crate) timeout: Duration,
    /// Whether nothing is asked while it is measured, and once on each connection then.
    pub(crate) is_idle: bool,
    pub(crate) seed: u64,
}

/// What carries the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

/// An open loop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrivals {
    pub(crate) rate: Rate,
    pub(crate) spacing: Spacing,
}

/// A shard's part of a plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Share {
    pub(crate) connections: usize,
    pub(crate) requests: Option<u64>,
    /// Requests of the shards before.
    pub(crate) requests_before: u64,
    /// Of the rate, between zero and one.
    pub(crate) rate: f64,
    /// Where in a mean space between requests the first one is, between zero and one.
    pub(crate) phase: f64,
    pub(crate) seed: u64,
}

impl Plan {
    /// The address from which a shard's connection of this number comes, if that is told.
    pub(crate) fn from(&self, number: usize) -> Option<IpAddr> {
        self.from.get(number % self.from.len().max(1)).copied()
    }

    /// The part of one of `shards`. All parts together are the whole.
    pub(crate) fn share(&self, shard: usize, shards: usize) -> Share {
        let connections = part(self.connections as u64, shard, shards);
        let before: u64 = (0..shard).map(|shard| part(self.connections as u64, shard, shards)).sum();
        #[expect(clippy::cast_precision_loss, reason = "there are not so many connections")]
        let of_all = |connections: u64| connections as f64 / self.connections.max(1) as f64;
        // Requests go with the connections, cut where the connections are cut.
        let cut = |connections: u64| {
            let all = u128::from(self.requests.unwrap_or(0)) * u128::from(connections);
            u64::try_from(all / (self.connections.max(1) as u128)).unwrap_or(u64::MAX)
        };
        Share {
            connections: usize::try_from(connections).unwrap_or(usize::MAX),
            requests: self.requests.map(|_| cut(before + connections) - cut(before)),
            requests_before: cut(before),
            rate: of_all(connections),
            phase: f64::midpoint(of_all(before), of_all(before + connections)),
            seed: self.seed.wrapping_add(shard as u64),
        }
    }
}

/// A part of `whole`; no two differ by more than one.
fn part(whole: u64, place: usize, places: usize) -> u64 {
    let (place, places) = (place as u64, places as u64);
    whole / places + u64::from(place < whole % places)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plan(connections: usize, requests: Option<u64>) -> Plan {
        Plan {
            target: ([127, 0, 0, 1], 80).into(),
            from: Vec::new(),
            transport: Transport::Tcp,
            connections,
            pipeline: 1,
            requests_per_connection: None,
            arrivals: None,
            requests,
            duration: None,
            warm_up: Duration::ZERO,
            ramp: Duration::ZERO,
            connect_timeout: Duration::ZERO,
            timeout: Duration::ZERO,
            is_idle: false,
            seed: 1,
        }
    }

    proptest! {
        #[test]
        fn shares_are_the_whole(connections in 1_usize..2000, requests in 0_u64..1 << 40, shards in 1_usize..64) {
            let plan = plan(connections, Some(requests));
            let shares: Vec<Share> = (0..shards).map(|shard| plan.share(shard, shards)).collect();
            prop_assert_eq!(shares.iter().map(|share| share.connections).sum::<usize>(), connections);
            prop_assert_eq!(shares.iter().filter_map(|share| share.requests).sum::<u64>(), requests);
            prop_assert!((shares.iter().map(|share| share.rate).sum::<f64>() - 1.0).abs() < 1e-9);
            let sums = shares.iter().scan(0, |sum, share| Some(std::mem::replace(sum, *sum + share.requests?)));
            prop_assert!(sums.eq(shares.iter().map(|share| share.requests_before)));
            // Who has no connection has nothing to send.
            prop_assert!(shares.iter().all(|share| share.connections > 0 || (share.requests == Some(0) && share.rate == 0.0)));
            prop_assert!(shares.iter().all(|share| (0.0..=1.0).contains(&share.phase)));
        }
    }

    #[test]
    fn without_a_limit_a_share_has_none() {
        assert_eq!(plan(3, None).share(1, 2).requests, None);
        assert_eq!(plan(3, None).share(1, 2).connections, 1);
    }
}

use core::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::{Route, Routes, TooManyRoutes};
use crate::interface::InterfaceId;
use crate::prefix::Prefix;

fn route(address: [u8; 4], len: u8, gateway: u8, metric: u32) -> Route {
    Route {
        prefix: Prefix::new(address, len).expect("at most 32 bits"),
        gateway: Some(IpAddr::from([10, 0, 0, gateway])),
        interface: InterfaceId::LOOPBACK,
        metric,
    }
}

fn gateway(routes: &Routes, dst: [u8; 4]) -> Option<IpAddr> {
    routes.lookup(dst.into()).and_then(|route| route.gateway)
}

/// RFC 1122 §3.3.1.1, RFC 4632 §5.1: the longest prefix, then the smallest metric.
#[test]
fn the_longest_prefix_is_taken_then_the_smallest_metric() {
    let mut routes = Routes::new(8);
    for added in [route([0; 4], 0, 1, 0), route([10, 0, 0, 0], 8, 2, 9), route([10, 1, 0, 0], 16, 3, 200)] {
        routes.add(added).expect("there is room");
    }
    routes.add(route([10, 9, 9, 9], 8, 4, 5)).expect("there is room");
    assert_eq!(gateway(&routes, [192, 0, 2, 1]), Some([10, 0, 0, 1].into()));
    assert_eq!(gateway(&routes, [10, 2, 0, 1]), Some([10, 0, 0, 4].into()), "the smaller metric");
    assert_eq!(gateway(&routes, [10, 1, 0, 1]), Some([10, 0, 0, 3].into()), "the longer prefix");
    assert!(routes.remove(&route([10, 0, 0, 0], 8, 4, 0)));
    assert!(!routes.remove(&route([10, 0, 0, 0], 8, 4, 0)));
    assert_eq!(gateway(&routes, [10, 2, 0, 1]), Some([10, 0, 0, 2].into()));
}

#[test]
fn routes_are_bounded_and_replaced() {
    let mut routes = Routes::new(1);
    routes.add(route([10, 0, 0, 0], 8, 1, 5)).expect("there is room");
    assert_eq!(routes.add(route([11, 0, 0, 0], 8, 1, 5)), Err(TooManyRoutes));
    routes.add(route([10, 0, 0, 0], 8, 1, 7)).expect("it replaces the other");
    assert_eq!(routes.iter().map(|route| route.metric).collect::<Vec<_>>(), [7]);
}

proptest! {
    /// Beside a model that looks at all of them.
    #[test]
    fn behaves_like_a_list(
        added in prop::collection::vec((0_u32..16, 0_u8..=32, 0_u8..4, 0_u32..3), 0..24),
        asked in prop::collection::vec(0_u32..16, 1..16),
    ) {
        let mut routes = Routes::new(64);
        let mut model: Vec<Route> = Vec::new();
        for (bits, len, gateway, metric) in added {
            let new = route(spread(bits).octets(), len, gateway, metric);
            routes.add(new).expect("there is room");
            let is_same = |old: &Route| old.prefix.is_same_network(new.prefix) && old.gateway == new.gateway;
            model.retain(|old| !is_same(old));
            model.push(new);
        }
        for bits in asked {
            let dst = IpAddr::V4(spread(bits));
            let fitting = model.iter().filter(|route| route.prefix.contains(dst));
            let best = fitting.min_by_key(|route| (32 - route.prefix.len(), route.metric));
            prop_assert_eq!(routes.lookup(dst), best);
        }
    }
}

/// Few addresses that share prefixes of many lengths.
fn spread(bits: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits((bits & 3) | ((bits & 4) << 14) | ((bits & 8) << 28))
}

//! RFC 4861 §6.3, RFC 4862 §5.5, RFC 4191, RFC 8106, RFC 7217.

mod parameters;

use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;

use sunstar_wire::{
    DnsServers, NdpMessage, NdpOption, PrefixInformation, RouteInformation, RouterAdvertisement, RouterPreference,
};

use super::{ALL_NODES, PEER_LOCAL, Script, discovery, mac};
use crate::configuration::Change;
use crate::prefix::Prefix;
use crate::routes::Route;
use crate::stack::AutoconfOptions;
use crate::udp::UdpOptions;

const SECOND: Duration = Duration::from_secs(1);
const NETWORK: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 5, 0, 0, 0, 0);

fn prefix_option(valid_s: u32, preferred_s: u32) -> NdpOption<'static> {
    let (is_on_link, is_autonomous) = (true, true);
    NdpOption::Prefix(PrefixInformation { len: 64, is_on_link, is_autonomous, valid_s, preferred_s, prefix: NETWORK })
}

pub(super) fn router(lifetime_s: u16) -> RouterAdvertisement {
    RouterAdvertisement { lifetime_s, ..RouterAdvertisement::default() }
}

impl Script {
    pub(super) fn autoconfigured(secret: u8) -> Self {
        let mut script = Self::new();
        let options = AutoconfOptions { secret: [secret; 16], follows_routers: true };
        script.stack.autoconfigure(script.now, script.link, options).expect("it is an Ethernet");
        script.wait(SECOND);
        script
    }

    pub(super) fn advertise(&mut self, advertisement: RouterAdvertisement, options: &[NdpOption<'_>]) {
        let options = [&[NdpOption::SourceLinkLayer(mac(1))], options].concat();
        self.ndp((PEER_LOCAL, ALL_NODES), &NdpMessage::RouterAdvertisement(advertisement), &options);
    }

    pub(super) fn addresses_v6(&self) -> Vec<Ipv6Addr> {
        self.stack.interface(self.link).expect("it is there").addresses_v6().collect()
    }

    pub(super) fn global(&self) -> Option<Ipv6Addr> {
        self.addresses_v6().into_iter().find(|address| !address.is_unicast_link_local())
    }

    fn routes_v6(&self) -> Vec<Route> {
        let is_heard = |route: &&Route| route.prefix.address().is_ipv6() && route.metric > 0;
        self.stack.routes().filter(is_heard).copied().collect()
    }
}

/// RFC 4862 §5.3, RFC 4861 §6.3.7.
#[test]
fn routers_are_asked() {
    let mut script = Script::autoconfigured(1);
    let [local] = script.addresses_v6()[..] else { panic!("{:?}", script.addresses_v6()) };
    assert!(local.is_unicast_link_local());
    let all_routers = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
    let mut count = 0;
    for _ in 0..30 {
        for sent in discovery(script.sent()) {
            if sent.ndp().0 == NdpMessage::RouterSolicitation {
                assert_eq!((sent.ip_v6().src(), sent.ip_v6().dst()), (local, all_routers));
                assert_eq!(sent.ndp().1, [NdpOption::SourceLinkLayer(mac(0))]);
                count += 1;
            }
        }
        script.wait(SECOND);
    }
    assert_eq!(count, 3);
}

#[test]
fn a_router_configures_us() {
    let mut script = Script::autoconfigured(1);
    let server = [Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x53).octets()];
    let behind = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 0);
    let preference = Some(RouterPreference::High);
    let options = [
        prefix_option(86_400, 14_400),
        NdpOption::Mtu(1_400),
        NdpOption::Route(RouteInformation { len: 48, preference, lifetime_s: 600, prefix: behind }),
        NdpOption::DnsServers(DnsServers::new(300, &server)),
    ];
    script.advertise(router(1_800), &options);
    script.wait(SECOND);
    let global = script.global().expect("it was chosen");
    assert_eq!(global.segments()[..4], NETWORK.segments()[..4]);
    assert_eq!(
        script.stack.interface(script.link).map(|interface| (interface.mtu_v4(), interface.mtu_v6())),
        Some((1_500, 1_400))
    );
    assert_eq!(script.stack.name_servers(), [IpAddr::from(server[0])]);
    let gateway = Some(IpAddr::V6(PEER_LOCAL));
    let routes: Vec<_> = script.routes_v6().iter().map(|route| (route.prefix.len(), route.gateway)).collect();
    assert_eq!(routes, [(64, None), (48, gateway), (0, gateway)]);
    // All of it is handed out for other shards.
    let mut other = Script::new();
    while let Some(change) = script.stack.poll_change() {
        other.stack.apply(other.now, &change).expect("as here");
    }
    assert_eq!((other.addresses_v6(), other.routes_v6()), (script.addresses_v6(), script.routes_v6()));
    assert_eq!(other.stack.name_servers(), script.stack.name_servers());
    // And ends.
    script.wait(300 * SECOND);
    assert!(script.stack.name_servers().is_empty());
    script.wait(300 * SECOND);
    assert_eq!(script.routes_v6().len(), 2);
    script.wait(86_400 * SECOND);
    assert_eq!((script.routes_v6().len(), script.global()), (0, None));
}

/// RFC 7217: stable, and another one with another secret, or in another network.
#[test]
fn addresses_are_stable_and_opaque() {
    let of = |secret| {
        let mut script = Script::autoconfigured(secret);
        script.advertise(router(0), &[prefix_option(9_000, 9_000)]);
        script.wait(SECOND);
        script.addresses_v6()
    };
    let (one, again, other) = (of(1), of(1), of(2));
    assert_eq!(one, again);
    assert!(one[0] != other[0] && one[1] != other[1] && one[0].octets()[8..] != one[1].octets()[8..]);
}

/// RFC 7217 §6.
#[test]
fn taken_addresses_are_replaced() {
    let mut script = Script::autoconfigured(1);
    script.sent();
    script.advertise(router(0), &[prefix_option(9_000, 9_000)]);
    let sent = discovery(script.sent());
    let NdpMessage::NeighbourSolicitation { target } = sent[0].ndp().0 else { panic!("{sent:?}") };
    let (is_router, is_solicited, is_override) = (false, false, true);
    let objection = NdpMessage::NeighbourAdvertisement { target, is_router, is_solicited, is_override };
    script.ndp((target, ALL_NODES), &objection, &[NdpOption::TargetLinkLayer(mac(1))]);
    script.wait(SECOND);
    let global = script.global().expect("another one was chosen");
    assert_ne!(global, target);
    assert_eq!(global.segments()[..4], NETWORK.segments()[..4]);
}

/// RFC 4862 §5.5.3, e: a forged lifetime does not throw us off.
#[test]
fn short_lifetimes_are_not_believed() {
    let mut script = Script::autoconfigured(1);
    script.advertise(router(0), &[prefix_option(86_400, 86_400)]);
    script.wait(SECOND);
    script.advertise(router(0), &[prefix_option(1, 1)]);
    script.wait(7_000 * SECOND);
    assert!(script.global().is_some());
    script.wait(300 * SECOND);
    assert!(script.global().is_none(), "two hours it is");
}

/// RFC 4862 §5.5.4.
#[test]
fn addresses_are_deprecated() {
    let mut script = Script::autoconfigured(1);
    script.advertise(router(0), &[prefix_option(9_000, 100)]);
    script.wait(SECOND);
    let address = IpAddr::V6(script.global().expect("it was chosen"));
    while script.stack.poll_change().is_some() {}
    script.wait(100 * SECOND);
    let change = Change::SetPreferred { interface: script.link, address, is_preferred: false };
    assert_eq!(script.stack.poll_change(), Some(change));
    assert!(script.global().is_some());
}

/// The same while it is asked for.
#[test]
fn addresses_are_deprecated_before_they_are_ours() {
    let mut script = Script::autoconfigured(1);
    script.advertise(router(0), &[prefix_option(9_000, 0)]);
    script.wait(SECOND / 2);
    script.wait(SECOND);
    let address = script.global().expect("it was chosen");
    assert!(!script.stack.interface(script.link).expect("it is there").is_preferred(address.into()));
}

/// Whoever makes up prefixes does not have us look at all connections again and again.
#[test]
fn no_address_is_chosen_for_moments() {
    let mut script = Script::autoconfigured(1);
    script.advertise(router(0), &[prefix_option(9, 9)]);
    script.wait(SECOND);
    assert_eq!(script.global(), None);
    script.advertise(router(0), &[prefix_option(10, 10)]);
    script.wait(SECOND);
    assert!(script.global().is_some());
}

/// RFC 4861 §6.3.7: only a default router ends the search.
#[test]
fn routers_are_asked_until_one_forwards() {
    let questions = |lifetime_s| {
        let mut script = Script::autoconfigured(1);
        script.sent();
        script.advertise(router(lifetime_s), &[]);
        let mut count = 0;
        for _ in 0..30 {
            script.wait(SECOND);
            count +=
                discovery(script.sent()).iter().filter(|sent| sent.ndp().0 == NdpMessage::RouterSolicitation).count();
        }
        count
    };
    assert_eq!((questions(0), questions(1_800)), (2, 0));
}

/// RFC 4861 §6.3.4: a lifetime of zero ends a default router; RFC 4191 §2.2: the preferred one is asked first.
#[test]
fn routers_come_and_go() {
    let mut script = Script::autoconfigured(1);
    let high = RouterAdvertisement { preference: RouterPreference::High, ..router(1_800) };
    script.advertise(high, &[]);
    let other = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 3);
    script.ndp((other, ALL_NODES), &NdpMessage::RouterAdvertisement(router(1_800)), &[]);
    let gateways = |script: &Script| script.routes_v6().iter().map(|route| route.gateway).collect::<Vec<_>>();
    let (first, second) = (Some(IpAddr::V6(PEER_LOCAL)), Some(IpAddr::V6(other)));
    assert_eq!(gateways(&script), [first, second]);
    script.advertise(router(0), &[]);
    assert_eq!(gateways(&script), [second]);
}

/// RFC 4861 §6.1.2: what no router of the link has sent.
#[test]
fn routers_from_elsewhere_are_not_believed() {
    let mut script = Script::autoconfigured(1);
    let message = NdpMessage::RouterAdvertisement(router(1_800));
    script.ndp((super::PEER, ALL_NODES), &message, &[]);
    let mut manually = Script::v6();
    manually.advertise(router(1_800), &[prefix_option(9_000, 9_000)]);
    assert_eq!((script.routes_v6().len(), manually.routes_v6().len()), (0, 0), "nor where nobody has asked for it");
}

/// Nobody makes us remember more than is useful.
#[test]
fn what_is_heard_is_bounded() {
    let mut script = Script::autoconfigured(1);
    for network in 0..100 {
        let prefix = Ipv6Addr::new(0x2001, 0xdb8, network, 5, 0, 0, 0, 0);
        let (is_on_link, is_autonomous) = (true, true);
        let (valid_s, preferred_s) = (9_000, 9_000);
        let option = PrefixInformation { len: 64, is_on_link, is_autonomous, valid_s, preferred_s, prefix };
        script.advertise(router(0), &[NdpOption::Prefix(option)]);
    }
    script.wait(SECOND);
    assert_eq!((script.addresses_v6().len(), script.routes_v6().len()), (16, 16));
}

/// RFC 4861 §8.3.
#[test]
fn redirects_lead_elsewhere() {
    let mut script = Script::autoconfigured(1);
    script.advertise(router(1_800), &[prefix_option(9_000, 9_000)]);
    script.wait(SECOND);
    let local = script.addresses_v6()[0];
    let (target, destination) =
        (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9), Ipv6Addr::new(0x2001, 0xdb8, 9, 9, 0, 0, 0, 9));
    let redirect = NdpMessage::Redirect { target, destination };
    script.ndp((Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 7), local), &redirect, &[]);
    assert_eq!(script.routes_v6().len(), 2, "not by anybody");
    script.ndp((PEER_LOCAL, local), &redirect, &[NdpOption::TargetLinkLayer(mac(9))]);
    let prefix = Prefix::new(destination, 128).expect("128 bits");
    let route = script.routes_v6()[0];
    assert_eq!((route.prefix, route.gateway), (prefix, Some(IpAddr::V6(target))));
}

/// RFC 4861 §6.3.6: a router that does not answer is passed over, until it says something.
#[test]
fn silent_routers_are_passed_over() {
    let mut script = Script::autoconfigured(1);
    let high = RouterAdvertisement { preference: RouterPreference::High, ..router(1_800) };
    let silent = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 3);
    script.ndp((silent, ALL_NODES), &NdpMessage::RouterAdvertisement(high), &[]);
    script.advertise(router(1_800), &[prefix_option(9_000, 9_000)]);
    script.wait(SECOND);
    script.sent();
    let far = Ipv6Addr::new(0x2001, 0xdb8, 9, 9, 0, 0, 0, 9);
    let id = script.stack.udp_bind((Ipv6Addr::UNSPECIFIED, 0).into(), UdpOptions::DEFAULT).expect("there is a port");
    let send = |script: &mut Script| {
        let payload = sunstar_packet::Packet::from(sunstar_packet::Buffer::from_static(b"hello"));
        script.stack.udp_send(script.now, id, Some((far, 9).into()), payload).expect("there is room");
        let sent = script.sent();
        sent.iter().find(|sent| sent.ip_v6().dst() == far).map(|sent| sent.ethernet.dst)
    };
    assert_eq!(send(&mut script), None, "the preferred one is asked for");
    for _ in 0..3 {
        script.wait(SECOND + Duration::from_millis(1));
        script.sent();
    }
    assert_eq!(send(&mut script), Some(mac(1)), "the other one");
    let option = NdpOption::SourceLinkLayer(mac(3));
    script.ndp((silent, ALL_NODES), &NdpMessage::RouterAdvertisement(high), &[option]);
    assert_eq!(send(&mut script), Some(mac(3)));
}

/// Routes that did not fit once come with the next advertisement.
#[test]
fn what_did_not_fit_is_heard_again() {
    let mut script = Script::autoconfigured(1);
    while script.stack.poll_change().is_some() {}
    let (interface, address) = (script.link, PEER_LOCAL.into());
    for _ in 0..crate::configuration::MAX_CHANGES {
        let change = Change::SetPreferred { interface, address, is_preferred: true };
        script.stack.configure(script.now, change).expect("there is room");
    }
    let has_router = |script: &Script| script.stack.routes().any(|route| route.gateway == Some(PEER_LOCAL.into()));
    script.advertise(router(1_800), &[]);
    assert!(!has_router(&script));
    while script.stack.poll_change().is_some() {}
    script.advertise(router(1_800), &[]);
    assert!(has_router(&script));
}

/// What somebody has configured stays as it is, whatever routers say.
#[test]
fn static_routes_stay() {
    let mut script = Script::autoconfigured(1);
    let (interface, gateway) = (script.link, Some(IpAddr::V6(PEER_LOCAL)));
    let default = Route { prefix: Prefix::ALL_V6, gateway, interface, metric: 7 };
    let on_link = Route { prefix: Prefix::new(NETWORK, 64).expect("64 bits"), gateway: None, interface, metric: 256 };
    for route in [default, on_link] {
        script.stack.add_route(route).expect("there is room");
    }
    let stay = |script: &Script| assert_eq!(script.routes_v6(), [on_link, default]);
    script.advertise(router(1_800), &[prefix_option(9_000, 9_000)]);
    stay(&script);
    script.advertise(router(0), &[prefix_option(0, 0)]);
    stay(&script);
    script.stack.remove_route(&default);
    script.advertise(router(1_800), &[]);
    let other = Route { metric: 1_024, ..default };
    assert_eq!(script.routes_v6(), [on_link, other], "there is room for what is heard");
    script.stack.add_route(default).expect("there is room");
    script.wait(1_800 * SECOND);
    stay(&script);
}

/// RFC 4861 §7.2.5.
#[test]
fn who_is_no_router_any_more_is_left() {
    let mut script = Script::autoconfigured(1);
    script.advertise(router(1_800), &[prefix_option(9_000, 9_000)]);
    script.wait(SECOND);
    let local = script.addresses_v6()[0];
    let says = |script: &mut Script, is_router| {
        let (target, is_solicited, is_override) = (PEER_LOCAL, true, true);
        let message = NdpMessage::NeighbourAdvertisement { target, is_router, is_solicited, is_override };
        script.ndp((target, local), &message, &[NdpOption::TargetLinkLayer(mac(1))]);
    };
    says(&mut script, true);
    assert_eq!(script.routes_v6().len(), 2);
    says(&mut script, false);
    assert_eq!(script.routes_v6().iter().map(|route| route.prefix.len()).collect::<Vec<_>>(), [64]);
}

/// Redirects take no places from routers and prefixes, nor these from them; the oldest one goes.
#[test]
fn redirects_have_places_of_their_own() {
    let mut script = Script::autoconfigured(1);
    for network in 0..20 {
        let prefix = Ipv6Addr::new(0x2001, 0xdb8, network, 5, 0, 0, 0, 0);
        let option = PrefixInformation {
            len: 64,
            is_on_link: true,
            is_autonomous: false,
            valid_s: 9_000,
            preferred_s: 9_000,
            prefix,
        };
        script.advertise(router(1_800), &[NdpOption::Prefix(option)]);
    }
    assert_eq!((script.routes_v6().len(), script.stack.counters().router_routes_refused), (16, 5));
    let local = script.addresses_v6()[0];
    let target = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);
    let far = |last| Ipv6Addr::new(0x2001, 0xdb8, 99, 9, 0, 0, 0, last);
    for last in 0..20 {
        let redirect = NdpMessage::Redirect { target, destination: far(last) };
        script.ndp((PEER_LOCAL, local), &redirect, &[NdpOption::TargetLinkLayer(mac(9))]);
    }
    let redirected: Vec<_> = script.routes_v6().into_iter().filter(|route| route.prefix.len() == 128).collect();
    let expected: Vec<_> = (4..20).map(|last| IpAddr::V6(far(last))).collect();
    assert_eq!(redirected.iter().map(|route| route.prefix.address()).collect::<Vec<_>>(), expected);
    assert_eq!(script.stack.counters().redirects_forgotten, 4);
}

/// RFC 4861 §7.3.3: to whom a router has sent us and who does not answer is left.
#[test]
fn silent_ways_of_redirects_are_left() {
    let mut script = Script::autoconfigured(1);
    script.advertise(router(1_800), &[prefix_option(9_000, 9_000)]);
    script.wait(SECOND);
    let local = script.addresses_v6()[0];
    let target = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);
    let far = Ipv6Addr::new(0x2001, 0xdb8, 9, 9, 0, 0, 0, 9);
    script.ndp((PEER_LOCAL, local), &NdpMessage::Redirect { target, destination: far }, &[]);
    script.sent();
    let id = script.stack.udp_bind((Ipv6Addr::UNSPECIFIED, 0).into(), UdpOptions::DEFAULT).expect("there is a port");
    let send = |script: &mut Script| {
        let payload = sunstar_packet::Packet::from(sunstar_packet::Buffer::from_static(b"hello"));
        script.stack.udp_send(script.now, id, Some((far, 9).into()), payload).expect("there is room");
        script.sent().iter().find(|sent| sent.ip_v6().dst() == far).map(|sent| sent.ethernet.dst)
    };
    assert_eq!(send(&mut script), None, "the better one is asked for");
    for _ in 0..3 {
        script.wait(SECOND + Duration::from_millis(1));
        script.sent();
    }
    assert_eq!((script.routes_v6().len(), send(&mut script)), (2, Some(mac(1))));
}

/// What is out of use is not configured by what it has heard before.
#[test]
fn nothing_is_left_of_an_interface_that_is_taken_down() {
    let mut script = Script::autoconfigured(1);
    let server = [Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x53).octets()];
    let options = [prefix_option(9_000, 9_000), NdpOption::DnsServers(DnsServers::new(300, &server))];
    script.advertise(router(1_800), &options);
    script.sent();
    assert!(script.stack.take_down(script.now, script.link));
    for _ in 0..10 {
        script.wait(SECOND);
    }
    script.advertise(router(1_800), &options);
    assert_eq!((script.sent().len(), script.addresses_v6(), script.routes_v6()), (0, vec![], vec![]));
    assert!(script.stack.name_servers().is_empty());
    let options = AutoconfOptions { secret: [1; 16], follows_routers: true };
    script.stack.autoconfigure(script.now, script.link, options).expect("it is an Ethernet");
    script.wait(SECOND);
    assert_eq!(script.addresses_v6().len(), 1, "it can be used again");
}

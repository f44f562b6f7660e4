//! What changes while the stack runs, and how other shards' stacks follow.

use core::net::Ipv4Addr;
use core::time::Duration;

use super::script::{PEER, Script, US};
use crate::configuration::{Change, MAX_CHANGES, MAX_NAME_SERVERS, Origin};
use crate::interface::InterfaceId;
use crate::prefix::Prefix;
use crate::routes::Route;
use crate::stack::{ConfigError, Limits};
use crate::tcp::connection::{Failure, Options, State};

const OTHER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

fn add(interface: InterfaceId) -> Change {
    Change::AddAddress { interface, address: Prefix::new(OTHER, 24).expect("32 bits") }
}

fn default_route(interface: InterfaceId) -> Route {
    Route { prefix: Prefix::ALL_V4, gateway: Some(PEER.into()), interface, metric: 0 }
}

fn all(interface: InterfaceId) -> [Change; 5] {
    let servers = vec![PEER.into(), US.into()];
    [
        add(interface),
        Change::AddRoute(default_route(interface)),
        Change::SetMtu { interface, origin: Origin::Static, mtu: 1_280 },
        Change::SetNameServers { interface, origin: Origin::Dhcpv4, servers },
        Change::SetSearchDomains { interface, origin: Origin::Dhcpv4, domains: vec!["example.org".into()] },
    ]
}

/// One stack is told, the other one follows: they are configured alike, and one of them speaks of it.
#[test]
fn others_follow_in_silence() {
    let (mut one, mut other) = (Script::new(), Script::new());
    for change in all(one.link) {
        one.stack.configure(one.now, change).expect("there is room");
    }
    while let Some(change) = one.stack.poll_change() {
        other.stack.apply(other.now, &change).expect("there is room");
    }
    assert!(!other.stack.has_event() && other.stack.poll_change().is_none());
    for script in [&one, &other] {
        let interface = script.stack.interface(script.link).expect("it is there");
        assert_eq!(interface.addresses().len(), 2);
        assert_eq!(interface.options().mtu, 1_280);
        assert!(script.stack.routes().any(|route| *route == default_route(script.link)));
        assert_eq!(script.stack.name_servers(), [PEER, US]);
        assert_eq!(script.stack.search_domains(), ["example.org".into()]);
    }
    assert_eq!((one.sent_one().arp().spa, other.sent().len()), (OTHER, 0), "an address is announced once");
}

#[test]
fn connections_end_with_their_address() {
    let mut script = Script::with_peer();
    let interface = script.link;
    script.stack.configure(script.now, add(interface)).expect("there is room");
    let open = |script: &mut Script, from: Ipv4Addr| {
        let (from, to) = (Some((from, 0).into()), (PEER, 80).into());
        script.stack.connect(script.now, from, to, Options::DEFAULT).expect("there is a way")
    };
    let [gone, stays] = [OTHER, US].map(|from| open(&mut script, from));
    let remove = Change::RemoveAddress { interface, address: OTHER.into() };
    script.stack.configure(script.now, remove.clone()).expect("a removal");
    let connection = script.stack.tcp().connection(gone).expect("it is ours");
    assert_eq!((connection.state(), connection.failure()), (State::Closed, Some(Failure::Unreachable)));
    assert_eq!(script.stack.tcp().connection(stays).expect("it is ours").state(), State::SynSent);
    // It is no error that it is gone.
    script.stack.configure(script.now, remove).expect("a removal");
}

#[test]
fn what_waits_to_be_handed_out_is_bounded() {
    let mut script = Script::new();
    let interface = script.link;
    let prefer = |address| Change::SetPreferred { interface, address, is_preferred: true };
    for _ in 0..MAX_CHANGES {
        script.stack.configure(script.now, prefer(PEER.into())).expect("there is room");
    }
    let mtu = |mtu| Change::SetMtu { interface, origin: Origin::Static, mtu };
    assert_eq!(script.stack.configure(script.now, mtu(1_300)), Err(ConfigError::Full));
    assert_eq!(script.stack.interface(interface).expect("it is there").options().mtu, 1_500);
    let origin = Origin::Dhcpv4;
    let ends = [
        Change::RemoveAddress { interface, address: US.into() },
        Change::RemoveRoute(default_route(interface)),
        mtu(0),
        Change::SetNameServers { interface, origin, servers: vec![] },
        Change::SetSearchDomains { interface, origin, domains: vec![] },
    ];
    for change in [ends.clone(), ends.clone()].concat() {
        script.stack.configure(script.now, change).expect("what ends is never refused");
    }
    assert_eq!(core::iter::from_fn(|| script.stack.poll_change()).skip(MAX_CHANGES).collect::<Vec<_>>(), ends);
}

/// What comes and goes before it is handed out takes one place.
#[test]
fn what_was_overtaken_is_not_handed_out() {
    let mut script = Script::new();
    let (interface, route) = (script.link, default_route(script.link));
    let remove = Change::RemoveAddress { interface, address: OTHER.into() };
    for _ in 0..2 * MAX_CHANGES {
        for change in [add(interface), remove.clone(), Change::AddRoute(route), Change::RemoveRoute(route)] {
            script.stack.configure(script.now, change).expect("there is room");
        }
    }
    let left: Vec<_> = core::iter::from_fn(|| script.stack.poll_change()).collect();
    assert_eq!(left, [remove, Change::RemoveRoute(route)]);
}

#[test]
fn what_cannot_be_is_refused_and_not_told() {
    let mut script = Script::with_limits(Limits { routes: 1, ..Limits::DEFAULT });
    let nowhere = InterfaceId(9);
    let (full, none) = (ConfigError::Full, ConfigError::NoInterface);
    let remove = Change::RemoveAddress { interface: nowhere, address: US.into() };
    let broadcast = Prefix::new(Ipv4Addr::BROADCAST, 24).expect("32 bits");
    for (change, error) in [
        (add(nowhere), none),
        (add(script.link), full),
        (Change::AddAddress { interface: script.link, address: broadcast }, ConfigError::Address),
        (Change::SetMtu { interface: nowhere, origin: Origin::Static, mtu: 1_400 }, none),
        (Change::AddRoute(default_route(script.link)), full),
        (remove, none),
    ] {
        assert_eq!(script.stack.configure(script.now, change), Err(error));
    }
    assert_eq!(script.stack.poll_change(), None);
}

/// The device's MTU is the most; 576 is the least (RFC 791 §3.1).
#[test]
fn mtus_are_within_bounds() {
    let mut script = Script::new();
    let interface = script.link;
    for (asked, got) in [(1_400, 1_400), (9_000, 1_500), (68, 576), (0, 1_500)] {
        script
            .stack
            .configure(script.now, Change::SetMtu { interface, origin: Origin::Static, mtu: asked })
            .expect("there is room");
        assert_eq!(script.stack.interface(interface).expect("it is there").options().mtu, got);
    }
}

/// What DHCP says is for IPv4, what routers say for IPv6; and neither forgets what the other has said.
#[test]
fn each_version_has_an_mtu() {
    let mut script = Script::new();
    let interface = script.link;
    for (origin, mtu, expected) in [
        (Origin::Dhcpv4, 1_000, (1_000, 1_500)),
        (Origin::RouterAdvertisement, 1_400, (1_000, 1_400)),
        (Origin::Static, 1_300, (1_000, 1_300)),
        (Origin::Dhcpv4, 0, (1_300, 1_300)),
        (Origin::RouterAdvertisement, 0, (1_300, 1_300)),
        (Origin::Static, 600, (600, 1_280)),
        (Origin::Static, 0, (1_500, 1_500)),
    ] {
        script.stack.configure(script.now, Change::SetMtu { interface, origin, mtu }).expect("there is room");
        let link = script.stack.interface(interface).expect("it is there");
        assert_eq!((link.mtu_v4(), link.mtu_v6(), link.speaks_v6()), (expected.0, expected.1, true));
    }
}

/// Who runs the host is believed first, and the same server is asked once.
#[test]
fn name_servers_have_an_order() {
    let mut script = Script::new();
    let server = |last: u8| Ipv4Addr::new(192, 0, 2, last).into();
    let mut set = |origin, lasts: &[u8]| {
        let servers = lasts.iter().map(|last| server(*last)).collect();
        let change = Change::SetNameServers { interface: script.link, origin, servers };
        script.stack.configure(script.now, change).expect("there is room");
        script.stack.name_servers()
    };
    set(Origin::Dhcpv4, &[1, 2]);
    assert_eq!(set(Origin::Static, &[2, 3]), [2, 3, 1].map(server));
    assert_eq!(set(Origin::Dhcpv4, &[4]), [2, 3, 4].map(server));
    assert_eq!(set(Origin::Static, &[]), [4].map(server));
    let many: Vec<u8> = (1..100).collect();
    assert_eq!(set(Origin::Dhcpv4, &many).len(), MAX_NAME_SERVERS);
    script.wait(Duration::ZERO);
}

//! What was found out a moment ago holds until something changes.

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use sunstar_wire::Arp;

use super::script::{PEER, Script, US};
use super::world::{World, ethernet, mac};
use crate::configuration::{Change, Origin};
use crate::drops::DropReason;
use crate::interface::{Capabilities, InterfaceOptions};
use crate::prefix::Prefix;
use crate::routes::Route;
use crate::stack::{Limits, Stack};
use crate::tcp::connection::{Failure, Options, PathProbing};
use crate::tcp::sockets::SocketId;
use crate::tcp::test_stream::data;
use crate::time::Instant;

fn connect(script: &mut Script) -> SocketId {
    script.stack.connect(script.now, None, (PEER, 80).into(), Options::DEFAULT).expect("there is a way")
}

#[test]
fn neighbours_may_change_their_addresses() {
    let mut script = Script::new();
    script.meet();
    for station in [1, 5, 6] {
        script.arp(&Arp::announcement(mac(station), PEER));
        connect(&mut script);
        assert_eq!(script.sent_one().ethernet.dst, mac(station));
    }
}

#[test]
fn routes_may_come_and_go() {
    let mut script = Script::new();
    script.meet();
    connect(&mut script);
    assert_eq!(script.sent_one().ethernet.dst, mac(1));
    let prefix = Prefix::new(IpAddr::V4(US), 24).expect("24 bits");
    let route = Route { prefix, gateway: None, interface: script.link, metric: 0 };
    assert!(script.stack.remove_route(&route));
    // The SYN again.
    script.wait(Duration::from_secs(1));
    assert_eq!((script.sent().len(), script.dropped(DropReason::NoRoute)), (0, 1));
    let gateway = Ipv4Addr::new(192, 0, 2, 9);
    script.stack.add_route(Route { gateway: Some(IpAddr::V4(gateway)), ..route }).expect("there is room");
    script.wait(Duration::from_secs(3));
    assert_eq!(script.sent_one().arp().tpa, gateway, "another neighbour is asked for");
}

/// A router that does not answer says nothing of those who go by another interface by now.
#[test]
fn a_silent_router_is_of_no_interest_to_who_goes_another_way() {
    for changes in [false, true] {
        let mut stack = Stack::new([1; 16], Limits::DEFAULT);
        let mut now = Instant::from_micros(1_000_000);
        let routers = [Ipv4Addr::new(192, 0, 2, 9), Ipv4Addr::new(198, 51, 100, 9)];
        let routes = [0, 1].map(|at: u8| {
            let interface = stack.add_interface(ethernet(at)).expect("there is room");
            let [a, b, c, _] = routers[usize::from(at)].octets();
            let prefix = Prefix::new(Ipv4Addr::new(a, b, c, 1), 24).expect("24 bits");
            stack.add_address(now, interface, prefix).expect("it is a station's");
            Route { prefix: Prefix::ALL_V4, gateway: Some(routers[usize::from(at)].into()), interface, metric: 0 }
        });
        stack.add_route(routes[0]).expect("there is room");
        let to = (Ipv4Addr::new(203, 0, 113, 1), 80).into();
        let id = stack.connect(now, None, to, Options::DEFAULT).expect("there is a way");
        while stack.poll_transmit(now).is_some() {}
        if changes {
            assert!(stack.remove_route(&routes[0]));
            stack.add_route(routes[1]).expect("there is room");
        }
        while stack.drops().count(DropReason::NeighbourSilent) == 0 {
            now = stack.deadline().expect("it is asked again");
            stack.handle_timeout(now);
            while stack.poll_transmit(now).is_some() {}
        }
        let failure = stack.tcp().connection(id).expect("it is ours").failure();
        assert_eq!(failure, (!changes).then_some(Failure::Unreachable));
    }
}

/// What DHCP says is for IPv4, and connections that are open follow it.
#[test]
fn open_connections_follow_a_lowered_mtu() {
    let mut world = World::new([ethernet(0), ethernet(1)]);
    let pair = world.connected(Options { path_probing: PathProbing::Off, ..Options::DEFAULT });
    world.transfer(pair, 20_000);
    let largest = |world: &mut World| core::mem::take(&mut world.hosts[0].sent).into_iter().max();
    assert_eq!(largest(&mut world), Some(14 + 1_500));
    let (now, interface) = (world.now, world.hosts[0].link);
    let change = Change::SetMtu { interface, origin: Origin::Dhcpv4, mtu: 1_000 };
    world.stack(0).configure(now, change).expect("there is room");
    world.transfer(pair, 20_000);
    assert_eq!(largest(&mut world), Some(14 + 1_000));
}

/// What finds out how large segments may be leaves in pieces if its link has become narrower meanwhile: that they arrive tells nothing
/// (RFC 4821 §7.6.1).
#[test]
fn a_probe_that_was_cut_widens_nothing() {
    for segmentation_bytes in [None, Some(65_535)] {
        let capabilities = Capabilities { completes_checksums: segmentation_bytes.is_some(), segmentation_bytes };
        let mut world = World::new([InterfaceOptions { capabilities, ..ethernet(0) }, ethernet(1)]);
        let options = Options { mss: u16::MAX, path_probing: PathProbing::Always, base_mss: 600, ..Options::DEFAULT };
        let pair = world.connected(options);
        let (now, interface) = (world.now, world.hosts[0].link);
        let change = Change::SetMtu { interface, origin: Origin::Dhcpv4, mtu: 1_000 };
        world.stack(0).configure(now, change).expect("there is room");
        world.transfer(pair, 2_000_000);
        let found = world.stack(0).tcp().connection(pair[0]).expect("it is ours").info(now).snd_mss;
        assert!((940..=948).contains(&found), "{found}");
        assert!(segmentation_bytes.is_some() || world.hosts[0].stack.counters().segments_cut > 0, "one was too large");
    }
}

#[test]
fn connections_of_a_burst_are_named_before_it_is_handled() {
    let mut world = World::new([ethernet(0), ethernet(1)]);
    let listener = world.listen(Options::DEFAULT);
    let pairs = [(); 4].map(|()| {
        let client = world.connect(Options::DEFAULT);
        let mut server = None;
        world.run_until(|world| {
            server = world.stack(1).tcp().accept(listener);
            server.is_some()
        });
        (client, server.expect("it was accepted"))
    });
    for (client, _) in pairs {
        world.stack(0).tcp().send(client, data(0, 100)).expect("there is room");
    }
    let burst: Vec<_> =
        core::iter::from_fn(|| world.hosts[0].stack.poll_transmit(world.now)).map(|(_, packet)| packet).collect();
    let mut named = Vec::new();
    let link = world.hosts[1].link;
    world.stack(1).prefetch(link, &burst, |index| named.push(index));
    assert_eq!(named, pairs.map(|(_, server)| server.index()));
}

//! On the native stack, with the kernel as its client.

use super::datagrams::Datagrams;
use super::namespace::{in_namespace, ip};
use super::server::{Memcached, Setup, with_shards};

/// Runs it on the native stack, at the other end of a TAP device.
fn native(setup: Setup, arguments: &[&str]) -> Memcached {
    ip("tuntap add dev tap0 mode tap");
    ip("addr add 10.9.0.1/24 dev tap0");
    ip("link set tap0 up");
    let own = ["--network-stack", "native", "--device", "tap:tap0", "--host-ipv4-addr", "10.9.0.2", "--port", "11211"];
    Memcached::run(setup, &[&own[..], arguments].concat())
}

/// Datagrams with this many keys, one after the other, and what else there is; answers how many a packet filter has answered.
fn ask_all(server: &Memcached, keys: usize) -> u64 {
    let mut witness = server.client();
    let text: String = (0..keys).map(|key| format!("set key{key} {key} 0 5\r\nv{key:04}\r\n")).collect();
    witness.ask(text, "STORED\r\n".repeat(keys));
    let mut client = Datagrams::connect("10.9.0.1", server.address());
    for key in 0..keys {
        client.ask(&format!("get key{key}\r\n"), &format!("VALUE key{key} {key} 5\r\nv{key:04}\r\nEND\r\n"));
        client.ask(&format!("get none{key}\r\n"), "END\r\n");
    }
    let hooked = witness.figure("datagrams_in_hook");
    // These go the usual way.
    let value = "x".repeat(3_000);
    client.ask("get key0 key1\r\n", "VALUE key0 0 5\r\nv0000\r\nVALUE key1 1 5\r\nv0001\r\nEND\r\n");
    client.ask("delete key0\r\n", "DELETED\r\n");
    witness.ask(format!("set long 0 0 3000\r\n{value}\r\n"), "STORED\r\n");
    client.ask("get long\r\n", &format!("VALUE long 0 3000\r\n{value}\r\nEND\r\n"));
    assert_eq!(witness.figure("datagrams_in_hook"), hooked);
    assert_eq!((witness.figure("datagrams"), witness.figure("datagrams_withheld")), (2 * keys as u64 + 3, 0));
    hooked
}

#[test]
fn a_packet_filter_answers_for_the_items_of_its_shard() {
    with_shards(|setup| {
        in_namespace(move || {
            let server = native(setup, &["-U", "11211", "--udp-in-hook"]);
            let hooked = ask_all(&server, 50);
            let shards = server.client().figure("threads");
            // Of other shards' keys the usual way is the only one.
            assert!(
                if shards == 1 { hooked == 100 } else { (1..100).contains(&hooked) },
                "{hooked} on {shards} shards"
            );
            // Neither does it answer an address without connection more than it was asked.
            let mut stranger = {
                ip("addr add 10.9.0.3/24 dev tap0");
                Datagrams::connect("10.9.0.3", server.address())
            };
            stranger.send("get key1\r\n");
            stranger.ask("get none\r\n", "END\r\n");
            let mut witness = server.client();
            while witness.figure("datagrams_withheld") == 0 {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            assert_eq!(witness.figure("datagrams_withheld"), 1);
            server.stop();
        });
    });
}

#[test]
fn a_packet_filter_keeps_to_the_budget_of_an_address() {
    with_shards(|setup| {
        in_namespace(move || {
            let server = native(setup, &["-U", "11211", "--udp-in-hook", "--udp-budget", "1"]);
            let mut witness = server.client();
            let value = "x".repeat(1_000);
            witness.ask(format!("set a 0 0 1000\r\n{value}\r\n"), "STORED\r\n");
            let mut client = Datagrams::connect("10.9.0.1", server.address());
            let answer = format!("VALUE a 0 1000\r\n{value}\r\nEND\r\n");
            // Each shard that answers has 67,200 bytes of it for this address, and this socket is one shard's.
            for _ in 0..65 {
                client.ask("get a\r\n", &answer);
            }
            for _ in 0..10 {
                client.send("get a\r\n");
            }
            client.ask("get none\r\n", "END\r\n");
            // What goes the usual way may be done after what a packet filter has answered.
            let mut figures = || ["datagrams_over_budget", "datagrams_withheld"].map(|name| witness.figure(name));
            while figures().iter().sum::<u64>() < 10 {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            assert_eq!(figures(), [10, 0]);
            server.stop();
        });
    });
}

/// Where nobody listens a packet filter answers nothing, and the stack says so.
#[test]
fn a_packet_filter_answers_for_its_address_alone() {
    with_shards(|setup| {
        in_namespace(move || {
            ip("tuntap add dev tap1 mode tap");
            ip("addr add 10.8.0.1/24 dev tap1");
            ip("link set tap1 up");
            let second = ["--device", "tap:tap1", "--host-ipv4-addr", "10.8.0.2"];
            let wanted = ["-U", "11211", "--udp-in-hook", "--address", "10.9.0.2"];
            let server = native(setup, &[&second[..], &wanted].concat());
            let mut witness = server.client();
            let mut elsewhere = Datagrams::connect("10.8.0.1", "10.8.0.2:11211".parse().expect("an address"));
            (0..20).for_each(|key| assert!(elsewhere.is_refused(&format!("get key{key}\r\n"))));
            assert_eq!((witness.figure("datagrams_in_hook"), witness.figure("datagrams")), (0, 0));
            let mut client = Datagrams::connect("10.9.0.1", server.address());
            (0..20).for_each(|key| client.ask(&format!("get key{key}\r\n"), "END\r\n"));
            assert!(witness.figure("datagrams_in_hook") > 0 && witness.figure("datagrams") == 20);
            server.stop();
        });
    });
}

#[test]
fn datagrams_come_by_the_native_stack_too() {
    with_shards(|setup| {
        in_namespace(move || {
            let server = native(setup, &["-U", "11211"]);
            assert_eq!(ask_all(&server, 20), 0);
            server.stop();
        });
    });
}

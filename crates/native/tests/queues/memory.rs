//! Links in memory: the shards of two hosts are those of one, and each has a link of its own.

use std::cell::Cell;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use sunstar_device::{FlowHash, Indirection, LinkOptions, link};
use sunstar_executor::current::shard_count;
use sunstar_executor::timer::sleep;
use sunstar_executor::{ShardId, invoke_on_all, local, submit_to};
use sunstar_native::{Network, SpreadCounters};
use sunstar_sim::Sim;
use sunstar_wire::toeplitz::{KEY_BYTES, MICROSOFT_KEY, SYMMETRIC_KEY};

use crate::talk::{HOSTS, Shared, assert_nothing_is_forwarded, both, serve, sum, talk};

/// What a shard has of both hosts.
struct Here([Rc<Network>; 2]);

async fn start(hosts: [Shared; 2]) {
    let (one, other) = link(LinkOptions::default());
    let [first, second] = &hosts;
    let networks = [
        first.start(first.device.attach(Box::new(one)), None, HOSTS[0]),
        second.start(second.device.attach(Box::new(other)), None, HOSTS[1]),
    ];
    for (network, address) in networks.iter().zip(HOSTS) {
        serve(network, address).await;
    }
    local::set(Rc::new(Here(networks)));
}

fn counted() -> SpreadCounters {
    both(&local::get::<Here>().expect("it is there").0)
}

/// Both hosts open connections to each other on all shards; answers what was forwarded, and how many connections were between two shards.
fn both_ways(shards: usize, key: Option<[u8; KEY_BYTES]>) -> (SpreadCounters, usize) {
    let mut sim = Sim::new(3);
    let outcome = Rc::new(Cell::new(None));
    let told = Rc::clone(&outcome);
    sim.background_host("both", shards, move || async move {
        let rss = key.map(|key| FlowHash { key, indirection: Indirection::Highest });
        let hosts = [Shared::new(rss.clone(), shards), Shared::new(rss, shards)];
        invoke_on_all(move || start(hosts)).await.expect("all shards run");
        let mut elsewhere = 0;
        for shard in ShardId::all(shard_count()) {
            let talk = || async {
                let here = local::get::<Here>().expect("it is there");
                let [one, other]: [Ipv4Addr; 2] = HOSTS;
                talk(&here.0[0], one, other).await + talk(&here.0[1], other, one).await
            };
            elsewhere += submit_to(shard, talk).await.expect("it runs");
        }
        // Until all connections are over.
        sleep(Duration::from_secs(1)).await;
        told.set(Some((sum(counted).await, elsewhere)));
        std::future::pending().await
    });
    sim.host("clock", 1, || sleep(Duration::from_secs(60)));
    sim.run().expect("the world ends well");
    outcome.take().expect("a minute is long")
}

#[test]
fn with_a_queue_for_each_shard_and_one_symmetric_key_nothing_is_forwarded() {
    for shards in [2, 4] {
        let (counted, elsewhere) = both_ways(shards, Some(SYMMETRIC_KEY));
        assert_nothing_is_forwarded(counted, elsewhere);
    }
}

/// Else who opens a connection still gets the answers, but who accepts it has it on any shard.
#[test]
fn with_other_keys_what_the_other_side_sends_is_forwarded() {
    for key in [None, Some(MICROSOFT_KEY)] {
        let (counted, elsewhere) = both_ways(2, key);
        assert!(counted.rx_forwarded > 20 && elsewhere > 5, "{counted:?}, {elsewhere}");
        assert_eq!((counted.tx_forwarded, counted.dropped), (0, 0));
    }
}

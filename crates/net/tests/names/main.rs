//! The resolver and servers that behave as scripts say, in simulation.

mod connecting;
mod servers;

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use servers::{Script, at, resolver, run, run_with};
use sunstar_executor::combine::when_all;
use sunstar_executor::timer::now;
use sunstar_net::names::NameError;
use sunstar_sim::{Chance, SimOptions};

fn ip(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

#[test]
fn names_have_addresses_and_are_remembered() {
    run([Script::honest(), Script::silent()], || async {
        let resolver = resolver(&["first"]);
        assert_eq!(resolver.addresses("two.test").await.unwrap(), [ip(1), ip(2)]);
        assert_eq!(resolver.addresses("TWO.test.").await.unwrap(), [ip(1), ip(2)]);
        let counters = resolver.counters();
        // Of each version of IP.
        assert_eq!((counters.questions, counters.from_memory, counters.strays), (2, 2, 0));
        // It is remembered for a minute, and that there is none for half of one.
        sunstar_executor::timer::sleep(Duration::from_secs(45)).await;
        resolver.addresses("two.test").await.unwrap();
        assert_eq!(resolver.counters().questions, 3);
        sunstar_executor::timer::sleep(Duration::from_secs(20)).await;
        resolver.addresses("two.test").await.unwrap();
        assert_eq!(resolver.counters().questions, 4);
    });
}

#[test]
fn what_is_not_there_is_said_and_remembered() {
    run([Script::honest(), Script::silent()], || async {
        let resolver = resolver(&["first"]);
        for _ in 0..2 {
            assert_eq!(resolver.addresses("none.test").await, Err(NameError::NotFound));
            assert_eq!(resolver.services("two.test").await, Err(NameError::NoData));
        }
        // Each of the first name's two also in the domain.
        assert_eq!(resolver.counters().questions, 5);
        assert_eq!(resolver.addresses("no name").await, Err(NameError::Invalid));
        assert_eq!(resolver.addresses("192.0.2.9").await.unwrap(), [ip(9)]);
        assert_eq!(resolver.addresses("localhost").await.unwrap().len(), 2);
    });
}

#[test]
fn equal_questions_are_asked_once() {
    run([Script::honest(), Script::silent()], || async {
        let resolver = resolver(&["first"]);
        let asking: Vec<_> = (0..20).map(|_| resolver.addresses("two.test")).collect();
        for answer in when_all(asking).await {
            assert_eq!(answer.unwrap().len(), 2);
        }
        let counters = resolver.counters();
        assert_eq!((counters.questions, counters.joined, resolver.levels().1), (2, 38, 0));
        // Who gives up leaves nothing behind.
        drop(Box::pin(resolver.addresses("one.test")));
        let short = sunstar_executor::combine::with_timeout(Duration::ZERO, resolver.addresses("one.test"));
        assert!(short.await.is_err());
        assert_eq!(resolver.levels().1, 0);
    });
}

#[test]
fn services_aliases_and_names_of_addresses() {
    run([Script::honest(), Script::silent()], || async {
        let resolver = resolver(&["first"]);
        let services = resolver.services("_http._tcp.test").await.unwrap();
        let targets: Vec<_> = services.iter().map(|service| (&*service.target, service.port)).collect();
        assert_eq!(targets, [("one.test", 80), ("two.test", 8_080)]);
        assert_eq!(
            resolver.services("_gone._tcp.test").await.err(),
            Some(NameError::NoData),
            "it is said that there is none"
        );
        assert_eq!(*resolver.names_of(ip(1)).await.unwrap(), ["one.test".into()]);
        // Each of which has to be asked for.
        assert_eq!(resolver.addresses("alias3.test").await.unwrap(), [ip(1)]);
        assert_eq!(resolver.addresses("circle.test").await, Err(NameError::Aliases));
    });
}

#[test]
fn domains_are_searched() {
    run([Script::honest(), Script::silent()], || async {
        let resolver = resolver(&["first"]);
        assert_eq!(resolver.addresses("one").await.unwrap(), [ip(1)]);
        assert_eq!(resolver.addresses("one.").await, Err(NameError::NotFound));
    });
}

/// Servers that say nothing, that fail, that refuse, and none: the next one is asked, and then the one that has answered.
#[test]
fn other_servers_are_asked() {
    for script in [Script::silent(), Script::failing(), Script::absent()] {
        run([script, Script::honest()], || async {
            let resolver = resolver(&["first", "second"]);
            assert_eq!(resolver.addresses("one.test").await.unwrap(), [ip(1)]);
            let (failures, start) = (resolver.counters().failures, now());
            assert!(failures >= 1);
            assert_eq!(resolver.addresses("two.test").await.unwrap(), [ip(1), ip(2)]);
            assert_eq!(resolver.counters().failures, failures);
            assert!(now() - start < Duration::from_secs(1), "nobody waits for it again");
        });
    }
    run([Script::silent(), Script::silent()], || async {
        let (resolver, start) = (resolver(&["first", "second"]), now());
        assert_eq!(resolver.addresses("one.test").await, Err(NameError::TimedOut));
        assert!((11..14).contains(&(now() - start).as_secs()), "two servers, twice, three seconds each");
        assert_eq!(self::resolver(&[]).addresses("one.test").await, Err(NameError::NoServer));
    });
}

/// Neither another number nor another question, nor another sender; and a flood of them is not listened to for ever.
#[test]
fn lies_are_passed_over() {
    run([Script::lying(3), Script::liar(ip(66))], || async {
        let resolver = resolver(&["first"]);
        assert_eq!(resolver.addresses("one.test").await.unwrap(), [ip(1)]);
        assert!(resolver.counters().strays >= 6, "{:?}", resolver.counters());
    });
    run([Script::lying(100), Script::honest()], || async {
        let resolver = resolver(&["first", "second"]);
        assert_eq!(resolver.addresses("one.test").await.unwrap(), [ip(1)]);
        assert!(resolver.counters().failures >= 1);
    });
}

/// Servers were told how long answers may be.
#[test]
fn longer_datagrams_are_no_answers() {
    run([Script::honest(), Script::silent()], || async {
        let resolver = resolver(&["first"]);
        assert_eq!(resolver.addresses("huge.test").await, Err(NameError::TimedOut));
        assert_eq!(resolver.counters().strays, 2);
    });
}

/// Also if each step takes hardly less than it may.
#[test]
fn time_is_bounded() {
    run([Script::old().slow(Duration::from_secs(2)), Script::silent()], || async {
        let (resolver, start) = (resolver(&["first"]), now());
        assert_eq!(resolver.addresses("one.test").await, Err(NameError::TimedOut));
        assert_eq!((now() - start).as_secs(), 6, "with and without extensions, twice");
    });
    run([Script::honest().slow(Duration::from_millis(1_400)), Script::silent()], || async {
        let (resolver, start) = (resolver(&["first"]), now());
        assert_eq!(resolver.addresses("circle.test").await, Err(NameError::TimedOut));
        assert_eq!(((now() - start).as_secs(), resolver.levels().1), (20, 0), "nine names");
    });
}

#[test]
fn long_answers_come_by_tcp() {
    run([Script::honest(), Script::silent()], || async {
        let resolver = resolver(&["first"]);
        assert_eq!(resolver.addresses("many.test").await.unwrap().len(), 64, "as many as are taken");
        assert_eq!(resolver.counters().by_tcp, 1);
    });
}

/// RFC 6891 §7.
#[test]
fn old_servers_are_asked_again_without_extensions() {
    run([Script::old(), Script::silent()], || async {
        let resolver = resolver(&["first"]);
        assert_eq!(resolver.addresses("one.test").await.unwrap(), [ip(1)]);
        assert_eq!(resolver.counters().questions, 4);
    });
}

#[test]
fn loss_costs_time_only() {
    let mut options = SimOptions::default();
    options.network.datagram_loss = Chance::per_cent(30);
    options.network.datagram_duplication = Chance::per_cent(20);
    let mut found = 0;
    for seed in 0..20 {
        let count = Rc::new(std::cell::Cell::new(0));
        let counted = Rc::clone(&count);
        run_with(seed, options.clone(), [Script::honest(), Script::honest()], move || async move {
            let resolver = resolver(&["first", "second"]);
            counted.set(resolver.addresses("one.test").await.map_or(0, |_| 1));
        });
        found += count.get();
    }
    assert!(found >= 19, "{found} of 20");
}

#[test]
fn questions_under_way_are_bounded() {
    run([Script::silent(), Script::silent()], || async {
        let resolver = resolver(&["first"]);
        let names: Vec<String> = (0..300).map(|number| format!("n{number}.test")).collect();
        let asking: Vec<_> = names.iter().map(|name| resolver.addresses(name)).collect();
        let answers = when_all(asking).await;
        let busy = answers.iter().filter(|answer| **answer == Err(NameError::Busy)).count();
        assert_eq!((busy > 100, resolver.counters().refused > 200), (true, true));
        assert_eq!(resolver.levels().1, 0);
    });
}

#[test]
fn scripts_are_where_they_are_said_to_be() {
    run([Script::honest(), Script::silent()], || async {
        assert_ne!(at("first"), at("second"));
    });
}

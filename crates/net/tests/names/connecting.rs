//! Connections to hosts of several addresses (RFC 8305), over a network that says when it was asked for them.

use std::cell::RefCell;
use std::future::{pending, ready};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use sunstar_executor::Instant;
use sunstar_executor::timer::now;
use sunstar_net::names::CONNECT_TIME;
use sunstar_net::socket::{
    ConnectOptions, Connecting, DatagramOptions, DatagramSocket, Detached, ListenOptions, ListenSocket, Stack,
    StreamSocket, install, stack,
};
use sunstar_net::{Address, Error, TcpStream};

use super::servers::{Script, at, resolver, run};

/// A network on which some addresses never answer.
struct Recorded {
    inner: Rc<dyn Stack>,
    /// What becomes of attempts to connect.
    fate: fn(IpAddr) -> Fate,
    attempts: Rc<RefCell<Vec<(IpAddr, Instant)>>>,
}

#[derive(Clone, Copy)]
enum Fate {
    Silent,
    Refused,
    /// It ends at the first server.
    Works,
}

impl Stack for Recorded {
    fn listen(&self, address: &Address, options: &ListenOptions) -> Result<Rc<dyn ListenSocket>, Error> {
        self.inner.listen(address, options)
    }

    fn connect(&self, address: &Address, options: &ConnectOptions) -> Connecting {
        let ip = address.inet().expect("it is one").ip();
        self.attempts.borrow_mut().push((ip, now()));
        match (self.fate)(ip) {
            Fate::Silent => Connecting::new(pending()),
            Fate::Refused => Connecting::new(ready(Err(Error::ConnectionRefused))),
            Fate::Works => self.inner.connect(&at("first").into(), options),
        }
    }

    fn attach(&self, stream: Detached) -> Result<Rc<dyn StreamSocket>, Error> {
        self.inner.attach(stream)
    }

    fn bind(&self, address: &Address, options: &DatagramOptions) -> Result<Rc<dyn DatagramSocket>, Error> {
        self.inner.bind(address, options)
    }
}

/// Connects to a host; answers what came of it, and which attempts there were, in milliseconds from the first one.
async fn connect(name: &str, fate: fn(IpAddr) -> Fate) -> (Result<SocketAddr, Error>, Vec<(bool, u128)>) {
    let attempts = Rc::<RefCell<Vec<_>>>::default();
    let inner = stack().expect("one is installed");
    install(Rc::new(Recorded { inner, fate, attempts: Rc::clone(&attempts) }));
    resolver(&["first"]).install();
    let stream = sunstar_executor::combine::with_timeout(Duration::from_secs(100), TcpStream::connect_host(name, 53));
    let stream = stream.await.expect("it ends by itself");
    let attempts = attempts.borrow();
    let since = |when: Instant| (when - attempts[0].1).as_millis();
    let seen = attempts.iter().map(|(ip, when)| (ip.is_ipv6(), since(*when))).collect();
    (stream.and_then(|stream| stream.peer_address()), seen)
}

#[test]
fn ipv6_comes_first_and_ipv4_a_quarter_of_a_second_later() {
    run([Script::honest(), Script::silent()], || async {
        let works = |ip: IpAddr| if ip.is_ipv6() { Fate::Silent } else { Fate::Works };
        let (peer, attempts) = connect("dual.test", works).await;
        assert_eq!(peer, Ok(at("first")));
        assert!(matches!(attempts[..], [(true, 0), (false, 250..252)]), "{attempts:?}");
    });
    run([Script::honest(), Script::silent()], || async {
        let (peer, attempts) = connect("dual.test", |_| Fate::Works).await;
        assert_eq!((peer, attempts), (Ok(at("first")), vec![(true, 0)]));
    });
}

/// Connects to a host of both versions, of which the addresses of IPv6 are told so many milliseconds later than the others, or never.
/// Answers when the first attempt was, in milliseconds from the beginning, and all of them from the first one.
fn with_late_v6(delay: Option<u64>) -> (u128, Vec<(bool, u128)>) {
    let seen = Rc::<RefCell<_>>::default();
    let told = Rc::clone(&seen);
    run([Script::slow_v6(delay.map(Duration::from_millis)), Script::silent()], move || async move {
        let begin = now();
        let fate = |ip: IpAddr| if ip.is_ipv6() { Fate::Silent } else { Fate::Works };
        let (peer, attempts) = connect("dual.test", fate).await;
        assert_eq!(peer, Ok(at("first")));
        // What comes last ends it.
        let since_last = attempts.last().expect("there is one").1;
        *told.borrow_mut() = ((now() - begin).as_millis() - since_last, attempts);
    });
    seen.take()
}

/// RFC 8305 §3: addresses of IPv4 that come first wait 50 ms for those of IPv6, and no longer.
#[test]
fn late_addresses_of_ipv6_are_waited_for_a_moment() {
    let (together, attempts) = with_late_v6(Some(0));
    assert!(matches!(attempts[..], [(true, 0), (false, 250..252)]), "{attempts:?}");

    let (first, attempts) = with_late_v6(Some(30));
    assert!(matches!(attempts[..], [(true, 0), (false, 250..252)]), "within the time: {attempts:?}");
    assert!((30..34).contains(&(first - together)), "at once when they are there: {first}, {together}");

    for delay in [Some(80), None] {
        let (first, attempts) = with_late_v6(delay);
        assert!(matches!(attempts[..], [(false, 0)]), "{delay:?}: {attempts:?}");
        assert!((50..54).contains(&(first - together)), "{delay:?}: {first}, {together}");
    }
}

/// Addresses of IPv6 that come when one of IPv4 is being tried are the next ones.
#[test]
fn addresses_of_ipv6_that_come_too_late_are_tried_next() {
    run([Script::slow_v6(Some(Duration::from_millis(80))), Script::silent()], || async {
        let fate = |ip: IpAddr| if ip.is_ipv6() { Fate::Works } else { Fate::Silent };
        let (peer, attempts) = connect("dual.test", fate).await;
        assert_eq!(peer, Ok(at("first")));
        assert!(matches!(attempts[..], [(false, 0), (true, 250..252)]), "{attempts:?}");
    });
}

#[test]
fn nobody_waits_for_ever() {
    for name in ["two.test", "192.0.2.1"] {
        run([Script::honest(), Script::silent()], move || async move {
            let start = now();
            assert_eq!(connect(name, |_| Fate::Silent).await.0, Err(Error::TimedOut));
            assert_eq!((now() - start).as_secs(), CONNECT_TIME.as_secs());
        });
    }
}

#[test]
fn after_a_refusal_the_next_one_is_tried_at_once() {
    run([Script::honest(), Script::silent()], || async {
        let works = |ip: IpAddr| if ip.is_ipv6() { Fate::Refused } else { Fate::Works };
        let (peer, attempts) = connect("dual.test", works).await;
        assert_eq!(peer, Ok(at("first")));
        assert!(matches!(attempts[..], [(true, 0), (false, 0..2)]), "{attempts:?}");
    });
    run([Script::honest(), Script::silent()], || async {
        let (peer, attempts) = connect("two.test", |_| Fate::Refused).await;
        assert_eq!((peer, attempts.len()), (Err(Error::ConnectionRefused), 2));
    });
}

#[test]
fn addresses_in_text_need_no_server() {
    run([Script::silent(), Script::silent()], || async {
        assert_eq!(TcpStream::connect_host("one.test", 53).await.err(), Some(Error::NameServers));
        let (peer, _) = connect("192.0.2.1", |_| Fate::Works).await;
        assert_eq!(peer, Ok(at("first")));
        assert_eq!(TcpStream::connect_host("no name", 53).await.err(), Some(Error::InvalidInput));
    });
}

#[test]
fn unknown_hosts_are_told_from_silent_servers() {
    run([Script::honest(), Script::silent()], || async {
        resolver(&["first"]).install();
        assert_eq!(TcpStream::connect_host("none.test", 80).await.err(), Some(Error::UnknownHost));
        resolver(&["second"]).install();
        assert_eq!(TcpStream::connect_host("one.test", 80).await.err(), Some(Error::NameServers));
    });
}

//! How ports are found for connections, and how many are looked at.

use alloc::rc::Rc;
use core::cell::Cell;

use super::*;
use crate::free_ports::FreePorts;

const PORTS: usize = 28_232;

/// A stack that counts how many ports it looks at.
struct Client {
    sockets: Sockets,
    now: Instant,
    looked_at: Rc<Cell<usize>>,
}

impl Client {
    /// All ports pass of which `passes` says so.
    fn new(passes: fn(u16) -> bool) -> Self {
        let mut sockets = Sockets::new(Secret::new([1; 16]), Limits::DEFAULT);
        let looked_at = Rc::new(Cell::new(0));
        let count = Rc::clone(&looked_at);
        sockets.set_port_filter(move |flow| {
            count.set(count.get() + 1);
            passes(flow.src_port)
        });
        Self { sockets, now: Instant::from_micros(1_000_000), looked_at }
    }

    fn connect_from(&mut self, port: u16, to: u16) -> Result<SocketId, OpenError> {
        self.sockets.connect(self.now, address(0, port), address(1, to), Options::DEFAULT)
    }

    /// Opens a connection and answers with how many ports were looked at.
    fn connect(&mut self, to: u16) -> (Result<SocketId, OpenError>, usize) {
        let before = self.looked_at.get();
        let outcome = self.connect_from(0, to);
        (outcome, self.looked_at.get() - before)
    }

    /// Lets a connection go at once.
    fn end(&mut self, id: SocketId) {
        self.sockets.abort(self.now, id);
        while self.sockets.poll_transmit(self.now, 1 << 16).is_some() {}
        assert!(self.sockets.connection(id).is_none());
    }
}

/// With nine ports of ten in use, be they next to each other or anywhere, and half of the others not for this shard.
#[test]
fn few_ports_are_looked_at_however_many_are_in_use() {
    let in_a_row = |number: usize| number >= PORTS / 10;
    let anywhere = |number: usize| !number.wrapping_mul(7_919).is_multiple_of(10);
    for is_used in [in_a_row as fn(usize) -> bool, anywhere] {
        let mut client = Client::new(|port| port.count_ones().is_multiple_of(2));
        for (number, port) in FreePorts::default().all_from(0).enumerate() {
            if is_used(number) {
                client.connect_from(port, 80).expect("nobody has it");
            }
        }
        let (mut sum, mut most) = (0, 0);
        for _ in 0..1_000 {
            let (id, looked_at) = client.connect(80);
            (sum, most) = (sum + looked_at, most.max(looked_at));
            client.end(id.expect("some are free"));
        }
        assert!(sum < 100 * 1_000, "{sum} ports for 1,000 connections");
        assert!(most < 2_000, "{most} ports for one connection");
    }
}

/// As a hash does that takes nothing of a port's lower half: of sixteen shards each has a row of 512.
#[test]
fn few_ports_are_looked_at_where_those_that_pass_lie_in_rows() {
    let mut client = Client::new(|port| port / 512 % 16 == 3);
    let sum: usize = (0..500).map(|number| client.connect(1 + number).1).sum();
    assert!(sum < 400 * 500, "{sum} ports for 500 connections");
}

#[test]
fn a_destination_without_ports_is_told_at_once_and_others_have_theirs() {
    let mut client = Client::new(|_| true);
    let ids: Vec<SocketId> = (0..PORTS).map(|_| client.connect(80).0.expect("there are more")).collect();
    let (refused, looked_at) = client.connect(80);
    assert_eq!(refused, Err(OpenError::NoPort));
    assert!((PORTS..2 * PORTS).contains(&looked_at), "{looked_at}: all of them");
    for _ in 0..10 {
        assert_eq!(client.connect(80), (Err(OpenError::NoPort), 0), "it is known");
    }
    assert_eq!((client.sockets.counters().ports_exhausted, client.sockets.counters().connects), (11, PORTS as u64));
    assert_eq!(client.connect(81).1, 1, "another destination has all of them");
    // Whoever ends makes room for another one.
    client.end(ids[7]);
    let (found, _) = client.connect(80);
    assert!(client.sockets.flow(found.expect("one is free")).is_some());
    assert_eq!(client.connect(80).0, Err(OpenError::NoPort));
    // What is not told here is found out after a while.
    client.now = client.now + Duration::from_millis(11);
    assert!(client.connect(80).1 >= PORTS);
}

#[test]
fn destinations_without_ports_are_remembered_however_many_there_are_and_cost_little_in_all() {
    const FEW: usize = 1_000;
    const DESTINATIONS: u16 = 40;

    let mut client = Client::new(|_| true);
    client.sockets.set_free_ports((5_000..).take(FEW).collect());
    for to in 0..DESTINATIONS {
        assert!((0..FEW).all(|_| client.connect(1 + to).0.is_ok()), "there are more");
    }
    let mut refuse_all = |round: u64| {
        client.now = Instant::from_micros(2_000_000 + 10_000 * round);
        let looked_at: Vec<_> = (0..DESTINATIONS).map(|to| client.connect(1 + to)).collect();
        assert!(looked_at.iter().all(|(outcome, _)| *outcome == Err(OpenError::NoPort)));
        let cut = client.sockets.counters().port_searches_cut;
        (looked_at.iter().map(|(_, looked_at)| looked_at).sum::<usize>(), cut)
    };
    let (first, cut) = refuse_all(0);
    assert!(first >= FEW * usize::from(DESTINATIONS) && cut == 0, "{first}");
    assert_eq!(refuse_all(0), (0, 0), "all of them are known");
    // When they are not known any more, again and again. A million ports are looked at in a second, and some for each connection.
    let (sums, cuts): (Vec<_>, Vec<_>) = (1..=30).map(&mut refuse_all).unzip();
    let sum: usize = sums.iter().sum();
    assert!(sum < 300_000 + 270_000 + 30 * usize::from(DESTINATIONS) * 320, "{sum}");
    assert!(cuts.last().is_some_and(|cut| *cut > 100), "{cuts:?}");
    let counters = client.sockets.counters();
    assert_eq!(counters.ports_exhausted + counters.port_searches_cut, 32 * u64::from(DESTINATIONS));
    let other = client.connect(500);
    assert_eq!((other.0.is_ok(), other.1), (true, 1), "others have theirs");
}

/// One port of some thousands is free, so that mostly none is among those that are always looked at.
#[test]
fn a_destination_whose_search_was_cut_has_its_ports_all_the_same() {
    let mut client = Client::new(|_| true);
    for (number, port) in FreePorts::default().all_from(0).enumerate() {
        client.connect_from(port, 80).expect("nobody has it");
        if number % 5_000 != 1_234 {
            client.connect_from(port, 81).expect("nobody has it");
        }
    }
    while client.sockets.counters().port_searches_cut == 0 {
        client.now = client.now + Duration::from_millis(11);
        assert_eq!(client.connect(80).0, Err(OpenError::NoPort));
    }
    let before = client.sockets.counters();
    let mut tries = core::iter::from_fn(|| Some(client.connect(81).0.is_ok()));
    let failed = tries.by_ref().take(1_000).take_while(|is_found| !is_found).count();
    assert!((1..1_000).contains(&failed), "{failed}, {before:?}");
    let after = client.sockets.counters();
    assert_eq!(after.ports_exhausted, before.ports_exhausted, "some are free");
    assert_eq!(after.port_searches_cut, before.port_searches_cut + failed as u64);
}

#[test]
fn no_more_destinations_are_remembered_than_may_be() {
    let mut client = Client::new(|_| true);
    client.sockets.set_free_ports([5_000].into_iter().collect());
    let mut refused = |to| {
        let _ = client.connect(to);
        client.connect(to)
    };
    (0..1_024).for_each(|to| assert_eq!(refused(1 + to), (Err(OpenError::NoPort), 2)));
    assert_eq!(refused(2_000), (Err(OpenError::NoPort), 2));
    assert_eq!(client.connect(2_000), (Err(OpenError::NoPort), 0));
    assert_eq!(client.connect(1_024), (Err(OpenError::NoPort), 0));
    assert_eq!(client.connect(1), (Err(OpenError::NoPort), 2), "the first one had to go");
}

/// As one who listens there has a port, too.
#[test]
fn a_port_that_nobody_listens_at_any_more_is_for_connections_again() {
    let mut client = Client::new(|_| true);
    client.sockets.set_free_ports([5_000].into_iter().collect());
    let listener = client.sockets.listen(address(0, 5_000), 1, Options::DEFAULT).expect("nobody has it");
    assert_eq!(client.connect(80).0, Err(OpenError::NoPort));
    client.sockets.unlisten(client.now, listener);
    let id = client.connect(80).0.expect("it is free");
    assert_eq!(client.connect(80).0, Err(OpenError::NoPort));
    client.sockets.set_free_ports([5_001].into_iter().collect());
    assert!(client.connect(80).0.is_ok(), "there are others now");
    client.end(id);
}

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

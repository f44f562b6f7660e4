//! Clients of a kind that no network of the simulator has: endless ones, and ones that never take an answer.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use sunstar_executor::combine::with_timeout;
use sunstar_executor::spawn;
use sunstar_net::socket::{DEFAULT_SEND_QUEUE_BYTES, StreamSocket};
use sunstar_net::{Address, Detached, Error, Stream, StreamOption};
use sunstar_packet::Buffer;
use sunstar_sim::Sim;

use super::site::site;
use crate::{Limits, Server};

/// A client that always has more to say, and takes nothing.
struct Stuck {
    first: Cell<Option<&'static str>>,
    next: &'static str,
    reads_left: Cell<u32>,
    queue: RefCell<Vec<Buffer>>,
    limit_bytes: Cell<usize>,
}

impl Stuck {
    fn new(first: &'static str, next: &'static str, reads: u32) -> Rc<Self> {
        Rc::new(Self {
            first: Cell::new(Some(first)),
            next,
            reads_left: Cell::new(reads),
            queue: RefCell::default(),
            limit_bytes: Cell::new(DEFAULT_SEND_QUEUE_BYTES),
        })
    }

    fn queued_bytes(&self) -> usize {
        self.queue.borrow().iter().map(|bytes| bytes.len()).sum()
    }
}

impl StreamSocket for Stuck {
    fn local_address(&self) -> Result<Address, Error> {
        Ok(Address::Inet((Ipv4Addr::LOCALHOST, 80).into()))
    }

    fn peer_address(&self) -> Result<Address, Error> {
        self.local_address()
    }

    fn poll_read(&self, _: &mut Context<'_>) -> Poll<Result<Buffer, Error>> {
        let Some(left) = self.reads_left.get().checked_sub(1) else { return Poll::Ready(Ok(Buffer::new())) };
        self.reads_left.set(left);
        Poll::Ready(Ok(self.first.take().unwrap_or(self.next).into()))
    }

    fn poll_writable(&self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.queued_bytes() < self.limit_bytes.get() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn enqueue(&self, bytes: Buffer) {
        self.queue.borrow_mut().push(bytes);
    }

    fn enqueue_file(&self, _: &Rc<dyn Any>, _: u64, _: u64) -> Result<(), Error> {
        Err(Error::Unsupported)
    }

    fn poll_flush(&self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Pending
    }

    fn unacknowledged_bytes(&self) -> u64 {
        self.queued_bytes() as u64
    }

    fn shutdown(&self) {}

    fn abort(&self) {}

    fn poll_detach(&self, _: &mut Context<'_>) -> Poll<Result<Detached, Error>> {
        Poll::Pending
    }

    fn set_option(&self, option: StreamOption) -> Result<(), Error> {
        let StreamOption::SendQueueBytes(limit_bytes) = option else { return Err(Error::Unsupported) };
        self.limit_bytes.set(limit_bytes.max(1));
        Ok(())
    }
}

/// Lets a server have this client, and answers when another task got its turn: after so many reads.
fn reads_before_others(client: &Rc<Stuck>) -> u32 {
    let all = client.reads_left.get();
    let left = Rc::new(Cell::new(None));
    let (socket, seen) = (Rc::clone(client), Rc::clone(&left));
    let mut sim = Sim::new(1);
    sim.host("server", 1, move || async move {
        let server = Server::with_limits(site, Limits { body_bytes: u64::MAX, ..Limits::DEFAULT });
        let stream = Stream::new(Rc::clone(&socket) as Rc<dyn StreamSocket>);
        let serving = spawn(async move { with_timeout(Duration::from_secs(10), server.serve(stream)).await.ok() });
        spawn(async move { seen.set(Some(socket.reads_left.get())) }).await.unwrap();
        serving.await.unwrap();
    });
    sim.run().unwrap();
    all - left.get().expect("the other task has run")
}

/// More than a turn has when the clock stands still.
const READS: u32 = 100_000;

#[test]
fn a_client_that_always_has_more_to_say_lets_others_have_their_turn() {
    let head = "POST / HTTP/1.1\r\nHost: server\r\nTransfer-Encoding: chunked\r\n\r\n";
    let client = Stuck::new(head, "3\r\nabc\r\n", READS);
    assert!(reads_before_others(&client) < READS, "a body that nobody reads");

    let head = "POST /count HTTP/1.1\r\nHost: server\r\nTransfer-Encoding: chunked\r\n\r\n";
    let client = Stuck::new(head, "3\r\nabc\r\n", READS);
    assert!(reads_before_others(&client) < READS, "a body that the handler reads");

    let client = Stuck::new("POST /close HTTP/1.1\r\nHost: server\r\nContent-Length: 9\r\n\r\n", "x", READS);
    assert!(reads_before_others(&client) < READS, "what comes after the last response");
}

#[test]
fn a_connection_that_is_given_up_has_failed() {
    let mut sim = Sim::new(1);
    sim.host("server", 1, || async {
        let server = Server::new(site);
        let client = Stuck::new("GET /sleep?60000 HTTP/1.1\r\nHost: server\r\n\r\n", "", 1);
        let socket = Rc::clone(&client) as Rc<dyn StreamSocket>;
        let served = with_timeout(Duration::from_secs(1), server.serve(Stream::new(socket))).await;
        assert!(served.is_err() && (server.stats().live, server.stats().failed) == (0, 1));
        assert!(client.queue.borrow()[0].starts_with(b"HTTP/1.1 500"));
    });
    sim.run().unwrap();
}

#[test]
fn answers_that_nobody_takes_are_kept_in_little_memory() {
    let get = "GET / HTTP/1.1\r\nHost: server\r\n\r\n";
    let client = Stuck::new(get, get, READS);
    reads_before_others(&client);
    let (buffers, bytes) = (client.queue.borrow().len(), client.queued_bytes());
    assert!(client.reads_left.get() > 0 && bytes > 0);
    // Each of them has a frame.
    assert!(buffers < 32, "{bytes} bytes in {buffers} buffers");
}

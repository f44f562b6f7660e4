//! Servers of a kind that no network of the simulator has: those that always have more, and take whatever comes.

use std::any::Any;
use std::cell::Cell;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::task::{Context, Poll};

use sunstar_executor::spawn;
use sunstar_net::socket::StreamSocket;
use sunstar_net::{Address, Detached, Error, Stream, StreamOption};
use sunstar_packet::Buffer;
use sunstar_sim::Sim;

use crate::client::{Authority, Client, ClientOptions};

/// More than a turn has when the clock stands still.
const PARTS: u32 = 100_000;

/// Takes everything at once, and has so many parts of a body after its response's head, if it says anything.
struct Endless {
    head: Cell<Option<&'static str>>,
    speaks: bool,
    reads: Cell<u32>,
    writes: Cell<u32>,
}

impl StreamSocket for Endless {
    fn local_address(&self) -> Result<Address, Error> {
        Ok(Address::Inet((Ipv4Addr::LOCALHOST, 80).into()))
    }

    fn peer_address(&self) -> Result<Address, Error> {
        self.local_address()
    }

    fn poll_read(&self, _: &mut Context<'_>) -> Poll<Result<Buffer, Error>> {
        if !self.speaks {
            return Poll::Pending;
        }
        self.reads.set(self.reads.get() + 1);
        let next = if self.reads.get() < PARTS { "x" } else { "" };
        Poll::Ready(Ok(self.head.take().unwrap_or(next).into()))
    }

    fn poll_writable(&self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn enqueue(&self, _: Buffer) {
        self.writes.set(self.writes.get() + 1);
    }

    fn enqueue_file(&self, _: &Rc<dyn Any>, _: u64, _: u64) -> Result<(), Error> {
        Err(Error::Unsupported)
    }

    fn poll_flush(&self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Pending
    }

    fn unacknowledged_bytes(&self) -> u64 {
        0
    }

    fn shutdown(&self) {}

    fn abort(&self) {}

    fn poll_detach(&self, _: &mut Context<'_>) -> Poll<Result<Detached, Error>> {
        Poll::Pending
    }

    fn set_option(&self, _: StreamOption) -> Result<(), Error> {
        Err(Error::Unsupported)
    }
}

/// Lets a client ask such a server, and answers how many reads and writes there were when another task got its turn.
fn before_others(speaks: bool, ask: impl AsyncFn(Client) + 'static) -> (u32, u32) {
    let server = Rc::new(Endless {
        head: Cell::new(Some("HTTP/1.1 200 OK\r\n\r\n")),
        speaks,
        reads: Cell::new(0),
        writes: Cell::new(0),
    });
    let seen = Rc::new(Cell::new(None));
    let told = Rc::clone(&seen);
    let mut sim = Sim::new(1);
    sim.host("client", 1, move || async move {
        let socket = Rc::clone(&server);
        let client = Client::with_connector(ClientOptions::default(), move |_: Authority| {
            let stream = Stream::new(Rc::clone(&socket) as Rc<dyn StreamSocket>);
            async move { Ok(stream) }
        });
        let asking = spawn(async move { ask(client).await });
        spawn(async move { told.set(Some((server.reads.get(), server.writes.get()))) }).await.unwrap();
        asking.await.unwrap();
    });
    sim.run().unwrap();
    seen.get().expect("the other task has run")
}

#[test]
fn a_server_that_always_has_more_lets_others_have_their_turn() {
    let (reads, _) = before_others(true, async |client| {
        let mut response = client.get("http://server/").send().await.unwrap();
        assert!(response.collect(1 << 20).await.is_ok());
    });
    assert!(reads < PARTS, "{reads}");
}

#[test]
fn a_server_that_takes_everything_lets_others_have_their_turn() {
    let (_, writes) = before_others(false, async |client| {
        let mut upload = client.post("http://server/").stream(None).await.unwrap();
        for _ in 0..PARTS {
            upload.send_body("x").await.unwrap();
        }
    });
    assert!(writes < PARTS, "{writes}");
}

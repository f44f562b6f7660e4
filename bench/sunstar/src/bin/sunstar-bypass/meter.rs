//! What a client counts, and when.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant as Clock};

use sunstar::net::{self, TcpStream};
use sunstar::prelude::*;
use sunstar::reactor::time_stats;
use sunstar_bench_common::bypass::{CONTROL_PORT, Counts, Latencies, Outcome, SAMPLE_EVERY, USAGE_BYTES, Usage};

/// How long something has to be done at last, and how often is looked.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long refusals are taken for a server that is starting.
const UNTIL_IT_LISTENS: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The counts of a client's tasks.
#[derive(Default)]
pub(crate) struct Meter {
    connections: Cell<u64>,
    messages: Cell<u64>,
    bytes: Cell<u64>,
    is_measuring: Cell<bool>,
    operations: Cell<u64>,
    latencies: RefCell<Latencies>,
    failure: RefCell<Option<Error>>,
}

impl Meter {
    pub(crate) fn add_connection(&self) {
        self.connections.set(self.connections.get() + 1);
    }

    pub(crate) fn add_message(&self) {
        self.messages.set(self.messages.get() + 1);
    }

    pub(crate) fn add_bytes(&self, bytes: usize) {
        self.bytes.set(self.bytes.get() + bytes as u64);
    }

    /// An operation begins: the time, if it is one of those of which the latency is noted.
    pub(crate) fn begin(&self) -> Option<Clock> {
        let count = self.operations.replace(self.operations.get() + 1);
        (self.is_measuring.get() && count.is_multiple_of(SAMPLE_EVERY)).then(Clock::now)
    }

    /// It has ended.
    pub(crate) fn end(&self, begun: Option<Clock>) {
        if let Some(begun) = begun {
            self.latencies.borrow_mut().add(begun.elapsed());
        }
    }

    /// Keeps what ended a task. The first one is told.
    pub(crate) fn fail(&self, error: Error) {
        self.failure.borrow_mut().get_or_insert(error);
    }

    fn counts(&self) -> Counts {
        Counts { connections: self.connections.get(), messages: self.messages.get(), bytes: self.bytes.get() }
    }

    /// Lets the tasks run for a while, and answers what they did in the time that counts.
    ///
    /// # Errors
    /// What ended one of them.
    pub(crate) async fn measure(
        &self,
        warm_up: Duration,
        time: Duration,
        control: Option<Control>,
    ) -> Result<Outcome, Error> {
        sleep(warm_up).await;
        let mut control = control;
        let server_before = ask(control.as_mut()).await?;
        let (begun, counts, client) = (Clock::now(), self.counts(), own_usage());
        self.is_measuring.set(true);
        sleep(time).await;
        // On a machine that others use nothing may have been done yet.
        let deadline = begun + time + PATIENCE;
        while self.counts() == counts && self.failure.borrow().is_none() && Clock::now() < deadline {
            sleep(LOOK_EVERY).await;
        }
        let time = begun.elapsed();
        let done = self.counts();
        let client = own_usage().since(client);
        self.is_measuring.set(false);
        let server_after = ask(control.as_mut()).await?;
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        if done == counts {
            return Err(Error::failure("nothing was done"));
        }
        let counts = Counts {
            connections: done.connections - counts.connections,
            messages: done.messages - counts.messages,
            bytes: done.bytes - counts.bytes,
        };
        let server = server_after.zip(server_before).map(|(after, before)| after.since(before));
        Ok(Outcome { time, counts, latencies: self.latencies.take(), client, server })
    }
}

async fn ask(control: Option<&mut Control>) -> Result<Option<Usage>, Error> {
    match control {
        Some(control) => Ok(Some(control.ask().await?)),
        None => Ok(None),
    }
}

/// How this shard has spent its time.
pub(crate) fn own_usage() -> Usage {
    let times = time_stats();
    Usage { up: times.up, busy: times.busy(), cpu: times.cpu }
}

/// Connects to a server that may have opened its device only now, and does not listen yet.
pub(crate) async fn first_connection(server: SocketAddr) -> Result<TcpStream, Error> {
    let deadline = Clock::now() + UNTIL_IT_LISTENS;
    loop {
        match TcpStream::connect(server).await {
            Err(net::Error::ConnectionRefused) if Clock::now() < deadline => sleep(LOOK_EVERY).await,
            connected => return Ok(connected?),
        }
    }
}

/// The connection by which a server tells how it has spent its time.
pub(crate) struct Control(TcpStream);

impl Control {
    pub(crate) async fn connect(server: IpAddr) -> Result<Self, Error> {
        Ok(Self(first_connection(SocketAddr::new(server, CONTROL_PORT)).await?))
    }

    async fn ask(&mut self) -> Result<Usage, Error> {
        self.0.write(Buffer::from_static(b"?")).await?;
        let mut told = Vec::new();
        while told.len() < USAGE_BYTES {
            let bytes = self.0.read().await?;
            if bytes.is_empty() {
                return Err(Error::failure("the server does not tell how it has spent its time"));
            }
            told.extend_from_slice(&bytes);
        }
        let told = told.try_into().map_err(|_| Error::failure("the server tells too much"))?;
        Ok(Usage::from_bytes(told))
    }
}

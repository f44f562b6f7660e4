//! One connection: requests are taken up together, and answered in their order.

mod binary;
pub(crate) mod datagram;
mod list;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::iter;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use sunstar::executor::combine::with_timeout;
use sunstar::executor::maybe_yield;
use sunstar::executor::sync::with_abort;
use sunstar::executor::timer::lowres;
use sunstar::net::{Error, Stream};
use sunstar::prelude::*;
use sunstar_memcache::{Expiry, KEYS_AHEAD, LARGE_VALUE_BYTES, Operation, Output, Refusal, Reply, Request, Value};

use crate::batch::Batch;
use crate::connections::Served;
use crate::server::{Counters, Server};
use crate::stats;

/// With so much to be sent, it is sent before further requests are looked at.
pub(crate) const OUTPUT_BYTES: usize = 64 << 10;

/// Buffers from this length on are values of the store, whose memory is not free before the client has taken them.
const LENT_BYTES: usize = LARGE_VALUE_BYTES;

/// A client has so long to take its last answers, when it has said `quit` and when the server stops.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// A connection keeps memory for so many requests.
const KEPT_REQUESTS: usize = 4;

/// What clients are told about the version: the protocol's, since some clients ask for what they may use, and ours.
pub(crate) const VERSION: &[u8] = concat!("1.6.18-sunstar-", env!("CARGO_PKG_VERSION")).as_bytes();

/// Serves a connection until its end.
pub(crate) async fn serve(server: &Server, stream: &mut Stream, served: &Served) -> Result<(), Error> {
    let mut connection = server.endpoint.accept();
    let (output, batch) = (Output::new(&server.endpoint), Batch::new(&server.endpoint, &server.under_way));
    let client = Some(Client { stream, served });
    let mut session = Session { server, client, limit_bytes: usize::MAX, output, batch, now_s: server.now_s() };
    let mut requests = Vec::new();
    loop {
        let Ok(input) = with_abort(server.stop(), session.read()).await else { return Ok(()) };
        let input = input?;
        if input.is_empty() {
            return Ok(());
        }
        Counters::add(&server.counters.bytes_read, input.len());
        connection.handle_input(input).expect("all before was looked at");
        session.now_s = server.now_s();
        served.last_s.set(session.now_s);
        loop {
            requests.extend(iter::from_fn(|| connection.poll_request()).take(KEYS_AHEAD));
            if requests.is_empty() {
                break;
            }
            server.look_ahead(requests.iter().filter_map(Request::key));
            if let [request] = &requests[..]
                && let Some(key) = request.key()
            {
                server.look_ahead_with_others(key).await;
                session.now_s = server.now_s();
            }
            for request in requests.drain(..) {
                session.take(request).await?;
            }
        }
        // What many at once have needed an idle connection does not keep.
        requests.shrink_to(KEPT_REQUESTS);
        if connection.is_over() {
            return session.end().await;
        }
        session.finish().await?;
        server.settle().await;
        session.send().await?;
        maybe_yield().await;
    }
}

struct Session<'a> {
    server: &'a Server,
    /// Where answers go; to nobody while a datagram is answered.
    client: Option<Client<'a>>,
    /// Where they go to nobody, they may become so long.
    limit_bytes: usize,
    output: Output,
    /// Operations of which some wait for other shards.
    batch: Batch,
    /// The time, looked at again after each wait.
    now_s: u32,
}

/// Whom a connection serves.
struct Client<'a> {
    stream: &'a mut Stream,
    served: &'a Served,
}

impl Client<'_> {
    /// The next bytes. Meanwhile it is seen when the client has taken what was sent.
    async fn read(&mut self) -> Result<Buffer, Error> {
        let Self { stream, served } = self;
        poll_fn(|cx| {
            if served.is_owed()
                && let Poll::Ready(flushed) = stream.poll_flush(cx)
            {
                served.settle();
                flushed?;
            }
            stream.poll_read(cx)
        })
        .await
    }

    async fn write(&mut self, out: Vec<Buffer>) -> Result<(), Error> {
        let Self { stream, served } = self;
        let is_owed = served.is_owed() || out.iter().any(|buffer| buffer.len() >= LENT_BYTES);
        let owe = || {
            if is_owed {
                served.owe(lowres::now());
            }
        };
        owe();
        stream.write_buffers(out).await?;
        owe();
        Ok(())
    }
}

impl Session<'_> {
    async fn read(&mut self) -> Result<Buffer, Error> {
        match &mut self.client {
            Some(client) => client.read().await,
            None => Ok(Buffer::new()),
        }
    }

    /// Sends the last answers, as far as the client takes them in time.
    async fn end(&mut self) -> Result<(), Error> {
        let last = async {
            self.finish().await?;
            self.send().await?;
            match &mut self.client {
                Some(client) => client.stream.flush().await,
                None => Ok(()),
            }
        };
        if let Ok(ended) = with_timeout(GRACE, last).await {
            return ended;
        }
        Counters::add(&self.server.counters.cut_off, 1);
        if let Some(client) = &mut self.client {
            client.stream.abort();
        }
        Ok(())
    }

    /// Does what is asked for, or puts it to what waits for other shards.
    async fn take(&mut self, request: Request) -> Result<(), Error> {
        match request {
            Request::Store(command, value) => {
                let operation = Operation::Store {
                    verb: command.verb,
                    flags: command.flags,
                    exptime: command.exptime,
                    noreply: command.noreply,
                };
                self.operate_with(operation, &command.key, value).await;
            }
            Request::Retrieve { command, keys, is_last } => {
                let mut keys = keys.iter();
                loop {
                    self.server.look_ahead(keys.clone());
                    let mut group = keys.by_ref().take(KEYS_AHEAD).peekable();
                    if group.peek().is_none() {
                        break;
                    }
                    for key in group {
                        self.operate(Operation::Retrieve(command), key, Value::new());
                        self.pause().await?;
                    }
                }
                if is_last {
                    self.tell(|output| output.put_reply(&Reply::End));
                }
            }
            Request::Delete { key, noreply } => self.operate(Operation::Delete { noreply }, &key, Value::new()),
            Request::Count { direction, key, by, noreply } => {
                self.operate(Operation::Count { direction, by, noreply }, &key, Value::new());
            }
            Request::Touch { key, exptime, noreply } => {
                self.operate(Operation::Touch { exptime, noreply }, &key, Value::new());
            }
            Request::Refused { refusal, noreply, stale } => {
                Counters::add(&self.server.counters.too_large, usize::from(refusal == Refusal::TooLarge));
                if let Some(key) = stale {
                    self.operate(Operation::Forget, &key, Value::new());
                }
                // An answer is no command. Were it answered in its turn, two servers that take each other for clients would never end.
                let is_answer = self.client.is_none() && refusal == Refusal::UnknownCommand;
                if !noreply && !is_answer {
                    self.tell(|output| output.put_refusal(refusal));
                }
            }
            Request::Meta(command, key, value) => self.operate_with(Operation::Meta(command), &key, value).await,
            Request::Binary(request) => self.take_packet(request).await?,
            Request::MetaNoop => self.tell(|output| output.put(b"MN\r\n")),
            Request::Version => self.tell(|output| output.put_reply(&Reply::Version(Buffer::from_static(VERSION)))),
            Request::Verbosity { noreply } => self.done(noreply),
            Request::Quit => {}
            concerns_all => {
                self.finish().await?;
                self.administrate(concerns_all).await?;
            }
        }
        self.pause().await
    }

    /// What concerns all shards.
    async fn administrate(&mut self, request: Request) -> Result<(), Error> {
        let (peers, now_s) = (self.server.peers(), self.now_s);
        match request {
            Request::FlushAll { exptime, noreply } => {
                let expiry = Expiry::new(self.server.settings.clock.exptime(exptime), now_s);
                let flush = move |server: Rc<Server>| async move {
                    server.store.borrow_mut().flush(expiry, server.now_s());
                };
                peers.invoke_on_all(flush).await.map_err(|_| Error::Stopped)?;
                self.done(noreply);
            }
            Request::CacheMemlimit { mebibytes, noreply } => {
                let bytes = usize::try_from(mebibytes << 20).unwrap_or(usize::MAX) / shard_count();
                let limit = move |server: Rc<Server>| async move { server.store.borrow_mut().set_memory(bytes) };
                peers.invoke_on_all(limit).await.map_err(|_| Error::Stopped)?;
                self.done(noreply);
            }
            Request::Stats(parameters) => stats::answer(self.server, &parameters, &mut self.output).await?,
            Request::List { form, classes } => self.list(form, classes).await?,
            Request::Crawl { noreply } => {
                if self.server.crawl().await? {
                    self.done(noreply);
                } else if !noreply {
                    self.tell(|output| output.put_refusal(Refusal::CrawlerBusy));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Does something with an item and a value, when there is room for that.
    async fn operate_with(&mut self, operation: Operation, key: &[u8], value: Value) {
        if value.len() >= LARGE_VALUE_BYTES {
            self.server.prepare_for(&value).await;
            self.now_s = self.server.now_s();
        }
        self.operate(operation, key, value);
    }

    /// Does something with an item, here or where it is.
    fn operate(&mut self, mut operation: Operation, key: &[u8], value: Value) {
        let Self { server, output, batch, now_s, .. } = self;
        Counters::add(&server.counters.operations, 1);
        operation.convert_times(|exptime| server.settings.clock.exptime(exptime));
        let (key, here) = (server.key(key), shard_id());
        let shard = if shard_count() == 1 { here } else { server.shard_of(key) };
        if shard == here {
            let mut store = server.store.borrow_mut();
            batch.answer_here(output, |output| store.execute(&operation, key, &value, *now_s, output));
        } else {
            batch.send_there(server, shard, operation, key, value);
        }
    }

    /// Answers in order something that concerns no item.
    fn tell(&mut self, answer: impl FnOnce(&mut Output)) {
        self.batch.answer_here(&mut self.output, answer);
    }

    fn done(&mut self, noreply: bool) {
        if !noreply {
            self.tell(|output| output.put_reply(&Reply::Ok));
        }
    }

    /// Waits for other shards if as much is under way as may be, and for the client if there is much to be sent.
    async fn pause(&mut self) -> Result<(), Error> {
        if self.batch.is_full() {
            self.finish().await?;
        }
        if self.output.len() >= OUTPUT_BYTES { self.send().await } else { Ok(()) }
    }

    /// Waits for all that is under way.
    async fn finish(&mut self) -> Result<(), Error> {
        while !self.batch.is_empty() {
            self.batch.advance(self.server, &mut self.output).await?;
            self.now_s = self.server.now_s();
            if self.output.len() >= OUTPUT_BYTES {
                self.send().await?;
            }
        }
        Ok(())
    }

    async fn send(&mut self) -> Result<(), Error> {
        let Some(client) = &mut self.client else {
            return if self.output.len() > self.limit_bytes { Err(Error::MessageTooLong) } else { Ok(()) };
        };
        let mut out: Vec<Buffer> = Vec::new();
        let count = self.output.poll_transmit(&mut out);
        if count == 0 {
            return Ok(());
        }
        Counters::add(&self.server.counters.bytes_written, count);
        if planted::is("memcached_output_leaked") {
            std::mem::forget(out.clone());
        }
        client.write(out).await?;
        self.now_s = self.server.now_s();
        Ok(())
    }
}

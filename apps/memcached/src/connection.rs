//! One connection: requests are taken up together, and answered in their order.

mod binary;
pub(crate) mod datagram;
mod list;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::iter;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use sunstar::executor::combine::with_timeout;
use sunstar::executor::maybe_yield;
use sunstar::executor::sync::with_abort;
use sunstar::executor::timer::lowres;
use sunstar::net::{Error, Stream};
use sunstar::prelude::*;
use sunstar_memcache::{
    Expiry, KEYS_AHEAD, Key, Keys, LARGE_VALUE_BYTES, Operation, Output, Refusal, Reply, Request, RetrievalCommand,
    Value,
};

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
            let asked = iter::from_fn(|| connection.poll_request()).take(KEYS_AHEAD);
            requests.extend(asked.map(|request| Asked::new(server, request)));
            if requests.is_empty() {
                break;
            }
            server.look_ahead(requests.iter().filter_map(Asked::key));
            if let [asked] = &requests[..]
                && let Some(key) = asked.key()
            {
                server.look_ahead_with_others(key).await;
                session.now_s = server.now_s();
            }
            let mut asked = requests.drain(..);
            while let Some(wait) = session.take_all(&mut asked) {
                wait.await?;
            }
        }
        // What many at once have needed an idle connection does not keep.
        requests.shrink_to(KEPT_REQUESTS);
        if connection.is_over() {
            return Box::pin(session.end()).await;
        }
        if !session.batch.is_empty() {
            Box::pin(session.finish()).await?;
        }
        server.settle().await;
        session.send().await?;
        maybe_yield().await;
    }
}

/// A request, with the hash of its key if it is for one item: it is needed to look ahead, to find the shard, and to find the item.
struct Asked {
    request: Request,
    hash: u64,
}

impl Asked {
    fn new(server: &Server, request: Request) -> Self {
        let hash = request.key().map_or(0, |key| server.key(key).hash());
        Self { request, hash }
    }

    fn key(&self) -> Option<Key<'_>> {
        self.request.key().map(|key| Key::with_hash(key, self.hash))
    }
}

/// Somebody is waited for.
type Wait<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + 'a>>;

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

    /// Does what is asked for until others have to be waited for; answers that wait, after which it is to be called again. It is held apart
    /// from the connection's own future, which has no memory for it while it is idle.
    fn take_all(&mut self, asked: &mut impl Iterator<Item = Asked>) -> Option<Wait<'_>> {
        for asked in asked {
            if let Some(left) = self.take_at_once(asked) {
                return Some(Box::pin(self.take_slowly(left)));
            }
            if self.has_to_pause() {
                return Some(Box::pin(self.pause()));
            }
        }
        None
    }

    /// Does what is asked for, or puts it to what waits for other shards. What is not soon done, or has to wait before it is, comes back.
    #[inline]
    fn take_at_once(&mut self, asked: Asked) -> Option<Asked> {
        let is_large = asked.request.value().is_some_and(|value| value.len() >= LARGE_VALUE_BYTES);
        if is_large { Some(asked) } else { self.take_now(asked) }
    }

    fn take_now(&mut self, asked: Asked) -> Option<Asked> {
        let Asked { request, hash } = asked;
        let hashed = |key| Key::with_hash(key, hash);
        match request {
            Request::Store(command, value) => {
                let operation = Operation::Store {
                    verb: command.verb,
                    flags: command.flags,
                    exptime: command.exptime,
                    noreply: command.noreply,
                };
                self.operate(operation, hashed(&command.key), value);
            }
            Request::Retrieve { command, keys, is_last } => {
                let Some(key) = keys.only() else {
                    return Some(Asked { request: Request::Retrieve { command, keys, is_last }, hash });
                };
                self.operate(retrieval(command, is_last), hashed(key), Value::new());
            }
            Request::Delete { key, noreply } => self.operate(Operation::Delete { noreply }, hashed(&key), Value::new()),
            Request::Count { direction, key, by, noreply } => {
                self.operate(Operation::Count { direction, by, noreply }, hashed(&key), Value::new());
            }
            Request::Touch { key, exptime, noreply } => {
                self.operate(Operation::Touch { exptime, noreply }, hashed(&key), Value::new());
            }
            Request::Refused { refusal, noreply, stale } => self.refuse(refusal, noreply, stale),
            Request::Meta(command, key, value) => self.operate(Operation::Meta(command), hashed(&key), value),
            Request::Binary(request) => {
                let left = self.take_packet_now(request, hash)?;
                return Some(Asked { request: Request::Binary(left), hash });
            }
            Request::MetaNoop => self.tell(|output| output.put(b"MN\r\n")),
            Request::Version => self.tell(|output| output.put_reply(&Reply::Version(Buffer::from_static(VERSION)))),
            Request::Verbosity { noreply } => self.done(noreply),
            Request::Quit => {}
            concerns_all => return Some(Asked { request: concerns_all, hash }),
        }
        None
    }

    /// Does what has come back.
    async fn take_slowly(&mut self, asked: Asked) -> Result<(), Error> {
        if let Some(value) = asked.request.value() {
            self.server.prepare_for(value).await;
            self.now_s = self.server.now_s();
            let left = self.take_now(asked);
            debug_assert!(left.is_none(), "what has a value is for one item");
            return self.pause().await;
        }
        match asked.request {
            Request::Retrieve { command, keys, is_last } => self.retrieve(command, &keys, is_last).await?,
            Request::Binary(request) => self.take_packet_slowly(request).await?,
            concerns_all => {
                self.finish().await?;
                self.administrate(concerns_all).await?;
            }
        }
        self.pause().await
    }

    /// Answers with several items, or none.
    async fn retrieve(&mut self, command: RetrievalCommand, keys: &Keys, is_last: bool) -> Result<(), Error> {
        let mut keys = keys.iter().peekable();
        if keys.peek().is_none() && is_last {
            self.tell(|output| output.put_reply(&Reply::End));
        }
        let mut group = Vec::with_capacity(KEYS_AHEAD);
        while keys.peek().is_some() {
            group.extend(keys.by_ref().take(KEYS_AHEAD).map(|key| self.server.key(key)));
            self.server.look_ahead(group.iter().copied());
            let (last, ends) = (group.len() - 1, is_last && keys.peek().is_none());
            for (index, key) in group.drain(..).enumerate() {
                self.operate(retrieval(command, ends && index == last), key, Value::new());
                if self.has_to_pause() {
                    self.pause().await?;
                }
            }
        }
        Ok(())
    }

    fn refuse(&mut self, refusal: Refusal, noreply: bool, stale: Option<Buffer>) {
        Counters::add(&self.server.counters.too_large, usize::from(refusal == Refusal::TooLarge));
        if let Some(key) = stale {
            self.operate(Operation::Forget, self.server.key(&key), Value::new());
        }
        // An answer is no command. Were it answered in its turn, two servers that take each other for clients would never end.
        let is_answer = self.client.is_none() && refusal == Refusal::UnknownCommand;
        if !noreply && !is_answer {
            self.tell(|output| output.put_refusal(refusal));
        }
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

    /// Does something with an item, here or where it is.
    fn operate(&mut self, mut operation: Operation, key: Key<'_>, value: Value) {
        let Self { server, output, batch, now_s, .. } = self;
        Counters::add(&server.counters.operations, 1);
        operation.convert_times(|exptime| server.settings.clock.exptime(exptime));
        let here = shard_id();
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

    /// Whether others are to be waited for before anything else is done.
    fn has_to_pause(&self) -> bool {
        self.batch.is_full() || self.output.len() >= OUTPUT_BYTES
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

/// To answer with an item, as the last one or not.
fn retrieval(command: RetrievalCommand, is_last: bool) -> Operation {
    if is_last { Operation::RetrieveLast(command) } else { Operation::Retrieve(command) }
}

//! The loop around the state machine of one connection.

mod closing;
mod file;
mod next;
mod overdue;

use alloc::boxed::Box;
use core::cell::{RefCell, RefMut};
use core::future::{Future, poll_fn};
use core::mem;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use sunstar_executor::{ErasedFuture, Instant, maybe_yield};
use sunstar_http1::{Awaits, BodyLength, Date, Event, HeaderLines, Headers, Request, Status};
use sunstar_net::Stream;
use sunstar_packet::Buffer;

use crate::access_log::Journal;
use crate::ears::Ear;
use crate::error::Error;
use crate::exchange::{Exchange, ResponseWriter};
use crate::handler::Handler;
use crate::machine::Machine;
use crate::metrics;
use crate::server::{Live, add_one};
use crate::waits::{Wait, Waits};
use crate::watch::Watch;

/// Of a body that is left when its request is answered, so many bytes are read and dropped to keep the connection. With more it
/// ends.
const UNREAD_BYTES: u64 = 1 << 20;

/// One connection: its stream, and what has become of its bytes.
pub(crate) struct Connection {
    stream: Stream,
    /// Resting while the connection only waits for a next request.
    http: Machine,
    shared: Live,
    ear: Ear,
    phase: Phase,
    /// The last request lets the client send more.
    keeps_alive: bool,
    /// The client may be sending.
    expects_input: bool,
    /// A response may be under way to a client that is sending.
    lingers: bool,
    /// The stream was handed much at once.
    is_long: bool,
    /// The stream has failed, or was ended for the client's sake: nothing can be said any more.
    is_broken: bool,
    /// The client has taken too long to send.
    has_timed_out: bool,
    /// Until it has ended well.
    has_failed: bool,
    waits: Waits,
    /// What was handed to the stream.
    sent_bytes: u64,
    /// Of the response that was begun last, if that was to the request that is being served.
    status: Option<Status>,
    /// For the access log, if there is one.
    journal: Option<Box<Journal>>,
}

/// How far a connection is with ending for the server's sake.
#[derive(Clone, Copy)]
enum Phase {
    /// Nobody has asked to stop.
    Serving,
    /// What has arrived is taken in: [`crate::machine::LastInput`].
    Draining,
    /// All that had arrived was taken in.
    Drained,
    /// Another connection waits for the place, and nobody has asked to stop.
    Leaving,
}

/// A part of a request's body.
pub(crate) enum Piece {
    Bytes(Buffer),
    End,
}

/// What is to be done next.
enum Step<'a> {
    /// Answer a request. What that needs has memory of its own, since a connection that waits for its next request has none of it.
    Answer(ErasedFuture<'a, Result<(), Error>>),
    /// Look again.
    Noted,
    /// Send, receive or close.
    Nothing,
}

/// What came of a wait for input.
enum Input {
    Bytes(Buffer),
    Overdue(Overdue),
}

/// Why a connection waits no longer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Overdue {
    /// The client did not send.
    Input,
    /// It has nothing to ask, and another client waits for the place.
    Place,
    /// It does not take what it was sent.
    Output,
    /// The server has stopped, and has waited for as long as it does then.
    Stop,
}

impl Connection {
    pub(crate) fn new(stream: Stream, shared: Live) -> Self {
        // What waits is kept in the output, where small responses share frames; the stream gets the next ones when it has sent
        // the last. Where the network has no such bound it has one of its own.
        let _unsupported = stream.set_send_queue_bytes(1);
        let journal = shared.access_log.get().map(|_| Box::new(Journal::new(&stream)));
        let waits = Waits::new(&shared.patience);
        if planted::is("memory_leaked") {
            alloc::vec![1_u8; 256 << 10].leak();
        }
        Self {
            stream,
            http: Machine::RESTING,
            shared,
            ear: Ear::default(),
            phase: Phase::Serving,
            keeps_alive: true,
            expects_input: true,
            lingers: false,
            is_long: false,
            is_broken: false,
            has_timed_out: false,
            has_failed: true,
            waits,
            sent_bytes: 0,
            status: None,
            journal,
        }
    }

    /// Serves requests until the connection ends.
    ///
    /// What it keeps while it waits for a next request is all that a connection costs then: what is waited for otherwise has memory
    /// of its own.
    #[expect(clippy::manual_async_fn, reason = "what an async function is given lies in its future twice")]
    pub(crate) fn serve<'a>(
        &'a mut self,
        mut watch: Watch<'a>,
        handler: &'a impl Handler,
    ) -> impl Future<Output = Result<(), Error>> {
        async move {
            self.http.wake(&self.shared.spares, &self.shared.endpoint);
            let mut failure = None;
            let mut has_yielded = false;
            loop {
                let answered = match self.step(&mut watch, handler) {
                    Step::Answer(answering) => Some(answering.await),
                    Step::Noted => continue,
                    Step::Nothing => None,
                };
                match answered {
                    Some(Ok(())) => {
                        maybe_yield().await;
                        has_yielded = true;
                    }
                    Some(Err(error)) if self.is_broken => return Err(error),
                    Some(Err(error)) if planted::is("unsent_at_failure") => return Err(error),
                    // The requests before it were answered, and their responses wait to be sent.
                    Some(Err(error)) => failure = Some(Box::new(error)),
                    None if planted::is("unsent_at_stop") && matches!(self.phase, Phase::Drained) => {
                        return failure.map_or(Ok(()), |error| Err(*error));
                    }
                    None if self.http.has_output() => {
                        if !self.transmit_at_once()? {
                            ErasedFuture::new(self.transmit(&mut watch)).await?;
                        }
                    }
                    None if self.http.should_close() => {
                        if self.is_long || self.lingers {
                            ErasedFuture::new(self.close(&mut watch)).await?;
                        }
                        return failure.map_or(Ok(()), |error| Err(*error));
                    }
                    None => {
                        if !mem::take(&mut has_yielded) {
                            maybe_yield().await;
                        }
                        if matches!(self.phase, Phase::Serving) {
                            let awaits = self.http.awaits();
                            let mut wait = self.waits.input(awaits, self.http.allowance(), &self.shared.patience);
                            let input = poll_fn(|cx| self.poll_next(cx, &mut watch, &mut wait)).await;
                            self.on_next(awaits, input)?;
                        } else {
                            ErasedFuture::new(self.drain(&mut watch)).await?;
                        }
                    }
                }
            }
        }
    }

    /// Takes note of how it has ended.
    pub(crate) fn end(&mut self, served: &Result<(), Error>) {
        self.has_failed = served.as_ref().is_err_and(|error| *error != Error::TimedOut);
        if let Err(error) = served {
            log::debug!("a connection ended: {error}");
        }
    }

    /// Whether it has not ended well, so far.
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Looks at what has arrived.
    fn step<'a>(&'a mut self, watch: &'a mut Watch<'_>, handler: &'a impl Handler) -> Step<'a> {
        match self.http.poll_event() {
            Some(Event::Request(request)) => {
                return Step::Answer(ErasedFuture::new(self.answer(request, watch, handler)));
            }
            // Of a body that the application did not read.
            Some(Event::Body(_)) => {}
            Some(Event::End) => self.on_message_end(),
            Some(Event::Error(error)) => {
                self.begin_entry(None);
                self.refuse(error);
                self.finish_entry(metrics::arrival());
            }
            None => return Step::Nothing,
        }
        Step::Noted
    }

    async fn answer(&mut self, request: Request, watch: &mut Watch<'_>, handler: &impl Handler) -> Result<(), Error> {
        let arrival = metrics::arrival();
        self.shared.count_request();
        let before = self.http.in_flight();
        let has_body = request.body() != BodyLength::Empty;
        self.keeps_alive = request.keeps_alive();
        self.expects_input = self.keeps_alive || has_body;
        self.waits.on_request(self.http.allowance(), &self.shared.patience);
        self.begin_entry(Some(&request));
        let handled = {
            let lent = RefCell::new(&mut *self);
            let mut exchange = Exchange::new(&lent, watch.lend(), has_body);
            let mut handling = pin!(handler.handle(request, &mut exchange));
            poll_fn(|cx| {
                let handled = handling.as_mut().poll(cx);
                if handled.is_pending()
                    && let Ok(mut connection) = lent.try_borrow_mut()
                {
                    connection.transmit_meanwhile(cx);
                }
                handled
            })
            .await
        };
        let status = match handled {
            Err(error) if self.is_broken => return Err(error),
            // The refusal is what was to be said.
            Ok(()) | Err(Error::Refused(_) | Error::TimedOut) => Status::INTERNAL_SERVER_ERROR,
            Err(Error::Parameter(error)) => error.status(),
            Err(error) => {
                self.give_up();
                self.finish_entry(arrival);
                return Err(error);
            }
        };
        if self.http.in_flight() == before {
            // Whatever it has begun to send is no response.
            if let Ok(response) = self.respond(status) {
                response.send("");
            } else {
                self.http.abort();
            }
        }
        // The rest of its body is of interest to nobody.
        self.http.limit_body(UNREAD_BYTES);
        self.finish_entry(arrival);
        Ok(())
    }

    /// Takes note of a request for the access log, if there is one.
    fn begin_entry(&mut self, request: Option<&Request>) {
        self.status = None;
        if self.journal.is_some() {
            let produced_bytes = self.produced_bytes();
            let date = self.shared.clock.date();
            self.journal.iter_mut().for_each(|journal| journal.begin(request, date, produced_bytes));
        }
    }

    /// A request that was taken up at `arrival` was answered, or is given up.
    fn finish_entry(&mut self, arrival: Instant) {
        let status = self.status.take();
        if let Some(status) = status {
            self.shared.figures.count_response(status);
            self.http.unsent().add(arrival, &self.shared.figures);
            if !self.http.has_output() {
                // The last of it has left before its end was said.
                self.http.unsent().send(&self.shared.figures);
            }
        }
        if let Some(log) = self.shared.access_log.get() {
            let produced_bytes = self.sent_bytes + self.http.output_bytes() as u64;
            self.journal.iter_mut().for_each(|journal| journal.finish(log, status, produced_bytes));
        }
    }

    /// What was sent and what waits to be.
    fn produced_bytes(&self) -> u64 {
        self.sent_bytes + self.http.output_bytes() as u64
    }

    /// Nobody will answer the request that is being served.
    fn give_up(&mut self) {
        let date = self.shared.clock.date();
        if let Ok(mut response) = self.http.respond(Status::INTERNAL_SERVER_ERROR, Some(&date)) {
            response.close();
            response.send("");
            self.status = Some(Status::INTERNAL_SERVER_ERROR);
        } else {
            self.http.abort();
        }
    }

    fn refuse(&mut self, error: sunstar_http1::Error) {
        log::debug!("refused: {error}");
        self.shared.count_refusal();
        // Nobody waits if a body breaks off whose request was answered already.
        if let Ok(response) = self.respond(error.status()) {
            response.send("");
        }
    }

    fn on_message_end(&mut self) {
        self.expects_input = self.keeps_alive;
    }

    #[cfg(feature = "compression")]
    pub(crate) fn shared(&self) -> &alloc::rc::Rc<crate::server::Shared> {
        &self.shared
    }

    fn respond(
        &mut self,
        status: Status,
    ) -> Result<sunstar_http1::ResponseWriter<&mut sunstar_http1::Connection>, Error> {
        let date = self.date_of_response();
        let response = self.http.respond(status, Some(&date))?;
        self.status = Some(status);
        Ok(response)
    }

    /// Does the same by a connection that is lent, and given back with the writer.
    pub(crate) fn respond_by(mut lent: RefMut<'_, Self>, status: Status) -> Result<ResponseWriter<'_>, Error> {
        let date = lent.date_of_response();
        let (http, mut begun) = RefMut::map_split(lent, |connection| (&mut *connection.http, &mut connection.status));
        let response = ResponseWriter::begin(http, status, Some(&date))?;
        *begun = Some(status);
        Ok(response)
    }

    /// The date of a response that is begun.
    fn date_of_response(&mut self) -> Date {
        if self.shared.stop.abort_requested() {
            self.drain_at_once();
        }
        self.shared.clock.date()
    }

    pub(crate) async fn send_body(&mut self, bytes: Buffer, watch: &mut Watch<'_>) -> Result<(), Error> {
        self.http.send_body(bytes)?;
        if self.http.output_bytes() > self.shared.endpoint.limits().output_bytes {
            self.transmit(watch).await?;
        }
        Ok(())
    }

    pub(crate) fn end_body_with(&mut self, trailers: &HeaderLines) -> Result<(), Error> {
        Ok(self.http.end_body_with(trailers)?)
    }

    pub(crate) fn trailers(&self) -> Option<&Headers> {
        self.http.trailers()
    }

    /// Bounds what may still come of the body of the request that is being served.
    pub(crate) fn limit_body(&mut self, bytes: u64) {
        self.http.limit_body(bytes);
    }

    /// Waits for the next part of the body of the request that is being served.
    pub(crate) async fn next_piece(&mut self, watch: &mut Watch<'_>) -> Result<Piece, Error> {
        loop {
            match self.http.poll_event() {
                Some(Event::Body(bytes)) => return Ok(Piece::Bytes(bytes)),
                Some(Event::End) => {
                    self.on_message_end();
                    return Ok(Piece::End);
                }
                Some(Event::Error(error)) => {
                    self.refuse(error);
                    return Err(Error::Refused(error));
                }
                Some(Event::Request(_)) => unreachable!("the end of a body comes before the next request"),
                None => {}
            }
            if !self.http.wants_input() {
                return Err(if self.has_timed_out { Error::TimedOut } else { Error::Answered });
            }
            self.http.send_continue();
            if self.http.has_output() {
                self.transmit(watch).await?;
            }
            maybe_yield().await;
            let mut wait = self.waits.input(Awaits::Body, self.http.allowance(), &self.shared.patience);
            match poll_fn(|cx| self.poll_input(cx, watch, &mut wait)).await? {
                Input::Bytes(bytes) => self.take_in_body(bytes),
                Input::Overdue(overdue) => return Err(self.on_overdue(overdue)),
            }
        }
    }

    /// Hands what is to be sent to the stream, once that has sent the last of it.
    pub(crate) async fn transmit(&mut self, watch: &mut Watch<'_>) -> Result<(), Error> {
        self.writable(watch).await?;
        self.hand_over();
        Ok(())
    }

    fn hand_over(&mut self) {
        self.enqueue();
        self.http.unsent().send(&self.shared.figures);
        self.lingers = self.expects_input;
    }

    /// Does the same if it needs no waiting, which is answered.
    fn transmit_at_once(&mut self) -> Result<bool, Error> {
        // Who waits asks again.
        match self.stream.poll_writable(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => Ok(false),
            Poll::Ready(Err(error)) => Err(self.on_failure(error)),
            Poll::Ready(Ok(())) => {
                self.hand_over();
                Ok(true)
            }
        }
    }

    /// Does the same as soon as it needs no waiting, for which the task is woken. What there is of a body is kept together with the
    /// rest, unless responses before it wait to leave.
    fn transmit_meanwhile(&mut self, cx: &mut Context<'_>) {
        let keeps_together = self.http.is_sending() && self.http.unsent().is_empty();
        // That the stream has failed will be noticed when somebody needs it.
        if !keeps_together && self.http.has_output() && matches!(self.stream.poll_writable(cx), Poll::Ready(Ok(()))) {
            self.hand_over();
        }
    }

    /// Waits until the stream has sent what it was given.
    async fn writable(&mut self, watch: &mut Watch<'_>) -> Result<(), Error> {
        let mut wait = None;
        match poll_fn(|cx| self.poll_writable(cx, watch, &mut wait)).await? {
            Ok(()) => Ok(()),
            Err(overdue) => Err(self.on_overdue(overdue)),
        }
    }

    fn poll_writable(
        &mut self,
        cx: &mut Context<'_>,
        watch: &mut Watch<'_>,
        wait: &mut Option<Wait>,
    ) -> Poll<Result<Result<(), Overdue>, Error>> {
        if let Poll::Ready(outcome) = self.stream.poll_writable(cx) {
            return Poll::Ready(outcome.map(Ok).map_err(|error| self.on_failure(error)));
        }
        let wait = wait.get_or_insert_with(|| Waits::output(self.http.allowance(), &self.shared.patience));
        self.poll_overdue(cx, watch, wait).map(|overdue| Ok(Err(overdue)))
    }

    /// Puts what is to be sent into the stream's queue, which has room.
    fn enqueue(&mut self) {
        let bytes = self.http.poll_transmit(&mut Queue(&mut self.stream)) as u64;
        self.sent_bytes += bytes;
        self.is_long = bytes > closing::LEFT_BYTES;
    }

    fn poll_input(
        &mut self,
        cx: &mut Context<'_>,
        watch: &mut Watch<'_>,
        wait: &mut Wait,
    ) -> Poll<Result<Input, Error>> {
        if let Poll::Ready(bytes) = self.stream.poll_read(cx) {
            return Poll::Ready(bytes.map(Input::Bytes).map_err(|error| self.on_failure(error)));
        }
        self.poll_overdue(cx, watch, wait).map(|overdue| Ok(Input::Overdue(overdue)))
    }

    fn take_in(&mut self, bytes: Buffer) {
        if bytes.is_empty() {
            self.expects_input = false;
            self.lingers = false;
            self.http.handle_end_of_input();
        } else if self.http.handle_input(bytes).is_err() {
            // One reads only while the connection wants input.
            self.http.abort();
        }
    }

    fn take_in_body(&mut self, bytes: Buffer) {
        self.waits.on_body(self.http.allowance(), bytes.len(), &self.shared.patience);
        self.take_in(bytes);
    }
}

/// A stream's queue, which takes what is handed out as it comes.
struct Queue<'a>(&'a mut Stream);

impl Extend<Buffer> for Queue<'_> {
    fn extend<T: IntoIterator<Item = Buffer>>(&mut self, buffers: T) {
        buffers.into_iter().for_each(|buffer| self.0.enqueue(buffer));
    }
}

impl Drop for Connection {
    /// However it ends (a handler may have panicked): responses that are complete leave, and nobody takes a part of one for the
    /// whole.
    fn drop(&mut self) {
        self.shared.ears.leave(&mut self.ear);
        if matches!(self.phase, Phase::Leaving) {
            self.shared.ears.has_left();
        }
        if self.has_failed {
            add_one(&self.shared.failed);
        }
        if self.http.is_resting() {
            return;
        }
        if self.is_broken {
            // Nobody is there to be told of a failure.
            self.http.abort();
        } else if self.http.in_flight() > 0 {
            self.give_up();
        }
        self.finish_entry(metrics::arrival());
        if self.http.needs_reset() {
            self.stream.abort();
        }
        if self.is_broken && planted::is("frames_leaked") {
            let mut frames = alloc::collections::VecDeque::new();
            self.http.poll_transmit(&mut frames);
            mem::forget(frames);
        }
        if !planted::is("unsent_at_failure") && !planted::is("unsent_at_stop") {
            self.enqueue();
            if !self.is_broken {
                self.http.unsent().send(&self.shared.figures);
            }
        }
        self.http.end(&self.shared.spares, &self.shared.endpoint);
    }
}

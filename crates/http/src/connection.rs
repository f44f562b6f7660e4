//! The loop around the state machine of one connection.

use alloc::rc::Rc;
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::{Context, Poll};
use core::time::Duration;

use smallvec::SmallVec;
use sunstar_executor::combine::with_timeout;
use sunstar_executor::timer::sleep;
use sunstar_http1::{Event, Request, ResponseWriter, Status};
use sunstar_net::Stream;
use sunstar_packet::Buffer;

use crate::error::Error;
use crate::exchange::Exchange;
use crate::server::Shared;

/// After a refusal the client is read from for so long, so that it sees the response rather than a reset (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(2);

/// When the server stops, a connection waits so long for bytes that have arrived and were not yet handed over by the network.
const LAST_LOOK: Duration = Duration::from_millis(2);

/// One connection: its stream, and what has become of its bytes.
pub(crate) struct Connection {
    stream: Stream,
    http: sunstar_http1::Connection,
    shared: Rc<Shared>,
    /// The client may be sending what nobody looks at.
    lingers: bool,
    has_stopped: bool,
}

/// A part of a request's body.
pub(crate) enum Piece {
    Bytes(Buffer),
    End,
}

/// What came of a wait for input.
enum Input {
    Bytes(Buffer),
    Stop,
}

impl Connection {
    pub(crate) fn new(stream: Stream, shared: Rc<Shared>) -> Self {
        let http = shared.endpoint.accept();
        Self { stream, http, shared, lingers: false, has_stopped: false }
    }

    /// Serves requests until the connection ends.
    pub(crate) async fn serve<F>(mut self, handler: &F) -> Result<(), Error>
    where
        F: AsyncFn(Request, &mut Exchange<'_>) -> Result<(), Error>,
    {
        let shared = Rc::clone(&self.shared);
        let mut stopped = pin!(shared.stop.aborted());
        loop {
            match self.http.poll_event() {
                Some(Event::Request(request)) => self.answer(request, handler).await?,
                // Of a body that the application did not read.
                Some(Event::Body(_) | Event::End) => {}
                Some(Event::Error(error)) => self.refuse(error)?,
                None if self.http.has_output() => self.transmit().await?,
                None if self.http.should_close() => return self.close().await,
                None => self.receive(stopped.as_mut()).await?,
            }
        }
    }

    async fn answer<F>(&mut self, request: Request, handler: &F) -> Result<(), Error>
    where
        F: AsyncFn(Request, &mut Exchange<'_>) -> Result<(), Error>,
    {
        self.shared.count_request();
        let before = self.http.in_flight();
        let has_body = request.body() != sunstar_http1::BodyLength::Empty;
        match handler(request, &mut Exchange::new(self, has_body)).await {
            Ok(()) => {}
            // The refusal is what is left to be said.
            Err(Error::Refused(_)) if self.lingers => return Ok(()),
            Err(error) => return Err(error),
        }
        if self.http.in_flight() == before {
            // Whatever it has begun to send is no response.
            if let Ok(response) = self.respond(Status::INTERNAL_SERVER_ERROR) {
                response.send("");
            } else {
                self.http.abort();
            }
        }
        Ok(())
    }

    fn refuse(&mut self, error: sunstar_http1::Error) -> Result<(), Error> {
        log::debug!("refused: {error}");
        self.shared.count_refusal();
        self.lingers = true;
        // Nobody waits if a body breaks off whose request was answered already.
        if let Ok(response) = self.respond(error.status()) {
            response.send("");
        }
        Ok(())
    }

    pub(crate) fn respond(&mut self, status: Status) -> Result<ResponseWriter<'_>, Error> {
        let date = self.shared.clock.date();
        Ok(self.http.respond(status, Some(&date))?)
    }

    pub(crate) async fn send_body(&mut self, bytes: Buffer) -> Result<(), Error> {
        self.http.send_body(bytes)?;
        if self.http.output_bytes() > self.shared.endpoint.limits().output_bytes {
            self.transmit().await?;
        }
        Ok(())
    }

    pub(crate) fn end_body(&mut self) -> Result<(), Error> {
        Ok(self.http.end_body()?)
    }

    /// Waits for the next part of the body of the request that is being served.
    pub(crate) async fn next_piece(&mut self) -> Result<Piece, Error> {
        loop {
            match self.http.poll_event() {
                Some(Event::Body(bytes)) => return Ok(Piece::Bytes(bytes)),
                Some(Event::End) => return Ok(Piece::End),
                Some(Event::Error(error)) => {
                    self.refuse(error)?;
                    return Err(Error::Refused(error));
                }
                Some(Event::Request(_)) => unreachable!("the end of a body comes before the next request"),
                None => {}
            }
            self.http.send_continue();
            if self.http.has_output() {
                self.transmit().await?;
            }
            if !self.http.wants_input() {
                return Err(Error::Truncated);
            }
            let bytes = self.stream.read().await?;
            self.take_in(bytes);
        }
    }

    /// Hands what is to be sent to the stream.
    async fn transmit(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.stream.poll_writable(cx)).await?;
        let mut buffers = SmallVec::<[Buffer; 4]>::new();
        self.http.poll_transmit(&mut buffers);
        buffers.into_iter().for_each(|buffer| self.stream.enqueue(buffer));
        Ok(())
    }

    /// Waits for bytes or for the request to stop.
    async fn receive(&mut self, mut stopped: Pin<&mut impl Future<Output = ()>>) -> Result<(), Error> {
        if self.has_stopped {
            // All that had arrived is answered, but for a request that is not complete.
            match with_timeout(LAST_LOOK, self.stream.read()).await {
                Ok(bytes) => self.take_in(bytes?),
                Err(_) => self.http.abort(),
            }
            return Ok(());
        }
        match poll_fn(|cx| self.poll_input(cx, stopped.as_mut())).await? {
            Input::Bytes(bytes) => self.take_in(bytes),
            Input::Stop => {
                self.has_stopped = true;
                if let Ok(bytes) = with_timeout(LAST_LOOK, self.stream.read()).await {
                    self.take_in(bytes?);
                }
                self.http.stop();
            }
        }
        Ok(())
    }

    fn poll_input(
        &mut self,
        cx: &mut Context<'_>,
        stopped: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<Result<Input, Error>> {
        if let Poll::Ready(bytes) = self.stream.poll_read(cx) {
            return Poll::Ready(bytes.map(Input::Bytes).map_err(Error::Net));
        }
        stopped.poll(cx).map(|()| Ok(Input::Stop))
    }

    fn take_in(&mut self, bytes: Buffer) {
        if bytes.is_empty() {
            self.http.handle_end_of_input();
        } else if self.http.handle_input(bytes).is_err() {
            // One reads only while the connection wants input.
            self.http.abort();
        }
    }

    /// Closes after the last response. What is queued is sent by the stream on its own.
    async fn close(mut self) -> Result<(), Error> {
        if !self.lingers {
            return Ok(());
        }
        self.stream.shutdown();
        let mut end = pin!(sleep(LINGER));
        loop {
            let read = poll_fn(|cx| match self.stream.poll_read(cx) {
                Poll::Ready(bytes) => Poll::Ready(Some(bytes)),
                Poll::Pending => end.as_mut().poll(cx).map(|_| None),
            });
            match read.await {
                Some(Ok(bytes)) if !bytes.is_empty() => {}
                _ => return Ok(()),
            }
        }
    }
}

//! A client: the state machine of `sunstar_http1` over a stream.

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use sunstar_http1::{ClientConnection, ClientEvent, Endpoint, HeaderName, Limits, Response};
use sunstar_net::{Address, Error, Stream};
use sunstar_packet::Buffer;
use sunstar_sim::resolve;

use super::site::PORT;

/// A client's connection.
pub(super) struct Client {
    pub(super) stream: Stream,
    pub(super) http: ClientConnection,
    /// Interim responses that have come.
    pub(super) interim: usize,
}

/// A response with its body.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) head: Response,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn status(&self) -> u16 {
        self.head.status().code()
    }

    /// Whether the server says that it closes.
    pub(super) fn closes(&self) -> bool {
        !self.head.keeps_alive()
    }
}

/// Why no further response comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The server ended the connection between responses.
    Closed,
    /// It ended within a response.
    BrokenOff,
    /// The network ended it.
    Net(Error),
}

pub(super) fn server() -> Address {
    let ip: Ipv4Addr = resolve("server").expect("there is a server");
    Address::Inet((ip, PORT).into())
}

impl Client {
    pub(super) async fn connect() -> Result<Self, Error> {
        let stream = Stream::connect(server()).await?;
        let http = Endpoint::new(Limits { body_bytes: 1 << 30, ..Limits::DEFAULT }).connect();
        Ok(Self { stream, http, interim: 0 })
    }

    /// Prepares a request without body.
    pub(super) fn ask(&mut self, method: &str, target: &str) {
        self.http.request(method, target, "server").unwrap().send("");
    }

    /// Prepares a request with these fields whose body follows.
    pub(super) fn begin(&mut self, target: &str, length: Option<u64>, fields: &[(&str, &str)]) {
        let mut request = self.http.request("POST", target, "server").unwrap();
        for (name, value) in fields {
            request.header(HeaderName::new(name).unwrap(), value).unwrap();
        }
        request.stream(length);
    }

    /// Sends what was prepared.
    pub(super) async fn transmit(&mut self) -> Result<(), Error> {
        let mut buffers = Vec::<Buffer>::new();
        self.http.poll_transmit(&mut buffers);
        self.stream.write_buffers(buffers).await
    }

    /// Sends bytes as they are.
    pub(super) async fn raw(&mut self, bytes: impl Into<Buffer>) -> Result<(), Error> {
        self.stream.write(bytes).await
    }

    pub(super) async fn get(&mut self, target: &str) -> Result<Answer, Ending> {
        self.ask("GET", target);
        self.transmit().await.map_err(Ending::Net)?;
        self.answer().await
    }

    /// The next response, to its end.
    pub(super) async fn answer(&mut self) -> Result<Answer, Ending> {
        let mut head = None;
        let mut body = Vec::new();
        loop {
            match self.http.poll_event() {
                Some(ClientEvent::Interim(_)) => self.interim += 1,
                Some(ClientEvent::Response(response)) if response.body() == sunstar_http1::BodyLength::Empty => {
                    return Ok(Answer { head: response, body });
                }
                Some(ClientEvent::Response(response)) => head = Some(response),
                Some(ClientEvent::Body(bytes)) => body.extend_from_slice(&bytes),
                Some(ClientEvent::End) => return Ok(Answer { head: head.expect("the head came first"), body }),
                Some(ClientEvent::Error(sunstar_http1::Error::Truncated)) if head.is_none() => {
                    return Err(Ending::Closed);
                }
                Some(ClientEvent::Error(sunstar_http1::Error::Truncated)) => return Err(Ending::BrokenOff),
                Some(ClientEvent::Error(error)) => panic!("the server sent what is refused: {error}"),
                None if self.http.is_closed() => return Err(Ending::Closed),
                None => match self.stream.read().await {
                    Ok(bytes) if bytes.is_empty() => self.http.handle_end_of_input(),
                    Ok(bytes) => self.http.handle_input(bytes).expect("there is room"),
                    Err(_) if head.is_some() => return Err(Ending::BrokenOff),
                    Err(error) => return Err(Ending::Net(error)),
                },
            }
        }
    }

    /// All further responses, and why there are no more.
    pub(super) async fn answers(&mut self) -> (VecDeque<Answer>, Ending) {
        let mut answers = VecDeque::new();
        loop {
            match self.answer().await {
                Ok(answer) => answers.push_back(answer),
                Err(ending) => return (answers, ending),
            }
        }
    }

    /// Reads on until the server closes.
    pub(super) async fn closed(mut self) {
        assert_eq!(self.answer().await.unwrap_err(), Ending::Closed);
    }
}

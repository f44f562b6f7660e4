//! Worlds of one client and servers that do what a script says.

use std::cell::RefCell;
use std::future::Future;
use std::net::Ipv4Addr;
use std::rc::Rc;

use sunstar_executor::spawn;
use sunstar_net::{Address, Listener, ListenerOptions, Stream};
use sunstar_packet::Buffer;
use sunstar_sim::{Sim, resolve};

use crate::client::{Client, ClientError, ClientOptions, ClientStats};

/// A server's side of a connection.
pub(super) struct Peer {
    stream: Stream,
    /// What was received and not looked at.
    received: Vec<u8>,
    /// The connections before it.
    pub(super) number: usize,
}

impl Peer {
    /// The head of the next request; `None` when the client closes.
    pub(super) async fn head(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let rest = self.received.split_off(at + 4);
                let head = std::mem::replace(&mut self.received, rest);
                return Some(String::from_utf8(head).expect("requests are text"));
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// So many bytes of a body; fewer if the client closes.
    pub(super) async fn take(&mut self, count: usize) -> Vec<u8> {
        while self.received.len() < count && self.more().await {}
        let rest = self.received.split_off(count.min(self.received.len()));
        std::mem::replace(&mut self.received, rest)
    }

    /// Receives something; whether there was anything.
    pub(super) async fn more(&mut self) -> bool {
        match self.stream.read().await {
            Ok(bytes) if !bytes.is_empty() => {
                self.received.extend_from_slice(&bytes);
                true
            }
            _ => false,
        }
    }

    pub(super) async fn say(&mut self, text: impl Into<Buffer>) {
        // The client may be gone.
        let _gone = self.stream.write(text).await;
    }

    /// Answers with a small body.
    pub(super) async fn answer(&mut self, body: &str) {
        self.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()).await;
    }

    pub(super) fn reset(mut self) {
        self.stream.abort();
    }

    /// Waits until the client closes.
    pub(super) async fn closed(mut self) {
        while self.more().await {}
    }
}

/// Lets `main` talk to a host `server` that serves each connection by `script`. Answers what the client has counted in the end.
pub(super) fn scripted<M, S>(
    options: ClientOptions,
    script: impl Fn(Peer) -> S + 'static,
    main: impl FnOnce(Client) -> M + 'static,
) -> ClientStats
where
    M: Future<Output = ()> + 'static,
    S: Future<Output = ()> + 'static,
{
    let mut sim = Sim::new(1);
    add_server(&mut sim, "server", script);
    let stats = Rc::new(RefCell::new(ClientStats::default()));
    let told = Rc::clone(&stats);
    sim.host("client", 1, move || async move {
        let client = Client::new(options);
        main(client.clone()).await;
        *told.borrow_mut() = client.stats();
    });
    sim.run().unwrap();
    let stats = *stats.borrow();
    assert_eq!((stats.waiting, stats.open), (0, stats.idle), "nothing is in use any more: {stats:?}");
    stats
}

/// Adds a host that serves each connection by a script.
pub(super) fn add_server<S>(sim: &mut Sim, name: &str, script: impl Fn(Peer) -> S + 'static)
where
    S: Future<Output = ()> + 'static,
{
    sim.background_host(name, 1, move || async move {
        let address = Address::Inet((Ipv4Addr::UNSPECIFIED, 80).into());
        let mut listener = Listener::bind(address, ListenerOptions::default()).await.unwrap();
        for number in 0.. {
            let Ok(stream) = listener.accept().await else { return };
            spawn(script(Peer { stream, received: Vec::new(), number }));
        }
    });
}

/// The URI of a path of the host `server`.
pub(super) fn at(path: &str) -> String {
    of("server", path)
}

pub(super) fn of(host: &str, path: &str) -> String {
    format!("http://{}{path}", resolve(host).expect("there is one"))
}

/// Answers every request by its target.
pub(super) async fn echo_targets(mut peer: Peer) {
    while let Some(head) = peer.head().await {
        let target = head.split(' ').nth(1).expect("a target").to_owned();
        peer.answer(&target).await;
    }
}

/// Asks for a path, and answers the body as text.
pub(super) async fn get(client: &Client, path: &str) -> Result<String, ClientError> {
    let mut response = client.get(&at(path)).send().await?;
    let body = response.collect(1 << 20).await?;
    Ok(String::from_utf8(body.to_vec()).expect("text"))
}

//! One question to one server.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;

use sunstar_executor::combine::with_timeout;
use sunstar_executor::current;

use super::message::{self, RecordKind, Reply};
use super::{MAX_STRAYS, ResolverCounters};
use crate::error::Error;
use crate::tcp::TcpStream;
use crate::udp::UdpSocket;

/// What is asked, and how long an answer may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    pub(super) name: &'a str,
    pub(super) kind: RecordKind,
    pub(super) timeout: Duration,
}

/// A number that nobody can guess.
pub(super) fn random() -> u32 {
    let mut bytes = [0; 4];
    current::entropy(&mut bytes);
    u32::from_ne_bytes(bytes)
}

fn id() -> u16 {
    let [a, b, ..] = random().to_ne_bytes();
    u16::from_ne_bytes([a, b])
}

impl Question<'_> {
    /// Asks a server: by UDP, and by TCP if the answer does not fit. Nothing if it does not answer.
    pub(super) async fn ask(&self, server: SocketAddr, count: &impl Fn(fn(&mut ResolverCounters))) -> Option<Reply> {
        with_timeout(self.timeout, self.converse(server, count)).await.ok()?.ok()
    }

    async fn converse(&self, server: SocketAddr, count: &impl Fn(fn(&mut ResolverCounters))) -> Result<Reply, Error> {
        let mut reply = self.by_udp(server, true, count).await?;
        if reply == Reply::NoExtensions {
            reply = self.by_udp(server, false, count).await?;
        }
        if reply == Reply::Truncated {
            count(|counters| counters.by_tcp += 1);
            reply = self.by_tcp(server).await?;
        }
        Ok(reply)
    }

    /// Each question has a port and a number of its own (RFC 5452 §9).
    async fn by_udp(
        &self,
        server: SocketAddr,
        has_extensions: bool,
        count: &impl Fn(fn(&mut ResolverCounters)),
    ) -> Result<Reply, Error> {
        let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let (id, mut socket) = (id(), UdpSocket::bind(SocketAddr::new(any, 0))?);
        socket.connect(server)?;
        let question = message::question(id, self.name, self.kind, has_extensions).ok_or(Error::InvalidInput)?;
        count(|counters| counters.questions += 1);
        socket.send(question).await?;
        for _ in 0..MAX_STRAYS {
            let (bytes, from) = socket.recv_from().await?;
            // Nobody was told that longer ones are taken; and what strangers send is not read.
            let is_plausible = is_from(server, from) && bytes.len() <= usize::from(message::UDP_BYTES);
            let answer = is_plausible.then(|| message::answer(&bytes, id, self.name, self.kind)).flatten();
            if let Some(reply) = answer {
                return Ok(reply);
            }
            count(|counters| counters.strays += 1);
        }
        Err(Error::LimitExceeded)
    }

    /// RFC 7766 §8: messages have their lengths in front.
    async fn by_tcp(&self, server: SocketAddr) -> Result<Reply, Error> {
        let id = id();
        let question = message::question(id, self.name, self.kind, true).ok_or(Error::InvalidInput)?;
        let mut stream = TcpStream::connect(server).await?;
        let len = u16::try_from(question.len()).map_err(|_| Error::MessageTooLong)?;
        stream.write([&len.to_be_bytes()[..], &question].concat()).await?;
        let mut bytes: Vec<u8> = Vec::new();
        loop {
            let part = stream.read().await?;
            if part.is_empty() {
                return Err(Error::UnexpectedEnd);
            }
            bytes.extend_from_slice(&part);
            let Some((len, rest)) = bytes.split_first_chunk() else { continue };
            if let Some(answer) = rest.get(..usize::from(u16::from_be_bytes(*len))) {
                let reply = message::answer(answer, id, self.name, self.kind).ok_or(Error::InvalidInput)?;
                // There is nothing else to ask for it.
                return Ok(if reply == Reply::Truncated { Reply::Failed } else { reply });
            }
        }
    }
}

/// Whether a server has sent something from `from`. Who names it without its link does not mind which one that is.
fn is_from(server: SocketAddr, from: SocketAddr) -> bool {
    match (server, from) {
        (SocketAddr::V6(server), SocketAddr::V6(from)) if server.scope_id() == 0 => {
            (server.ip(), server.port()) == (from.ip(), from.port())
        }
        _ => server == from,
    }
}

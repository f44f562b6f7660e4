//! A connection, whatever carries it.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll};

use sunstar::net::{DatagramReceiver, DatagramSender, Error, TcpStream, UdpSocket};
use sunstar::packet::Buffer;

use crate::plan::Transport;

/// A stream, or a datagram socket that knows one peer.
pub(super) enum Link {
    Stream(TcpStream),
    Datagrams(DatagramReceiver<SocketAddr>, DatagramSender<SocketAddr>),
}

impl Link {
    /// Connects. Dropping the future gives the connection up.
    pub(super) async fn open(transport: Transport, to: SocketAddr) -> Result<Self, Error> {
        match transport {
            Transport::Tcp => TcpStream::connect(to).await.map(Self::Stream),
            Transport::Udp => {
                let any = match to {
                    SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
                    SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
                };
                let socket = UdpSocket::bind(any)?;
                socket.connect(to)?;
                let (receiver, sender) = socket.into_split();
                Ok(Self::Datagrams(receiver, sender))
            }
        }
    }

    /// The next bytes. An empty buffer is the end.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Buffer, Error>> {
        match self {
            Self::Stream(stream) => stream.poll_read(cx),
            Self::Datagrams(receiver, _) => loop {
                match receiver.poll_recv_from(cx) {
                    // A datagram without bytes is no end.
                    Poll::Ready(Ok((bytes, _))) if bytes.is_empty() => {}
                    received => return received.map(|received| received.map(|(bytes, _)| bytes)),
                }
            },
        }
    }

    /// Waits until more may be sent.
    pub(super) fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self {
            Self::Stream(stream) => stream.poll_writable(cx),
            Self::Datagrams(_, sender) => sender.poll_writable(cx),
        }
    }

    /// Sends without waiting; to be called when [`Link::poll_writable`] was ready.
    pub(super) fn enqueue(&mut self, bytes: Buffer) {
        match self {
            Self::Stream(stream) => stream.enqueue(bytes),
            Self::Datagrams(_, sender) => sender.enqueue(bytes, None),
        }
    }
}

//! A connection, whatever carries it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll};

use sunstar::net::{ConnectOptions, DatagramReceiver, DatagramSender, Error, TcpStream, UdpSocket};
use sunstar::packet::Buffer;

use crate::plan::Transport;

/// A stream, or a datagram socket that knows one peer.
pub(super) enum Link {
    Stream(TcpStream),
    Datagrams(DatagramReceiver<SocketAddr>, DatagramSender<SocketAddr>),
}

impl Link {
    /// Connects, from an address or from one that suits. Dropping the future gives the connection up.
    pub(super) async fn open(transport: Transport, from: Option<IpAddr>, to: SocketAddr) -> Result<Self, Error> {
        match transport {
            Transport::Tcp => {
                let options = ConnectOptions { from: from.map(|from| SocketAddr::from((from, 0)).into()) };
                TcpStream::connect_with(to, &options).await.map(Self::Stream)
            }
            Transport::Udp => {
                let any = match to {
                    SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
                    SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
                };
                let socket = UdpSocket::bind(SocketAddr::from((from.unwrap_or(any), 0)))?;
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

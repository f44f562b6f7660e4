//! What the tests do with sockets, as futures over the contract.

use std::future::{Future, poll_fn};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use sunstar_net::socket::{
    ConnectOptions, DatagramOptions, DatagramSocket, Detached, ListenOptions, ListenSocket, StreamSocket, stack,
};
use sunstar_net::{Address, Error};
use sunstar_packet::Buffer;

use crate::{Report, Sim, SimError, resolve};

pub(super) type Stream = Rc<dyn StreamSocket>;

/// An address of the host with this name.
pub(super) fn at(host: &str, port: u16) -> Address {
    Address::Inet(SocketAddr::from((resolve(host).expect("the host exists"), port)))
}

/// All addresses of this host.
pub(super) fn any(port: u16) -> Address {
    Address::Inet(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
}

pub(super) fn listen(port: u16) -> Rc<dyn ListenSocket> {
    listen_with(port, &ListenOptions::default())
}

pub(super) fn listen_with(port: u16, options: &ListenOptions) -> Rc<dyn ListenSocket> {
    stack().unwrap().listen(&any(port), options).unwrap()
}

pub(super) async fn accept_detached(listener: &Rc<dyn ListenSocket>) -> Result<Detached, Error> {
    poll_fn(|cx| listener.poll_accept(cx)).await
}

pub(super) async fn accept(listener: &Rc<dyn ListenSocket>) -> Stream {
    attach(accept_detached(listener).await.unwrap())
}

pub(super) fn attach(stream: Detached) -> Stream {
    stack().unwrap().attach(stream).unwrap()
}

pub(super) async fn connect(to: &Address) -> Result<Stream, Error> {
    stack().unwrap().connect(to, &ConnectOptions::default()).await
}

pub(super) async fn read(stream: &Stream) -> Result<Buffer, Error> {
    poll_fn(|cx| stream.poll_read(cx)).await
}

pub(super) async fn write(stream: &Stream, bytes: impl Into<Buffer>) -> Result<(), Error> {
    poll_fn(|cx| stream.poll_writable(cx)).await?;
    stream.enqueue(bytes.into());
    Ok(())
}

pub(super) async fn flush(stream: &Stream) -> Result<(), Error> {
    poll_fn(|cx| stream.poll_flush(cx)).await
}

pub(super) async fn detach(stream: &Stream) -> Result<Detached, Error> {
    poll_fn(|cx| stream.poll_detach(cx)).await
}

/// Reads to the end.
pub(super) async fn read_all(stream: &Stream) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    loop {
        let bytes = read(stream).await?;
        if bytes.is_empty() {
            return Ok(all);
        }
        all.extend_from_slice(&bytes);
    }
}

pub(super) fn bind(port: u16) -> Rc<dyn DatagramSocket> {
    stack().unwrap().bind(&any(port), &DatagramOptions::default()).unwrap()
}

pub(super) async fn receive(socket: &Rc<dyn DatagramSocket>) -> Result<(Buffer, Address), Error> {
    poll_fn(|cx| socket.poll_receive(cx)).await
}

/// Runs a server and a client of one shard each to their ends.
pub(super) fn pair<S, C>(
    mut sim: Sim,
    server: impl FnOnce() -> S + 'static,
    client: impl FnOnce() -> C + 'static,
) -> Result<Report, SimError>
where
    S: Future<Output = ()> + 'static,
    C: Future<Output = ()> + 'static,
{
    sim.host("server", 1, server);
    sim.host("client", 1, client);
    sim.run()
}

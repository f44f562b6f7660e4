//! Connections by which a server knows that somebody is at the addresses that datagrams come from.
//!
//! Whoever sends a datagram can name any address as his own, so a server may answer an address without connection with less than it
//! was sent, or not at all.

use std::net::SocketAddr;

use sunstar::executor::combine::with_timeout;
use sunstar::net::{self, ConnectOptions, TcpStream};
use sunstar::prelude::*;

use crate::plan::Plan;

/// Connects from each address that is used, and waits until the server has answered there. It may forget the address when what comes of
/// this is dropped.
///
/// # Errors
/// If it does not answer in time.
pub(crate) async fn make(plan: &Plan) -> Result<Vec<TcpStream>, Error> {
    let mut streams = Vec::new();
    for number in 0..plan.from.len().max(1) {
        let from = plan.from(number).map(|from| SocketAddr::from((from, 0)).into());
        let met = with_timeout(plan.connect_timeout, meet(plan.target, ConnectOptions { from })).await;
        let stream = met.unwrap_or(Err(net::Error::TimedOut));
        let failed =
            |error| Error::failure(format_args!("{}: no connection beside the datagrams: {error}", plan.target));
        streams.push(stream.map_err(failed)?);
    }
    Ok(streams)
}

/// Asks for what each server has, so that an answer shows that the connection is served.
async fn meet(target: SocketAddr, options: ConnectOptions) -> Result<TcpStream, net::Error> {
    let mut stream = TcpStream::connect_with(target, &options).await?;
    stream.write(Buffer::from_static(b"version\r\n")).await?;
    if stream.read().await?.is_empty() { Err(net::Error::ConnectionReset) } else { Ok(stream) }
}

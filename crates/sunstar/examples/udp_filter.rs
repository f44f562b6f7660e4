//! An echo service over UDP (RFC 862) that answers before its own TCP/IP has seen the packets, on each shard those that come to it.
//!
//! ```text
//! udp_filter --network-stack native --device tap:tap0 --host-ipv4-addr 10.9.0.2
//! ```
//!
//! On kernel sockets there is no filter; then the same is done by a socket per shard.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::ExitCode;

use sunstar::native_stack::Network;
use sunstar::native_stack::filter::{Direction, Filtered, TooManyFilters, Verdict};
use sunstar::net::UdpSocket;
use sunstar::net::socket::{self, DatagramOptions};
use sunstar::prelude::*;

#[derive(clap::Args, Clone, Copy)]
struct Args {
    /// Port
    #[arg(long, default_value_t = 7)]
    port: u16,
}

fn main() -> ExitCode {
    App::new("udp_filter").about("Echoes datagrams").run(|Args { port }| async move {
        for shard in ShardId::all(shard_count()) {
            submit_to(shard, move || async move { start(port) }).await??;
        }
        stop_requested().await;
        Ok(())
    })
}

/// Has the current shard answer.
fn start(port: u16) -> Result<(), Error> {
    match Network::current() {
        Some(network) => filter(&network, port).map_err(Error::failure),
        None => serve(port),
    }
}

fn filter(network: &Network, port: u16) -> Result<(), TooManyFilters> {
    network.add_filter(Direction::Input, move |packet: &mut Filtered<'_>| match packet.udp() {
        Some(request) if request.dst.port() == port => {
            let payload = Buffer::copy_from_slice(request.payload);
            packet.answer_udp(payload.into())
        }
        _ => Verdict::Pass,
    })?;
    Ok(())
}

fn serve(port: u16) -> Result<(), Error> {
    let options = DatagramOptions { reuse_port: true, ..DatagramOptions::default() };
    let socket = UdpSocket::bind_with(SocketAddr::new(socket::stack()?.default_address(), port), &options)?;
    spawn_fallible(echo(socket));
    Ok(())
}

async fn echo(mut socket: UdpSocket) -> Result<Infallible, sunstar::net::Error> {
    loop {
        let (bytes, peer) = socket.recv_from().await?;
        socket.send_to(bytes, peer).await?;
    }
}

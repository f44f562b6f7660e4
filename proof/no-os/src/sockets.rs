//! Checks of sockets as programs for Linux know them, over the loopback interface.

use core::net::{Ipv4Addr, SocketAddr};

use sunstar_sockets::errno::Errno;
use sunstar_sockets::numbers::{family, kind};
use sunstar_sockets::{Settings, Sockets};
use sunstar_tcpip::stack::{Limits, Stack};
use sunstar_tcpip::time::Instant;

const NOW: Instant = Instant::from_micros(1_000_000);

pub(crate) fn programs_connect_and_read() -> bool {
    connected() == Ok(5)
}

fn connected() -> Result<usize, Errno> {
    let mut sockets = Sockets::new(Stack::new([7; 16], Limits::DEFAULT), Settings::DEFAULT);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
    let mut socket = || sockets.socket(family::INET.into(), kind::STREAM, 0);
    let (listener, client) = (socket()?, socket()?);
    sockets.bind(listener, address)?;
    sockets.listen(listener, 1)?;
    if sockets.connect(NOW, client, address) != Err(Errno::INPROGRESS) {
        return Err(Errno::INVAL);
    }
    run(&mut sockets);
    sockets.connecting(NOW, client)?;
    let server = sockets.accept(NOW, listener, 0)?;
    sockets.send(NOW, client, &[b"hello"], 0, None)?;
    run(&mut sockets);
    let mut bytes = [0; 8];
    Ok(sockets.receive(NOW, server, &mut [&mut bytes], 0)?.bytes)
}

/// What goes from here to here goes without being asked for.
fn run(sockets: &mut Sockets) {
    while sockets.stack().poll_transmit(NOW).is_some() {}
    sockets.look(NOW);
}

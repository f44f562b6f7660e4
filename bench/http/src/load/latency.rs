//! One connection, one request at a time. The client spins, so that what is measured is the server's way to react.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use sunstar_bench_http::target;

use crate::Window;

/// Answers the time from request to response of each, in nanoseconds.
pub(crate) fn run(address: SocketAddr, request: &[u8], response: usize, window: &mut Window) -> Result<Vec<u64>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    let mut buffer = vec![0_u8; response];
    let mut latencies = Vec::new();
    while window.goes_on(latencies.len() as u64)? {
        let start = Instant::now();
        ensure!(stream.write(request)? == request.len(), "a small request was not taken at once");
        let mut got = 0;
        while got < response {
            match stream.read(&mut buffer[got..]) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(count) => got += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
                Err(error) => return Err(error.into()),
            }
        }
        ensure!(target::is_good(&buffer), "not a 200: {}", buffer.escape_ascii());
        latencies.push(u64::try_from(start.elapsed().as_nanos())?);
    }
    Ok(latencies)
}

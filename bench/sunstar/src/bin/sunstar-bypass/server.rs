//! The server: echoes messages, compares streams, and tells how it has spent its time.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use sunstar::net::{self, ListenerOptions, TcpListener, TcpStream, socket};
use sunstar::prelude::*;
use sunstar_bench_common::bypass::{CONTROL_PORT, PORTS, STREAM_PORT};
use sunstar_bench_common::tcp::{CHUNK, Pattern};

use crate::Args;
use crate::meter::own_usage;

pub(crate) async fn run(args: &Args) -> Result<(), Error> {
    let stop = stop_requested();
    let (size, copies) = (args.size, args.copy);
    let address = address(args)?;
    for port in PORTS {
        spawn(serve(listen(address, port).await?, move |stream| echo(stream, size, copies)));
    }
    let pattern = Rc::new(Pattern::default());
    spawn(serve(listen(address, STREAM_PORT).await?, move |stream| compare(stream, Rc::clone(&pattern), copies)));
    spawn(serve(listen(address, CONTROL_PORT).await?, tell));
    log::info!("listening on {address}");
    stop.await;
    Ok(())
}

/// The address that was given, if the network has such addresses: loopback's are the kernel's, and the native stack has its own.
fn address(args: &Args) -> Result<IpAddr, Error> {
    let own = socket::stack()?.default_address();
    Ok(if own.is_loopback() { args.server } else { own })
}

async fn listen(address: IpAddr, port: u16) -> Result<TcpListener, Error> {
    let address = SocketAddr::new(address, port);
    TcpListener::bind(address, ListenerOptions::default()).await.map_err(|error| Error::listening(address, error))
}

/// Serves each connection in a task of its own. What ends one is the client's to tell.
async fn serve<F>(mut listener: TcpListener, serve: impl Fn(TcpStream) -> F)
where
    F: Future<Output = Result<(), net::Error>> + 'static,
{
    while let Ok(stream) = listener.accept().await {
        spawn(serve(stream));
    }
}

/// Sends each message back: the memory to which it came, or a copy of a copy.
async fn echo(mut stream: TcpStream, size: usize, copies: bool) -> Result<(), net::Error> {
    let mut message = Vec::new();
    loop {
        let first = stream.read().await?;
        if first.is_empty() {
            return Ok(());
        }
        if first.len() == size && !copies {
            stream.write(first).await?;
            continue;
        }
        let mut came = first.len();
        let mut parts = Vec::new();
        keep(&mut message, &mut parts, first, copies);
        while came < size {
            let bytes = stream.read().await?;
            if bytes.is_empty() {
                return Ok(());
            }
            came += bytes.len();
            keep(&mut message, &mut parts, bytes, copies);
        }
        if copies {
            stream.write(Buffer::copy_from_slice(&message)).await?;
            message.clear();
        } else {
            stream.write_buffers(parts).await?;
        }
    }
}

fn keep(message: &mut Vec<u8>, parts: &mut Vec<Buffer>, bytes: Buffer, copies: bool) {
    if copies {
        message.extend_from_slice(&bytes);
    } else {
        parts.push(bytes);
    }
}

/// Reads a stream and compares all of it with the pattern: where it lies, or a copy.
async fn compare(mut stream: TcpStream, pattern: Rc<Pattern>, copies: bool) -> Result<(), net::Error> {
    let mut came = 0;
    let mut memory = vec![0; CHUNK];
    loop {
        let bytes = stream.read().await?;
        if bytes.is_empty() {
            return Ok(());
        }
        for part in bytes.chunks(CHUNK) {
            let read = if copies {
                memory[..part.len()].copy_from_slice(part);
                &memory[..part.len()]
            } else {
                part
            };
            assert!(read == &pattern.at(came)[..read.len()], "it is what was sent");
            came += read.len() as u64;
        }
    }
}

/// Tells how the shard has spent its time, for each byte that comes.
async fn tell(mut stream: TcpStream) -> Result<(), net::Error> {
    loop {
        let asked = stream.read().await?;
        if asked.is_empty() {
            return Ok(());
        }
        for _ in 0..asked.len() {
            stream.write(Buffer::copy_from_slice(&own_usage().to_bytes())).await?;
        }
    }
}

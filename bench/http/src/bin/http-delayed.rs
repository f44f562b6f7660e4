//! A server whose latencies are known: it has each request wait for a time that depends on nothing but the request's number, and those times lie so
//! far apart that everybody who measures them by the same load has to find the same ones at 50, 90 and 99 of a hundred.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

use anyhow::Result;
use clap::Parser;

/// A server that answers after 2, 3 or 4 milliseconds.
#[derive(Parser)]
struct Cli {
    #[arg(long, default_value = "127.0.0.1:10001")]
    address: SocketAddr,
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\nHello world\n";
/// Milliseconds, and up to which of a hundred requests they are taken. wrk counts what takes longer than the mean several times, for those as well
/// that would have been sent meanwhile; with these, the three places lie in the midst of one kind then too.
const DELAYS: [(u64, usize); 3] = [(2, 60), (3, 97), (4, 100)];
/// Has the kinds take turns: with no factor of a hundred, each remainder comes once.
const STRIDE: usize = 37;

static REQUESTS: AtomicUsize = AtomicUsize::new(0);

fn main() -> Result<()> {
    let listener = TcpListener::bind(Cli::parse().address)?;
    loop {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        thread::spawn(|| {
            // A client that goes away is no failure.
            drop(serve(stream));
            // The time of a thread that has ended is in no books of the scheduler's.
            loop {
                thread::park();
            }
        });
    }
}

fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    // A request is sent, and so it comes, in one piece.
    while stream.read(&mut buffer)? > 0 {
        let number = REQUESTS.fetch_add(1, Ordering::Relaxed).wrapping_mul(STRIDE) % 100;
        let delay = DELAYS.iter().find(|(_, until)| number < *until).map_or(0, |(millis, _)| *millis);
        sleep(Duration::from_millis(delay));
        stream.write_all(ANSWER)?;
    }
    Ok(())
}

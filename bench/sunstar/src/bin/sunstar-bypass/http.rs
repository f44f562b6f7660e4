//! The client: requests to an HTTP server on connections that stay open, each of which waits for its answer.

use std::net::SocketAddr;
use std::rc::Rc;

use sunstar::net::TcpStream;
use sunstar::prelude::*;

use crate::Args;
use crate::meter::{Meter, first_connection};

const GOOD: &[u8] = b"HTTP/1.1 200 ";

pub(crate) async fn start(args: &Args, meter: &Rc<Meter>) -> Result<(), Error> {
    let address = SocketAddr::new(args.server, args.http_port);
    let request = Buffer::from(format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n").into_bytes());
    // All answers are as long: `Date` has a fixed length.
    let mut first = first_connection(address).await?;
    let answer_bytes = answer_bytes(&mut first, &request).await?;
    for _ in 0..args.connections {
        let mut stream = TcpStream::connect(address).await?;
        let (meter, request) = (Rc::clone(meter), request.clone());
        spawn(async move {
            if let Err(error) = keep_asking(&mut stream, &request, answer_bytes, &meter).await {
                meter.fail(error);
            }
        });
    }
    Ok(())
}

/// Asks once, and answers how long the whole answer is.
async fn answer_bytes(stream: &mut TcpStream, request: &Buffer) -> Result<usize, Error> {
    stream.write(request.clone()).await?;
    let mut answer = Vec::new();
    loop {
        let bytes = stream.read().await?;
        answer.extend_from_slice(&bytes);
        let text = String::from_utf8_lossy(&answer);
        if bytes.is_empty() || !answer.starts_with(&GOOD[..GOOD.len().min(answer.len())]) {
            return Err(Error::failure(format_args!("no good answer: {}", answer.escape_ascii())));
        }
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            let length: usize = length.ok_or_else(|| Error::failure("the answer does not say how long it is"))?;
            if body.len() >= length {
                return Ok(head.len() + 4 + length);
            }
        }
    }
}

async fn keep_asking(
    stream: &mut TcpStream,
    request: &Buffer,
    answer_bytes: usize,
    meter: &Meter,
) -> Result<(), Error> {
    loop {
        let begun = meter.begin();
        stream.write(request.clone()).await?;
        let mut came = 0;
        while came < answer_bytes {
            let bytes = stream.read().await?;
            if bytes.is_empty() || (came == 0 && !bytes.starts_with(GOOD)) {
                return Err(Error::failure(format_args!("no good answer: {}", bytes.escape_ascii())));
            }
            came += bytes.len();
        }
        meter.add_message();
        meter.end(begun);
    }
}

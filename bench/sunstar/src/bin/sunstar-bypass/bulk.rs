//! The client: streams of the pattern, as fast as they go.

use std::net::SocketAddr;
use std::rc::Rc;

use sunstar::net::TcpStream;
use sunstar::prelude::*;
use sunstar_bench_common::bypass::STREAM_PORT;
use sunstar_bench_common::tcp::Pattern;

use crate::Args;
use crate::client::lent;
use crate::meter::Meter;

pub(crate) async fn start(args: &Args, meter: &Rc<Meter>) -> Result<(), Error> {
    let whole = lent(Pattern::default().whole());
    for _ in 0..args.connections {
        let stream = TcpStream::connect(SocketAddr::new(args.server, STREAM_PORT)).await?;
        let (meter, whole, write, copies) = (Rc::clone(meter), whole.clone(), args.write, args.copy);
        spawn(async move {
            if let Err(error) = send(stream, &whole, write, copies, &meter).await {
                meter.fail(error);
            }
        });
    }
    Ok(())
}

/// Lends the stack slices of the pattern, or copies them.
async fn send(mut stream: TcpStream, whole: &Buffer, write: usize, copies: bool, meter: &Meter) -> Result<(), Error> {
    let mut sent = 0;
    loop {
        let begin = Pattern::offset(sent);
        let range = begin..begin + write;
        let bytes = if copies { Buffer::copy_from_slice(&whole[range]) } else { whole.slice(range) };
        stream.write(bytes).await?;
        sent += write as u64;
        meter.add_bytes(write);
    }
}

//! Compio on io_uring, with httparse.

use std::convert::Infallible;
use std::io;
use std::process::ExitCode;

use compio::buf::BufResult;
use compio::io::{AsyncRead, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream};
use compio::runtime::{Runtime, spawn};
use sunstar_bench_common::measure::pin;
use sunstar_bench_peers_http::conversation::{Conversation, Next, READ_BYTES};
use sunstar_bench_peers_http::options::Options;

fn main() -> ExitCode {
    let options = Options::of_program();
    pin(options.cpu);
    let result = Runtime::new().and_then(|runtime| runtime.block_on(serve(options)));
    let Err(error) = result;
    eprintln!("http-compio at {}: {error}", options.listen);
    ExitCode::FAILURE
}

async fn serve(options: Options) -> io::Result<Infallible> {
    let listener = TcpListener::bind(options.listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // That a client goes away is its right.
        spawn(async move { drop(converse(stream).await) }).detach();
    }
}

async fn converse(mut stream: TcpStream) -> io::Result<()> {
    let mut conversation = Conversation::default();
    let (mut input, mut output) = (Vec::with_capacity(READ_BYTES), Vec::new());
    loop {
        let BufResult(result, buffer) = stream.read(input).await;
        input = buffer;
        let count = result?;
        if count == 0 {
            return Ok(());
        }
        let next = conversation.answer(&input[..count], &mut output);
        let BufResult(result, buffer) = stream.write_all(output).await;
        output = buffer;
        result?;
        output.clear();
        if next == Next::Close {
            return Ok(());
        }
    }
}

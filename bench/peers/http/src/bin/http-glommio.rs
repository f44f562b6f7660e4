//! Glommio on io_uring, with httparse. It sleeps as soon as there is nothing to do.

use std::convert::Infallible;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::net::{TcpListener, TcpStream};
use glommio::{GlommioError, LocalExecutorBuilder, Placement, spawn_local};
use sunstar_bench_peers_http::conversation::{Conversation, Next, READ_BYTES};
use sunstar_bench_peers_http::options::Options;

fn main() -> ExitCode {
    let options = Options::of_program();
    let executor = LocalExecutorBuilder::new(Placement::Fixed(options.cpu)).spin_before_park(Duration::ZERO).make();
    let result = executor.and_then(|executor| executor.run(serve(options)));
    let Err(error) = result;
    eprintln!("http-glommio at {}: {error}", options.listen);
    ExitCode::FAILURE
}

async fn serve(options: Options) -> Result<Infallible, GlommioError<()>> {
    let listener = TcpListener::bind(options.listen)?;
    loop {
        let stream = listener.accept().await?;
        stream.set_nodelay(true)?;
        // That a client goes away is its right.
        spawn_local(async move { drop(converse(stream).await) }).detach();
    }
}

async fn converse(mut stream: TcpStream) -> io::Result<()> {
    let mut conversation = Conversation::default();
    let (mut input, mut output) = (vec![0; READ_BYTES], Vec::new());
    loop {
        let count = stream.read(&mut input).await?;
        if count == 0 {
            return Ok(());
        }
        let next = conversation.answer(&input[..count], &mut output);
        stream.write_all(&output).await?;
        output.clear();
        if next == Next::Close {
            return Ok(());
        }
    }
}

//! Hyper on tokio's current-thread runtime. It renews its date once a second and adds it by itself.

use std::convert::Infallible;
use std::process::ExitCode;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use sunstar_bench_common::measure::pin;
use sunstar_bench_peers_http::options::Options;
use sunstar_bench_peers_http::{CONTENT_TYPE as TEXT, HELLO};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::task::{LocalSet, spawn_local};

fn main() -> ExitCode {
    let options = Options::of_program();
    pin(options.cpu);
    let runtime = Builder::new_current_thread().enable_io().build().expect("a runtime needs no rights");
    let result = LocalSet::new().block_on(&runtime, serve(options));
    let Err(error) = result;
    eprintln!("http-hyper at {}: {error}", options.listen);
    ExitCode::FAILURE
}

async fn serve(options: Options) -> std::io::Result<Infallible> {
    let listener = TcpListener::bind(options.listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        spawn_local(converse(stream));
    }
}

async fn converse(stream: TcpStream) {
    let connection =
        http1::Builder::new().pipeline_flush(true).serve_connection(TokioIo::new(stream), service_fn(answer));
    // That a client goes away is its right.
    let _ = connection.await;
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => (StatusCode::OK, HELLO),
        _ => (StatusCode::NOT_FOUND, ""),
    };
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
    Ok(response)
}

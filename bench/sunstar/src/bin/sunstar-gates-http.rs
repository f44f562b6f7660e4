//! The gates of the HTTP server, as `sunstar-gates` has those of what it is made of:
//! `sunstar-gates-http NAME`, or `--list`.
//!
//! A program of its own, since what is inlined in the others depends on who else calls it.

#[path = "../../../../crates/http/tests/replay/mod.rs"]
mod replay;

use std::hint::black_box;
use std::process::ExitCode;

use sunstar_bench_common::gates::{self, Gate};
use sunstar_executor::Round;
use sunstar_http::{Error, Exchange, Handler, HeaderName, Request, Router, Server, Status};
use sunstar_packet::Buffer;

use replay::Pauses;

const GATES: [Gate; 5] = [
    ("http_server", || Box::new(http_served)),
    ("http_awaited", || Box::new(http_awaited)),
    ("http_batch", || Box::new(http_batched)),
    ("http_router", || Box::new(http_routed)),
    ("http_param", || Box::new(http_with_parameter)),
];

fn main() -> ExitCode {
    gates::main(&GATES)
}

/// What wrk asks by default, of a server whose one handler is a function.
fn http_served(count: u64) {
    serve(count, 1, "/", Pauses::Never, Server::new(greet));
}

/// The same, if the server waits for each request, as it does for every client that waits for the response before.
fn http_awaited(count: u64) {
    serve(count, 1, "/", Pauses::BeforeEach, Server::new(greet));
}

/// The same, sixteen requests at a time.
fn http_batched(count: u64) {
    serve(count, 16, "/", Pauses::BeforeEach, Server::new(greet));
}

/// The same through a router, one at a time.
fn http_routed(count: u64) {
    serve(count, 1, "/", Pauses::Never, Server::new(router()));
}

/// The same, for a route with a parameter, whose value nobody asks for.
fn http_with_parameter(count: u64) {
    serve(count, 1, "/users/42", Pauses::Never, Server::new(router()));
}

fn router() -> Router {
    let mut router = Router::new();
    for pattern in ["/", "/shard", "/metrics", "/users/{id}", "/users/{id}/posts", "/file/{path...}"] {
        router.get(pattern, greet).expect("the pattern is well-formed");
    }
    router
}

fn serve<H: Handler + 'static>(count: u64, pipelined: u64, target: &str, pauses: Pauses, server: Server<H>) {
    let request = format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1:10000\r\n\r\n");
    let input = Buffer::from(request.repeat(usize::try_from(pipelined).expect("it is small")).into_bytes());
    let executor = replay::executor();
    let serving = executor.spawn(async move {
        let stream = replay::stream(input, count / pipelined, pauses);
        server.serve(stream).await.expect("the client ends in order");
    });
    while !matches!(executor.round(), Round::Idle { .. }) {}
    assert!(serving.is_finished(), "the server waits for ever");
}

async fn greet(request: Request, exchange: &mut Exchange<'_>) -> Result<(), Error> {
    black_box(request.path());
    let mut response = exchange.respond(Status::OK)?;
    response.header(HeaderName::CONTENT_TYPE, "text/plain")?;
    response.send("hello, world");
    Ok(())
}

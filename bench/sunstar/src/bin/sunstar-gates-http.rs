//! The gates of the HTTP server, as `sunstar-gates` has those of what it is made of:
//! `sunstar-gates-http NAME`, or `--list`.
//!
//! A program of its own, since what is inlined in the others depends on who else calls it.

#[path = "../../../../crates/http/tests/replay/mod.rs"]
mod replay;

use std::hint::black_box;
use std::process::ExitCode;

use sunstar_executor::Round;
use sunstar_http::{Error, Exchange, Handler, HeaderName, Request, Router, Server, Status};
use sunstar_packet::Buffer;

/// Operations per counted run; xtask divides by it.
const OPERATIONS: u64 = 10_000;

/// What serves `n` requests.
type Work = fn(u64);

const GATES: [(&str, Work); 3] =
    [("http_server", http_served), ("http_router", http_routed), ("http_param", http_with_parameter)];

fn main() -> ExitCode {
    let argument = std::env::args().nth(1).unwrap_or_default();
    if argument == "--list" {
        GATES.iter().for_each(|(name, _)| println!("{name} {OPERATIONS}"));
        return ExitCode::SUCCESS;
    }
    let Some(&(_, work)) = GATES.iter().find(|(name, _)| *name == argument) else {
        eprintln!("usage: sunstar-gates-http NAME | --list");
        return ExitCode::FAILURE;
    };
    work(OPERATIONS);
    measured(work);
    ExitCode::SUCCESS
}

/// What is counted; xtask names this function to callgrind.
#[inline(never)]
fn measured(work: Work) {
    black_box(work)(OPERATIONS);
}

/// What wrk asks by default, of a server whose one handler is a function.
fn http_served(count: u64) {
    serve(count, "/", Server::new(greet));
}

/// The same through a router.
fn http_routed(count: u64) {
    serve(count, "/", Server::new(router()));
}

/// The same, for a route with a parameter, whose value nobody asks for.
fn http_with_parameter(count: u64) {
    serve(count, "/users/42", Server::new(router()));
}

fn router() -> Router {
    let mut router = Router::new();
    for pattern in ["/", "/shard", "/metrics", "/users/{id}", "/users/{id}/posts", "/file/{path...}"] {
        router.get(pattern, greet).expect("the pattern is well-formed");
    }
    router
}

fn serve<H: Handler + 'static>(count: u64, target: &str, server: Server<H>) {
    let request = format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1:10000\r\n\r\n");
    let executor = replay::executor();
    let serving = executor.spawn(async move {
        let stream = replay::stream(Buffer::from(request.into_bytes()), count);
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

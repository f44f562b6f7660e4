//! In steady state, requests on a connection cost no allocation, through router and handler.

#[path = "../../http1/tests/counting/mod.rs"]
mod counting;
mod replay;

use std::cell::RefCell;
use std::rc::Rc;

use sunstar_executor::Round;
use sunstar_http::{Error, Exchange, HeaderName, Request, Router, Server, Status};
use sunstar_packet::Buffer;

use counting::allocations;
use replay::Pauses;

const REQUESTS: usize = 2000;

/// How many allocations had been made when each request was answered.
type Marks = Rc<RefCell<Vec<u64>>>;

fn router(marks: &Marks, allocates: bool) -> Router {
    let marks = Rc::clone(marks);
    let handler = async move |_: Request, exchange: &mut Exchange<'_>| -> Result<(), Error> {
        marks.borrow_mut().push(allocations());
        if allocates {
            drop(std::hint::black_box(Box::new(1)));
        }
        let params = exchange.params().expect("it is called by a router");
        let id = params.get("id")?;
        assert_eq!(id, "42");
        let mut response = exchange.respond(Status::OK)?;
        response.header(HeaderName::CONTENT_TYPE, "text/plain")?;
        response.send("hello, world");
        Ok(())
    };
    let mut router = Router::new();
    router.get("/users/{id}", handler).expect("the pattern is well-formed");
    router
}

/// How many allocations the later ones of many equal requests cost, the first of them in one piece of input.
fn allocations_of(target: &str, pipelined: usize, pauses: Pauses, allocates: bool) -> u64 {
    let executor = replay::executor();
    let marks: Marks = Rc::new(RefCell::new(Vec::with_capacity(REQUESTS)));
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n");
    let input = Buffer::from(request.repeat(pipelined).into_bytes());
    let told = Rc::clone(&marks);
    let serving = executor.spawn(async move {
        let server = Server::new(router(&told, allocates));
        let stream = replay::stream(input, (REQUESTS / pipelined) as u64, pauses);
        server.serve(stream).await.expect("the client ends in order");
        server.stats().requests
    });
    while !matches!(executor.round(), Round::Idle { .. }) {}
    assert!(serving.is_finished());
    let marks = marks.take();
    assert_eq!(marks.len(), REQUESTS);
    marks[REQUESTS - 1] - marks[REQUESTS / 2]
}

#[test]
fn requests_through_a_router_cost_no_allocation() {
    for pauses in [Pauses::Never, Pauses::BeforeEach] {
        assert_eq!(allocations_of("/users/42", 1, pauses, false), 0);
        assert_eq!(allocations_of("/users/42?query", 16, pauses, false), 0);
    }
    // It would be noticed.
    assert_eq!(allocations_of("/users/42", 1, Pauses::Never, true), (REQUESTS / 2 - 1) as u64);
    assert!(allocations_of("/users/%342", 1, Pauses::Never, false) > 0, "a value that is decoded is copied");
}

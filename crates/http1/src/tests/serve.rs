//! What a server does with some bytes, however they are split: the check behind the fuzz target and the properties.

use sunstar_http1::{ClientEvent, Connection, Endpoint, Event, HeaderLines, HeaderName, Request, Status};
use sunstar_packet::Buffer;

use super::seen::{LIMITS, Seen, see_body, seeded, split, trailers};

thread_local! {
    /// Made once: the frames of each endpoint are a large piece of memory.
    static SMALL: Endpoint = Endpoint::new(LIMITS);
    static LARGE: Endpoint = Endpoint::default();
}

/// Reads eight bytes as a seed and the others as input of a server, whole, split by the seed, and byte by byte.
///
/// All must see the same, and what the server sends must be what a client expects.
pub(super) fn check(bytes: &[u8]) {
    let (seed, input) = seeded(bytes);
    let whole = serve(&[input]);
    assert_eq!(serve(&split(input, seed)), whole, "split by {seed:#x}");
    assert_eq!(serve(&input.chunks(1).collect::<Vec<_>>()), whole, "byte by byte");
    answers_are_understood(&whole);
}

/// What a server saw and sent.
#[derive(Debug, Default, PartialEq, Eq)]
struct Served {
    seen: Vec<Seen>,
    /// The methods of the requests that it answered.
    answered: Vec<String>,
    output: Vec<u8>,
}

/// Hands the pieces to a server that answers each request when it is complete, and then ends the input.
fn serve(pieces: &[&[u8]]) -> Served {
    let mut connection = SMALL.with(Endpoint::accept);
    let mut served = Served::default();
    for piece in pieces {
        if connection.wants_input() {
            connection.handle_input(Buffer::copy_from_slice(piece)).expect("it said so");
        }
        serve_events(&mut connection, &mut served);
    }
    connection.handle_end_of_input();
    serve_events(&mut connection, &mut served);
    assert!(connection.should_close(), "nothing can come, and the connection stays open");
    assert_eq!(connection.in_flight(), 0);
    served
}

fn serve_events(connection: &mut Connection, served: &mut Served) {
    let mut method = served.answered.pop().unwrap_or_default();
    loop {
        while let Some(event) = connection.poll_event() {
            let complete = match event {
                Event::Request(request) => {
                    look_at(&request);
                    method = String::from_utf8_lossy(request.method_name()).into_owned();
                    served.seen.push(Seen::Head(format!("{request:?}")));
                    assert_eq!(connection.send_continue(), request.expects_continue());
                    request.body() == sunstar_http1::BodyLength::Empty
                }
                Event::Body(body) => {
                    see_body(&mut served.seen, &body);
                    false
                }
                Event::End => {
                    served.seen.push(Seen::End(trailers(connection.trailers())));
                    true
                }
                Event::Error(error) => {
                    served.seen.push(Seen::Error(error));
                    connection.respond(error.status(), None).expect("the refused request waits").send("refused");
                    served.answered.push(method.clone());
                    false
                }
            };
            if complete {
                answer(connection, served.answered.len());
                served.answered.push(method.clone());
            }
        }
        let mut out = Vec::new();
        if connection.poll_transmit(&mut out) == 0 {
            break;
        }
        served.output.extend(out.concat());
    }
    served.answered.push(method);
}

/// Asks for everything that a request's head can be asked for.
fn look_at(request: &Request) {
    let _ = (request.path(), request.query(), request.authority(), request.target(), request.headers().get("host"));
    for (name, value) in request.headers().iter() {
        assert!(!name.is_empty() && !name.iter().chain(value).any(|byte| b"\r\n\0".contains(byte)));
    }
    assert!(request.headers().head().ends_with(b"\r\n\r\n"));
}

/// Answers in each of the ways there are.
fn answer(connection: &mut Connection, number: usize) {
    let response = connection.respond(Status::OK, None).expect("a request waits");
    match number % 3 {
        0 => return response.send("whole"),
        1 => response.stream(Some(10)),
        _ => response.stream(None),
    }
    for _ in 0..2 {
        connection.send_body("parts").expect("a body is being sent");
    }
    if number.is_multiple_of(2) {
        return connection.end_body().expect("it has the length announced");
    }
    let mut lines = HeaderLines::new();
    lines.add(HeaderName::constant("Checksum"), "42").expect("a good value");
    connection.end_body_with(&lines).expect("it has the length announced");
}

/// Lets a client read what a server has sent.
fn answers_are_understood(served: &Served) {
    let mut client = LARGE.with(Endpoint::connect);
    // The last one is that of a request under way.
    let answered = &served.answered[..served.answered.len() - 1];
    for method in answered {
        let method = if method.is_empty() { "GET" } else { method };
        client.request(method, "/", "").expect("the method is a token").send("");
    }
    client.handle_input(Buffer::copy_from_slice(&served.output)).expect("there is room");
    client.handle_end_of_input();
    let mut responses = 0;
    while let Some(event) = client.poll_event() {
        match event {
            ClientEvent::Response(_) => responses += 1,
            ClientEvent::Error(error) => panic!("{error} in {}", served.output.escape_ascii()),
            ClientEvent::Interim(_) | ClientEvent::Body(_) | ClientEvent::End => {}
        }
    }
    assert_eq!(responses, answered.len(), "answers in {}", served.output.escape_ascii());
}

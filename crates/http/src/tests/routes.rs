//! What a router answers.

use std::future::Future;

use sunstar_packet::Buffer;
use sunstar_sim::Sim;

use super::client::{Answer, Client};
use super::site::visit_server;
use crate::{Error, Exchange, Method, Request, Router, Server, Status};

/// Tells which handler was asked, and for what.
async fn tell(request: Request, exchange: &mut Exchange<'_>) -> Result<(), Error> {
    let mut text = request.method_name().escape_ascii().to_string();
    match exchange.params() {
        Some(params) => {
            text += &format!(" {}", exchange.pattern().expect("there are parameters"));
            for (name, _) in params.iter() {
                text += &format!(" {name}={}", params.get(name)?);
            }
        }
        None => text += &format!(" nothing for {}", request.path().escape_ascii()),
    }
    exchange.respond(Status::OK)?.send(Buffer::from(text.into_bytes()));
    Ok(())
}

async fn mistaken(_: Request, exchange: &mut Exchange<'_>) -> Result<(), Error> {
    let params = exchange.params().expect("it is called by a router");
    params.get("other")?;
    Ok(())
}

fn routes() -> Router {
    let mut router = Router::new();
    let greeting = String::from("hello");
    router.get("/", tell).unwrap();
    router.get("/users/{id}", tell).unwrap().put("/users/{id}", tell).unwrap().delete("/users/{id}", tell).unwrap();
    router.post("/users", tell).unwrap().route(Method::Head, "/users", tell).unwrap();
    router.get("/files/{path...}", tell).unwrap();
    router.any("/any", tell).unwrap().get("/any", tell).unwrap();
    router.route(Method::Options, "/own", tell).unwrap();
    router.get("/mistaken", mistaken).unwrap();
    router
        .get("/closure", async move |_: Request, exchange: &mut Exchange<'_>| -> Result<(), Error> {
            exchange.respond(Status::OK)?.send(Buffer::from(greeting.clone().into_bytes()));
            Ok(())
        })
        .unwrap();
    router
}

/// Lets a client talk to a server with a router.
fn routed<M: Future<Output = ()> + 'static>(server: fn() -> Server<Router>, main: impl FnOnce() -> M + 'static) {
    visit_server(Sim::new(1), server, |_| main()).unwrap();
}

async fn ask(client: &mut Client, method: &str, target: &str) -> Answer {
    client.ask(method, target);
    client.transmit().await.unwrap();
    client.answer().await.unwrap()
}

async fn text(client: &mut Client, method: &str, target: &str) -> String {
    let answer = ask(client, method, target).await;
    assert_eq!(answer.status(), 200, "{method} {target}");
    String::from_utf8(answer.body).unwrap()
}

fn allow(answer: &Answer) -> &str {
    std::str::from_utf8(answer.head.headers().get("allow").unwrap_or_default()).unwrap()
}

#[test]
fn requests_go_to_the_handlers_of_their_routes() {
    routed(
        || Server::new(routes()),
        || async {
            let mut client = Client::connect().await.unwrap();
            for (method, target, expected) in [
                ("GET", "/", "GET /"),
                ("GET", "/?a=/users/1", "GET /"),
                ("GET", "/users/1", "GET /users/{id} id=1"),
                ("PUT", "/users/%E2%82%AC", "PUT /users/{id} id=€"),
                ("DELETE", "/users/a%2Fb?c", "DELETE /users/{id} id=a/b"),
                ("POST", "/users", "POST /users"),
                ("GET", "/files/", "GET /files/{path...} path="),
                ("GET", "/files/a/../b%2f", "GET /files/{path...} path=a/../b/"),
                ("GET", "http://other/users/1", "GET /users/{id} id=1"),
                ("GET", "http://other", "GET /"),
                ("BREW", "/any", "BREW /any"),
                ("OPTIONS", "/any", "OPTIONS /any"),
                ("GET", "/any", "GET /any"),
                ("OPTIONS", "/own", "OPTIONS /own"),
                ("GET", "/closure", "hello"),
            ] {
                assert_eq!(text(&mut client, method, target).await, expected, "{method} {target}");
            }
        },
    );
}

#[test]
fn what_no_handler_is_for_is_answered_all_the_same() {
    routed(
        || Server::new(routes()),
        || async {
            let mut client = Client::connect().await.unwrap();
            for (method, target, status, expected) in [
                ("GET", "/elsewhere", 404, ""),
                ("GET", "/users/", 404, ""),
                ("GET", "//", 404, ""),
                ("OPTIONS", "/elsewhere", 404, ""),
                ("POST", "/", 405, "GET, HEAD, OPTIONS"),
                ("BREW", "/", 405, "GET, HEAD, OPTIONS"),
                ("GET", "/users", 405, "HEAD, POST, OPTIONS"),
                ("PATCH", "/users/1", 405, "GET, HEAD, PUT, DELETE, OPTIONS"),
                ("OPTIONS", "/users/1", 204, "GET, HEAD, PUT, DELETE, OPTIONS"),
                ("OPTIONS", "*", 204, "GET, HEAD, POST, PUT, DELETE, OPTIONS"),
                ("GET", "/users/%zz", 400, ""),
                ("OPTIONS", "/files/a/%", 400, ""),
                ("GET", "/users/%ff", 400, ""),
                ("GET", "/mistaken", 500, ""),
                ("GET", "/", 200, ""),
            ] {
                let answer = ask(&mut client, method, target).await;
                assert_eq!((answer.status(), allow(&answer)), (status, expected), "{method} {target}");
                assert!(!answer.closes());
            }
        },
    );
}

#[test]
fn head_goes_to_the_handler_of_get() {
    routed(
        || Server::new(routes()),
        || async {
            let mut client = Client::connect().await.unwrap();
            let length = |answer: &Answer| answer.head.headers().get("content-length").map(<[u8]>::to_vec);
            let get = ask(&mut client, "GET", "/users/1").await;
            let head = ask(&mut client, "HEAD", "/users/1").await;
            // It is told as it was asked: `HEAD` is one letter longer.
            assert_eq!((length(&get), length(&head)), (Some(b"20".to_vec()), Some(b"21".to_vec())));
            assert_eq!((head.status(), head.body.as_slice()), (200, &b""[..]));
            assert_eq!(length(&ask(&mut client, "HEAD", "/users").await), Some(b"11".to_vec()), "its own handler");
            assert_eq!(ask(&mut client, "HEAD", "/own").await.status(), 405);
            assert_eq!(text(&mut client, "GET", "/").await, "GET /", "no body was in between");
        },
    );
}

#[test]
fn the_default_handler_takes_what_fits_nothing() {
    let server = || {
        let mut router = routes();
        router.default_handler(tell);
        Server::new(router)
    };
    routed(server, || async {
        let mut client = Client::connect().await.unwrap();
        assert_eq!(text(&mut client, "BREW", "/else/where?x").await, "BREW nothing for /else/where");
        assert_eq!(ask(&mut client, "POST", "/").await.status(), 405);
        assert_eq!(ask(&mut client, "OPTIONS", "*").await.status(), 204);
    });
}

#[test]
fn a_body_that_nobody_asked_for_is_passed_over() {
    routed(
        || Server::new(routes()),
        || async {
            let mut client = Client::connect().await.unwrap();
            client.begin("/elsewhere", Some(500), &[]);
            client.http.send_body(vec![b'x'; 500]).unwrap();
            client.http.end_body().unwrap();
            client.ask("GET", "/users/1");
            client.transmit().await.unwrap();
            assert_eq!(client.answer().await.unwrap().status(), 404);
            assert_eq!(client.answer().await.unwrap().body, b"GET /users/{id} id=1");
        },
    );
}

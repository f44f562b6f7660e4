//! The orderly stop, case by case.

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use sunstar_executor::spawn;
use sunstar_executor::timer::{now, sleep};
use sunstar_packet::Buffer;

use super::client::{Client, Ending};
use super::site::{Control, body, quiet_world, visit};

/// Asks for the stop and lets what has been sent arrive before.
async fn stop(control: &Control) {
    sleep(Duration::from_millis(50)).await;
    control.stop.set(true);
    while control.stopped_at.get().is_none() {
        sleep(Duration::from_micros(100)).await;
    }
}

/// Runs it in a quiet world and answers how long the stop took.
fn stopped<M>(main: impl FnOnce(Rc<Control>) -> M + 'static) -> Duration
where
    M: Future<Output = ()> + 'static,
{
    let (_, control) = visit(quiet_world(), main).unwrap();
    control.stop_took.get()
}

#[test]
fn idle_connections_are_closed_at_once() {
    let took = stopped(|control| async move {
        let mut clients = Vec::new();
        for _ in 0..10 {
            let mut client = Client::connect().await.unwrap();
            client.get("/").await.unwrap();
            clients.push(client);
        }
        stop(&control).await;
        for client in clients {
            client.closed().await;
        }
        assert!(Client::connect().await.is_err(), "nobody listens any more");
    });
    assert!(took < Duration::from_millis(100), "{took:?}");
}

#[test]
fn requests_under_way_are_answered_and_the_last_answer_says_so() {
    let took = stopped(|control| async move {
        let mut client = Client::connect().await.unwrap();
        for target in ["/sleep?300", "/", "/bytes?3000"] {
            client.ask("GET", target);
        }
        client.transmit().await.unwrap();
        stop(&control).await;
        assert!(!client.answer().await.unwrap().closes());
        assert!(!client.answer().await.unwrap().closes());
        let last = client.answer().await.unwrap();
        assert!(last.body == body(3000) && last.closes());
        client.closed().await;
    });
    assert!((200..500).contains(&took.as_millis()), "{took:?}");
}

#[test]
fn more_requests_than_the_input_holds_are_answered() {
    const COUNT: usize = 1500;
    stopped(|control| async move {
        let mut client = Client::connect().await.unwrap();
        client.ask("GET", "/sleep?200");
        for _ in 0..COUNT {
            client.ask("GET", "/");
        }
        client.transmit().await.unwrap();
        let reading = spawn(async move {
            let (answers, ending) = client.answers().await;
            assert_eq!((answers.len(), ending), (COUNT + 1, Ending::Closed));
            assert!(answers.iter().all(|answer| answer.status() == 200));
        });
        stop(&control).await;
        reading.await.unwrap();
    });
}

#[test]
fn the_rest_of_a_body_is_waited_for() {
    stopped(|control| async move {
        let mut client = Client::connect().await.unwrap();
        client.begin("/count", Some(900), &[]);
        client.transmit().await.unwrap();
        stop(&control).await;
        for piece in body(900).chunks(100) {
            sleep(Duration::from_millis(100)).await;
            client.http.send_body(piece.to_vec()).unwrap();
            client.transmit().await.unwrap();
        }
        let answer = client.answer().await.unwrap();
        assert_eq!((answer.body.as_slice(), answer.closes()), (&b"900"[..], true));
    });
}

#[test]
fn clients_that_never_come_to_an_end_are_cut_off() {
    let took = stopped(|control| async move {
        let mut clients = Vec::new();
        for bytes in [
            "",
            "GET / HT",
            "POST /count HTTP/1.1\r\nHost: server\r\nContent-Length: 10\r\n\r\n123",
            "POST / HTTP/1.1\r\nHost: server\r\nContent-Length: 10\r\n\r\n123",
            "GET /bytes?5000000 HTTP/1.1\r\nHost: server\r\n\r\n",
        ] {
            let mut client = Client::connect().await.unwrap();
            client.raw(bytes.repeat(1 + usize::from(bytes.contains("bytes")) * 10).into_bytes()).await.unwrap();
            clients.push(client);
        }
        stop(&control).await;
        let begun = now();
        while clients[1].raw("x").await.is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
        assert!(now() - begun < Duration::from_secs(1), "what is no request yet is not waited for");
        sleep(Duration::from_secs(90)).await;
    });
    assert!((4..8).contains(&took.as_secs()), "{took:?}");
}

#[test]
fn a_client_that_always_has_more_to_ask_does_not_put_the_stop_off() {
    let took = stopped(|control| async move {
        let client = Client::connect().await.unwrap();
        let (mut reader, mut writer) = client.stream.into_split();
        let request = [b"GET / HTTP/1.1\r\nHost: server\r\nA: ", vec![b'a'; 15_000].as_slice(), b"\r\n\r\n"].concat();
        let requests = Buffer::from(request.repeat(10));
        let asking = spawn(async move { while writer.write(requests.clone()).await.is_ok() {} });
        let reading = spawn(async move { while reader.read().await.is_ok_and(|bytes| !bytes.is_empty()) {} });
        stop(&control).await;
        asking.await.unwrap();
        reading.await.unwrap();
    });
    assert!(took < Duration::from_secs(6), "{took:?}");
}

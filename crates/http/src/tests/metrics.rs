//! What servers tell of themselves.

use std::time::Duration;

use sunstar_executor::timer::sleep;

use super::client::Client;
use super::site::{OPTIONS, quiet, quiet_with};
use crate::{Pace, ServerOptions, Timeouts};

/// The sum of a text's values of a name, on lines that contain this.
fn figure(text: &str, name: &str, label: &str) -> f64 {
    let lines = text.lines().filter(|line| line.starts_with(&format!("{name}{{")) && line.contains(label));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

async fn metrics(client: &mut Client) -> String {
    String::from_utf8(client.get("/metrics").await.unwrap().body).unwrap()
}

#[test]
fn responses_are_counted_by_status_and_timed() {
    quiet(|| async {
        let mut client = Client::connect().await.unwrap();
        for target in ["/", "/", "/pieces?3", "/elsewhere", "/nothing", "/sleep?20"] {
            client.get(target).await.unwrap();
        }
        let mut refused = Client::connect().await.unwrap();
        refused.ask("GET", "/");
        refused.http.poll_transmit(&mut Vec::new());
        refused.raw("NONSENSE\r\n\r\n").await.unwrap();
        assert_eq!(refused.answer().await.unwrap().status(), 400);
        let text = metrics(&mut client).await;
        let responses = |code: &str| figure(&text, "sunstar_http_responses_total", &format!("code=\"{code}\""));
        assert_eq!(["200", "404", "500", "400"].map(responses), [4.0, 1.0, 1.0, 1.0], "{text}");
        let server = |name: &str| figure(&text, &format!("sunstar_http_{name}"), "server=\"site\"");
        assert_eq!((server("response_seconds_count"), server("requests_total")), (7.0, 7.0), "{text}");
        assert!((0.02..0.03).contains(&server("response_seconds_sum")), "{text}");
        assert_eq!((server("connections_total"), server("refused_total")), (2.0, 1.0));
        assert!(server("connections_live") >= 1.0);
    });
}

#[test]
fn pipelined_responses_are_all_timed() {
    quiet(|| async {
        let mut client = Client::connect().await.unwrap();
        for _ in 0..10 {
            client.ask("GET", "/");
        }
        client.ask("GET", "/sleep?10");
        client.ask("GET", "/");
        client.transmit().await.unwrap();
        for _ in 0..12 {
            client.answer().await.unwrap();
        }
        let text = metrics(&mut client).await;
        assert_eq!(figure(&text, "sunstar_http_response_seconds_count", ""), 12.0);
        // Those that are answered at once don't wait for the slow one behind them, nor is the time of that the last one's.
        assert_eq!(figure(&text, "sunstar_http_response_seconds_bucket", "le=\"0.008388608\""), 11.0, "{text}");
    });
}

#[test]
fn a_response_that_has_left_before_its_end_was_said_is_timed_then() {
    quiet(|| async {
        let mut client = Client::connect().await.unwrap();
        assert_eq!(client.get("/flushed").await.unwrap().body, b"flushed");
        sleep(Duration::from_secs(10)).await;
        let text = metrics(&mut client).await;
        assert_eq!(figure(&text, "sunstar_http_response_seconds_count", ""), 1.0);
        assert!(figure(&text, "sunstar_http_response_seconds_sum", "") < 1.0, "{text}");
    });
}

#[test]
fn a_refused_body_is_one_response() {
    quiet(|| async {
        let mut client = Client::connect().await.unwrap();
        client.raw("POST /count HTTP/1.1\r\nHost: server\r\nContent-Length: 1001\r\n\r\n").await.unwrap();
        sleep(Duration::from_millis(100)).await;
        let text = metrics(&mut Client::connect().await.unwrap()).await;
        assert_eq!(figure(&text, "sunstar_http_responses_total", ""), 1.0, "{text}");
        assert_eq!(figure(&text, "sunstar_http_responses_total", "code=\"413\""), 1.0, "{text}");
    });
}

#[test]
fn a_client_that_goes_away_is_no_failure_of_the_servers() {
    quiet(|| async {
        for target in ["/count", "/echo"] {
            let mut client = Client::connect().await.unwrap();
            let head = format!("POST {target} HTTP/1.1\r\nHost: server\r\nContent-Length: 900\r\n\r\nbegin");
            client.raw(head.into_bytes()).await.unwrap();
            sleep(Duration::from_millis(50)).await;
            client.stream.abort();
        }
        sleep(Duration::from_millis(50)).await;
        let text = metrics(&mut Client::connect().await.unwrap()).await;
        assert_eq!(figure(&text, "sunstar_http_failed_total", ""), 2.0, "{text}");
        // What had begun was begun.
        assert_eq!(figure(&text, "sunstar_http_responses_total", "code=\"500\""), 0.0, "{text}");
        assert_eq!(figure(&text, "sunstar_http_responses_total", "code=\"200\""), 1.0, "{text}");
    });
}

#[test]
fn failures_take_as_long_as_they_took() {
    quiet(|| async {
        let mut client = Client::connect().await.unwrap();
        assert_eq!(client.get("/fail?30").await.unwrap().status(), 500);
        let text = metrics(&mut Client::connect().await.unwrap()).await;
        assert_eq!(figure(&text, "sunstar_http_response_seconds_count", ""), 1.0);
        assert!((0.03..0.04).contains(&figure(&text, "sunstar_http_response_seconds_sum", "")), "{text}");
    });
}

#[test]
fn whoever_asks_for_metrics_when_too_many_do_is_refused() {
    quiet(|| async {
        let mut client = Client::connect().await.unwrap();
        assert_eq!(client.get("/metrics-for-many").await.unwrap().status(), 503);
        let text = metrics(&mut client).await;
        assert_eq!(figure(&text, "sunstar_metrics_refused_total", ""), 1.0, "{text}");
    });
}

#[test]
fn responses_that_wait_to_be_taken_show_as_a_bound_that_was_reached() {
    quiet(|| async {
        let mut client = Client::connect().await.unwrap();
        for _ in 0..3 {
            client.ask("GET", "/bytes?100000");
        }
        client.transmit().await.unwrap();
        for _ in 0..3 {
            client.answer().await.unwrap();
        }
        let text = metrics(&mut client).await;
        let reached = |bound: &str| figure(&text, "sunstar_http_bounds_reached_total", &format!("bound=\"{bound}\""));
        assert_eq!(["pipelined_requests", "output_bytes", "input_bytes"].map(reached), [0.0, 2.0, 0.0], "{text}");
    });
}

#[test]
fn metrics_are_for_get_and_head() {
    quiet(|| async {
        let mut client = Client::connect().await.unwrap();
        let answer = client.get("/metrics").await.unwrap();
        let fields = answer.head.headers();
        assert_eq!(fields.get("content-type"), Some(&b"text/plain; version=0.0.4; charset=utf-8"[..]));
        client.ask("HEAD", "/metrics");
        client.ask("DELETE", "/metrics");
        client.transmit().await.unwrap();
        let (head, delete) = (client.answer().await.unwrap(), client.answer().await.unwrap());
        assert_eq!((head.status(), head.body.len()), (200, 0));
        assert_eq!((delete.status(), delete.head.headers().get("allow")), (405, Some(&b"GET, HEAD"[..])));
    });
}

#[test]
fn clients_that_take_too_long_show() {
    let time = Duration::from_millis(100);
    let pace = Pace { stall: time, bytes_per_second: 0 };
    let timeouts =
        Timeouts { head: Some(time), body: Some(pace), idle: Some(time), output: Some(pace), response: None };
    quiet_with(ServerOptions { timeouts, ..OPTIONS }, || async {
        let begin = "HTTP/1.1\r\nHost: server\r\n";
        let cases = [
            (1, "GET / HTTP".to_owned()),
            (2, format!("POST /count {begin}Content-Length: 9\r\n\r\n")),
            (3, format!("GET / {begin}\r\n")),
            (4, format!("GET /bytes?1000000 {begin}\r\n")),
        ];
        let mut clients = Vec::new();
        for (count, bytes) in cases {
            for _ in 0..count {
                let mut client = Client::connect().await.unwrap();
                client.stream.set_receive_buffer_bytes(2000).unwrap();
                client.raw(bytes.clone().into_bytes()).await.unwrap();
                // Who is idle has taken its response.
                if count == 3 {
                    assert!(!client.stream.read().await.unwrap().is_empty());
                }
                clients.push(client);
            }
        }
        sleep(Duration::from_secs(1)).await;
        let text = metrics(&mut Client::connect().await.unwrap()).await;
        let timeouts = |awaited: &str| figure(&text, "sunstar_http_timeouts_total", &format!("awaited=\"{awaited}\""));
        assert_eq!(["head", "body", "idle", "output"].map(timeouts), [1.0, 2.0, 3.0, 4.0], "{text}");
        assert_eq!(figure(&text, "sunstar_http_held_back_total", ""), 0.0);
    });
}

#[test]
fn connections_that_have_to_wait_show() {
    quiet_with(ServerOptions { connections: 1, ..OPTIONS }, || async {
        let mut clients = Vec::new();
        for _ in 0..6 {
            clients.push(Client::connect().await.unwrap());
        }
        sleep(Duration::from_millis(100)).await;
        let text = metrics(&mut clients[0]).await;
        // Each shard accepts one more.
        assert_eq!(figure(&text, "sunstar_http_held_back_total", ""), 2.0, "{text}");
    });
}

//! Clients that take too long.

use std::future::Future;
use std::time::Duration;

use sunstar_executor::Instant;
use sunstar_executor::timer::{now, sleep};
use sunstar_net::Error;

use super::client::{Client, Ending};
use super::site::{OPTIONS, body, quiet_with, quiet_world, visit_with};
use crate::{Limits, Pace, ServerOptions, ServerStats, Timeouts};

/// A second of these clients, so that there are not too many rounds.
const SECOND: Duration = Duration::from_millis(50);

/// How many such seconds have passed.
fn since(begun: Instant) -> u64 {
    ((now() - begun + SECOND / 2).as_nanos() / SECOND.as_nanos()).try_into().unwrap()
}

const TIMEOUTS: Timeouts = Timeouts {
    head: Some(SECOND.saturating_mul(10)),
    body: Some(Pace { stall: SECOND.saturating_mul(20), bytes_per_second: 2000 }),
    idle: Some(SECOND.saturating_mul(40)),
    output: Some(Pace { stall: SECOND.saturating_mul(30), bytes_per_second: 2000 }),
    response: None,
};

fn timed(timeouts: Timeouts) -> ServerOptions {
    ServerOptions { timeouts, ..OPTIONS }
}

/// What the server counts of a visit with [`TIMEOUTS`].
fn counts<M: Future<Output = ()> + 'static>(main: impl FnOnce() -> M + 'static) -> ServerStats {
    quiet_with(timed(TIMEOUTS), main)
}

/// A client that expects an answer to whatever it sends.
async fn expectant() -> Client {
    let mut client = Client::connect().await.unwrap();
    client.ask("GET", "/");
    client.http.poll_transmit(&mut Vec::new());
    client
}

/// The status of the next response, after how many seconds it came, and that the connection ended after it.
async fn last_word(mut client: Client) -> (u16, u64) {
    let begun = now();
    let answer = client.answer().await.unwrap();
    let took = since(begun);
    assert!(answer.closes());
    client.closed().await;
    (answer.status(), took)
}

#[test]
fn who_never_asks_anything_is_left_without_a_word() {
    let stats = counts(|| async {
        let client = expectant().await;
        let begun = now();
        client.closed().await;
        assert_eq!(since(begun), 10);
    });
    assert_eq!((stats.head_timeouts, stats.idle_timeouts, stats.refused, stats.failed), (1, 0, 0, 0));
}

#[test]
fn drip_fed_heads_end_by_408_in_time() {
    let stats = counts(|| async {
        let client = expectant().await;
        sleep(4 * SECOND).await;
        let (reader, mut writer) = client.stream.into_split();
        let dripping = sunstar_executor::spawn(async move {
            for byte in "GET / HTTP/1.1\r\nHost: server\r\nAccept: */*\r\n".bytes() {
                if writer.write(vec![byte]).await.is_err() {
                    return;
                }
                sleep(SECOND / 2).await;
            }
        });
        let begun = now();
        let mut reader = reader;
        let bytes = reader.read().await.unwrap();
        assert!(bytes.starts_with(b"HTTP/1.1 408 Request Timeout\r\n"));
        assert_eq!(since(begun), 6, "since the connection was accepted");
        assert!(reader.read().await.unwrap().is_empty());
        dripping.await.unwrap();
    });
    assert_eq!((stats.head_timeouts, stats.requests, stats.failed), (1, 0, 0));
}

#[test]
fn a_later_head_has_its_time_from_its_first_byte_on() {
    let stats = counts(|| async {
        let mut client = Client::connect().await.unwrap();
        client.get("/").await.unwrap();
        sleep(35 * SECOND).await;
        client.ask("GET", "/");
        client.http.poll_transmit(&mut Vec::new());
        client.raw("\r\nGET / HT").await.unwrap();
        assert_eq!(last_word(client).await, (408, 10));
    });
    assert_eq!((stats.head_timeouts, stats.idle_timeouts, stats.requests), (1, 0, 1));
}

#[test]
fn later_heads_have_no_more_time_byte_by_byte() {
    let stats = counts(|| async {
        let mut client = Client::connect().await.unwrap();
        client.get("/").await.unwrap();
        client.ask("GET", "/");
        client.http.poll_transmit(&mut Vec::new());
        for byte in "GET / HTT".bytes() {
            client.raw(vec![byte]).await.unwrap();
            sleep(SECOND).await;
        }
        assert_eq!(last_word(client).await, (408, 1));
    });
    assert_eq!((stats.head_timeouts, stats.requests), (1, 1));
}

#[test]
fn requests_before_a_head_that_never_ends_are_answered() {
    counts(|| async {
        let mut client = expectant().await;
        client.ask("GET", "/");
        client.http.poll_transmit(&mut Vec::new());
        client.raw("GET / HTTP/1.1\r\nHost: server\r\n\r\nGET").await.unwrap();
        assert_eq!(client.answer().await.unwrap().status(), 200);
        assert_eq!(last_word(client).await, (408, 10));
    });
}

#[test]
fn idle_connections_are_closed_without_a_word() {
    let stats = counts(|| async {
        let mut client = Client::connect().await.unwrap();
        for _ in 0..5 {
            assert_eq!(client.get("/").await.unwrap().status(), 200);
            sleep(39 * SECOND).await;
        }
        assert_eq!(client.get("/").await.unwrap().status(), 200);
        let begun = now();
        sleep(20 * SECOND).await;
        // It prolongs nothing.
        client.raw("\r").await.unwrap();
        client.closed().await;
        assert_eq!(since(begun), 40);
    });
    assert_eq!((stats.idle_timeouts, stats.head_timeouts, stats.failed), (1, 0, 0));
}

#[test]
fn bodies_that_stall_or_drip_end_by_408() {
    let stats = counts(|| async {
        let mut client = Client::connect().await.unwrap();
        client.begin("/count", Some(900), &[]);
        client.transmit().await.unwrap();
        assert_eq!(last_word(client).await, (408, 20));

        let mut client = Client::connect().await.unwrap();
        client.begin("/count", Some(900), &[]);
        client.transmit().await.unwrap();
        for _ in 0..25 {
            client.raw("x").await.unwrap();
            sleep(SECOND).await;
        }
        // One byte per second is not enough.
        assert_eq!(last_word(client).await, (408, 0));
    });
    assert_eq!((stats.body_timeouts, stats.refused, stats.failed), (2, 0, 0));
}

#[test]
fn a_handler_that_gives_its_waits_up_gives_the_client_no_more_time() {
    let stats = counts(|| async {
        let mut client = Client::connect().await.unwrap();
        client.begin("/impatient", Some(900), &[]);
        client.transmit().await.unwrap();
        assert_eq!(last_word(client).await, (408, 20));
    });
    assert_eq!((stats.body_timeouts, stats.failed), (1, 0));
}

#[test]
fn bodies_that_come_slowly_but_fast_enough_are_served() {
    let options = ServerOptions { limits: Limits { body_bytes: 100_000, ..OPTIONS.limits }, ..timed(TIMEOUTS) };
    let stats = quiet_with(options, || async {
        let mut client = Client::connect().await.unwrap();
        client.begin("/count", Some(100_000), &[]);
        client.transmit().await.unwrap();
        for piece in body(100_000).chunks(2000) {
            sleep(15 * SECOND).await;
            client.http.send_body(piece.to_vec()).unwrap();
            client.transmit().await.unwrap();
        }
        assert_eq!(client.answer().await.unwrap().body, b"100000");
    });
    assert_eq!((stats.body_timeouts, stats.failed), (0, 0));
}

#[test]
fn each_body_has_a_time_of_its_own() {
    let stats = counts(|| async {
        let mut client = Client::connect().await.unwrap();
        for _ in 0..3 {
            client.begin("/count", Some(9), &[]);
            client.transmit().await.unwrap();
            sleep(15 * SECOND).await;
            client.http.send_body("123456789").unwrap();
            client.http.end_body().unwrap();
            client.transmit().await.unwrap();
            assert_eq!(client.answer().await.unwrap().body, b"9");
        }
    });
    assert_eq!((stats.body_timeouts, stats.requests), (0, 3));
}

#[test]
fn who_was_fast_may_not_stall_for_longer() {
    let options = ServerOptions { limits: Limits { body_bytes: 100_000, ..OPTIONS.limits }, ..timed(TIMEOUTS) };
    quiet_with(options, || async {
        let mut client = Client::connect().await.unwrap();
        client.begin("/count", Some(100_000), &[]);
        client.http.send_body(body(90_000)).unwrap();
        client.transmit().await.unwrap();
        assert_eq!(last_word(client).await, (408, 20));
    });
}

#[test]
fn a_body_that_nobody_reads_has_to_come_too() {
    let stats = counts(|| async {
        let mut client = Client::connect().await.unwrap();
        client.begin("/", Some(900), &[]);
        client.transmit().await.unwrap();
        assert_eq!(client.answer().await.unwrap().status(), 200);
        let begun = now();
        client.closed().await;
        assert_eq!(since(begun), 20);
    });
    assert_eq!((stats.body_timeouts, stats.failed), (1, 0));
}

/// Asks so many times, and has room for a few bytes of the answers.
async fn ask_for(target: &str, count: usize) -> Client {
    ask_with(target, "", count).await
}

/// As [`ask_for`], with another field.
async fn ask_with(target: &str, field: &str, count: usize) -> Client {
    let mut client = Client::connect().await.unwrap();
    client.stream.set_receive_buffer_bytes(2000).unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: server\r\n{field}\r\n");
    client.raw(request.repeat(count).into_bytes()).await.unwrap();
    client
}

/// Reads so many bytes per second for so many seconds, unless the server resets the connection.
async fn read_slowly(client: &mut Client, bytes_per_second: usize, seconds: u64) -> Result<(), Error> {
    let begun = now();
    while since(begun) < seconds {
        let mut left = bytes_per_second;
        while left > 0 {
            let bytes = client.stream.read().await?;
            assert!(!bytes.is_empty(), "nothing ends in order");
            left = left.saturating_sub(bytes.len());
        }
        sleep(SECOND).await;
    }
    Ok(())
}

#[test]
fn who_takes_nothing_is_reset() {
    let stats = counts(|| async {
        let mut clients = Vec::new();
        // While the handler waits, while the next response does, and while there is nothing more to send.
        for (target, count) in [("/pieces?2000", 1), ("/bytes?100000", 10), ("/bytes?1000000", 1)] {
            clients.push(ask_for(target, count).await);
        }
        sleep(65 * SECOND).await;
        for mut client in clients {
            assert_eq!(read_slowly(&mut client, usize::MAX, 1).await, Err(Error::ConnectionReset));
        }
    });
    assert_eq!((stats.output_timeouts, stats.idle_timeouts, stats.failed), (3, 0, 0));
}

#[test]
fn who_takes_it_slowly_is_served_as_long_as_it_lasts() {
    let stats = counts(|| async {
        for (target, count) in [("/bytes?1000000", 1), ("/bytes?100000", 10)] {
            let mut client = ask_for(target, count).await;
            assert_eq!(read_slowly(&mut client, 4000, 200).await, Ok(()));
        }
    });
    assert_eq!((stats.output_timeouts, stats.idle_timeouts), (0, 0));
}

#[test]
fn who_takes_the_last_response_slowly_gets_all_of_it() {
    let stats = counts(|| async {
        // Whoever ends the connection: longer than the network goes on by itself when it is closed.
        for (target, field) in [("/bytes?6000000", "Connection: close\r\n"), ("/bytes-close?6000000", "")] {
            let mut client = ask_with(target, field, 1).await;
            assert_eq!(read_slowly(&mut client, 4000, 1400).await, Ok(()), "{target}");
        }
    });
    assert_eq!(stats.output_timeouts, 0);
}

#[test]
fn who_takes_nothing_of_the_last_response_is_reset() {
    let stats = counts(|| async {
        let mut client = ask_with("/bytes?1000000", "Connection: close\r\n", 1).await;
        sleep(65 * SECOND).await;
        assert_eq!(read_slowly(&mut client, usize::MAX, 1).await, Err(Error::ConnectionReset));
    });
    assert_eq!((stats.output_timeouts, stats.live, stats.failed), (1, 0, 0));
}

#[test]
fn who_takes_it_too_slowly_is_reset() {
    let stats = counts(|| async {
        let mut client = ask_for("/bytes?1000000", 1).await;
        let mut read = Ok(());
        for _ in 0..20 {
            // At most 2000 bytes, for which it has 20 of these seconds.
            read = client.stream.read().await.map(drop);
            sleep(25 * SECOND).await;
        }
        assert_eq!(read, Err(Error::ConnectionReset));
    });
    assert_eq!((stats.output_timeouts, stats.idle_timeouts, stats.failed), (1, 0, 0));
}

#[test]
fn each_response_has_a_time_of_its_own() {
    let stats = quiet_with(timed(Timeouts { response: Some(70 * SECOND), ..TIMEOUTS }), || async {
        let mut client = ask_for("/pieces?600", 1).await;
        for _ in 0..3 {
            let mut taken = 0;
            // 180,300 bytes and their framing.
            while taken < 180_300 {
                taken += client.stream.read().await.unwrap().len();
                sleep(SECOND / 2).await;
            }
            client.raw("GET /pieces?600 HTTP/1.1\r\nHost: server\r\n\r\n").await.unwrap();
        }
    });
    assert_eq!((stats.output_timeouts, stats.idle_timeouts), (0, 0));
}

#[test]
fn a_whole_response_may_have_a_time() {
    let stats = quiet_with(timed(Timeouts { response: Some(100 * SECOND), ..TIMEOUTS }), || async {
        let mut client = ask_for("/pieces?2000", 1).await;
        assert_eq!(read_slowly(&mut client, 4000, 95).await, Ok(()));
        assert_eq!(read_slowly(&mut client, 4000, 20).await, Err(Error::ConnectionReset));
    });
    assert_eq!(stats.output_timeouts, 1);
}

#[test]
fn timeouts_that_are_off_end_nothing() {
    let zero = Timeouts { head: Some(Duration::ZERO), idle: Some(Duration::ZERO), ..Timeouts::OFF };
    let stats = quiet_with(timed(zero), || async {
        let mut new = expectant().await;
        let mut client = Client::connect().await.unwrap();
        client.get("/").await.unwrap();
        sleep(500 * SECOND).await;
        assert_eq!(client.get("/").await.unwrap().status(), 200);
        new.raw("GET / HTTP/1.1\r\nHost: server\r\n\r\n").await.unwrap();
        assert_eq!(new.answer().await.unwrap().status(), 200);
    });
    assert_eq!((stats.head_timeouts, stats.idle_timeouts), (0, 0));
}

#[test]
fn a_stop_leaves_slow_clients_no_more_time_than_they_had() {
    let (_, control) = visit_with(quiet_world(), timed(TIMEOUTS), |control| async move {
        let mut client = Client::connect().await.unwrap();
        client.begin("/count", Some(900), &[]);
        client.transmit().await.unwrap();
        sleep(18 * SECOND).await;
        control.stop.set(true);
        assert_eq!(last_word(client).await, (408, 2));
        assert_eq!(Client::connect().await.map(|_| ()), Err(Error::ConnectionRefused));
    })
    .unwrap();
    let took = control.stop_took.get();
    assert!(took < SECOND * 4, "{took:?}");
}

#[test]
fn a_half_sent_head_at_a_stop_is_not_waited_for() {
    let (_, control) = visit_with(quiet_world(), timed(TIMEOUTS), |control| async move {
        let mut client = expectant().await;
        client.raw("GET / HT").await.unwrap();
        sleep(SECOND).await;
        control.stop.set(true);
        assert_eq!(client.answer().await.unwrap_err(), Ending::Closed);
    })
    .unwrap();
    assert!(control.stop_took.get() < SECOND / 2);
}

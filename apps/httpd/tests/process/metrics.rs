//! What httpd tells of itself.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use super::client::Client;
use super::server::{Httpd, PATIENCE, Setup, with_each};

/// The values of a name, on lines that contain this.
pub(super) fn values(text: &str, name: &str, label: &str) -> Vec<f64> {
    let lines = text.lines().filter(|line| line.starts_with(&format!("{name}{{")) && line.contains(label));
    lines.map(|line| line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")).collect()
}

fn metrics(address: SocketAddr) -> String {
    metrics_by(&mut Client::connect(address).expect("it listens"))
}

pub(super) fn metrics_by(client: &mut Client) -> String {
    let answer = client.get("/metrics").expect("it answers");
    assert_eq!(answer.status(), "200");
    String::from_utf8(answer.body).expect("it is text")
}

/// The sum of the values of a name, on lines that contain this, over all shards.
pub(super) fn figure(address: SocketAddr, name: &str, label: &str) -> f64 {
    values(&metrics(address), name, label).iter().sum()
}

/// The same, asked on this connection.
pub(super) fn figure_by(client: &mut Client, name: &str, label: &str) -> f64 {
    values(&metrics_by(client), name, label).iter().sum()
}

/// Waits until [`figure`] is this.
pub(super) fn wait_for_figure(address: SocketAddr, name: &str, label: &str, expected: f64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let value = figure(address, name, label);
        if value == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{name} of {label} is {value}, not {expected}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn requests_show_in_the_metrics() {
    with_each(|setup: Setup| {
        let httpd = Httpd::start(setup);
        let mut clients: Vec<_> = (0..setup.shards).map(|_| Client::connect(httpd.address).unwrap()).collect();
        for client in &mut clients {
            for _ in 0..10 {
                client.get("/").unwrap();
            }
            client.get("/none").unwrap();
        }
        let text = metrics(httpd.address);
        let sum = |name: &str, label: &str| values(&text, name, label).iter().sum::<f64>();
        let shards = setup.shards as f64;
        assert_eq!(sum("sunstar_http_responses_total", "code=\"200\""), 10.0 * shards, "{text}");
        assert_eq!(sum("sunstar_http_responses_total", "code=\"404\""), shards);
        assert_eq!(sum("sunstar_http_response_seconds_count", ""), 11.0 * shards);
        assert_eq!(values(&text, "sunstar_net_accepted_total", "").len(), setup.shards);
        assert!(values(&text, "sunstar_net_accepted_total", "").iter().all(|accepted| *accepted >= 1.0), "{text}");
        assert_eq!(sum("sunstar_sockets_accepted_total", ""), shards + 1.0);
        // The listener, the clients, and who asks.
        assert_eq!(sum("sunstar_sockets_open", ""), shards + 2.0, "{text}");
        assert!(
            sum("sunstar_sockets_received_bytes_total", "") > 0.0 && sum("sunstar_sockets_sent_bytes_total", "") > 0.0
        );
        assert!(sum("sunstar_buffers_frames", "") >= 512.0 * shards);
        httpd.stop();
    });
}

#[test]
fn the_time_of_a_shard_adds_up() {
    with_each(|setup: Setup| {
        let httpd = Httpd::start(setup);
        let deadline = Instant::now() + PATIENCE;
        // A busy client may keep a shard from ever sleeping.
        let text = loop {
            let text = metrics(httpd.address);
            let asleep = values(&text, "sunstar_reactor_asleep_seconds_total", "");
            if asleep.iter().all(|seconds| *seconds > 0.0) {
                break text;
            }
            assert!(Instant::now() < deadline, "it never sleeps: {text}");
            thread::sleep(Duration::from_millis(1));
        };
        for shard in 0..setup.shards {
            let of = |name: &str| values(&text, &format!("sunstar_reactor_{name}"), &format!("shard=\"{shard}\""))[0];
            let sum = of("busy_seconds_total") + of("polling_seconds_total") + of("asleep_seconds_total");
            assert!((sum - of("up_seconds_total")).abs() < 1e-6, "{text}");
            assert!(of("busy_seconds_total") > 0.0 && of("cpu_seconds_total") > 0.0, "{text}");
            assert!((0.0..=1.0).contains(&of("utilisation_ratio")), "{text}");
        }
        httpd.stop();
    });
}

#[test]
fn a_reset_shows_in_the_metrics() {
    with_each(|setup| {
        let httpd = Httpd::start(setup);
        let mut client = Client::connect(httpd.address).unwrap();
        client.get("/").unwrap();
        client.reset();
        wait_for_figure(httpd.address, "sunstar_sockets_resets_total", "", 1.0);
        httpd.stop();
    });
}

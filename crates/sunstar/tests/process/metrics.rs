//! Metrics are told while the application runs.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;

use super::{Running, fixture};

const ALONE: [&str; 2] = ["--smp", "2"];

/// An address of loopback that no other process of the tests has: process ids are below 2^22.
fn address() -> Ipv4Addr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 1 + high, middle, low)
}

/// What a server answers to a request for a path.
fn get(server: SocketAddr, path: &str) -> String {
    ask(server, "GET", path)
}

fn ask(server: SocketAddr, method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(server).expect("it listens");
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

/// Starts the fixture with these arguments, which waits for the stop.
fn start(arguments: &[&str]) -> Running {
    let arguments = [&ALONE[..], &["--overprovisioned", "--play", "wait"], arguments].concat();
    Running::start_with(fixture(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()))
}

#[test]
fn prometheus_is_answered_until_the_end() {
    let address = address();
    let running = start(&["--prometheus-address", &address.to_string()]);
    let server = SocketAddr::from((address, 9180));
    let answer = get(server, "/metrics");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    for line in [
        "# TYPE sunstar_reactor_utilisation_ratio gauge",
        "# TYPE sunstar_group_run_seconds_total counter",
        "sunstar_sockets_accepted_total{shard=\"1\"} 0",
        "sunstar_http_requests_total{server=\"prometheus\",shard=\"0\"} 1",
        "sunstar_reactor_stalls_total{shard=\"1\"} 0",
        "sunstar_log_dropped_total 0",
        "sunstar_blocking_calls_total{shard=\"1\"} 0",
        "sunstar_files_cold_chunks_total{shard=\"0\"} 0",
    ] {
        assert!(answer.lines().any(|known| known == line), "{line} is not in {answer}");
    }
    assert!(get(server, "/").starts_with("HTTP/1.1 404 Not Found\r\n"));
    let options = ask(server, "OPTIONS", "/metrics");
    assert!(options.starts_with("HTTP/1.1 204") && options.contains("\r\nAllow: GET, HEAD, OPTIONS\r\n"), "{options}");
    // A connection that stays must not hold up the end.
    let _idle = TcpStream::connect(server).unwrap();
    running.signal(Signal::INT);
    let (code, errors) = running.end();
    assert_eq!(code, Some(0), "{errors}");
    assert!(errors.contains(&format!("metrics at http://{server}/metrics")), "{errors}");
    assert!(errors.contains("prometheus: served 3 requests on 4 connections: 0 refused, 0 failed"), "{errors}");
    assert!(TcpStream::connect(server).is_err());
}

#[test]
fn a_port_in_use_ends_the_application_with_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let arguments = [&ALONE[..], &["--overprovisioned", "--log-level", "warn", "--prometheus-port", &port]].concat();
    let output = fixture(&arguments).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    let options = "--prometheus-address and --prometheus-port";
    let expected = format!("fixture: error: cannot listen on 127.0.0.1:{port} for {options}: the address is in use\n");
    assert_eq!((output.status.code(), errors), (Some(2), expected));
    assert!(output.stdout.is_empty(), "the main function has not begun");
}

#[test]
fn a_collectd_that_cannot_be_told_ends_the_application_with_one_line() {
    let arguments = ["--overprovisioned", "--log-level", "warn", "--prometheus-port", "0"];
    // Nobody may send there who has not said that it is for all.
    let collectd = ["--collectd", "255.255.255.255"];
    let output = fixture(&[&ALONE[..], &arguments, &collectd].concat()).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    let expected = "fixture: error: cannot send to --collectd 255.255.255.255:25826: permission denied\n";
    assert_eq!((output.status.code(), errors.as_str()), (Some(2), expected));
}

#[test]
fn collectd_is_told() {
    let collectd = UdpSocket::bind("127.0.0.1:0").unwrap();
    collectd.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let address = collectd.local_addr().unwrap().to_string();
    let options = ["--collectd", &address, "--collectd-poll-period-ms", "20", "--collectd-hostname", "here"];
    let running = start(&[&options[..], &["--prometheus-port", "0"]].concat());
    let mut packet = [0; 2000];
    for _ in 0..10 {
        let (length, _) = collectd.recv_from(&mut packet).unwrap();
        assert!(length <= 1452 && packet.starts_with(b"\x00\x00\x00\x09here\0"));
    }
    running.signal(Signal::INT);
    let (code, errors) = running.end();
    assert_eq!(code, Some(0), "{errors}");
    assert!(!errors.contains("metrics at"), "{errors}");
}

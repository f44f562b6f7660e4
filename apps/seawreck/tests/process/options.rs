//! What is refused, in one line.

use super::seawreck::{command, run};

fn refused(arguments: &[&str]) -> String {
    let ended = run("epoll", 1, arguments);
    assert_eq!((ended.code, &*ended.output), (Some(2), ""), "{ended:?}");
    let line = ended.errors.strip_prefix("seawreck: error: ").expect("it says who says so").to_owned();
    assert_eq!(line.lines().count(), 1, "{line}");
    line.trim_end().to_owned()
}

#[test]
fn what_makes_no_sense_is_refused_in_one_line() {
    let url = "http://127.0.0.1:1/";
    for (arguments, line) in [
        (&[][..], "where to? A URL is missing, as in http://127.0.0.1:10000/"),
        (&["127.0.0.1"][..], "\"127.0.0.1\" is no URL: no :// in it"),
        (&["https://127.0.0.1/"], "https is not spoken yet"),
        (&["ftp://127.0.0.1/"], "ftp:// is not spoken; http, memcached, memcached-udp, tcp and udp are"),
        (&["http://a/", "http://b/"], "http://a/ and http://b/ are not of one server"),
        (&["http://a b/"], "\"http://a b/\": the host is missing or malformed"),
        (&["tcp://127.0.0.1"], "\"tcp://127.0.0.1\" is not tcp://HOST:PORT"),
        (&["udp://a:1", "udp://b:1"], "udp:// takes one URL"),
        (&["tcp://127.0.0.1:1", "--data", "x"], "tcp:// has no methods, headers, bodies and statuses"),
        (&["udp://127.0.0.1:1", "--size", "100k"], "over UDP --size is 65000 at most"),
        (&["udp://127.0.0.1:1", "--pipeline", "101"], "over UDP --pipeline is 100 at most"),
        (&["memcached-udp://127.0.0.1:1", "--pipeline", "101"], "over UDP --pipeline is 100 at most"),
        (
            &["memcached-udp://127.0.0.1:1", "--value-bytes", "64k"],
            "over UDP a request has 65000 bytes at most, and some would have 65632",
        ),
        (&[url, "-d", "0"], "--duration must be longer than nothing"),
        (&[url, "--rate", "1:2", "-n", "5"], "a --rate that changes does so over --duration, which is missing"),
        (&[url, "-H", "x"], "the header \"x\" has no colon"),
        (&[url, "--input-file", "/no/such"], "cannot read /no/such: No such file or directory (os error 2)"),
        (&[url, "--data-file", "/no/such"], "cannot read /no/such: No such file or directory (os error 2)"),
    ] {
        assert_eq!(refused(arguments), line);
    }
    let line = refused(&[url, "--connections", "0"]);
    assert!(line.contains("'--connections <N>': it must be a whole number from 1 to 16777216"), "{line}");
    assert!(refused(&[url, "--arrivals", "poisson"]).contains("--rate"), "there is none in a closed loop");
}

#[test]
fn it_runs_beside_other_applications() {
    // Their port of metrics is theirs, unless it is asked for.
    let help = command("epoll", 1, &["--help"]).output().expect("it runs");
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    let port = text.split("--prometheus-port").nth(1).expect("it has the option");
    assert!(port.split("--").next().is_some_and(|help| help.contains("[default: 0]")), "{text}");
}

#[test]
fn the_help_says_what_the_exit_codes_mean() {
    let help = command("epoll", 1, &["--help"]).output().expect("it runs");
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(text.contains("Exit code:") && text.contains("1  some requests failed, timed out"), "{text}");
}

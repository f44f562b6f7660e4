//! How it starts, and does not.

use std::net::TcpListener;
use std::process::Command;

use super::server::{Httpd, command, with_each};

#[test]
fn it_says_once_where_it_listens() {
    with_each(|setup| {
        let httpd = Httpd::start(setup);
        let address = httpd.address.to_string();
        assert!(httpd.address.ip().is_loopback());
        assert_eq!(httpd.first_lines.iter().filter(|line| line.contains(&address)).count(), 1);
        assert!(!httpd.stop().contains("listening"));
    });
}

#[test]
fn an_address_in_use_ends_it_with_one_line() {
    with_each(|setup| {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port().to_string();
        let output = command(setup).args(["--port", &port, "--log-level", "warn"]).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert_eq!(errors, format!("httpd: error: cannot listen on 127.0.0.1:{port}: the address is in use\n"));
    });
}

#[test]
fn what_cannot_be_had_ends_it_with_one_line() {
    let whole = "it must be a whole number from 0 to";
    let cases = [
        (["--root", "/no/such"], "cannot serve /no/such: there is no such directory".to_owned()),
        (["--root", "/dev/null"], "cannot serve /dev/null: there is no such directory".to_owned()),
        (["--port", "-1"], format!("invalid value '-1' for '--port <PORT>': {whole} 65535")),
        (["--port", "65536"], format!("invalid value '65536' for '--port <PORT>': {whole} 65535")),
        (
            ["--idle-timeout-s", "1.5"],
            format!("invalid value '1.5' for '--idle-timeout-s <SECONDS>': {whole} 4294967295"),
        ),
        (
            ["--max-connections", "-1"],
            format!("invalid value '-1' for '--max-connections <COUNT>': {whole} 4294967295"),
        ),
    ];
    for (arguments, line) in cases {
        let output = Command::new(env!("CARGO_BIN_EXE_httpd"))
            .args(["--smp", "1", "--overprovisioned", "--prometheus-port", "0", "--log-level", "warn"])
            .args(arguments)
            .output()
            .unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), errors), (Some(2), format!("httpd: error: {line}\n")));
    }
}

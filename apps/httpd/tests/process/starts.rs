//! How it starts, and does not.

use std::net::TcpListener;

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

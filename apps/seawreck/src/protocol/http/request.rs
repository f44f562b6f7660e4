//! The bytes of requests, from what the command line asks for.

use std::fmt::Write;

use sunstar::http::client::Uri;

/// The requests of a load, in the order in which they are sent.
#[derive(Clone, Debug)]
pub(crate) struct Requests {
    pub(crate) kept: Vec<Vec<u8>>,
    /// The same with the wish that the connection ends.
    pub(crate) last: Vec<Vec<u8>>,
    pub(crate) is_head: bool,
    /// The only status that is a good one; otherwise those from 200 to 399 are.
    pub(crate) expected_status: Option<u16>,
}

/// What a request is made of besides its URI.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts<'a> {
    pub(crate) method: &'a str,
    /// Lines as `Name: value`.
    pub(crate) headers: &'a [String],
    pub(crate) body: Option<&'a [u8]>,
    pub(crate) expected_status: Option<u16>,
}

impl Requests {
    /// One request for each URI.
    ///
    /// # Errors
    /// Says which part is malformed.
    pub(crate) fn new(uris: &[Uri], parts: &Parts<'_>) -> Result<Self, String> {
        if !is_token(parts.method) {
            return Err(format!("{:?} is no method", parts.method));
        }
        for line in parts.headers {
            let (name, value) = line.split_once(':').ok_or_else(|| format!("the header {line:?} has no colon"))?;
            let is_clean = value.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f));
            if !is_token(name) || !is_clean {
                return Err(format!("the header {line:?} is malformed"));
            }
            if ["content-length", "transfer-encoding", "connection"].iter().any(|own| name.eq_ignore_ascii_case(own)) {
                return Err(format!("the header {name} is seawreck's own"));
            }
        }
        let all = |extra: &str| uris.iter().map(|uri| request(uri, parts, extra)).collect();
        Ok(Self {
            kept: all(""),
            last: all("Connection: close\r\n"),
            is_head: parts.method == "HEAD",
            expected_status: parts.expected_status,
        })
    }
}

fn request(uri: &Uri, parts: &Parts<'_>, extra: &str) -> Vec<u8> {
    let mut head = format!("{} {} HTTP/1.1\r\n", parts.method, uri.target());
    let has_host = parts.headers.iter().any(|line| line.to_ascii_lowercase().starts_with("host:"));
    let mut put = |line: std::fmt::Arguments<'_>| head.write_fmt(line).expect("a string takes everything");
    if !has_host {
        put(format_args!("Host: {}\r\n", host_field(uri)));
    }
    for (name, value) in parts.headers.iter().filter_map(|line| line.split_once(':')) {
        put(format_args!("{name}: {}\r\n", value.trim()));
    }
    if let Some(body) = parts.body {
        put(format_args!("Content-Length: {}\r\n", body.len()));
    }
    put(format_args!("{extra}\r\n"));
    [head.as_bytes(), parts.body.unwrap_or_default()].concat()
}

/// Whether it is a name of a method or a field (RFC 9110 §5.6.2).
fn is_token(text: &str) -> bool {
    let is_sign = |byte| b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || is_sign(byte))
}

/// The host and, unless it is that of the scheme, the port (RFC 9110 §7.2).
fn host_field(uri: &Uri) -> String {
    let (host, port) = (uri.authority().host(), uri.authority().port());
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    if port == 80 { host } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Parts<'_> = Parts { method: "GET", headers: &[], body: None, expected_status: None };

    fn uris(texts: &[&str]) -> Vec<Uri> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_request_says_what_was_asked_for() {
        let headers = ["Accept:  */* ".to_owned()];
        let parts = Parts { method: "POST", headers: &headers, body: Some(b"abc"), ..PLAIN };
        let requests = Requests::new(&uris(&["http://a:81/x?y", "http://a:81/"]), &parts).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let expected = "POST /x?y HTTP/1.1\r\nHost: a:81\r\nAccept: */*\r\nContent-Length: 3\r\n";
        assert_eq!(text(&requests.kept[0]), format!("{expected}\r\nabc"));
        assert_eq!(text(&requests.last[0]), format!("{expected}Connection: close\r\n\r\nabc"));
        assert!(requests.kept[1].starts_with(b"POST / HTTP/1.1\r\n"));
        let ipv6 = Requests::new(&uris(&["http://[::1]/"]), &PLAIN).unwrap();
        assert_eq!(ipv6.kept[0], b"GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n");
        assert!(
            !requests.is_head
                && Requests::new(&uris(&["http://a/"]), &Parts { method: "HEAD", ..PLAIN }).unwrap().is_head
        );
    }

    #[test]
    fn a_host_that_is_given_takes_the_place_of_the_uris() {
        let headers = ["hOst: b".to_owned()];
        let requests = Requests::new(&uris(&["http://a/"]), &Parts { headers: &headers, ..PLAIN }).unwrap();
        assert_eq!(requests.kept[0], b"GET / HTTP/1.1\r\nhOst: b\r\n\r\n");
    }

    #[test]
    fn malformed_parts_are_named() {
        let refused = |headers: &[&str], method| {
            let headers: Vec<String> = headers.iter().map(|&line| line.to_owned()).collect();
            Requests::new(&uris(&["http://a/"]), &Parts { method, headers: &headers, ..PLAIN }).unwrap_err()
        };
        assert_eq!(refused(&["x"], "GET"), "the header \"x\" has no colon");
        assert_eq!(refused(&["a b: c"], "GET"), "the header \"a b: c\" is malformed");
        assert_eq!(refused(&["a: b\r\nc: d"], "GET"), "the header \"a: b\\r\\nc: d\" is malformed");
        assert_eq!(refused(&["Connection: close"], "GET"), "the header Connection is seawreck's own");
        assert_eq!(refused(&[], "G T"), "\"G T\" is no method");
    }
}

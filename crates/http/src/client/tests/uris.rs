//! What is a URI and what is none.

use std::time::Duration;

use crate::client::{RetryPolicy, Scheme, Uri, UriError};

#[test]
fn uris_have_their_parts() {
    for (text, host, port, field, target) in [
        ("http://a", "a", 80, "a", "/"),
        ("HTTP://A.b-C_d:81/x/y?z=1#f/?", "a.b-c_d", 81, "a.b-c_d:81", "/x/y?z=1"),
        ("http://a:?q", "a", 80, "a", "/?q"),
        ("http://127.0.0.1:80/", "127.0.0.1", 80, "127.0.0.1", "/"),
        ("http://[::1]:8080/[", "::1", 8080, "[::1]:8080", "/["),
        ("http://[0:0::1]", "::1", 80, "[::1]", "/"),
        ("https://a:80", "a", 80, "a:80", "/"),
        ("https://a//b", "a", 443, "a", "//b"),
        ("http://a#b@c", "a", 80, "a", "/"),
        ("http://a/@c", "a", 80, "a", "/@c"),
    ] {
        let uri: Uri = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        let authority = uri.authority();
        assert_eq!((authority.host(), authority.port()), (host, port), "{text}");
        assert_eq!((uri.host_field(), uri.target()), (field, target), "{text}");
        assert_eq!(authority.scheme() == Scheme::Https, text.starts_with("https"));
        assert_eq!(uri.to_string().parse::<Uri>().unwrap(), uri, "{text}");
    }
}

#[test]
fn what_is_no_uri_is_told() {
    for (text, error) in [
        ("", UriError::Scheme),
        ("a/b", UriError::Scheme),
        ("ftp://a", UriError::Scheme),
        ("http:/a", UriError::Scheme),
        ("http://", UriError::Host),
        ("http:///x", UriError::Host),
        ("http://:80", UriError::Host),
        ("http://a b", UriError::Host),
        ("http://a\r\nx", UriError::Host),
        ("http://ä", UriError::Host),
        ("http://a%00", UriError::Host),
        ("http://[::1", UriError::Host),
        ("http://[a]", UriError::Host),
        ("http://[::1%25eth0]", UriError::Host),
        ("http://127.1", UriError::Host),
        ("http://0x7f.1", UriError::Host),
        ("http://256.0.0.1", UriError::Host),
        ("http://127.0.0.1.", UriError::Host),
        ("http://u@a", UriError::User),
        ("http://u:p@a", UriError::User),
        ("http://a:0", UriError::Port),
        ("http://a:65536", UriError::Port),
        ("http://a:+1", UriError::Port),
        ("http://a:b", UriError::Port),
        ("http://a:1:2", UriError::Port),
        ("http://[::1]a", UriError::Port),
        ("http://a/ ", UriError::Target),
        ("http://a/\r\nX: y", UriError::Target),
        ("http://a/ä", UriError::Target),
        ("http://a/\u{7f}", UriError::Target),
    ] {
        assert_eq!(text.parse::<Uri>().err(), Some(error), "{text}");
    }
}

#[test]
fn pauses_grow_to_their_bound() {
    let ms = Duration::from_millis;
    let policy = RetryPolicy { retries: 9, backoff: ms(50), max_backoff: ms(300) };
    assert_eq!([0, 1, 2, 3, 40].map(|number| policy.pause(number)), [50, 100, 200, 300, 300].map(ms));
}

//! URIs beside a plain way to read them: the check behind the fuzz target and the property.

use std::net::Ipv6Addr;

use sunstar_http::client::{Scheme, Uri, UriError};

/// Reads any text as a URI, and compares its parts with what they should be.
pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let found = text.parse::<Uri>();
    assert_eq!(found.as_ref().map(parts).map_err(|&error| error), expected(text), "{text:?}");
    let Ok(uri) = found else { return };
    let shown = uri.to_string();
    assert_eq!(shown.parse::<Uri>().as_ref(), Ok(&uri), "{text:?} is shown as {shown:?}");
    // It becomes the first line of a request and a field of it.
    assert!(shown.bytes().all(|byte| byte.is_ascii_graphic()), "{shown:?}");
    assert!(uri.target().starts_with('/') && !uri.target().contains('#'), "{shown:?}");
    assert!(shown.ends_with(uri.target()), "{shown:?}");
    let digits_and_dots = uri.authority().host().bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let has_digits = uri.authority().host().bytes().any(|byte| byte.is_ascii_digit());
    assert!(!(digits_and_dots && has_digits) || uri.authority().ip().is_some(), "{shown:?} is no address");
}

/// Scheme, host, port and target.
type Parts = (Scheme, String, u16, String);

fn parts(uri: &Uri) -> Parts {
    let authority = uri.authority();
    (authority.scheme(), authority.host().to_owned(), authority.port(), uri.target().to_owned())
}

fn expected(text: &str) -> Result<Parts, UriError> {
    let (scheme, rest) = text.split_once("://").ok_or(UriError::Scheme)?;
    let (scheme, default_port) = match scheme.to_ascii_lowercase().as_str() {
        "http" => (Scheme::Http, 80),
        "https" => (Scheme::Https, 443),
        _ => return Err(UriError::Scheme),
    };
    let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
    let authority: String = rest.chars().take_while(|letter| !matches!(letter, '/' | '?')).collect();
    let target = &rest[authority.len()..];
    if authority.contains('@') {
        return Err(UriError::User);
    }
    let host_ends = authority.find(']').map_or(0, |at| at + 1);
    let host_ends = if authority.starts_with('[') { host_ends } else { 0 };
    let host_ends = authority[host_ends..].find(':').map_or(authority.len(), |at| host_ends + at);
    let (host, port) = authority.split_at(host_ends);
    // What follows a bracket is no port without a colon.
    let (host, is_ended) = match host.split_once(']') {
        Some((ip, behind)) if host.starts_with('[') => (address(&ip[1..])?, behind.is_empty()),
        _ => (name(host)?, true),
    };
    let port = port.strip_prefix(':').unwrap_or_default();
    let port = if port.is_empty() { Some(default_port) } else { number(port) };
    let port = port.filter(|&port| port > 0 && is_ended).ok_or(UriError::Port)?;
    if !target.chars().all(|letter| ('!'..='~').contains(&letter)) {
        return Err(UriError::Target);
    }
    let slash = if target.starts_with('/') { "" } else { "/" };
    Ok((scheme, host, port, format!("{slash}{target}")))
}

fn address(text: &str) -> Result<String, UriError> {
    text.parse().map(|ip: Ipv6Addr| ip.to_string()).map_err(|_| UriError::Host)
}

fn name(host: &str) -> Result<String, UriError> {
    let host = host.to_ascii_lowercase();
    let is_named =
        !host.is_empty() && host.chars().all(|letter| matches!(letter, 'a'..='z' | '0'..='9' | '-' | '.' | '_'));
    // Whoever reads numbers otherwise must not find another address in it.
    let last = host.split('.').rfind(|label| !label.is_empty()).unwrap_or_default();
    let is_numeric = last.starts_with(|letter: char| letter.is_ascii_digit());
    if is_named && (!is_numeric || is_ipv4(&host)) { Ok(host) } else { Err(UriError::Host) }
}

fn is_ipv4(host: &str) -> bool {
    let is_byte = |text: &str| (0..=255).any(|byte: u8| byte.to_string() == text);
    host.split('.').count() == 4 && host.split('.').all(is_byte)
}

fn number(digits: &str) -> Option<u16> {
    let digits = digits.bytes().all(|byte| byte.is_ascii_digit()).then_some(digits.trim_start_matches('0'))?;
    if digits.is_empty() { Some(0) } else { digits.parse().ok() }
}

//! Where requests go: `http://host[:port]/path?query` (RFC 9110 §4.2).

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use thiserror::Error as ThisError;

/// How a server is spoken to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Scheme {
    /// `http`: as it is.
    Http,
    /// `https`: through TLS.
    Https,
}

impl Scheme {
    const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Who is asked: scheme, host and port. Connections are kept for each.
///
/// Clones share the memory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Authority {
    scheme: Scheme,
    port: u16,
    /// In lower case, without the brackets of an IPv6 address.
    host: Rc<str>,
}

impl Authority {
    /// The scheme.
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The name or the address of the host, in lower case and without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The host's address, if that is what the host was given by.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Why a text is no URI of a web server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ThisError)]
#[non_exhaustive]
pub enum UriError {
    /// It begins with neither `http://` nor `https://`.
    #[error("a URI begins with http:// or https://")]
    Scheme,
    /// It has a user's name or password, which would be sent to nobody (RFC 9110 §4.2.4).
    #[error("a URI with a user's name is not taken")]
    User,
    /// The host is missing or malformed.
    #[error("the host is missing or malformed")]
    Host,
    /// The port is no number from 1 to 65535.
    #[error("the port is no number from 1 to 65535")]
    Port,
    /// Path or query have spaces, control characters or what is not ASCII; those are to be percent-encoded.
    #[error("path or query have characters that are to be percent-encoded")]
    Target,
}

/// The URI of a request.
///
/// A fragment is cut off, since it is the client's own business (RFC 9110 §4.1).
///
/// ```
/// use sunstar_http::client::Uri;
///
/// let uri: Uri = "http://LocalHost:8080/a?b#c".parse()?;
/// assert_eq!((uri.authority().host(), uri.authority().port(), uri.target()), ("localhost", 8080, "/a?b"));
/// # Ok::<(), sunstar_http::client::UriError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Uri {
    authority: Authority,
    /// As `Host` has it.
    host_field: Box<str>,
    target: Box<str>,
}

impl Uri {
    /// Who is asked.
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Path and query.
    pub fn target(&self) -> &str {
        &self.target
    }

    pub(super) fn host_field(&self) -> &str {
        &self.host_field
    }
}

impl FromStr for Uri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        let (scheme, rest) = scheme(text).ok_or(UriError::Scheme)?;
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(UriError::User);
        }
        let (host, port) = host_and_port(authority, scheme.default_port())?;
        let is_target = |byte: u8| byte.is_ascii_graphic() || (planted::is("uri_delete") && byte == 0x7f);
        if !target.bytes().all(is_target) {
            return Err(UriError::Target);
        }
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        let shown = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let host_field = if port == scheme.default_port() { shown } else { format!("{shown}:{port}") };
        Ok(Self {
            authority: Authority { scheme, port, host: host.into() },
            host_field: host_field.into(),
            target: target.into(),
        })
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.authority.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        write!(f, "{scheme}://{}{}", self.host_field, self.target)
    }
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn scheme(text: &str) -> Option<(Scheme, &str)> {
    [("http://", Scheme::Http), ("https://", Scheme::Https)].into_iter().find_map(|(prefix, scheme)| {
        let (begin, rest) = text.split_at_checked(prefix.len())?;
        begin.eq_ignore_ascii_case(prefix).then_some((scheme, rest))
    })
}

/// The host in lower case, without brackets, and the port.
fn host_and_port(authority: &str, default_port: u16) -> Result<(String, u16), UriError> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (ip, port) = rest.split_once(']').ok_or(UriError::Host)?;
            let ip: Ipv6Addr = ip.parse().map_err(|_| UriError::Host)?;
            (format!("{ip}"), port)
        }
        None => {
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            (name(host).ok_or(UriError::Host)?, port)
        }
    };
    let port = match port {
        "" | ":" => default_port,
        _ => port.strip_prefix(':').and_then(port_number).ok_or(UriError::Port)?,
    };
    Ok((host, port))
}

/// A host's name or IPv4 address. What looks like an address must be one, since others take `127.1` or `0x7f.1` for one.
fn name(host: &str) -> Option<String> {
    let is_named = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    let looks_like_address = host
        .trim_end_matches('.')
        .rsplit('.')
        .next()
        .is_some_and(|last| last.starts_with(|digit: char| digit.is_ascii_digit()));
    let looks_like_address = looks_like_address && !planted::is("uri_short_address");
    if !is_named || (looks_like_address && host.parse::<Ipv4Addr>().is_err()) {
        return None;
    }
    Some(host.to_ascii_lowercase())
}

fn port_number(digits: &str) -> Option<u16> {
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_number = is_number || planted::is("uri_signed_port");
    digits.parse().ok().filter(|&port| is_number && port > 0)
}

//! What is known without asking: `hosts(5)`, `resolv.conf(5)`, addresses, and names that stand for this host.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt::Write;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::NAME_SERVER_PORT;

/// Bytes of a name, and of one of its labels (RFC 1035 §2.3.4).
const MAX_NAME_BYTES: usize = 253;
const MAX_LABEL_BYTES: usize = 63;

/// Servers and domains that are taken of a file; the C library takes three.
const MAX_SERVERS: usize = 8;

/// Names that are known of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts(BTreeMap<Box<str>, Vec<IpAddr>>);

impl Hosts {
    /// Reads the text of a hosts file. Lines that are none are passed over.
    pub fn parse(text: &str) -> Self {
        let mut hosts = BTreeMap::<Box<str>, Vec<IpAddr>>::new();
        for line in text.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let Some(ip) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else { continue };
            for name in words.filter(|name| is_name(name)) {
                let known = hosts.entry(key(name)).or_default();
                if !known.contains(&ip) {
                    known.push(ip);
                }
            }
        }
        Self(hosts)
    }

    /// The addresses of a name.
    pub fn get(&self, name: &str) -> &[IpAddr] {
        self.0.get(&key(name)).map(Vec::as_slice).unwrap_or_default()
    }
}

/// What is taken of `resolv.conf(5)`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// `nameserver`.
    pub servers: Vec<SocketAddr>,
    /// `search`, or `domain`: the last one counts.
    pub search: Vec<Box<str>>,
    /// Name servers that can't be asked, since they are no addresses, or name an interface (`fe80::1%eth0`).
    pub skipped: Vec<Box<str>>,
    /// `options ndots:`.
    pub dots: Option<usize>,
    /// `options timeout:`, in seconds.
    pub timeout_s: Option<u32>,
    /// `options attempts:`.
    pub attempts: Option<u32>,
}

impl ResolvConf {
    /// Reads the text of such a file. Lines that are not understood are passed over.
    pub fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines() {
            let mut words = line.split(['#', ';']).next().unwrap_or_default().split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let word = words.next().unwrap_or_default();
                    match word.parse::<IpAddr>() {
                        Ok(ip) => conf.servers.push(SocketAddr::new(ip, NAME_SERVER_PORT)),
                        Err(_) => conf.skipped.push(word.into()),
                    }
                    conf.servers.truncate(MAX_SERVERS);
                    conf.skipped.truncate(MAX_SERVERS);
                }
                Some("search" | "domain") => {
                    conf.search = words.filter(|name| is_name(name)).take(MAX_SERVERS).map(key).collect();
                }
                Some("options") => words.for_each(|word| conf.option(word)),
                _ => {}
            }
        }
        conf
    }

    fn option(&mut self, word: &str) {
        let Some((name, value)) = word.split_once(':') else { return };
        let Ok(value) = value.parse::<u32>() else { return };
        match name {
            "ndots" => self.dots = Some(value.min(15) as usize),
            "timeout" => self.timeout_s = Some(value.clamp(1, 30)),
            "attempts" => self.attempts = Some(value.clamp(1, 5)),
            _ => {}
        }
    }
}

/// The addresses of a name that nobody is asked for, if it is one.
pub(super) fn known(hosts: &Hosts, name: &str) -> Option<Vec<IpAddr>> {
    if let Ok(ip) = name.parse::<IpAddr>() {
        return Some(vec![ip]);
    }
    let listed = hosts.get(name);
    if !listed.is_empty() {
        return Some(listed.to_vec());
    }
    // RFC 6761 §6.3.
    let name = key(name);
    let is_local = &*name == "localhost" || name.ends_with(".localhost");
    is_local.then(|| vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()])
}

/// Whether it may be the name of a host or a service.
pub(super) fn is_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_label = |label: &str| (1..=MAX_LABEL_BYTES).contains(&label.len()) && label.bytes().all(is_plain);
    name.len() <= MAX_NAME_BYTES && name.split('.').all(is_label)
}

/// As names are compared: in small letters, without the last dot.
pub(super) fn key(name: &str) -> Box<str> {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase().into()
}

/// Where the names of an address are kept.
pub(super) fn reverse_name(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(v6) => {
            let mut name = String::new();
            for byte in v6.octets().iter().rev() {
                // A string takes everything.
                let _ = write!(name, "{:x}.{:x}.", byte & 0xf, byte >> 4);
            }
            name + "ip6.arpa"
        }
    }
}

/// The names that a name may stand for, in the order in which they are looked for.
pub(super) fn candidates(name: &str, search: &[Box<str>], dots: usize) -> Vec<String> {
    if let Some(whole) = name.strip_suffix('.') {
        return vec![whole.to_owned()];
    }
    let in_domains = search.iter().map(|domain| format!("{name}.{domain}")).filter(|name| is_name(name));
    let as_it_is = core::iter::once(name.to_owned());
    if name.bytes().filter(|byte| *byte == b'.').count() >= dots {
        as_it_is.chain(in_domains).collect()
    } else {
        in_domains.chain(as_it_is).collect()
    }
}

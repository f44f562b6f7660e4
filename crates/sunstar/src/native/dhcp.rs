//! Addresses of a native network that others give: what they are told, and how the start waits for them.

use std::net::Ipv4Addr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use sunstar_executor::combine::with_timeout;
use sunstar_executor::local;
use sunstar_native::{InterfaceId, Network};
use sunstar_tcpip::dhcpv4::{Options, State};
use sunstar_tcpip::dhcpv6::{self, Mode};
use sunstar_tcpip::stack::Stack;

use super::Plan;
use super::opened::Interfaces;
use crate::error::Error;

/// How long the start waits: a server is asked four times meanwhile.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes that are sent of a name or an identifier.
const MAX_BYTES: usize = 64;

#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(super) struct ClientOptions {
    /// Name by which DHCP servers are to know this host
    #[arg(long, value_name = "NAME", value_parser = host_name)]
    dhcp_host_name: Option<String>,

    /// What DHCP servers tell this host by: text, or bytes as in 01:02:00:00:00:00:07 [default: the device's address]
    #[arg(long, value_name = "ID", value_parser = client_id)]
    dhcp_client_id: Option<ClientId>,

    /// IPv4 address that a device had before, which is asked for first: one for each device, in their order
    #[arg(long, value_name = "ADDRESS")]
    dhcp_previous_addr: Vec<Ipv4Addr>,

    /// What is asked for by DHCPv6: off, stateful (addresses and name servers), stateless (name servers), or auto, which is what routers
    /// say [default: auto where routers configure IPv6]
    #[arg(long, value_name = "WHAT", hide_possible_values = true)]
    pub(super) dhcpv6: Option<Dhcpv6>,
}

/// What a client is told by.
#[derive(Clone, Debug)]
struct ClientId(Vec<u8>);

/// What is asked for by DHCPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Dhcpv6 {
    Off,
    Auto,
    Stateful,
    Stateless,
}

impl Dhcpv6 {
    /// What is asked for whatever routers say.
    pub(super) const fn asks(self) -> Option<Mode> {
        match self {
            Self::Off | Self::Auto => None,
            Self::Stateful => Some(Mode::Stateful),
            Self::Stateless => Some(Mode::Stateless),
        }
    }
}

impl ClientOptions {
    /// The first option that was given.
    pub(super) fn first(&self) -> Option<&'static str> {
        self.first_v4().or(self.dhcpv6.map(|_| "--dhcpv6"))
    }

    fn first_v4(&self) -> Option<&'static str> {
        let given = [
            (self.dhcp_host_name.is_some(), "--dhcp-host-name"),
            (self.dhcp_client_id.is_some(), "--dhcp-client-id"),
            (!self.dhcp_previous_addr.is_empty(), "--dhcp-previous-addr"),
        ];
        given.into_iter().find(|(is_given, _)| *is_given).map(|(_, option)| option)
    }

    /// Whether IPv6 is asked for.
    pub(super) fn speaks_v6(&self) -> bool {
        self.dhcpv6.is_some_and(|what| what.asks().is_some())
    }

    /// Whether they make sense for so many devices that ask DHCP.
    pub(super) fn check(&self, devices: usize) -> Result<Self, Error> {
        if let Some(option) = self.first_v4().filter(|_| devices == 0) {
            return Err(Error::usage(format_args!("{option} is for DHCP, which no device asks")));
        }
        let previous = self.dhcp_previous_addr.len();
        if previous > devices {
            let what = "--dhcp-previous-addr stands once for each device";
            return Err(Error::usage(format_args!("{what}: there are {previous} for {devices}")));
        }
        Ok(self.clone())
    }

    /// What the client of the `at`-th device that asks is made with.
    fn options(&self, at: usize) -> Options {
        Options {
            client_id: self.dhcp_client_id.clone().map(|id| id.0),
            host_name: self.dhcp_host_name.as_deref().map(Into::into),
            previous: self.dhcp_previous_addr.get(at).copied(),
            ..Options::default()
        }
    }
}

/// RFC 1123 §2.1.
fn host_name(text: &str) -> Result<String, String> {
    let is_plain = |label: &str| {
        let is_alphanumeric = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = label.as_bytes();
        bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
            && is_alphanumeric(bytes.first())
            && is_alphanumeric(bytes.last())
    };
    match text.len() {
        1..=MAX_BYTES if text.split('.').all(is_plain) => Ok(text.to_owned()),
        _ => Err(format!("it must be a name of letters, digits, hyphens and dots, of at most {MAX_BYTES} bytes")),
    }
}

/// RFC 2132 §9.14: bytes as they are, of which the first one is a type; text is of type 0.
fn client_id(text: &str) -> Result<ClientId, String> {
    let octet = |part: &str| match part.len() {
        2 => u8::from_str_radix(part, 16).ok(),
        _ => None,
    };
    let octets: Option<Vec<u8>> = text.split(':').map(octet).collect();
    let id = octets.filter(|octets| octets.len() > 1).unwrap_or_else(|| [&[0], text.as_bytes()].concat());
    match id.len() {
        2..=MAX_BYTES => Ok(ClientId(id)),
        _ => Err(format!("it must have 1 to {} bytes", MAX_BYTES - 1)),
    }
}

/// An interface for which the start waits.
struct Asked {
    name: String,
    id: InterfaceId,
    is_v6: bool,
}

impl Asked {
    fn has_address(&self, stack: &Stack) -> bool {
        if !self.is_v6 {
            return stack.dhcpv4_lease(self.id).is_some();
        }
        let addresses = stack.dhcpv6_lease(self.id).map_or(&[][..], |lease| &lease.addresses);
        addresses.iter().any(|leased| stack.is_own(leased.address.into()))
    }

    /// Why a device has no address.
    fn why(&self, network: &Network) -> String {
        let (id, name) = (self.id, &self.name);
        let is_offered = network.with_stack(|stack| match self.is_v6 {
            false => !matches!(stack.dhcpv4_state(id), State::Init | State::Selecting),
            true => !matches!(stack.dhcpv6_state(id), dhcpv6::State::Init | dhcpv6::State::Soliciting),
        });
        let kind = if self.is_v6 { "DHCPv6" } else { "DHCP" };
        let what = match is_offered {
            false => format!("no {kind} server has offered an address"),
            true => format!("a {kind} server has offered an address and not given it"),
        };
        format!("{what} on {name} in {} s", PATIENCE.as_secs())
    }
}

impl Plan {
    /// Configures the networks of all shards from the current one, as far as others say how. Waits for addresses, for a limited time.
    ///
    /// # Errors
    /// If nobody gives one.
    pub(super) async fn configure(&self) -> Result<(), Error> {
        let (Some(network), Some(interfaces)) = (Network::current(), local::get::<Interfaces>()) else { return Ok(()) };
        network.share_configuration();
        if self.ignores_dhcp {
            log::warn!("--dhcp 1 is not followed, since --host-ipv4-addr is given");
        }
        self.ipv6.begin(&network, &interfaces.0)?;
        let asked = self.asked(&interfaces.0);
        if asked.is_empty() {
            return self.ipv6.wait(&network, &interfaces.0).await;
        }
        let kinds: &[(bool, &str)] = &[(false, "DHCP"), (true, "DHCPv6")];
        for (is_v6, kind) in kinds {
            let of_kind = asked.iter().filter(|asked| asked.is_v6 == *is_v6);
            let names = of_kind.map(|asked| &*asked.name).collect::<Vec<_>>().join(" and ");
            if !names.is_empty() {
                log::info!("waiting for an address by {kind} on {names}, for at most {} s", PATIENCE.as_secs());
            }
        }
        for (at, asked) in asked.iter().filter(|asked| !asked.is_v6).enumerate() {
            network.start_dhcp(asked.id, self.clients.options(at))?;
        }
        let bound = network.configured(|stack| asked.iter().all(|asked| asked.has_address(stack)));
        if with_timeout(PATIENCE, bound).await.is_ok() {
            return self.ipv6.wait(&network, &interfaces.0).await;
        }
        let lacking = asked.iter().filter(|asked| !network.with_stack(|stack| asked.has_address(stack)));
        let reasons: Vec<String> = lacking.map(|asked| asked.why(&network)).collect();
        if reasons.len() == asked.len() {
            let option = if asked.iter().all(|asked| asked.is_v6) { "--host-ipv6-addr" } else { "--host-ipv4-addr" };
            return Err(Error::failure(format!("{}; {option} needs none", reasons.join(", and "))));
        }
        reasons.iter().for_each(|reason| log::warn!("{reason}; it is still waited for"));
        self.ipv6.wait(&network, &interfaces.0).await
    }

    /// For which addresses the start waits.
    fn asked(&self, interfaces: &[InterfaceId]) -> Vec<Asked> {
        let waits_for_v6 = self.ipv6.waits_for_dhcp();
        let all = self.interfaces.iter().zip(interfaces);
        let both = all.flat_map(|(interface, id)| {
            let asks = [(false, interface.asks_dhcp), (true, waits_for_v6)];
            let of = |is_v6| Asked { name: interface.device.full_name(), id: *id, is_v6 };
            asks.into_iter().filter(|(_, asks)| *asks).map(move |(is_v6, _)| of(is_v6))
        });
        both.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_identifiers_are_as_servers_know_them() {
        for good in ["a", "web-1", "web-1.example.org", "9"] {
            assert_eq!(host_name(good).as_deref(), Ok(good));
        }
        for bad in ["", "-a", "a-", "a..b", "a b", "ä", &"a".repeat(65)] {
            assert!(host_name(bad).is_err(), "{bad}");
        }
        let id = |text: &str| client_id(text).map(|id| id.0).ok();
        assert_eq!(id("web"), Some(b"\0web".to_vec()));
        assert_eq!(id("01:02:aF"), Some(vec![1, 2, 0xaf]));
        assert_eq!(id("01"), Some(b"\x0001".to_vec()), "text of two digits");
        assert_eq!(id("01:2"), Some(b"\x0001:2".to_vec()));
        assert_eq!(id(&"a".repeat(63)).map(|id| id.len()), Some(64));
        assert_eq!((id(""), id(&"a".repeat(64))), (None, None));
    }
}

//! `--so_flags`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use sunstar_tcpip::prefix::Prefix;

/// What the world of a script is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WorldOptions {
    pub(crate) addresses: Vec<Prefix>,
    pub(crate) mtu: u16,
}

/// An option that makes no sense.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadOption(String);

impl fmt::Display for BadOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is none of ipv4=ADDRESS/LEN, ipv6=ADDRESS/LEN, mtu=BYTES", self.0)
    }
}

impl std::error::Error for BadOption {}

impl WorldOptions {
    /// Reads options that are separated by commas.
    pub(crate) fn parse(flags: &str) -> Result<Self, BadOption> {
        let mut options = Self { addresses: Vec::new(), mtu: 1_500 };
        for flag in flags.split(',').filter(|flag| !flag.is_empty()) {
            options.take(flag).ok_or_else(|| BadOption(flag.to_owned()))?;
        }
        if options.addresses.is_empty() {
            options.addresses.extend(Prefix::new(Ipv4Addr::new(192, 168, 0, 1), 16));
        }
        Ok(options)
    }

    fn take(&mut self, flag: &str) -> Option<()> {
        let (name, value) = flag.split_once('=')?;
        match name {
            "ipv4" | "ipv6" => {
                let (address, len) = value.split_once('/')?;
                let address: IpAddr = address.parse().ok()?;
                if address.is_ipv4() != (name == "ipv4") {
                    return None;
                }
                self.addresses.push(Prefix::new(address, len.parse().ok()?).ok()?);
            }
            "mtu" => self.mtu = value.parse().ok()?,
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_nonsense_is_refused() {
        let options = WorldOptions::parse("ipv4=10.0.0.1/8,mtu=1520,ipv6=fd00::1/64").expect("they are good");
        assert_eq!((options.addresses.len(), options.mtu), (2, 1_520));
        assert_eq!(WorldOptions::parse("").expect("none are good too").addresses.len(), 1);
        for bad in ["mtu", "mtu=x", "ipv4=fd00::1/64", "ipv4=10.0.0.1", "ipv4=10.0.0.1/33", "name=value"] {
            let error = WorldOptions::parse(bad).expect_err("it makes no sense");
            assert!(error.to_string().contains(bad));
        }
    }
}

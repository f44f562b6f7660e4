//! Devices of a native network, and their VLANs, as they are named on the command line.

use std::fmt;
use std::str::FromStr;

use sunstar_device::{MAX_VLAN, TapError, TapOptions};

use crate::error::Error;

/// A device, or a VLAN of it: an interface of the network.
#[derive(Clone, Debug)]
pub(super) struct DeviceOptions {
    pub(super) tap: TapOptions,
    /// None for what has no tag.
    pub(super) vlan: Option<u16>,
}

impl FromStr for DeviceOptions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let options = match text.split_once(':') {
            Some(("tap", options)) => options,
            Some((kind, _)) => return Err(format!("there are no devices of the kind {kind:?}; there is tap:NAME")),
            None => return Err("a device is a kind and a name, as in tap:NAME".to_owned()),
        };
        let (vlans, others): (Vec<&str>, Vec<&str>) = options.split(',').partition(|part| part.starts_with("vlan="));
        let vlan = match vlans[..] {
            [] => None,
            [one] => Some(vlan(one)?),
            _ => return Err("a --device has one VLAN; others of the device have a --device of their own".to_owned()),
        };
        let tap = others.join(",").parse().map_err(|error: TapError| error.to_string())?;
        Ok(Self { tap, vlan })
    }
}

fn vlan(option: &str) -> Result<u16, String> {
    let id = option.strip_prefix("vlan=").and_then(|id| id.parse().ok()).filter(|id| (1..=MAX_VLAN).contains(id));
    id.ok_or_else(|| format!("{option:?}: a VLAN has a number from 1 to {MAX_VLAN}"))
}

impl DeviceOptions {
    /// What the interface is called: as the device, or as Linux calls its VLANs.
    pub(super) fn name(&self) -> String {
        match self.vlan {
            None => self.tap.name.clone(),
            Some(vlan) => format!("{}.{vlan}", self.tap.name),
        }
    }

    /// Whether both can be there, this one after the other one.
    pub(super) fn check_beside(&self, before: &Self) -> Result<(), Error> {
        if self.tap.name != before.tap.name {
            return Ok(());
        }
        if self.vlan == before.vlan {
            return Err(Error::usage(format_args!("--device {self} stands there twice")));
        }
        if self.tap != before.tap && self.tap != TapOptions::new(&self.tap.name) {
            let what = "what it is like is to be said where it is named first";
            return Err(Error::usage(format_args!("--device {self}: {what}")));
        }
        Ok(())
    }
}

impl fmt::Display for DeviceOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tap:{}", self.tap.name)?;
        self.vlan.map_or(Ok(()), |vlan| write!(f, ",vlan={vlan}"))
    }
}

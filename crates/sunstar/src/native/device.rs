//! Devices of a native network, and their VLANs, as they are named on the command line.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use sunstar_device::{
    BackError, BackOptions, Device, FrontError, FrontOptions, MAX_VLAN, SharedMemory, Tap, TapError, TapOptions,
    VhostUserBack, VhostUserFront, Xdp, XdpAddresses, XdpError, XdpMac, XdpOptions, XdpPorts,
};

use crate::error::Error;

/// A device, or a VLAN of it: an interface of the network.
#[derive(Clone, Debug)]
pub(super) struct DeviceOptions {
    pub(super) kind: Kind,
    /// None for what has no tag.
    pub(super) vlan: Option<u16>,
}

/// A device of some kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Tap(TapOptions),
    VhostUser(FrontOptions),
    VhostUserBack(BackOptions),
    Xdp(XdpOptions),
}

impl Kind {
    /// What tells it from others.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Tap(options) => options.name.clone(),
            Self::VhostUser(FrontOptions { path, .. }) | Self::VhostUserBack(BackOptions { path, .. }) => {
                path.display().to_string()
            }
            Self::Xdp(options) => options.name.clone(),
        }
    }

    /// What stands before the name.
    const fn prefix(&self) -> &'static str {
        match self {
            Self::Tap(_) => "tap",
            Self::VhostUser(_) | Self::VhostUserBack(_) => "vhost-user",
            Self::Xdp(_) => "xdp",
        }
    }

    /// The device of that name of which nothing else was said.
    fn plain(&self) -> Self {
        match self {
            Self::Tap(options) => Self::Tap(TapOptions::new(&options.name)),
            Self::VhostUser(options) => Self::VhostUser(FrontOptions::new(&options.path)),
            Self::VhostUserBack(options) => Self::VhostUserBack(BackOptions::new(&options.path)),
            Self::Xdp(options) => Self::Xdp(XdpOptions::new(&options.name)),
        }
    }

    /// How many queues have to take their frames from shared memory.
    pub(super) const fn shared_queues(&self) -> usize {
        match self {
            // The back end's packets lie in the front end's memory, from which they are copied.
            Self::Tap(_) | Self::Xdp(_) | Self::VhostUserBack(_) => 0,
            Self::VhostUser(options) => options.queues,
        }
    }

    /// Whether the kernel has the same hardware address.
    pub(super) const fn shares_mac(&self) -> bool {
        matches!(self, Self::Xdp(XdpOptions { mac: XdpMac::Shared(_), .. }))
    }

    /// The ports for which the device brings the stack anything, if not for all.
    pub(super) const fn ports(&self) -> Option<&XdpPorts> {
        match self {
            Self::Xdp(XdpOptions { mac: XdpMac::Shared(ports), .. }) if !ports.is_empty() => Some(ports),
            _ => None,
        }
    }

    /// Opens it, with those addresses to begin with; answers also where the device is to be told of others, if it wants to know. `memory` is there
    /// if any device has queues that need it.
    ///
    /// # Errors
    /// If it can't be had.
    pub(super) fn open(
        &self,
        memory: Option<&Arc<SharedMemory>>,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Result<(Box<dyn Device>, Option<XdpAddresses>), Error> {
        let failed = |error: &dyn fmt::Display| Error::usage(format_args!("cannot open --device {self}: {error}"));
        let device: Box<dyn Device> = match (self, memory) {
            (Self::Tap(options), _) => Box::new(Tap::open(options).map_err(|error| failed(&error))?),
            (Self::VhostUserBack(options), _) => {
                Box::new(VhostUserBack::open(options).map_err(|error| failed(&error))?)
            }
            (Self::Xdp(options), _) => {
                let device = Xdp::open(options).map_err(|error| failed(&error))?;
                let known = device.addresses();
                if let Some(known) = &known {
                    let added = addresses.into_iter().try_for_each(|address| known.add(address));
                    added.map_err(|error| failed(&error))?;
                }
                return Ok((Box::new(device), known));
            }
            (Self::VhostUser(options), Some(memory)) => {
                let front = VhostUserFront::open(options, Arc::clone(memory));
                Box::new(front.map_err(|error| failed(&error))?)
            }
            (Self::VhostUser(_), None) => return Err(failed(&"there is no shared memory")),
        };
        Ok((device, None))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.prefix(), self.name())
    }
}

impl FromStr for DeviceOptions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, options) =
            text.split_once(':').ok_or_else(|| "a device is a kind and a name, as in tap:NAME".to_owned())?;
        let (vlans, others): (Vec<&str>, Vec<&str>) = options.split(',').partition(|part| part.starts_with("vlan="));
        let others = others.join(",");
        let kind = match kind {
            "tap" => Kind::Tap(others.parse().map_err(|error: TapError| error.to_string())?),
            "vhost-user" if others.split(',').skip(1).any(|part| part == "back") => {
                Kind::VhostUserBack(others.parse().map_err(|error: BackError| error.to_string())?)
            }
            "vhost-user" => Kind::VhostUser(others.parse().map_err(|error: FrontError| error.to_string())?),
            "xdp" if !vlans.is_empty() => {
                let why = "tags are taken out of frames before the stack sees them, by the interface or by the kernel";
                return Err(format!("AF_XDP has no VLANs: {why}"));
            }
            "xdp" => Kind::Xdp(others.parse().map_err(|error: XdpError| error.to_string())?),
            _ => {
                let what = "there are tap:NAME, vhost-user:PATH and xdp:IFNAME";
                return Err(format!("there are no devices of the kind {kind:?}; {what}"));
            }
        };
        let vlan = match vlans[..] {
            [] => None,
            [one] => Some(vlan(one)?),
            _ => return Err("a --device has one VLAN; others of the device have a --device of their own".to_owned()),
        };
        Ok(Self { kind, vlan })
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
            None => self.kind.name(),
            Some(vlan) => format!("{}.{vlan}", self.kind.name()),
        }
    }

    /// The same with the kind before it.
    pub(super) fn full_name(&self) -> String {
        format!("{}:{}", self.kind.prefix(), self.name())
    }

    /// Whether both can be there, this one after the other one.
    pub(super) fn check_beside(&self, before: &Self) -> Result<(), Error> {
        if self.kind.name() != before.kind.name() {
            return Ok(());
        }
        if self.kind.prefix() != before.kind.prefix() {
            let what = "another one has that name, and an interface is known by it";
            return Err(Error::usage(format_args!("--device {self}: {what}")));
        }
        if self.vlan == before.vlan {
            return Err(Error::usage(format_args!("--device {self} stands there twice")));
        }
        if self.kind != before.kind && self.kind != self.kind.plain() {
            let what = "what it is like is to be said where it is named first";
            return Err(Error::usage(format_args!("--device {self}: {what}")));
        }
        Ok(())
    }
}

impl fmt::Display for DeviceOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)?;
        self.vlan.map_or(Ok(()), |vlan| write!(f, ",vlan={vlan}"))
    }
}

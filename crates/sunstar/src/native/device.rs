//! Devices of a native network, and their VLANs, as they are named on the command line.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use sunstar_device::{
    BackError, BackOptions, Device, FrontError, FrontOptions, MAX_VLAN, SharedMemory, Tap, TapError, TapOptions,
    VhostUserBack, VhostUserFront,
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
}

impl Kind {
    /// What tells it from others.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Tap(options) => options.name.clone(),
            Self::VhostUser(FrontOptions { path, .. }) | Self::VhostUserBack(BackOptions { path, .. }) => {
                path.display().to_string()
            }
        }
    }

    /// What stands before the name.
    const fn prefix(&self) -> &'static str {
        match self {
            Self::Tap(_) => "tap",
            Self::VhostUser(_) | Self::VhostUserBack(_) => "vhost-user",
        }
    }

    /// The device of that name of which nothing else was said.
    fn plain(&self) -> Self {
        match self {
            Self::Tap(options) => Self::Tap(TapOptions::new(&options.name)),
            Self::VhostUser(options) => Self::VhostUser(FrontOptions::new(&options.path)),
            Self::VhostUserBack(options) => Self::VhostUserBack(BackOptions::new(&options.path)),
        }
    }

    /// How many queues have to take their frames from shared memory.
    pub(super) const fn shared_queues(&self) -> usize {
        match self {
            // The back end's packets lie in the front end's memory, from which they are copied.
            Self::Tap(_) | Self::VhostUserBack(_) => 0,
            Self::VhostUser(options) => options.queues,
        }
    }

    /// Opens it. `memory` is there if any device has such queues.
    ///
    /// # Errors
    /// If it can't be had.
    pub(super) fn open(&self, memory: Option<&Arc<SharedMemory>>) -> Result<Box<dyn Device>, Error> {
        let failed = |error: &dyn fmt::Display| Error::usage(format_args!("cannot open --device {self}: {error}"));
        match (self, memory) {
            (Self::Tap(options), _) => Ok(Box::new(Tap::open(options).map_err(|error| failed(&error))?)),
            (Self::VhostUserBack(options), _) => {
                Ok(Box::new(VhostUserBack::open(options).map_err(|error| failed(&error))?))
            }
            (Self::VhostUser(options), Some(memory)) => {
                let front = VhostUserFront::open(options, Arc::clone(memory)).map_err(|error| failed(&error))?;
                Ok(Box::new(front))
            }
            (Self::VhostUser(_), None) => Err(failed(&"there is no shared memory")),
        }
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
            _ => {
                let what = "there are tap:NAME and vhost-user:PATH";
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

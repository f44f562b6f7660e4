//! Which scripts there are, and in which variants each runs: as packetdrill's own runner does it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;

/// Over which version of IP a script runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Variant {
    Ipv4,
    /// IPv4, by sockets of IPv6.
    Mapped,
    Ipv6,
}

impl Variant {
    fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Mapped => "ipv4-mapped-ipv6",
            Self::Ipv6 => "ipv6",
        }
    }

    /// Whether a script is meant for it: its name may end in the only version that it is for.
    fn suits(self, script: &str) -> bool {
        match self {
            Self::Ipv4 | Self::Mapped => !script.ends_with("v6.pkt"),
            Self::Ipv6 => !script.ends_with("v4.pkt"),
        }
    }

    /// The tool's arguments.
    pub(super) fn arguments(self) -> Vec<String> {
        let (addresses, defines): (&[&str], &[&str]) = match self {
            Self::Ipv4 => (&V4, &["TFO_COOKIE=3021b9d889017eeb", "CODE=host_unreachable", IP_LEVEL, IP_RECVERR]),
            Self::Mapped => (&V4, &["TFO_COOKIE=3021b9d889017eeb", "CODE=host_unreachable", IPV6_LEVEL, IPV6_RECVERR]),
            Self::Ipv6 => (&V6, &["TFO_COOKIE=c1d1e9742a47a9bc", IPV6_LEVEL, IPV6_RECVERR]),
        };
        let mut arguments = vec![format!("--ip_version={}", self.name())];
        arguments.extend(addresses.iter().map(|address| (*address).to_owned()));
        arguments.extend(defines.iter().flat_map(|define| ["-D".to_owned(), (*define).to_owned()]));
        arguments
    }

    /// The plug-in's options for the same world.
    pub(super) fn plug_in_flags(self) -> &'static str {
        match self {
            Self::Ipv4 | Self::Mapped => "ipv4=192.168.0.1/16",
            Self::Ipv6 => "ipv6=fd3d:0a0b:17d6::1/64,mtu=1520",
        }
    }
}

const V4: [&str; 4] =
    ["--local_ip=192.168.0.1", "--gateway_ip=192.168.0.1", "--netmask_ip=255.255.0.0", "--remote_ip=192.0.2.1"];
const V6: [&str; 4] = [
    "--mtu=1520",
    "--local_ip=fd3d:0a0b:17d6::1",
    "--gateway_ip=fd3d:0a0b:17d6:8888::1",
    "--remote_ip=fd3d:fa7b:d17d::1",
];
const IP_LEVEL: &str = "CMSG_LEVEL_IP=SOL_IP";
const IP_RECVERR: &str = "CMSG_TYPE_RECVERR=IP_RECVERR";
const IPV6_LEVEL: &str = "CMSG_LEVEL_IP=SOL_IPV6";
const IPV6_RECVERR: &str = "CMSG_TYPE_RECVERR=IPV6_RECVERR";

/// A script in a variant.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) path: PathBuf,
    pub(super) variant: Variant,
    /// The path below the folder that was named, and the variant.
    pub(super) name: String,
}

impl Run {
    /// The folder that it counts for.
    pub(super) fn folder(&self) -> &str {
        self.name.rsplit_once('/').map_or(".", |(folder, _)| folder)
    }
}

/// All runs of the scripts in a folder, in order.
///
/// # Errors
/// If a folder can't be read.
pub(super) fn find(folder: &Path) -> Result<Vec<Run>> {
    let folder = folder.canonicalize().with_context(|| format!("{} is not there", folder.display()))?;
    let mut paths = Vec::new();
    collect(&folder, &mut paths)?;
    paths.sort();
    let runs = paths.into_iter().flat_map(|path| {
        let script = path.strip_prefix(&folder).unwrap_or(&path).display().to_string();
        let suiting = [Variant::Ipv4, Variant::Mapped, Variant::Ipv6].into_iter().filter({
            let script = script.clone();
            move |variant| variant.suits(&script)
        });
        suiting.map(move |variant| Run { path: path.clone(), variant, name: format!("{script} ({})", variant.name()) })
    });
    Ok(runs.collect())
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("{} can't be read", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, paths)?;
        } else if path.extension().is_some_and(|extension| extension == "pkt") {
            paths.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_runs_in_all_variants_unless_its_name_says_otherwise() {
        let suits = |script: &str| [Variant::Ipv4, Variant::Mapped, Variant::Ipv6].map(|variant| variant.suits(script));
        assert_eq!(suits("a/b.pkt"), [true, true, true]);
        assert_eq!(suits("a/b-v4.pkt"), [true, true, false]);
        assert_eq!(suits("a/b-v6.pkt"), [false, false, true]);
    }

    #[test]
    fn a_run_counts_for_the_folder_of_its_script() {
        let run = |name: &str| Run { path: PathBuf::new(), variant: Variant::Ipv4, name: name.to_owned() };
        assert_eq!(run("a/b/c.pkt (ipv4)").folder(), "a/b");
        assert_eq!(run("c.pkt (ipv4)").folder(), ".");
    }
}

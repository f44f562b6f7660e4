//! The system packages that checks need beyond the Rust toolchain, and how they come onto the machine.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result};

use crate::command::{exists, program, run};

/// A Debian package that some step needs.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: &'static str,
    /// The program, or the file, by whose presence the package is recognised.
    pub(crate) program: &'static str,
    pub(crate) why: &'static str,
    /// The steps that can't run without it.
    pub(crate) steps: &'static [&'static str],
}

/// Every package that is needed now.
const PACKAGES: &[Package] = &[
    Package {
        name: "apache2-utils",
        program: "ab",
        why: "has ab, which loads httpd with and without keep-alive",
        steps: &["tools"],
    },
    Package {
        name: "chromium",
        program: "chromium",
        why: "is the browser that loads a page of httpd",
        steps: &["tools"],
    },
    Package {
        name: "collectd-core",
        program: "/usr/sbin/collectd",
        why: "takes the metrics that httpd sends to it",
        steps: &["tools"],
    },
    Package { name: "curl", program: "curl", why: "asks httpd as scripts do", steps: &["tools"] },
    Package {
        name: "dnsmasq-base",
        program: "/usr/sbin/dnsmasq",
        why: "has dnsmasq, which configures the native stack by DHCP and answers questions for names",
        steps: &["tools"],
    },
    Package {
        name: "dpdk-dev",
        program: "dpdk-testpmd",
        why: "has dpdk-testpmd, which is the other side of vhost-user devices",
        steps: &["tools"],
    },
    Package {
        name: "ethtool",
        program: "/usr/sbin/ethtool",
        why: "has ethtool, which keeps the peers of AF_XDP from leaving checksums to their device",
        steps: &["tests"],
    },
    Package {
        name: "iproute2",
        program: "/usr/sbin/ip",
        why: "has ip, which configures the interfaces that tests of TAP devices make",
        steps: &["tests"],
    },
    Package {
        name: "iputils-ping",
        program: "ping",
        why: "has ping, which asks the native stack for echoes",
        steps: &["tools"],
    },
    Package {
        name: "isc-dhcp-server",
        program: "/usr/sbin/dhcpd",
        why: "configures the native stack by DHCP",
        steps: &["tools"],
    },
    Package {
        name: "kea-dhcp4-server",
        program: "/usr/sbin/kea-dhcp4",
        why: "configures the native stack by DHCP",
        steps: &["tools"],
    },
    Package {
        name: "liblwip-dev",
        program: "/usr/include/lwip/lwipopts.h",
        why: "has lwIP, the other side of connections",
        steps: &["lwip"],
    },
    Package {
        name: "kea-dhcp6-server",
        program: "/usr/sbin/kea-dhcp6",
        why: "configures the native stack by DHCPv6",
        steps: &["tools"],
    },
    Package {
        name: "nftables",
        program: "/usr/sbin/nft",
        why: "keeps packets from those who are tested against, and sends others twice",
        steps: &["tools"],
    },
    Package {
        name: "memcached",
        program: "memcached",
        why: "is a server that seawreck loads, and that ours is compared with",
        steps: &["tools"],
    },
    Package {
        name: "libmemcached-tools",
        program: "memccapable",
        why: "has memccapable and memcaslap, which ask memcached for all that it must know",
        steps: &["tools"],
    },
    Package {
        name: "nghttp2-client",
        program: "h2load",
        why: "has h2load, which loads httpd at a rate",
        steps: &["tools"],
    },
    Package { name: "nginx", program: "nginx", why: "is the server that the HTTP client asks", steps: &["tools"] },
    Package {
        name: "prometheus",
        program: "promtool",
        why: "has promtool, which checks the metrics that httpd shows",
        steps: &["tools"],
    },
    Package {
        name: "python3-pymemcache",
        program: "/usr/lib/python3/dist-packages/pymemcache/__init__.py",
        why: "is a client of memcached as programs use it",
        steps: &["tools"],
    },
    Package {
        name: "radvd",
        program: "/usr/sbin/radvd",
        why: "is the router that configures the native stack over IPv6",
        steps: &["tools"],
    },
    Package {
        name: "traceroute",
        program: "traceroute",
        why: "looks for the way to the native stack",
        steps: &["tools"],
    },
    Package { name: "tshark", program: "tshark", why: "reads captures of packets", steps: &["tools"] },
    Package {
        name: "php-cli",
        program: "php",
        why: "runs a client of memcached as websites use it",
        steps: &["tools"],
    },
    Package {
        name: "php-memcached",
        program: "/usr/share/doc/php-memcached/copyright",
        why: "is that client, which has libmemcached in it",
        steps: &["tools"],
    },
    Package { name: "wrk", program: "wrk", why: "loads httpd with keep-alive", steps: &["tools"] },
    Package {
        name: "binutils",
        program: "readelf",
        why: "reads the program that proves that the pure crates need no operating system",
        steps: &["link"],
    },
    Package {
        name: "valgrind",
        program: "valgrind",
        why: "counts the instructions that the callgrind gates bound",
        steps: &["gates"],
    },
];

/// The packages that `steps` need and this machine lacks.
pub(crate) fn missing(steps: &[&str]) -> Vec<&'static Package> {
    PACKAGES
        .iter()
        .filter(|package| package.steps.iter().any(|step| steps.contains(step)))
        .filter(|package| !exists(package.program))
        .collect()
}

/// Says what is missing and why, and installs it if `install`.
///
/// # Errors
/// If apt-get can't be started. That it failed shows when the steps run.
pub(crate) fn provide(steps: &[&str], install: bool) -> Result<()> {
    let missing = missing(steps);
    if missing.is_empty() {
        return Ok(());
    }
    for package in &missing {
        println!("missing: the package {}, which {}", package.name, package.why);
    }
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    let root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if !install || !root || !exists("apt-get") {
        println!("to install what is missing: apt-get install {} (as root)", names.join(" "));
        return Ok(());
    }
    run(program("apt-get", &["update", "-q"]).env("DEBIAN_FRONTEND", "noninteractive"))?;
    let mut arguments = vec!["install", "-q", "-y", "--no-install-recommends"];
    arguments.extend(names);
    let _quiet = NoServices::new()?;
    run(program("apt-get", &arguments).env("DEBIAN_FRONTEND", "noninteractive"))?;
    Ok(())
}

/// Keeps packages from starting services while it lives: only their programs are wanted. See invoke-rc.d(8).
struct NoServices {
    is_ours: bool,
}

const POLICY: &str = "/usr/sbin/policy-rc.d";

impl NoServices {
    fn new() -> Result<Self> {
        let is_ours = !Path::new(POLICY).exists();
        if is_ours {
            fs::write(POLICY, "#!/bin/sh\nexit 101\n").with_context(|| format!("writing {POLICY}"))?;
            fs::set_permissions(POLICY, Permissions::from_mode(0o755))?;
        }
        Ok(Self { is_ours })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.is_ours {
            // It is root's, who has made it.
            let _ = fs::remove_file(POLICY);
        }
    }
}

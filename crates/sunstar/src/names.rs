//! How an application knows names of hosts: what is asked for on the command line, by files of the system, or by those who configure the
//! native network.

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use sunstar_executor::{ShardId, current, submit_to};
use sunstar_metrics::{Figure, Registry};
use sunstar_native::Network;
use sunstar_net::names::{Hosts, NAME_SERVER_PORT, ResolvConf, ResolverCounters, Servers};
use sunstar_net::{Resolver, ResolverOptions};

use crate::error::Error;

const HOSTS: &str = "/etc/hosts";
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// So much of such a file is read.
const MAX_FILE_BYTES: u64 = 1 << 20;

const FIGURES: &[Figure<ResolverCounters>] = &[
    Figure::counter("sunstar_names_questions_total", "Questions for names that were sent to servers.", |of| {
        of.questions
    }),
    Figure::counter("sunstar_names_by_tcp_total", "Those that were sent again by TCP.", |of| of.by_tcp),
    Figure::counter("sunstar_names_remembered_total", "Answers that were remembered.", |of| of.remembered),
    Figure::counter("sunstar_names_from_memory_total", "Questions that were answered from memory.", |of| {
        of.from_memory
    }),
    Figure::counter("sunstar_names_joined_total", "Questions that waited for an equal one.", |of| of.joined),
    Figure::counter("sunstar_names_strays_total", "Datagrams that were no answer to what was asked.", |of| of.strays),
    Figure::counter(
        "sunstar_names_server_failures_total",
        "How often a server did not answer in time, or could not.",
        |of| of.failures,
    ),
    Figure::counter("sunstar_names_refused_total", "Questions that were too many to be asked.", |of| of.refused),
];

/// Where names come from.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// Servers that were named on the command line; they are asked in the place of all others.
    pub(crate) servers: Vec<IpAddr>,
    /// Whether the native network says whom to ask, if nobody was named.
    pub(crate) is_native: bool,
}

impl Names {
    /// Installs a resolver on each shard.
    ///
    /// # Errors
    /// If a shard has one already.
    pub(crate) async fn install(self) -> Result<(), Error> {
        let conf = if self.is_native { ResolvConf::default() } else { ResolvConf::parse(&text_of(RESOLV_CONF)) };
        for server in &conf.skipped {
            log::warn!("{RESOLV_CONF}: the name server {server:?} is no address that can be asked");
        }
        let hosts = Hosts::parse(&text_of(HOSTS));
        for shard in ShardId::all(current::shard_count()) {
            let (names, conf, hosts) = (self.clone(), conf.clone(), hosts.clone());
            submit_to(shard, move || async move { names.install_here(&conf, hosts) }).await??;
        }
        Ok(())
    }

    fn install_here(&self, conf: &ResolvConf, hosts: Hosts) -> Result<(), Error> {
        let (servers, is_native) = (self.servers_of(conf), self.is_native);
        let whom = move || {
            let mut servers = servers.clone();
            if let Some(network) = is_native.then(Network::current).flatten() {
                network.with_stack(|stack| {
                    if servers.servers.is_empty() {
                        servers.servers = stack.name_servers_at(NAME_SERVER_PORT);
                    }
                    servers.search = stack.search_domains();
                });
            }
            servers
        };
        let usual = ResolverOptions::new(whom);
        let timeout = conf.timeout_s.map_or(usual.timeout, |seconds| Duration::from_secs(seconds.into()));
        let attempts = conf.attempts.unwrap_or(usual.attempts);
        let options = ResolverOptions {
            hosts: Rc::new(hosts),
            dots: conf.dots.unwrap_or(usual.dots),
            timeout,
            // A server has all its attempts, if somebody asks for so much patience.
            deadline: usual.deadline.max(timeout.saturating_mul(attempts)),
            attempts,
            ..usual
        };
        let resolver = Resolver::new(options);
        let counted = resolver.clone();
        let observe = move |readings: &mut sunstar_metrics::Readings<'_>| {
            readings.show_figures(FIGURES, &[], &counted.counters());
        };
        Registry::here().observe(&Figure::families(FIGURES), &[], observe)?.keep();
        resolver.install();
        Ok(())
    }

    fn servers_of(&self, conf: &ResolvConf) -> Servers {
        let named: Vec<SocketAddr> = self.servers.iter().copied().map(at_port).collect();
        Servers { servers: if named.is_empty() { conf.servers.clone() } else { named }, search: conf.search.clone() }
    }
}

fn at_port(ip: IpAddr) -> SocketAddr {
    SocketAddr::new(ip, NAME_SERVER_PORT)
}

/// The text of a file; none if there is no such file, or it can't be read: then less is known.
fn text_of(path: &str) -> String {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut bytes));
    if let Err(error) = read {
        log::debug!("{path}: {error}");
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

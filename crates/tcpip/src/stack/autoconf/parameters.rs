//! What routers say of a link beside addresses and ways: how stations speak there, and where names are looked for.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use sunstar_wire::RouterAdvertisement;

use super::{Timed, end_of};
use crate::configuration::{Change, LinkParameters, MAX_NAME_SERVERS, Origin};
use crate::dhcpv4::names::domain_names;
use crate::interface::InterfaceId;
use crate::stack::Stack;
use crate::time::Instant;

/// Who makes up a small hop limit keeps our packets from getting anywhere, so none below this is believed (as others do since
/// CVE-2015-2922; no path of the Internet is as long as that).
const LEAST_HOP_LIMIT: u8 = 32;

/// RFC 4861 §6.2.1: no more than an hour. Less than a second would have all neighbours asked for all the time.
const LEAST_REACHABLE: Duration = Duration::from_secs(1);
const MOST_REACHABLE: Duration = Duration::from_secs(3_600);

/// Less would be a flood, as in Linux; more, a network that is silent.
const LEAST_RETRANSMIT: Duration = Duration::from_millis(100);
const MOST_RETRANSMIT: Duration = Duration::from_secs(10);

impl Stack {
    /// RFC 4861 §6.3.4: what is zero says nothing.
    pub(super) fn on_parameters(&mut self, now: Instant, interface: InterfaceId, router: &RouterAdvertisement) {
        let known = self.neighbours.parameters(interface);
        let millis = |ms: u32, least, most| Duration::from_millis(ms.into()).clamp(least, most);
        let parameters = LinkParameters {
            hop_limit: match router.hop_limit {
                0 => known.hop_limit,
                limit => limit.max(LEAST_HOP_LIMIT),
            },
            reachable: match router.reachable_ms {
                0 => known.reachable,
                ms => millis(ms, LEAST_REACHABLE, MOST_REACHABLE),
            },
            retransmit: match router.retransmit_ms {
                0 => known.retransmit,
                ms => millis(ms, LEAST_RETRANSMIT, MOST_RETRANSMIT),
            },
        };
        if parameters != known {
            let _ = self.configure(now, Change::SetLink { interface, parameters });
        }
    }

    /// RFC 8106 §5.2, §5.3.1.
    pub(super) fn on_domains(&mut self, now: Instant, id: InterfaceId, seconds: u32, names: &[u8]) {
        let Some(link) = self.autoconf.link_mut(id) else { return };
        let until = end_of(now, seconds);
        let mut has_changed = false;
        for name in domain_names(names, MAX_NAME_SERVERS) {
            match link.domains.iter().position(|other| other.what == name) {
                Some(at) if seconds == 0 => {
                    link.domains.remove(at);
                    has_changed = true;
                }
                Some(at) => link.domains[at].until = until,
                None if seconds > 0 && link.domains.len() < MAX_NAME_SERVERS => {
                    link.domains.push(Timed { what: name, until });
                    has_changed = true;
                }
                None => {}
            }
        }
        if has_changed {
            self.tell_domains(now, id);
        }
    }

    pub(super) fn tell_domains(&mut self, now: Instant, interface: InterfaceId) {
        let Some(link) = self.autoconf.link_mut(interface) else { return };
        let domains: Vec<Box<str>> = link.domains.iter().map(|domain| domain.what.clone()).collect();
        let origin = Origin::RouterAdvertisement;
        let _ = self.configure(now, Change::SetSearchDomains { interface, origin, domains });
    }
}

//! What every shard tells of its listeners.

use alloc::rc::Rc;

use sunstar_net::accept_stats;

use crate::error::RegisterError;
use crate::family::Family;
use crate::registry::{Registration, Registry};

const ACCEPTED: Family =
    Family::counter("sunstar_net_accepted_total", "Streams that the listeners of the shard have accepted.");
const HANDED_OVER: Family =
    Family::counter("sunstar_net_handed_over_total", "Connections that another shard has handed over to this one.");
const LIVE: Family = Family::gauge("sunstar_net_accepted_live", "Streams that were accepted and are there.");
const REFUSED: Family =
    Family::counter("sunstar_net_refused_total", "Connections that were closed since no stream could be made of them.");
const FAILURES: Family =
    Family::counter("sunstar_net_accept_failures_total", "Errors of the network while the shard accepted from it.");

/// Registers the figures of the listeners.
pub(crate) fn register(registry: &Rc<Registry>) -> Result<Registration, RegisterError> {
    registry.observe(&[ACCEPTED, HANDED_OVER, LIVE, REFUSED, FAILURES], &[], |readings| {
        let stats = accept_stats();
        readings.show(&ACCEPTED, &[], stats.accepted);
        readings.show(&HANDED_OVER, &[], stats.handed_over_from);
        readings.show(&LIVE, &[], stats.live);
        readings.show(&REFUSED, &[], stats.refused);
        readings.show(&FAILURES, &[], stats.failures);
    })
}

//! What every shard tells of its listeners.

use alloc::rc::Rc;

use sunstar_net::{AcceptStats, accept_stats};

use crate::error::RegisterError;
use crate::figure::Figure;
use crate::registry::{Registration, Registry};

const FIGURES: &[Figure<AcceptStats>] = &[
    Figure::counter("sunstar_net_accepted_total", "Streams that the listeners of the shard have accepted.", |stats| {
        stats.accepted
    }),
    Figure::counter(
        "sunstar_net_handed_over_total",
        "Connections that another shard has handed over to this one.",
        |stats| stats.handed_over_from,
    ),
    Figure::gauge("sunstar_net_accepted_live", "Streams that were accepted and are there.", |stats| stats.live),
    Figure::counter(
        "sunstar_net_refused_total",
        "Connections that were closed since no stream could be made of them.",
        |stats| stats.refused,
    ),
    Figure::counter(
        "sunstar_net_accept_failures_total",
        "Errors of the network while the shard accepted from it.",
        |stats| stats.failures,
    ),
];

/// Registers the figures of the listeners.
pub(crate) fn register(registry: &Rc<Registry>) -> Result<Registration, RegisterError> {
    registry.observe(&Figure::families(FIGURES), &[], |readings| readings.show_figures(FIGURES, &[], &accept_stats()))
}

//! What a shard's server shows to Prometheus.

use std::rc::Rc;
use std::slice;

use sunstar::metrics::{Family, Figure, RegisterError, Registry};

use crate::figures::{ROWS, Snapshot};
use crate::server::Server;

/// Shows a shard's figures for as long as its server is there.
///
/// # Errors
/// If somebody shows such already.
pub(crate) fn publish(server: &Rc<Server>) -> Result<(), RegisterError> {
    let mut families: Vec<Family> = Vec::new();
    for family in ROWS.iter().flat_map(|row| Figure::families(slice::from_ref(&row.shown))) {
        if !families.contains(&family) {
            families.push(family);
        }
    }
    let shown = Rc::downgrade(server);
    let registration = Registry::here().observe(&families, &[], move |readings| {
        let Some(server) = shown.upgrade() else { return };
        let snapshot = Snapshot::of(&server);
        ROWS.iter().for_each(|row| readings.show_figures(slice::from_ref(&row.shown), &[], &snapshot));
    })?;
    let _ = server.published.set(registration);
    Ok(())
}

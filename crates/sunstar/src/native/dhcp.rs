//! Addresses of a native network that others give: the start waits for them.

use std::time::Duration;

use sunstar_executor::combine::with_timeout;
use sunstar_executor::local;
use sunstar_native::{InterfaceId, Network};
use sunstar_tcpip::dhcpv4::{Options, State};

use super::Plan;
use super::opened::Interfaces;
use crate::error::Error;

/// How long the start waits: a server is asked four times meanwhile.
const PATIENCE: Duration = Duration::from_secs(30);

impl Plan {
    /// Configures the networks of all shards from the current one, as far as others say how. Waits for addresses, for a limited time.
    ///
    /// # Errors
    /// If nobody gives one.
    pub(super) async fn configure(&self) -> Result<(), Error> {
        let (Some(network), Some(interfaces)) = (Network::current(), local::get::<Interfaces>()) else { return Ok(()) };
        network.share_configuration();
        if self.ignores_dhcp {
            log::warn!("--dhcp 1 is not followed, since --host-ipv4-addr is given");
        }
        let all = self.interfaces.iter().zip(&interfaces.0);
        let asked: Vec<(&str, InterfaceId)> = all
            .filter(|(interface, _)| interface.asks_dhcp)
            .map(|(interface, id)| (&*interface.device.name, *id))
            .collect();
        self.ipv6.begin(&network, &interfaces.0)?;
        if asked.is_empty() {
            return self.ipv6.wait(&network, &interfaces.0).await;
        }
        let names = asked.iter().map(|(name, _)| format!("tap:{name}")).collect::<Vec<_>>().join(" and ");
        log::info!("waiting for an address by DHCP on {names}, for at most {} s", PATIENCE.as_secs());
        for (_, id) in &asked {
            network.start_dhcp(*id, Options::default())?;
        }
        let bound = network.configured(|stack| asked.iter().all(|(_, id)| stack.dhcpv4_lease(*id).is_some()));
        if with_timeout(PATIENCE, bound).await.is_ok() {
            return self.ipv6.wait(&network, &interfaces.0).await;
        }
        let lacking = asked.iter().filter(|(_, id)| network.with_stack(|stack| stack.dhcpv4_lease(*id).is_none()));
        let reasons: Vec<String> = lacking.map(|(name, id)| why(&network, name, *id)).collect();
        if reasons.len() == asked.len() {
            return Err(Error::failure(format!("{}; --host-ipv4-addr needs none", reasons.join(", and "))));
        }
        reasons.iter().for_each(|reason| log::warn!("{reason}; it is still waited for"));
        self.ipv6.wait(&network, &interfaces.0).await
    }
}

/// Why a device has no address.
fn why(network: &Network, name: &str, id: InterfaceId) -> String {
    let what = match network.with_stack(|stack| stack.dhcpv4_state(id)) {
        State::Init | State::Selecting => "no DHCP server has offered an address",
        _ => "a DHCP server has offered an address and not given it",
    };
    format!("{what} on tap:{name} in {} s", PATIENCE.as_secs())
}

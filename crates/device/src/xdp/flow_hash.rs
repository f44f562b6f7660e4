//! The hash by which an interface chooses the queue of a packet, as far as its driver tells (ethtool(8), `-x` and `-n`).

use std::io;

use sunstar_wire::toeplitz::KEY_BYTES;

use crate::flow_hash::{FlowHash, Indirection, IndirectionTable};
use crate::netdevice::{Control, FLOW_HASH_WORDS};

#[cfg(test)]
mod tests;

/// `ETH_RSS_HASH_TOP`: the function is Toeplitz's.
const TOEPLITZ: u8 = 1;

/// What is done with addresses and ports before (`RXH_XFRM_*`): nothing, or the driver knows nothing of that.
const AS_THEY_ARE: [u8; 2] = [0, 0xff];

/// `RXH_IP_SRC | RXH_IP_DST | RXH_L4_B_0_1 | RXH_L4_B_2_3`: addresses and ports go into the hash, and nothing else.
const ADDRESSES_AND_PORTS: u64 = 0xf0;

/// Kinds of flows (`TCP_V4_FLOW` and so on), and what ethtool(8) calls them.
const KINDS: [(u32, &str); 4] = [(1, "tcp4"), (5, "tcp6"), (2, "udp4"), (6, "udp6")];

/// What a driver answers.
struct Answers {
    /// Of `ETHTOOL_GRSSH`.
    hash: Vec<u32>,
    /// Of `ETHTOOL_GRXFH` for each of [`KINDS`]; `None` if the driver does not tell.
    fields: [Option<u64>; KINDS.len()],
}

/// Why a hash is of no use.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("its driver tells nothing of its hash: {0}")]
    Untold(#[from] io::Error),
    #[error("its hash is not Toeplitz's (`ethtool -X {0} hfunc toeplitz`)")]
    Function(String),
    #[error("its hash is not of addresses and ports as they are (`ethtool -X {0} xfrm none`)")]
    Transformed(String),
    #[error("its driver tells {bytes} bytes of the hash's key, which are less than {KEY_BYTES}")]
    Key { bytes: usize },
    #[error("its driver tells a table of {entries} queues, by which places are not the lowest bits of hashes")]
    Table { entries: usize },
    #[error("its table leads to queue {queue}, too, which is not taken (`ethtool -X {name} equal {queues}`)")]
    NotTaken { name: String, queue: u32, queues: usize },
    #[error("its hash is not of addresses and ports for TCP (`ethtool -N {0} rx-flow-hash tcp4 sdfn`)")]
    Fields(String),
}

/// The hash by which an interface with several queues, the first ones of which are taken, chooses one; logs if it is not known, or not for all flows.
pub(super) fn read(control: &Control, name: &str, queues: usize) -> Option<FlowHash> {
    let known = ask(control, name).map_err(Unusable::from).and_then(|answers| known(name, &answers, queues));
    match known {
        Ok((hash, others)) => {
            if !others.is_empty() {
                let settings = others.iter().map(|kind| format!("`ethtool -N {name} rx-flow-hash {kind} sdfn`"));
                let settings = settings.collect::<Vec<_>>().join(", ");
                log::info!(
                    "xdp:{name}: what comes to another shard than its flow's is forwarded for flows that are not hashed by addresses \
                     and ports: {settings}"
                );
            }
            Some(hash)
        }
        Err(error) => {
            log::info!("xdp:{name}: what comes to another shard than its flow's is forwarded: {error}");
            None
        }
    }
}

fn ask(control: &Control, name: &str) -> io::Result<Answers> {
    let hash = control.flow_hash(name)?;
    Ok(Answers { hash, fields: KINDS.map(|(kind, _)| control.flow_fields(name, kind).ok()) })
}

/// What is known by a driver's answers if so many queues are taken, and the kinds of flows that it is not true of.
fn known(name: &str, answers: &Answers, queues: usize) -> Result<(FlowHash, Vec<&'static str>), Unusable> {
    let (header, rest) = answers.hash.split_at_checked(FLOW_HASH_WORDS).unwrap_or_default();
    let &[_, _, entries, key_bytes, kind, _] = header else { return Err(Unusable::Table { entries: 0 }) };
    // Bytes in a row, of which the others are reserved.
    let [function, transformation, _, _] = kind.to_ne_bytes();
    if function != TOEPLITZ {
        return Err(Unusable::Function(name.to_owned()));
    }
    if !AS_THEY_ARE.contains(&transformation) {
        return Err(Unusable::Transformed(name.to_owned()));
    }
    let (table, key) = rest.split_at_checked(entries as usize).unwrap_or_default();
    let mut key: Vec<u8> = key.iter().copied().flat_map(u32::to_ne_bytes).collect();
    key.truncate(key_bytes as usize);
    // What is longer is for inputs that are.
    let key = *key.first_chunk().ok_or(Unusable::Key { bytes: key.len() })?;
    let is_taken = |queue: u32| u16::try_from(queue).ok().filter(|queue| usize::from(*queue) < queues);
    let not_taken = |queue| Unusable::NotTaken { name: name.to_owned(), queue, queues };
    let taken: Result<Vec<u16>, _> =
        table.iter().map(|queue| is_taken(*queue).ok_or_else(|| not_taken(*queue))).collect();
    let table = IndirectionTable::new(&taken?).ok_or(Unusable::Table { entries: table.len() })?;
    let others = KINDS.iter().zip(&answers.fields).filter(|(_, fields)| **fields != Some(ADDRESSES_AND_PORTS));
    let others: Vec<&str> = others.map(|((_, kind), _)| *kind).collect();
    if others.starts_with(&["tcp4", "tcp6"]) {
        return Err(Unusable::Fields(name.to_owned()));
    }
    Ok((FlowHash { key, indirection: Indirection::Table(table) }, others))
}

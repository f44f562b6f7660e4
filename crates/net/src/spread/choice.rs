//! Which shard gets a connection.

use alloc::sync::Arc;
use alloc::vec::Vec;

use sunstar_executor::ShardId;

use super::tally::Report;
use crate::listener::Spread;

/// How far a member is with leaving.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    Listening,
    /// It asked for a goodbye.
    Leaving,
    /// It was sent the goodbye; what waits there is on its way back.
    Left,
}

/// A member, as the owner sees it.
pub(super) struct Row {
    pub(super) shard: ShardId,
    pub(super) phase: Phase,
    report: Arc<Report>,
    /// Connections that it was given.
    assigned: usize,
    /// When it was given the last one, counted in connections.
    turn: u64,
}

impl Row {
    fn live(&self) -> usize {
        self.assigned.wrapping_sub(self.report.ended())
    }

    fn waiting(&self) -> usize {
        self.assigned.wrapping_sub(self.report.taken())
    }
}

/// The members of a group, in the order of their shards.
pub(super) struct Rows {
    spread: Spread,
    accept_queue: usize,
    rows: Vec<Row>,
    turn: u64,
}

/// Who gets a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Choice {
    pub(super) shard: ShardId,
    /// The one that would have had it has as many waiting as may be.
    pub(super) is_rerouted: bool,
}

impl Rows {
    pub(super) fn new(spread: Spread, accept_queue: usize) -> Self {
        Self { spread, accept_queue: accept_queue.max(1), rows: Vec::new(), turn: 0 }
    }

    /// Adds a member; answers false if the shard is one already.
    pub(super) fn add(&mut self, shard: ShardId, report: Arc<Report>) -> bool {
        let Err(at) = self.rows.binary_search_by_key(&shard, |row| row.shard) else { return false };
        self.rows.insert(at, Row { shard, phase: Phase::Listening, report, assigned: 0, turn: 0 });
        true
    }

    pub(super) fn remove(&mut self, shard: ShardId) {
        self.rows.retain(|row| row.shard != shard);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The first member in a phase.
    pub(super) fn first_mut(&mut self, phase: Phase) -> Option<&mut Row> {
        self.rows.iter_mut().find(|row| row.phase == phase)
    }

    pub(super) fn of_mut(&mut self, shard: ShardId) -> Option<&mut Row> {
        self.rows.iter_mut().find(|row| row.shard == shard)
    }

    /// The shards that are given connections.
    pub(super) fn listening(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.phase == Phase::Listening)
    }

    /// Below which number of waiting connections a member that was full has room again.
    pub(super) fn room_below(&self) -> usize {
        self.accept_queue.div_ceil(2)
    }

    /// Chooses who gets a connection from a client's port, and counts it; nobody if no member has room.
    pub(super) fn assign(&mut self, port: Option<u16>) -> Option<Choice> {
        let port = port.filter(|_| self.spread == Spread::ClientPort);
        let (row, is_rerouted) = match port {
            Some(port) => self.by_port(port),
            None => self.by_load(),
        }?;
        self.turn += 1;
        let row = &mut self.rows[row];
        row.assigned = row.assigned.wrapping_add(1);
        row.turn = self.turn;
        Some(Choice { shard: row.shard, is_rerouted })
    }

    /// The member with the fewest live connections that has room.
    fn by_load(&self) -> Option<(usize, bool)> {
        let mut fewest: Option<((usize, u64), usize)> = None;
        let mut fewest_full: Option<(usize, u64)> = None;
        for (at, row) in self.rows.iter().enumerate().filter(|(_, row)| row.phase == Phase::Listening) {
            let load = (row.live(), row.turn);
            if row.waiting() >= self.accept_queue {
                fewest_full = Some(fewest_full.map_or(load, |full| full.min(load)));
            } else if fewest.is_none_or(|(other, _)| load < other) {
                fewest = Some((load, at));
            }
        }
        let (load, at) = fewest?;
        Some((at, fewest_full.is_some_and(|full| full < load)))
    }

    /// The member of a port, or the next one that has room.
    fn by_port(&self, port: u16) -> Option<(usize, bool)> {
        let listening = self.listening().count();
        let home = usize::from(port).checked_rem(listening)?;
        let members = || self.rows.iter().enumerate().filter(|(_, row)| row.phase == Phase::Listening);
        let mut in_order = members().cycle().skip(home).take(listening).enumerate();
        let (steps, (at, _)) = in_order.find(|(_, (_, row))| row.waiting() < self.accept_queue)?;
        Some((at, steps > 0))
    }
}

#[cfg(test)]
mod tests {
    use alloc::rc::Rc;

    use super::*;
    use crate::spread::tally::Tally;

    fn rows(spread: Spread, accept_queue: usize, shards: u16) -> (Rows, Vec<Rc<Tally>>) {
        let mut rows = Rows::new(spread, accept_queue);
        let tallies: Vec<Rc<Tally>> = (0..shards).map(|_| Rc::default()).collect();
        // In any order.
        for (shard, tally) in tallies.iter().enumerate().rev() {
            assert!(rows.add(ShardId::new(u16::try_from(shard).unwrap()), tally.report()));
        }
        (rows, tallies)
    }

    fn assign(rows: &mut Rows, port: Option<u16>) -> (usize, bool) {
        let choice = rows.assign(port).expect("a member has room");
        (choice.shard.index(), choice.is_rerouted)
    }

    #[test]
    fn a_shard_is_a_member_once() {
        let (mut rows, tallies) = rows(Spread::LeastConnections, 8, 2);
        assert!(!rows.add(ShardId::new(1), tallies[1].report()));
    }

    #[test]
    fn connections_go_where_the_fewest_live() {
        let (mut rows, tallies) = rows(Spread::LeastConnections, 100, 3);
        let first: Vec<_> = (0..6).map(|_| assign(&mut rows, None).0).collect();
        assert_eq!(first, [0, 1, 2, 0, 1, 2]);
        // One of the second shard ends.
        drop(tallies[1].take());
        assert_eq!(assign(&mut rows, None), (1, false));
        assert_eq!(assign(&mut rows, None), (0, false));
    }

    #[test]
    fn connections_that_end_at_once_go_around() {
        let (mut rows, tallies) = rows(Spread::LeastConnections, 100, 3);
        for expected in [0, 1, 2, 0, 1, 2, 0] {
            let (shard, _) = assign(&mut rows, None);
            assert_eq!(shard, expected);
            drop(tallies[shard].take());
        }
    }

    #[test]
    fn a_full_queue_sends_connections_elsewhere_until_all_are_full() {
        let (mut rows, tallies) = rows(Spread::LeastConnections, 2, 2);
        // The first shard takes none, the second all for a while.
        let mut lives = Vec::new();
        let mut choices = Vec::new();
        for _ in 0..6 {
            let (shard, is_rerouted) = assign(&mut rows, None);
            if shard == 1 {
                lives.push(tallies[1].take());
            }
            choices.push((shard, is_rerouted));
        }
        assert_eq!(choices, [(0, false), (1, false), (0, false), (1, false), (1, true), (1, true)]);
        assert!(rows.assign(None).is_some());
        assert!(rows.assign(None).is_some());
        assert_eq!(rows.assign(None), None, "both are full");
        drop(tallies[0].take());
        assert_eq!(assign(&mut rows, None), (0, false));
    }

    #[test]
    fn ports_choose_their_shard() {
        let (mut rows, tallies) = rows(Spread::ClientPort, 1, 3);
        assert_eq!(assign(&mut rows, Some(40_000)), (40_000 % 3, false));
        assert_eq!(assign(&mut rows, Some(40_000)), ((40_000 + 1) % 3, true));
        assert_eq!(assign(&mut rows, None), (0, false), "what has no port goes to the fewest");
        assert_eq!(rows.assign(Some(1)), None);
        drop(tallies[1].take());
        assert_eq!(assign(&mut rows, Some(4)), (1, false));
    }

    #[test]
    fn who_leaves_gets_no_more() {
        let (mut rows, _tallies) = rows(Spread::ClientPort, 10, 2);
        rows.of_mut(ShardId::new(0)).unwrap().phase = Phase::Leaving;
        assert_eq!(assign(&mut rows, Some(2)), (1, false));
        assert_eq!(assign(&mut rows, None), (1, false));
        rows.of_mut(ShardId::new(1)).unwrap().phase = Phase::Leaving;
        assert_eq!(rows.assign(Some(2)), None);
        assert_eq!(rows.assign(None), None);
    }
}

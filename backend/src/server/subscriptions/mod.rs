//! Which watched queries a commit makes stale. Lives on the engine's thread: a query is registered before the
//! next commit can happen, so no commit slips between a query's run and its registration.
//!
//! A hit is reported once and forgets the query's ranges; whoever runs the query again registers it again.
//! What a slow connection can pile up here is therefore one message per query it holds.

mod interval_tree;
mod recent;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use convex_sync_types::QueryId;

use crate::engine::{ReadSet, WriteSet};
use interval_tree::IntervalTree;
pub(super) use recent::RecentCommits;

/// One socket, over all generations of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ConnectionId(pub(super) u64);

/// One query of one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Watcher {
    pub(super) connection: ConnectionId,
    pub(super) query: QueryId,
}

/// Name of a range in its tree.
type Held = (Arc<str>, Arc<[u8]>, u64);

#[derive(Default)]
pub(super) struct Subscriptions {
    trees: HashMap<Arc<str>, IntervalTree<Watcher>>,
    held: HashMap<ConnectionId, HashMap<u32, Vec<Held>>>,
    next_sequence: u64,
}

impl Subscriptions {
    /// Registers what the query has read, in place of what it had read before.
    pub(super) fn watch(&mut self, watcher: Watcher, reads: &ReadSet) {
        self.forget(watcher);
        let mut held = Vec::with_capacity(reads.ranges.len());
        for range in &reads.ranges {
            if range.to.as_ref().is_some_and(|to| *to <= range.from) {
                continue;
            }
            let sequence = self.next_sequence;
            self.next_sequence += 1;
            let from: Arc<[u8]> = range.from.as_slice().into();
            let to = range.to.as_deref().map(Into::into);
            let tree = self.trees.entry(Arc::clone(&range.index)).or_default();
            tree.insert(Arc::clone(&from), to, sequence, watcher);
            held.push((Arc::clone(&range.index), from, sequence));
        }
        let queries = self.held.entry(watcher.connection).or_default();
        queries.insert(watcher.query.get_id(), held);
    }

    pub(super) fn forget(&mut self, watcher: Watcher) {
        let Some(queries) = self.held.get_mut(&watcher.connection) else {
            return;
        };
        let held = queries.remove(&watcher.query.get_id());
        if queries.is_empty() {
            self.held.remove(&watcher.connection);
        }
        self.release(held.unwrap_or_default());
    }

    pub(super) fn forget_connection(&mut self, connection: ConnectionId) {
        for held in self
            .held
            .remove(&connection)
            .unwrap_or_default()
            .into_values()
        {
            self.release(held);
        }
    }

    /// The queries that a commit touches. They are forgotten with this answer.
    pub(super) fn hit_by(&mut self, writes: &WriteSet) -> Vec<Watcher> {
        let mut seen = HashSet::new();
        let mut hits = Vec::new();
        for (index, key) in &writes.keys {
            if let Some(tree) = self.trees.get(index) {
                tree.stab(key, &mut |watcher: Watcher| {
                    if seen.insert((watcher.connection, watcher.query)) {
                        hits.push(watcher);
                    }
                });
            }
        }
        for watcher in &hits {
            self.forget(*watcher);
        }
        hits
    }

    fn release(&mut self, held: Vec<Held>) {
        for (index, from, sequence) in held {
            if let Some(tree) = self.trees.get_mut(&index) {
                tree.remove(&from, sequence);
                if tree.is_empty() {
                    self.trees.remove(&index);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ReadRange;

    fn watcher(connection: u64, query: u32) -> Watcher {
        Watcher {
            connection: ConnectionId(connection),
            query: QueryId::new(query),
        }
    }

    fn reads(index: &str, from: &[u8], to: Option<&[u8]>) -> ReadSet {
        ReadSet {
            ranges: vec![ReadRange {
                index: index.into(),
                from: from.to_vec(),
                to: to.map(<[u8]>::to_vec),
            }],
        }
    }

    fn writes(keys: &[(&str, &[u8])]) -> WriteSet {
        WriteSet {
            keys: keys
                .iter()
                .map(|(index, key)| ((*index).into(), key.to_vec()))
                .collect(),
        }
    }

    #[test]
    fn a_hit_is_reported_once_until_it_is_watched_again() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.watch(watcher(1, 0), &reads("chunks.by_turn", b"b", Some(b"d")));
        subscriptions.watch(watcher(1, 1), &reads("chunks.by_turn", b"d", None));
        subscriptions.watch(watcher(2, 0), &reads("turns.by_turn", b"", None));
        let commit = writes(&[("chunks.by_turn", b"c"), ("chunks.by_turn", b"cc")]);
        assert_eq!(subscriptions.hit_by(&commit), vec![watcher(1, 0)]);
        assert!(subscriptions.hit_by(&commit).is_empty());
        subscriptions.watch(watcher(1, 0), &reads("chunks.by_turn", b"b", Some(b"d")));
        assert_eq!(subscriptions.hit_by(&commit), vec![watcher(1, 0)]);
    }

    #[test]
    fn a_new_run_replaces_the_ranges_of_the_old_one() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.watch(watcher(1, 0), &reads("a.b", b"a", Some(b"b")));
        subscriptions.watch(watcher(1, 0), &reads("a.b", b"x", Some(b"y")));
        assert!(subscriptions.hit_by(&writes(&[("a.b", b"a")])).is_empty());
        assert_eq!(subscriptions.hit_by(&writes(&[("a.b", b"x")])).len(), 1);
    }

    #[test]
    fn a_connection_leaves_nothing_behind() {
        let mut subscriptions = Subscriptions::default();
        for query in 0..10 {
            subscriptions.watch(watcher(1, query), &reads("a.b", b"", None));
        }
        subscriptions.forget_connection(ConnectionId(1));
        assert!(subscriptions.trees.is_empty() && subscriptions.held.is_empty());
        subscriptions.watch(watcher(1, 0), &reads("a.b", b"b", Some(b"b")));
        subscriptions.forget(watcher(1, 0));
        assert!(subscriptions.trees.is_empty() && subscriptions.held.is_empty());
    }
}

//! Which commits touch which reads. A subscription is run again only when a commit has written a key inside a range
//! that its last run has read.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use super::api::{ReadRange, ReadSet, WriteSet};

impl ReadRange {
    pub fn contains(&self, index: &str, key: &[u8]) -> bool {
        *self.index == *index
            && key >= self.from.as_slice()
            && self.to.as_deref().is_none_or(|to| key < to)
    }

    fn is_empty(&self) -> bool {
        self.to.as_ref().is_some_and(|to| *to <= self.from)
    }
}

impl ReadSet {
    /// Whether a commit has touched something that was read.
    pub fn hit_by(&self, writes: &WriteSet) -> bool {
        writes
            .keys
            .iter()
            .any(|(index, key)| self.ranges.iter().any(|range| range.contains(index, key)))
    }

    /// Sorted, without empty ranges, overlapping and touching ones made one.
    pub(super) fn merged(mut ranges: Vec<ReadRange>) -> Self {
        ranges.retain(|range| !range.is_empty());
        ranges.sort_unstable_by(|a, b| (&a.index, &a.from).cmp(&(&b.index, &b.from)));
        let mut merged: Vec<ReadRange> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match merged.last_mut() {
                Some(last)
                    if last.index == range.index
                        && last.to.as_ref().is_none_or(|to| *to >= range.from) =>
                {
                    // `None` is the index's end: it is the greatest end there is.
                    if last.to.is_some() && (range.to.is_none() || range.to > last.to) {
                        last.to = range.to;
                    }
                }
                _ => merged.push(range),
            }
        }
        Self { ranges: merged }
    }
}

/// Read sets of many subscriptions, found by the commits that hit them. `K` names a subscription.
#[derive(Debug)]
pub struct ReadIndex<K> {
    /// Per index its ranges by their starts: those that start behind a key need no look.
    ranges: HashMap<Arc<str>, BTreeMap<Place, Entry<K>>>,
    by_name: HashMap<K, Vec<(Arc<str>, Place)>>,
    /// Tells apart ranges of one start.
    serial: usize,
}

/// A range's start and its serial number.
type Place = (Vec<u8>, usize);

#[derive(Debug)]
struct Entry<K> {
    to: Option<Vec<u8>>,
    name: K,
}

impl<K> Default for ReadIndex<K> {
    fn default() -> Self {
        Self {
            ranges: HashMap::new(),
            by_name: HashMap::new(),
            serial: 0,
        }
    }
}

impl<K: Clone + Eq + Hash> ReadIndex<K> {
    /// Remembers what a subscription has read, in place of what it had read before.
    pub fn set(&mut self, name: K, reads: &ReadSet) {
        self.remove(&name);
        let mut places = Vec::with_capacity(reads.ranges.len());
        for range in &reads.ranges {
            self.serial += 1;
            let place = (range.from.clone(), self.serial);
            let entry = Entry {
                to: range.to.clone(),
                name: name.clone(),
            };
            self.ranges
                .entry(Arc::clone(&range.index))
                .or_default()
                .insert(place.clone(), entry);
            places.push((Arc::clone(&range.index), place));
        }
        self.by_name.insert(name, places);
    }

    pub fn remove(&mut self, name: &K) {
        for (index, place) in self.by_name.remove(name).into_iter().flatten() {
            if let Some(ranges) = self.ranges.get_mut(&index) {
                ranges.remove(&place);
                if ranges.is_empty() {
                    self.ranges.remove(&index);
                }
            }
        }
    }

    /// The subscriptions that a commit has hit.
    pub fn hit_by(&self, writes: &WriteSet) -> HashSet<K> {
        let mut hit = HashSet::new();
        for (index, key) in &writes.keys {
            let Some(ranges) = self.ranges.get(index) else {
                continue;
            };
            let started = ranges.range(..=(key.clone(), usize::MAX));
            hit.extend(
                started
                    .filter(|(_, entry)| entry.to.as_ref().is_none_or(|to| key < to))
                    .map(|(_, entry)| entry.name.clone()),
            );
        }
        hit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(index: &str, from: u8, to: Option<u8>) -> ReadRange {
        ReadRange {
            index: index.into(),
            from: vec![from],
            to: to.map(|to| vec![to]),
        }
    }

    fn ranges() -> impl Strategy<Value = Vec<ReadRange>> {
        prop::collection::vec(
            (prop_oneof!["a", "b"], 0u8..20, prop::option::of(0u8..25))
                .prop_map(|(index, from, to)| range(&index, from, to)),
            0..6,
        )
    }

    proptest! {
        #[test]
        fn merging_and_indexing_keep_what_is_hit(ranges in ranges(), index in "[ab]", key in 0u8..26) {
            let writes = WriteSet { keys: vec![(index.as_str().into(), vec![key])] };
            let plain = ReadSet { ranges: ranges.clone() };
            let merged = ReadSet::merged(ranges);
            prop_assert_eq!(plain.hit_by(&writes), merged.hit_by(&writes));
            let mut subscriptions = ReadIndex::default();
            subscriptions.set(7, &merged);
            prop_assert_eq!(subscriptions.hit_by(&writes).contains(&7), plain.hit_by(&writes));
            subscriptions.remove(&7);
            prop_assert!(subscriptions.hit_by(&writes).is_empty() && subscriptions.ranges.is_empty());
        }
    }

    #[test]
    fn touching_ranges_become_one() {
        let merged = ReadSet::merged(vec![
            range("a", 5, Some(9)),
            range("a", 1, Some(5)),
            range("a", 7, None),
        ]);
        assert_eq!(merged.ranges, vec![range("a", 1, None)]);
    }
}

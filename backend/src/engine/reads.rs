//! Which commits touch which reads. A subscription is run again only when a commit has written a key inside a range
//! that its last run has read.

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
        fn merging_keeps_what_is_hit(ranges in ranges(), index in "[ab]", key in 0u8..26) {
            let writes = WriteSet { keys: vec![(index.as_str().into(), vec![key])] };
            let plain = ReadSet { ranges: ranges.clone() };
            let merged = ReadSet::merged(ranges);
            prop_assert_eq!(plain.hit_by(&writes), merged.hit_by(&writes));
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

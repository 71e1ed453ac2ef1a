//! The ranges of one index that somebody watches, asked "who contains this key?".
//!
//! A treap ordered by `(from, sequence)`; every node knows how far its subtree reaches. A question costs
//! O(log n + answers), so that a commit pays for the queries it hits and not for those that merely exist.
//! `to = None` is the end of the index. Ranges are half open.

use std::sync::Arc;

type Link<T> = Option<Box<Node<T>>>;
/// An exclusive end; `None` lies behind every key.
type End = Option<Arc<[u8]>>;

struct Node<T> {
    from: Arc<[u8]>,
    to: End,
    sequence: u64,
    priority: u64,
    /// The furthest `to` in this subtree.
    reach: End,
    value: T,
    left: Link<T>,
    right: Link<T>,
}

pub(super) struct IntervalTree<T> {
    root: Link<T>,
    len: usize,
}

impl<T> Default for IntervalTree<T> {
    fn default() -> Self {
        Self { root: None, len: 0 }
    }
}

impl<T: Copy> IntervalTree<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// `sequence` must be unique in the tree: it is half of the range's name in [`Self::remove`].
    pub(super) fn insert(&mut self, from: Arc<[u8]>, to: End, sequence: u64, value: T) {
        let (left, right) = split(self.root.take(), &from, sequence);
        let node = Box::new(Node {
            reach: to.clone(),
            from,
            to,
            sequence,
            priority: scramble(sequence),
            value,
            left: None,
            right: None,
        });
        self.root = merge(merge(left, Some(node)), right);
        self.len += 1;
    }

    pub(super) fn remove(&mut self, from: &[u8], sequence: u64) {
        if remove(&mut self.root, from, sequence) {
            self.len -= 1;
        }
    }

    /// Calls `found` for every range that contains `key`.
    pub(super) fn stab(&self, key: &[u8], found: &mut impl FnMut(T)) {
        stab(self.root.as_deref(), key, found);
    }
}

impl<T> Node<T> {
    fn before(&self, from: &[u8], sequence: u64) -> bool {
        (&*self.from, self.sequence) < (from, sequence)
    }

    fn refresh(&mut self) {
        let mut reach = self.to.clone();
        for child in [&self.left, &self.right].into_iter().flatten() {
            if further(&child.reach, &reach) {
                reach.clone_from(&child.reach);
            }
        }
        self.reach = reach;
    }
}

fn further(one: &End, other: &End) -> bool {
    match (one, other) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(one), Some(other)) => one > other,
    }
}

fn split<T>(link: Link<T>, from: &[u8], sequence: u64) -> (Link<T>, Link<T>) {
    let Some(mut node) = link else {
        return (None, None);
    };
    if node.before(from, sequence) {
        let (left, right) = split(node.right.take(), from, sequence);
        node.right = left;
        node.refresh();
        (Some(node), right)
    } else {
        let (left, right) = split(node.left.take(), from, sequence);
        node.left = right;
        node.refresh();
        (left, Some(node))
    }
}

fn merge<T>(left: Link<T>, right: Link<T>) -> Link<T> {
    match (left, right) {
        (None, one) | (one, None) => one,
        (Some(mut left), Some(right)) if left.priority > right.priority => {
            left.right = merge(left.right.take(), Some(right));
            left.refresh();
            Some(left)
        }
        (Some(left), Some(mut right)) => {
            right.left = merge(Some(left), right.left.take());
            right.refresh();
            Some(right)
        }
    }
}

fn remove<T>(link: &mut Link<T>, from: &[u8], sequence: u64) -> bool {
    let Some(node) = link else {
        return false;
    };
    if node.sequence == sequence && &*node.from == from {
        *link = merge(node.left.take(), node.right.take());
        return true;
    }
    let removed = if node.before(from, sequence) {
        remove(&mut node.right, from, sequence)
    } else {
        remove(&mut node.left, from, sequence)
    };
    if removed {
        node.refresh();
    }
    removed
}

fn stab<T: Copy>(link: Option<&Node<T>>, key: &[u8], found: &mut impl FnMut(T)) {
    let Some(node) = link else {
        return;
    };
    if node.reach.as_deref().is_some_and(|reach| reach <= key) {
        return;
    }
    stab(node.left.as_deref(), key, found);
    if &*node.from <= key {
        if node.to.as_deref().is_none_or(|to| key < to) {
            found(node.value);
        }
        stab(node.right.as_deref(), key, found);
    }
}

/// The finaliser of SplitMix64: sequence numbers become priorities without a random source.
fn scramble(sequence: u64) -> u64 {
    let mut z = sequence.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn depth<T>(link: Option<&Node<T>>) -> usize {
        link.map_or(0, |node| {
            1 + depth(node.left.as_deref()).max(depth(node.right.as_deref()))
        })
    }

    proptest! {
        #[test]
        fn answers_like_a_list(
            ranges in prop::collection::vec((prop::collection::vec(0u8..4, 0..4), prop::option::of(prop::collection::vec(0u8..4, 0..4)), any::<bool>()), 0..60),
            keys in prop::collection::vec(prop::collection::vec(0u8..4, 0..4), 1..20),
        ) {
            let mut tree = IntervalTree::default();
            for (sequence, (from, to, _)) in ranges.iter().enumerate() {
                tree.insert(from.as_slice().into(), to.as_deref().map(Into::into), sequence as u64, sequence);
            }
            for (sequence, (from, _, removed)) in ranges.iter().enumerate() {
                if *removed {
                    tree.remove(from, sequence as u64);
                }
            }
            for key in &keys {
                let mut found = Vec::new();
                tree.stab(key, &mut |value| found.push(value));
                found.sort_unstable();
                let expected: Vec<usize> = ranges.iter().enumerate()
                    .filter(|(_, (from, to, removed))| !removed && from <= key && to.as_ref().is_none_or(|to| key < to))
                    .map(|(sequence, _)| sequence)
                    .collect();
                prop_assert_eq!(found, expected);
            }
            prop_assert_eq!(tree.is_empty(), ranges.iter().all(|range| range.2));
        }
    }

    #[test]
    fn stays_flat_when_filled_in_order() {
        let mut tree = IntervalTree::default();
        for sequence in 0..10_000u64 {
            tree.insert(sequence.to_be_bytes().as_slice().into(), None, sequence, ());
        }
        assert!(depth(tree.root.as_deref()) < 60);
    }
}

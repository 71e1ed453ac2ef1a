//! Both clients at work: 64 mutations in flight, half of them from each. What each client was told is remembered.

use std::collections::BTreeMap;

use orchestrator_test_support::Home;

use crate::link_load::LinkLoad;
use crate::npm_load::NpmLoad;

const CALLERS: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Idempotent by its key.
    Put,
    /// Not idempotent.
    Add,
    /// Not idempotent, and leaves a scheduled function.
    Schedule,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Put, Self::Add, Self::Schedule];

    pub fn named(name: &str) -> Self {
        match name {
            "put" => Self::Put,
            "add" => Self::Add,
            "schedule" => Self::Schedule,
            other => panic!("{other} is no kind of mutation"),
        }
    }
}

/// The keys of answered mutations.
#[derive(Default)]
pub struct Acknowledged(pub BTreeMap<String, Kind>);

impl Acknowledged {
    pub fn add(&mut self, kind: Kind, key: String) {
        let before = self.0.insert(key, kind);
        assert!(before.is_none(), "a key was used twice");
    }

    pub fn count(&self, kind: Kind) -> usize {
        self.0.values().filter(|other| **other == kind).count()
    }
}

pub struct Load {
    pub link: LinkLoad,
    pub npm: NpmLoad,
}

impl Load {
    pub fn start(home: &Home, url: &str) -> Self {
        Self {
            link: LinkLoad::start(url, CALLERS),
            npm: NpmLoad::start(home, url, CALLERS),
        }
    }

    /// What each has been told so far: `(link, npm)`.
    pub fn acknowledged(&self) -> (u64, u64) {
        (self.link.acknowledged(), self.npm.acknowledged())
    }

    /// Both finish what they began, without help.
    pub fn drain(self) -> Acknowledged {
        let mut all = self.npm.drain();
        all.0.append(&mut self.link.drain().0);
        all
    }
}

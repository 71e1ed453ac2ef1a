//! What changes while the supervisor serves, one line a change: a worker that stands elsewhere than before, a deployment
//! that is lost or found again. It reads the actor table as `ps` does. A deployment that comes back within the calm is no
//! news; neither is anything of a session (that is told to whoever talks to it).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use orchestrator_actors::table::{ActorCard, ActorKey, ActorKind, ActorTable, Phase};
use tokio::sync::watch;

use super::announce::News;
use crate::ui::format::quoted;

/// From a change to a look at it: short losses and the steps of a restart are not told one by one.
const CALM: Duration = Duration::from_secs(1);

pub(super) struct Watcher {
    table: ActorTable,
    changed: watch::Receiver<()>,
    /// Something changed since the last look. Kept here, so that nothing is lost when a wait is given up.
    is_stale: bool,
    known: BTreeMap<ActorKey, Standing>,
    waiting: VecDeque<News>,
}

/// What a change is seen by.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Standing {
    phase: Phase,
    /// Of a worker: another reason is news, too.
    detail: String,
}

impl Watcher {
    /// What stands in the table now was told by the summary.
    pub fn new(table: ActorTable) -> Self {
        let known = standings(&table.snapshot(), &BTreeMap::new());
        Self {
            changed: table.changes(),
            table,
            is_stale: false,
            known,
            waiting: VecDeque::new(),
        }
    }

    /// May be given up and called again.
    pub async fn next(&mut self) -> News {
        loop {
            if let Some(news) = self.waiting.pop_front() {
                return news;
            }
            if !self.is_stale {
                // Fails only without a table, and we hold one.
                let _ = self.changed.changed().await;
                self.is_stale = true;
            }
            tokio::time::sleep(CALM).await;
            self.is_stale = false;
            self.look();
        }
    }

    fn look(&mut self) {
        let cards = self.table.snapshot();
        let now = standings(&cards, &self.known);
        for card in &cards {
            let (before, after) = (self.known.get(&card.key), now.get(&card.key));
            if after.is_some() && before != after {
                self.waiting
                    .extend(news(card, before.map(|standing| standing.phase)));
            }
        }
        self.known = now;
    }
}

fn standings(
    cards: &[ActorCard],
    before: &BTreeMap<ActorKey, Standing>,
) -> BTreeMap<ActorKey, Standing> {
    let standing = |card: &ActorCard| {
        let detail = match card.kind {
            ActorKind::Worker => card.detail.clone(),
            ActorKind::Bridge => String::new(),
            _ => return None,
        };
        // A bridge is there or it is not: while it tries, it is what it was.
        let tries =
            card.kind == ActorKind::Bridge && !matches!(card.phase, Phase::Synced | Phase::Offline);
        match before.get(&card.key) {
            Some(before) if tries => Some(before.clone()),
            _ => Some(Standing {
                phase: card.phase,
                detail,
            }),
        }
    };
    cards
        .iter()
        .filter_map(|card| Some((card.key.clone(), standing(card)?)))
        .collect()
}

fn news(card: &ActorCard, before: Option<Phase>) -> Option<News> {
    let (who, text) = if card.kind == ActorKind::Worker {
        (format!("worker {}", card.name), of_worker(card)?)
    } else {
        (
            format!("deployment {}", card.name),
            of_bridge(card, before?)?,
        )
    };
    Some(News {
        who,
        text,
        is_good: matches!(card.phase, Phase::Ready | Phase::Synced),
    })
}

fn of_worker(card: &ActorCard) -> Option<String> {
    let (name, detail) = (quoted(&card.name), &card.detail);
    Some(match card.phase {
        Phase::Ready => "ready".to_owned(),
        // For good: what it says is to be done instead is all there is.
        Phase::Revoked if detail.contains("removed") => detail.clone(),
        Phase::Revoked => {
            format!("{detail}; `orchestrator worker approve {name} --restore` lets it serve again")
        }
        Phase::Pending | Phase::Paused | Phase::Failed | Phase::Displaced => detail.clone(),
        Phase::Restarting => format!("it crashed and is started again ({})", error(card)),
        Phase::Parked => format!(
            "it crashed too often ({}); `orchestrator restart {name}` starts it again",
            error(card)
        ),
        _ => return None,
    })
}

fn of_bridge(card: &ActorCard, before: Phase) -> Option<String> {
    match (before, card.phase) {
        // One that was never there was told by the summary.
        (Phase::Synced, Phase::Offline) => Some(format!(
            "offline, tried again until it answers ({})",
            error(card)
        )),
        (Phase::Offline, Phase::Synced) => Some("reached again".to_owned()),
        _ => None,
    }
}

fn error(card: &ActorCard) -> &str {
    card.last_error.as_deref().unwrap_or("no reason known")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(kind: ActorKind, key: &str, phase: Phase) -> ActorCard {
        let mut card = ActorCard::new(ActorKey::parse(key), None, kind, "shop");
        card.phase = phase;
        card
    }

    /// What a look finds.
    fn found(watcher: &mut Watcher) -> Vec<News> {
        watcher.look();
        watcher.waiting.drain(..).collect()
    }

    #[test]
    fn a_change_is_told_once_and_what_has_passed_is_not() {
        let table = ActorTable::default();
        table.put(card(ActorKind::Worker, "worker/w", Phase::Ready));
        table.put(card(ActorKind::Bridge, "bridge/b", Phase::Synced));
        let mut watcher = Watcher::new(table.clone());
        let bridge = ActorKey::parse("bridge/b");
        table.change(&bridge, |card| card.phase = Phase::Offline);
        table.change(&bridge, |card| card.phase = Phase::Synced);
        let worker = ActorKey::parse("worker/w");
        table.change(&worker, |card| {
            card.phase = Phase::Revoked;
            card.detail = "revoked by its owner".to_owned();
        });
        let news = found(&mut watcher);
        assert_eq!(news.len(), 1);
        assert_eq!(news[0].who, "worker shop");
        assert!(!news[0].is_good && news[0].text.contains("worker approve shop --restore"));
        table.change(&worker, |card| card.phase = Phase::Ready);
        assert!(found(&mut watcher)[0].is_good);
        assert_eq!(found(&mut watcher), []);
    }

    #[test]
    fn a_deployment_is_lost_and_found_and_trying_is_neither() {
        let table = ActorTable::default();
        table.put(card(ActorKind::Bridge, "bridge/b", Phase::Connecting));
        let mut watcher = Watcher::new(table.clone());
        let bridge = ActorKey::parse("bridge/b");
        let mut now = |phase: Phase| {
            table.change(&bridge, |card| card.phase = phase);
            let news = found(&mut watcher);
            news.first().map(|news| news.is_good)
        };
        // The summary has told that it is offline.
        assert_eq!(now(Phase::Offline), None);
        assert_eq!(now(Phase::Connecting), None);
        assert_eq!(now(Phase::Synced), Some(true));
        assert_eq!(now(Phase::Connecting), None);
        assert_eq!(now(Phase::Offline), Some(false));
    }
}

//! A supervisor that runs: the tree and what belongs to it. It answers for the control socket: the report, the actor
//! that somebody means by a name. How its configuration changes is in `reload`.

use std::sync::{Arc, Mutex, PoisonError};

use orchestrator_actors::machine::Desired;
use orchestrator_actors::ports::clock::Clock as _;
use orchestrator_actors::table::{ActorCard, ActorKey, ActorKind};
use tokio::sync::watch;

use super::compose::{KnownMachine, Tree};
use super::directories::Directories;
use super::embedded::Embedded;
use super::instance::Holder;
use super::notifying::Told;
use super::options::RunOptions;
use super::state_file::DaemonFile;
use crate::adapters::clock::{SystemClock, wall_ms};
use crate::adapters::opencode::OpenCodeAgents;
use crate::control::Refusal;
use crate::control::report::{
    ConfigurationReport, MachineReport, Report, Sources, WorkerFacts, build, rfc3339,
};

pub(super) struct Running {
    pub tree: Tree,
    pub options: RunOptions,
    pub machine: KnownMachine,
    pub holder: Holder,
    /// By the clock that runs on while the machine sleeps and never jumps.
    pub started_ms: u64,
    /// What the tree was last told to be.
    pub desired: Mutex<Desired>,
    /// What other commands are told.
    pub file: Mutex<DaemonFile>,
    /// Whose owner is told what, by the present configuration.
    pub told: watch::Sender<Vec<Told>>,
    pub embedded: Mutex<Option<Embedded>>,
    /// How their working directories are looked at.
    pub directories: Directories,
    /// Held while the configuration changes.
    pub reloading: tokio::sync::Mutex<()>,
    /// For questions about one assistant.
    pub opencode: Arc<OpenCodeAgents>,
    /// Why the configuration that lies there is not the one that runs.
    pub trouble: Mutex<Option<ConfigurationReport>>,
}

impl Running {
    pub fn file(&self) -> DaemonFile {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.clone()
    }

    pub fn report(&self) -> Report {
        let (now_ms, boottime_ms) = (wall_ms(), SystemClock.boottime_ms());
        // Ages are kept by a clock that never jumps, and shown by the wall's of now.
        let shown = |since_ms: u64| now_ms.saturating_sub(boottime_ms.saturating_sub(since_ms));
        let mut cards = self.cards();
        for card in &mut cards {
            card.since_ms = shown(card.since_ms);
            if let Some(task) = &mut card.task {
                task.began_ms = shown(task.began_ms);
            }
        }
        let desired = self.desired();
        let mut urls: Vec<_> = desired
            .workers
            .iter()
            .map(|worker| worker.url.clone())
            .collect();
        urls.sort();
        urls.dedup();
        let links: Vec<_> = urls
            .into_iter()
            .map(|url| {
                let status = self.tree.link_status(&url);
                (url, status)
            })
            .collect();
        let workers: Vec<_> = desired
            .workers
            .iter()
            .map(|worker| WorkerFacts {
                id: worker.id().to_string(),
                name: worker.name.clone(),
                directory: worker.directory.to_string(),
                deployment: worker.url.to_string(),
                max_sessions: worker.max_sessions,
                broken: worker.broken.clone(),
            })
            .collect();
        build(Sources {
            machine: MachineReport {
                id: self.machine.id.clone(),
                name: self.machine.name.clone(),
                phase: "starting".to_owned(),
                pid: self.holder.pid,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                since: rfc3339(shown(self.started_ms)),
                uptime_ms: boottime_ms.saturating_sub(self.started_ms),
                outbox: self.tree.outbox_depth(),
                configuration: self
                    .trouble
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone(),
                ..MachineReport::default()
            },
            cards: &cards,
            links: &links,
            workers: &workers,
            largest: self.tree.handle.table().largest_mailbox(),
            now_ms,
        })
    }

    pub fn cards(&self) -> Vec<ActorCard> {
        self.tree.handle.table().snapshot()
    }

    /// Workers and live sessions, for "stopping …".
    pub fn counts(&self) -> (usize, usize) {
        let cards = self.cards();
        let workers = cards
            .iter()
            .filter(|card| card.kind == ActorKind::Worker)
            .count();
        (workers, self.live_children())
    }

    /// Assistants that run now.
    pub fn live_children(&self) -> usize {
        self.cards()
            .iter()
            .filter(|card| card.agent_pid.is_some())
            .count()
    }

    /// The actor that somebody means: its key, a worker's name, an id or a unique start of it.
    pub fn actor_named(&self, name: &str) -> Result<ActorKey, Refusal> {
        find(&self.cards(), name)
    }

    pub(super) fn desired(&self) -> Desired {
        self.desired
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn find(cards: &[ActorCard], name: &str) -> Result<ActorKey, Refusal> {
    let exact = cards.iter().find(|card| card.key.as_str() == name);
    let by_id = || {
        cards.iter().find(|card| {
            card.key
                .as_str()
                .split_once('/')
                .is_some_and(|(_, id)| id == name)
        })
    };
    let by_name = || {
        let mut named = cards.iter().filter(|card| {
            (card.kind == ActorKind::Worker && card.name == name)
                || (card.kind == ActorKind::Bridge && name == "bridge")
        });
        named.next().filter(|_| named.next().is_none())
    };
    let by_kind = || cards.iter().find(|card| is_as_drawn(card, name));
    if let Some(card) = exact.or_else(by_id).or_else(by_name).or_else(by_kind) {
        return Ok(card.key.clone());
    }
    let begun: Vec<&ActorCard> = cards
        .iter()
        .filter(|card| begins(card.key.as_str(), name))
        .collect();
    match begun.as_slice() {
        [] => {}
        [one] => return Ok(one.key.clone()),
        many => {
            let message = format!("`{name}` is the start of {} ids", many.len());
            return Err(Refusal::new("unknown_actor", message)
                .hint("type more of the id; orchestrator ps --json shows the keys"));
        }
    }
    let nearest = cards
        .iter()
        .flat_map(|card| [card.key.as_str(), card.name.as_str()])
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let refusal = Refusal::new("unknown_actor", format!("unknown actor `{name}`"));
    Err(match nearest {
        Some((_, known)) => refusal.hint(format!("did you mean `{known}`?")),
        None => refusal.hint("orchestrator ps --json shows the keys"),
    })
}

/// `deployment 127.0.0.1:3210`, `worker shop`: as the tree of `ps` has it.
fn is_as_drawn(card: &ActorCard, name: &str) -> bool {
    let Some((kind, rest)) = name.split_once([' ', '/']) else {
        return false;
    };
    let is_kind = match card.kind {
        ActorKind::Machine => kind == "machine",
        ActorKind::Deployment => kind == "deployment",
        ActorKind::Bridge => kind == "bridge",
        ActorKind::Worker => kind == "worker",
        ActorKind::Session => kind == "session",
        ActorKind::Role => kind == "role",
        ActorKind::Task => kind == "task" || kind == "tasks",
    };
    let host = card
        .name
        .split_once("://")
        .map_or(card.name.as_str(), |(_, host)| host);
    is_kind && (rest == card.name || rest == host)
}

/// Whether `start` is the start of the id in a key, long enough to be meant as one.
fn begins(key: &str, start: &str) -> bool {
    let start = start.trim_end_matches('…');
    let Some((kind, id)) = key.split_once('/') else {
        return false;
    };
    matches!(kind, "worker" | "session" | "task")
        && start.len() >= 4
        && (id.starts_with(start)
            || id
                .strip_prefix("session_")
                .is_some_and(|rest| rest.starts_with(start)))
}

/// What the control socket and the main loop share.
pub(super) type Shared = Arc<Running>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_is_known_by_key_id_or_name() {
        let worker = ActorCard::new(
            ActorKey::parse("worker/xyz789"),
            None,
            ActorKind::Worker,
            "shop",
        );
        let bridge = ActorCard::new(
            ActorKey::parse("bridge/http://127.0.0.1:1"),
            None,
            ActorKind::Bridge,
            "127.0.0.1:1",
        );
        let session =
            |id: &str| ActorCard::new(ActorKey::parse(id), None, ActorKind::Session, "a title");
        let deployment = ActorCard::new(
            ActorKey::deployment(),
            None,
            ActorKind::Deployment,
            "http://127.0.0.1:1",
        );
        let cards = [
            worker,
            bridge,
            session("session/session_abcd1"),
            session("session/session_abzz2"),
            deployment,
        ];
        for name in ["session_abcd", "abcd", "session/session_abcd1"] {
            assert_eq!(
                find(&cards, name).unwrap().as_str(),
                "session/session_abcd1"
            );
        }
        assert!(find(&cards, "session_ab").is_err());
        for name in ["deployment", "deployment 127.0.0.1:1"] {
            assert_eq!(find(&cards, name).unwrap(), ActorKey::deployment());
        }
        for name in ["worker/xyz789", "xyz789", "xyz7", "shop", "worker shop"] {
            assert_eq!(find(&cards, name).unwrap().as_str(), "worker/xyz789");
        }
        assert!(find(&cards, "bridge").is_ok());
        let refusal = find(&cards, "shp").unwrap_err();
        assert_eq!(refusal.hint.as_deref(), Some("did you mean `shop`?"));
        assert_eq!(refusal.code, "unknown_actor");
    }
}

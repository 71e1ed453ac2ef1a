//! What `ps` shows, as data: the actor table joined with the configuration and the links. It is the `--json` of `ps`, so
//! its fields are a contract: they are added to, never renamed. Times are RFC 3339 in UTC.

use orchestrator_actors::domain::ids::DeploymentUrl;
use orchestrator_actors::ports::link::{LinkPhase, LinkStatus};
use orchestrator_actors::supervision::gauge::CROWDED;
use orchestrator_actors::table::{ActorCard, ActorKey, ActorKind, LargestMailbox, Phase};
use serde::{Deserialize, Serialize};

use crate::config::Problem;

/// Raised when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub schema: u32,
    pub machine: MachineReport,
    pub deployments: Vec<DeploymentReport>,
    pub bridges: Vec<BridgeReport>,
    pub workers: Vec<WorkerReport>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineReport {
    pub id: String,
    pub name: String,
    pub phase: String,
    pub pid: u32,
    pub version: String,
    pub since: String,
    pub uptime_ms: u64,
    /// Finishes that no deployment has acknowledged yet.
    pub outbox: usize,
    pub last_error: Option<String>,
    /// The configuration that lies there cannot be used: this one runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<ConfigurationReport>,
    #[serde(default)]
    pub health: Health,
    /// The most messages that any actor's mailbox has held since the start, and whose it was.
    #[serde(default)]
    pub mailbox_largest: usize,
    #[serde(default)]
    pub mailbox_largest_of: Option<String>,
}

/// A configuration that a reload has refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigurationReport {
    pub path: String,
    /// When it was refused.
    pub since: String,
    pub message: String,
    pub problems: Vec<Problem>,
}

/// How an actor's mailbox and handler stand at this moment. Nobody asks the actor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Messages that wait.
    pub mailbox: usize,
    /// The most that ever waited for this incarnation.
    pub mailbox_largest: usize,
    /// More wait than ever should.
    pub crowded: bool,
    /// Its handler does not come back.
    pub stuck: Option<StuckReport>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StuckReport {
    /// The message that it works on.
    pub doing: String,
    pub since: String,
    pub for_ms: u64,
}

/// An embedded deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentReport {
    pub url: String,
    pub phase: String,
    pub detail: String,
    pub restarts: u32,
    pub last_error: Option<String>,
    #[serde(default)]
    pub health: Health,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeReport {
    pub key: String,
    pub url: String,
    pub phase: String,
    pub since: String,
    pub restarts: u32,
    /// Of the last mutation.
    pub rtt_us: Option<u64>,
    /// Calls and streams without an answer.
    pub waiting: usize,
    /// Connection attempts since the last success.
    pub attempts: u32,
    pub last_error: Option<String>,
    #[serde(default)]
    pub health: Health,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerReport {
    pub id: String,
    pub key: String,
    pub name: String,
    pub phase: String,
    pub since: String,
    pub age_ms: u64,
    pub directory: String,
    pub deployment: String,
    pub detail: String,
    pub max_sessions: usize,
    pub restarts: u32,
    pub last_error: Option<String>,
    pub sessions: Vec<SessionReport>,
    /// Assistants that were started from afar.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<RoleReport>,
    /// The task queue, while there are tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<TasksReport>,
    #[serde(default)]
    pub health: Health,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionReport {
    pub id: String,
    pub key: String,
    pub title: String,
    pub phase: String,
    pub since: String,
    pub age_ms: u64,
    pub agent_pid: Option<u32>,
    pub agent_rss_bytes: Option<u64>,
    pub restarts: u32,
    pub turn: Option<String>,
    pub chunks: u64,
    pub turns: u64,
    pub detail: String,
    pub last_error: Option<String>,
    #[serde(default)]
    pub health: Health,
}

/// An assistant that plays a role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleReport {
    /// `<room>/<role>`
    pub name: String,
    pub key: String,
    pub tool: String,
    pub phase: String,
    pub since: String,
    pub age_ms: u64,
    pub agent_pid: Option<u32>,
    pub agent_rss_bytes: Option<u64>,
    pub restarts: u32,
    pub last_error: Option<String>,
    #[serde(default)]
    pub health: Health,
}

/// A directory's task queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TasksReport {
    pub key: String,
    pub phase: String,
    /// Of the phase, or of the task's present step.
    pub since: String,
    pub age_ms: u64,
    /// The one in hand.
    pub task: Option<TaskInHand>,
    /// Ended by this incarnation, whatever they came to.
    pub ended: u64,
    /// What it waits for, or what keeps it from going on.
    pub detail: String,
    pub restarts: u32,
    pub last_error: Option<String>,
    #[serde(default)]
    pub health: Health,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskInHand {
    pub id: String,
    /// Its first line.
    pub title: String,
    pub attempt: u32,
    /// How far it has come: `pulled`, `branching`, `running`, …
    pub step: String,
    pub since: String,
    pub age_ms: u64,
    pub branch: Option<String>,
    /// Of the assistant's run, so far.
    pub turns: u32,
}

impl Report {
    /// Why no message can be answered although every worker stands: a deployment that cannot do its work or be reached.
    pub fn trouble(&self) -> Option<String> {
        let failed = self.deployments.iter().find(|one| one.phase == "failed");
        if let Some(one) = failed {
            let reason = one.last_error.as_deref().unwrap_or("it cannot do its work");
            return Some(format!("deployment: {reason}"));
        }
        let offline = self.bridges.iter().find(|one| one.phase == "offline")?;
        let reason = offline.last_error.as_deref().unwrap_or("no answer");
        Some(format!(
            "deployment {} is out of reach: {reason}",
            offline.url
        ))
    }

    /// The actors whose handlers do not come back, by their keys.
    pub fn stuck(&self) -> Vec<&str> {
        let deployments = self
            .deployments
            .iter()
            .map(|one| ("deployment", &one.health));
        let bridges = self
            .bridges
            .iter()
            .map(|one| (one.key.as_str(), &one.health));
        let workers = self
            .workers
            .iter()
            .map(|one| (one.key.as_str(), &one.health));
        let sessions = self.workers.iter().flat_map(|worker| &worker.sessions);
        let sessions = sessions.map(|one| (one.key.as_str(), &one.health));
        let roles = self.workers.iter().flat_map(|worker| &worker.roles);
        let roles = roles.map(|one| (one.key.as_str(), &one.health));
        let tasks = self
            .workers
            .iter()
            .filter_map(|worker| worker.tasks.as_ref());
        let tasks = tasks.map(|one| (one.key.as_str(), &one.health));
        let all = std::iter::once(("machine", &self.machine.health))
            .chain(deployments)
            .chain(bridges)
            .chain(workers)
            .chain(sessions)
            .chain(roles)
            .chain(tasks);
        all.filter(|(_, health)| health.stuck.is_some())
            .map(|(key, _)| key)
            .collect()
    }
}

/// What the table does not know about a worker.
#[derive(Clone, Debug)]
pub struct WorkerFacts {
    pub id: String,
    pub name: String,
    /// Why it cannot serve.
    pub broken: Option<String>,
    pub directory: String,
    pub deployment: String,
    pub max_sessions: usize,
}

/// Everything a report is made of.
pub struct Sources<'a> {
    pub machine: MachineReport,
    pub cards: &'a [ActorCard],
    pub links: &'a [(DeploymentUrl, LinkStatus)],
    pub workers: &'a [WorkerFacts],
    pub largest: LargestMailbox,
    pub now_ms: u64,
}

/// Joins the sources. Sessions whose worker's card is missing for a moment (it is being replaced) are shown under it.
pub fn build(sources: Sources<'_>) -> Report {
    let Sources {
        mut machine,
        cards,
        links,
        workers,
        largest,
        now_ms,
    } = sources;
    machine.mailbox_largest = largest.messages;
    machine.mailbox_largest_of = largest.actor.map(|actor| actor.to_string());
    if let Some(card) = cards.iter().find(|card| card.kind == ActorKind::Machine) {
        machine.phase = phase(card);
        machine.last_error.clone_from(&card.last_error);
        machine.health = health(card, now_ms);
    }
    Report {
        schema: SCHEMA,
        machine,
        deployments: of(cards, ActorKind::Deployment)
            .map(|card| DeploymentReport {
                url: card.name.clone(),
                phase: phase(card),
                detail: card.detail.clone(),
                restarts: card.restarts,
                last_error: card.last_error.clone(),
                health: health(card, now_ms),
            })
            .collect(),
        bridges: of(cards, ActorKind::Bridge)
            .map(|card| bridge(card, links, now_ms))
            .collect(),
        workers: workers
            .iter()
            .map(|facts| worker(facts, cards, now_ms))
            .collect(),
    }
}

fn of(cards: &[ActorCard], kind: ActorKind) -> impl Iterator<Item = &ActorCard> {
    cards.iter().filter(move |card| card.kind == kind)
}

fn health(card: &ActorCard, now_ms: u64) -> Health {
    let reading = card.gauge.read();
    Health {
        mailbox: reading.waiting,
        mailbox_largest: reading.largest,
        crowded: reading.waiting >= CROWDED,
        stuck: reading.stuck.map(|stuck| StuckReport {
            doing: stuck.doing.to_owned(),
            since: rfc3339(now_ms.saturating_sub(stuck.for_ms)),
            for_ms: stuck.for_ms,
        }),
    }
}

fn bridge(card: &ActorCard, links: &[(DeploymentUrl, LinkStatus)], now_ms: u64) -> BridgeReport {
    let url = card.key.as_str().trim_start_matches("bridge/").to_owned();
    let link = links
        .iter()
        .find(|(known, _)| known.as_str() == url)
        .map(|(_, status)| status.clone())
        .unwrap_or_default();
    BridgeReport {
        key: card.key.to_string(),
        // The link knows it first; but while the bridge's actor is between two lives, nobody drives it.
        phase: match (card.phase, link.phase) {
            // The card hears of a lost connection a moment later than the link.
            (Phase::Synced | Phase::Offline, LinkPhase::Connecting) => "connecting".to_owned(),
            (Phase::Restarting, _) | (_, LinkPhase::Connecting) => phase(card),
            (_, LinkPhase::Synced) => "synced".to_owned(),
            (_, LinkPhase::Offline) => "offline".to_owned(),
        },
        url,
        since: rfc3339(card.since_ms),
        restarts: card.restarts,
        rtt_us: link.rtt_us,
        waiting: link.waiting,
        attempts: link.attempts,
        last_error: link.last_error.or_else(|| card.last_error.clone()),
        health: health(card, now_ms),
    }
}

fn worker(facts: &WorkerFacts, cards: &[ActorCard], now_ms: u64) -> WorkerReport {
    let key = ActorKey::parse(&format!("worker/{}", facts.id));
    let card = cards.iter().find(|card| card.key == key);
    let since_ms = card.map_or(now_ms, |card| card.since_ms);
    WorkerReport {
        id: facts.id.clone(),
        name: facts.name.clone(),
        phase: match (card, &facts.broken) {
            (Some(card), _) => phase(card),
            (None, Some(_)) => "failed".to_owned(),
            (None, None) => "starting".to_owned(),
        },
        since: rfc3339(since_ms),
        age_ms: now_ms.saturating_sub(since_ms),
        directory: facts.directory.clone(),
        deployment: facts.deployment.clone(),
        detail: card
            .map(|card| card.detail.clone())
            .or_else(|| facts.broken.clone())
            .unwrap_or_default(),
        max_sessions: facts.max_sessions,
        restarts: card.map_or(0, |card| card.restarts),
        last_error: card.and_then(|card| card.last_error.clone()),
        health: card.map(|card| health(card, now_ms)).unwrap_or_default(),
        sessions: of(cards, ActorKind::Session)
            .filter(|card| card.parent.as_ref() == Some(&key))
            .map(|card| session(card, now_ms))
            .collect(),
        roles: of(cards, ActorKind::Role)
            .filter(|card| card.parent.as_ref() == Some(&key))
            .map(|card| role(card, now_ms))
            .collect(),
        tasks: of(cards, ActorKind::Task)
            .find(|card| card.parent.as_ref() == Some(&key))
            .map(|card| tasks(card, now_ms)),
        key: key.to_string(),
    }
}

fn role(card: &ActorCard, now_ms: u64) -> RoleReport {
    RoleReport {
        name: card.name.clone(),
        key: card.key.to_string(),
        tool: card.detail.clone(),
        phase: phase(card),
        since: rfc3339(card.since_ms),
        age_ms: now_ms.saturating_sub(card.since_ms),
        agent_pid: card.agent_pid,
        agent_rss_bytes: card.agent_rss_bytes,
        restarts: card.restarts,
        last_error: card.last_error.clone(),
        health: health(card, now_ms),
    }
}

fn tasks(card: &ActorCard, now_ms: u64) -> TasksReport {
    TasksReport {
        key: card.key.to_string(),
        phase: phase(card),
        since: rfc3339(card.since_ms),
        age_ms: now_ms.saturating_sub(card.since_ms),
        task: card.task.as_ref().map(|task| TaskInHand {
            id: task.id.clone(),
            title: task.title.clone(),
            attempt: task.attempt,
            step: task.step.to_owned(),
            since: rfc3339(task.began_ms),
            age_ms: now_ms.saturating_sub(task.began_ms),
            branch: task.branch.clone(),
            turns: task.turns,
        }),
        ended: card.turns,
        detail: card.detail.clone(),
        restarts: card.restarts,
        last_error: card.last_error.clone(),
        health: health(card, now_ms),
    }
}

fn session(card: &ActorCard, now_ms: u64) -> SessionReport {
    SessionReport {
        id: card
            .key
            .as_str()
            .strip_prefix("session/")
            .unwrap_or(card.key.as_str())
            .to_owned(),
        key: card.key.to_string(),
        title: card.name.clone(),
        phase: phase(card),
        since: rfc3339(card.since_ms),
        age_ms: now_ms.saturating_sub(card.since_ms),
        agent_pid: card.agent_pid,
        agent_rss_bytes: card.agent_rss_bytes,
        restarts: card.restarts,
        turn: card.turn.clone(),
        chunks: card.chunks,
        turns: card.turns,
        detail: card.detail.clone(),
        last_error: card.last_error.clone(),
        health: health(card, now_ms),
    }
}

/// The word that the table's own serialisation uses.
fn phase(card: &ActorCard) -> String {
    serde_json::to_value(card.phase)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// Milliseconds since the epoch as `2026-11-20T09:12:00Z`.
pub fn rfc3339(ms: u64) -> String {
    jiff::Timestamp::from_millisecond(i64::try_from(ms).unwrap_or(i64::MAX))
        .map(|time| time.to_string())
        .unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests;

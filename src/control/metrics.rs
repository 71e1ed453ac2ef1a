//! The supervisor in numbers, in Prometheus' text format (version 0.0.4): `# HELP`, `# TYPE`, then one line a sample. Names and
//! labels are a contract, as the report's fields are. No label holds a path, a title or an id of a conversation: whoever stores
//! these lines keeps them for long.

use std::collections::BTreeMap;
use std::fmt::Write;

use orchestrator_actors::counters::Counters;

use super::report::{Report, SessionReport};
use super::tally::Tally;

/// The whole exposition.
pub fn exposition(report: &Report, counters: &Counters) -> String {
    let mut text = Text(String::new());
    let machine = &report.machine;
    text.family("info", "gauge", "The supervisor's version.");
    text.sample("info", &[("version", &machine.version)], 1.0);
    text.family("uptime_seconds", "gauge", "Since the start.");
    text.sample("uptime_seconds", &[], seconds(machine.uptime_ms));

    text.family("turns_total", "counter", "Turns closed, by outcome.");
    for (outcome, count) in counters.turns() {
        text.sample("turns_total", &[("outcome", &word(outcome))], of(count));
    }
    text.family(
        "actor_crashes_total",
        "counter",
        "Actors that had to be replaced, by kind.",
    );
    for (kind, count) in counters.crashes() {
        text.sample("actor_crashes_total", &[("kind", &word(kind))], of(count));
    }
    text.family("assistants_started_total", "counter", "Assistants started.");
    text.sample("assistants_started_total", &[], of(counters.assistants()));

    text.family(
        "tasks_total",
        "counter",
        "Attempts at tasks that are over, by outcome.",
    );
    for (outcome, count) in counters.tasks() {
        text.sample("tasks_total", &[("outcome", &word(outcome))], of(count));
    }
    text.family("task_tokens_total", "counter", "Tokens of tasks' runs.");
    let (read, written) = counters.task_tokens();
    text.sample("task_tokens_total", &[("kind", "input")], of(read));
    text.sample("task_tokens_total", &[("kind", "output")], of(written));

    let tally = Tally::of(report);
    text.family(
        "outbox_records",
        "gauge",
        "Finished turns that no deployment has acknowledged.",
    );
    text.sample("outbox_records", &[], of(tally.outbox as u64));
    text.family("workers", "gauge", "Workers, by phase.");
    text.phases(
        "workers",
        report.workers.iter().map(|worker| worker.phase.as_str()),
    );
    text.family("sessions", "gauge", "Sessions, by phase.");
    text.phases(
        "sessions",
        sessions(report).map(|session| session.phase.as_str()),
    );
    text.family("assistants", "gauge", "Assistants that run.");
    let alive = assistants(report).filter(|(pid, _)| pid.is_some());
    text.sample("assistants", &[], of(alive.count() as u64));
    text.family(
        "assistants_memory_bytes",
        "gauge",
        "Resident memory of all assistants.",
    );
    let memory = assistants(report).filter_map(|(_, memory)| memory);
    text.sample("assistants_memory_bytes", &[], of(memory.sum()));

    text.family(
        "mailbox_messages_max",
        "gauge",
        "The most messages that any mailbox has held.",
    );
    text.sample(
        "mailbox_messages_max",
        &[],
        of(machine.mailbox_largest as u64),
    );
    text.family(
        "actors_stuck",
        "gauge",
        "Actors whose handlers do not come back.",
    );
    text.sample("actors_stuck", &[], of(report.stuck().len() as u64));

    text.family(
        "bridge_synced",
        "gauge",
        "1 while the deployment is reached.",
    );
    for bridge in &report.bridges {
        let synced = f64::from(u8::from(bridge.phase == "synced"));
        text.sample("bridge_synced", &[("deployment", &bridge.url)], synced);
    }
    text.family("bridge_rtt_seconds", "gauge", "Of the last mutation.");
    for bridge in &report.bridges {
        if let Some(micros) = bridge.rtt_us {
            let label = [("deployment", bridge.url.as_str())];
            text.sample("bridge_rtt_seconds", &label, of(micros) / 1e6);
        }
    }
    text.family(
        "bridge_waiting",
        "gauge",
        "Calls and streams without an answer.",
    );
    for bridge in &report.bridges {
        let label = [("deployment", bridge.url.as_str())];
        text.sample("bridge_waiting", &label, of(bridge.waiting as u64));
    }
    text.0
}

fn sessions(report: &Report) -> impl Iterator<Item = &SessionReport> {
    report.workers.iter().flat_map(|worker| &worker.sessions)
}

/// Process and memory of every assistant, a chat's or a role's.
fn assistants(report: &Report) -> impl Iterator<Item = (Option<u32>, Option<u64>)> {
    let roles = report.workers.iter().flat_map(|worker| &worker.roles);
    sessions(report)
        .map(|session| (session.agent_pid, session.agent_rss_bytes))
        .chain(roles.map(|role| (role.agent_pid, role.agent_rss_bytes)))
}

struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP orchestrator_{name} {help}");
        let _ = writeln!(self.0, "# TYPE orchestrator_{name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let _ = write!(self.0, "orchestrator_{name}");
        if !labels.is_empty() {
            let labels: Vec<String> = labels
                .iter()
                .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
                .collect();
            let _ = write!(self.0, "{{{}}}", labels.join(","));
        }
        let _ = writeln!(self.0, " {value}");
    }

    fn phases<'r>(&mut self, name: &str, phases: impl Iterator<Item = &'r str>) {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for phase in phases {
            *counts.entry(phase).or_default() += 1;
        }
        for (phase, count) in counts {
            self.sample(name, &[("phase", phase)], of(count));
        }
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

fn of(count: u64) -> f64 {
    count as f64
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1e3
}

/// As it is serialised everywhere else.
fn word(value: impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use orchestrator_actors::domain::turn::Outcome;
    use orchestrator_actors::table::ActorKind;

    use super::*;
    use crate::control::report::RoleReport;

    #[test]
    fn the_exposition_is_what_is_documented() {
        let counters = Counters::default();
        counters.turn(Outcome::Complete);
        counters.turn(Outcome::Complete);
        counters.crash(ActorKind::Session);
        counters.assistant();
        let mut report = super::super::report::tests::sample();
        "1.2.3".clone_into(&mut report.machine.version);
        insta::assert_snapshot!(exposition(&report, &counters));
    }

    #[test]
    fn a_roles_assistant_counts_with_its_memory() {
        let mut report = super::super::report::tests::sample();
        let memory: u64 = assistants(&report).filter_map(|(_, memory)| memory).sum();
        let role = RoleReport {
            agent_pid: Some(7),
            agent_rss_bytes: Some(1_000),
            ..RoleReport::default()
        };
        report.workers[0].roles.push(role);
        let text = exposition(&report, &Counters::default());
        assert!(text.contains("\norchestrator_assistants 2\n"), "{text}");
        let sum = format!(
            "\norchestrator_assistants_memory_bytes {}\n",
            memory + 1_000
        );
        assert!(text.contains(&sum), "{text}");
    }

    #[test]
    fn a_label_cannot_end_its_line() {
        let mut text = Text(String::new());
        text.sample("x", &[("l", "a\"b\\c\nd")], 1.0);
        assert_eq!(text.0, "orchestrator_x{l=\"a\\\"b\\\\c\\nd\"} 1\n");
    }
}

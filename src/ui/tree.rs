//! Draws the actor tree of `ps`. Columns line up over all depths: each row's name is padded by what its branch leaves.

use owo_colors::OwoColorize;
use termtree::Tree;

use super::format::{age, bytes, plural, printable, short, short_id};
use crate::control::report::{
    BridgeReport, ConfigurationReport, DeploymentReport, Health, Report, RoleReport, SessionReport,
    TasksReport, WorkerReport,
};

/// Width of one branch (`├─ `).
const BRANCH: usize = 3;

/// Between two columns.
const GAP: usize = 2;

/// The most of a reason that a row shows.
const REASON: usize = 160;

/// The least of the last column that is shown, however narrow the terminal.
const LEAST: usize = 16;

/// What to leave out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shown {
    /// Ended sessions, too.
    pub all: bool,
    /// How far down: 0 is the machine, 1 what is under it, 2 the sessions.
    pub depth: Option<usize>,
    /// Ids, titles and reasons however long they are.
    pub full: bool,
    /// Lines are cut to so many columns.
    pub width: Option<usize>,
}

impl Shown {
    fn reaches(self, depth: usize) -> bool {
        self.depth.is_none_or(|most| depth <= most)
    }

    fn cut(self, text: &str, most: usize) -> String {
        if self.full {
            let words: Vec<&str> = text.split_whitespace().collect();
            words.join(" ")
        } else {
            short(text, most)
        }
    }
}

struct Row {
    name: String,
    phase: String,
    age: String,
    detail: String,
    below: Vec<Row>,
}

impl Row {
    /// Names, reasons and details come from assistants, deployments and files.
    fn printable(self) -> Self {
        Self {
            name: printable(&self.name),
            phase: printable(&self.phase),
            age: self.age,
            detail: printable(&self.detail),
            below: self.below.into_iter().map(Self::printable).collect(),
        }
    }
}

/// The whole tree, one row a line, with colours that a plain stream strips.
pub fn draw(report: &Report, home: Option<&str>, shown: Shown) -> String {
    let root = rows(report, home, shown).printable();
    let name_width = width(&root, 0);
    let phase_width = widest(&root, &|row| row.phase.chars().count());
    let age_width = widest(&root, &|row| row.age.chars().count());
    let columns = Columns {
        name: name_width,
        phase: phase_width,
        age: age_width,
        detail: shown.width.map(|width| {
            let before = name_width + phase_width + age_width + 3 * GAP;
            width.saturating_sub(before).max(LEAST)
        }),
    };
    let tree = build(&root, 0, columns);
    let text = tree.to_string();
    text.lines()
        .map(str::trim_end)
        .collect::<Vec<_>>()
        .join("\n")
}

fn rows(report: &Report, home: Option<&str>, shown: Shown) -> Row {
    let machine = &report.machine;
    let mut below = Vec::new();
    if shown.reaches(1) {
        let broken = machine.configuration.iter();
        below.extend(broken.map(|item| configuration(item, shown)));
        below.extend(report.deployments.iter().map(deployment));
        below.extend(report.bridges.iter().map(|item| bridge(item, shown)));
        below.extend(report.workers.iter().map(|item| worker(item, home, shown)));
    }
    let id = if shown.full {
        machine.id.clone()
    } else {
        short_id(&machine.id)
    };
    Row {
        name: format!("machine {} ({id})", machine.name),
        phase: machine.phase.clone(),
        age: age(machine.uptime_ms),
        detail: join(&[alarm(&machine.health), format!("outbox {}", machine.outbox)]),
        below,
    }
}

/// One that lies there and is not in use.
fn configuration(item: &ConfigurationReport, shown: Shown) -> Row {
    let file = item.path.rsplit('/').next().unwrap_or(&item.path);
    let first = item.problems.first().map(ToString::to_string);
    let more = match item.problems.len() {
        0 | 1 => String::new(),
        count => format!("and {} more", count - 1),
    };
    Row {
        name: format!("configuration {file}"),
        phase: "invalid".to_owned(),
        age: String::new(),
        detail: join(&[
            shown.cut(&first.unwrap_or_else(|| item.message.clone()), REASON),
            more,
            "the one before it stays in use".to_owned(),
        ]),
        below: Vec::new(),
    }
}

fn deployment(item: &DeploymentReport) -> Row {
    let detail = join(&[
        alarm(&item.health),
        item.detail.clone(),
        format!("restarts {}", item.restarts),
        item.last_error.clone().unwrap_or_default(),
    ]);
    Row {
        name: format!("deployment {}", host(&item.url)),
        phase: item.phase.clone(),
        age: String::new(),
        detail,
        below: Vec::new(),
    }
}

fn bridge(item: &BridgeReport, shown: Shown) -> Row {
    let rtt = item.rtt_us.map_or_else(String::new, |micros| {
        format!(
            "rtt {}",
            super::format::duration(std::time::Duration::from_micros(micros))
        )
    });
    let trouble = if item.phase == "synced" {
        String::new()
    } else {
        shown.cut(item.last_error.as_deref().unwrap_or_default(), REASON)
    };
    Row {
        name: format!("bridge {}", host(&item.url)),
        phase: item.phase.clone(),
        age: String::new(),
        detail: join(&[
            alarm(&item.health),
            rtt,
            format!("restarts {}", item.restarts),
            trouble,
        ]),
        below: Vec::new(),
    }
}

fn worker(item: &WorkerReport, home: Option<&str>, shown: Shown) -> Row {
    let live = item
        .sessions
        .iter()
        .filter(|session| session.agent_pid.is_some())
        .count();
    let directory = match home.and_then(|home| item.directory.strip_prefix(home)) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("~{rest}"),
        _ => item.directory.clone(),
    };
    let reason = match (&item.last_error, item.phase.as_str()) {
        (_, "ready") => String::new(),
        (Some(error), _) => shown.cut(error, REASON),
        (None, _) if item.detail == item.directory => String::new(),
        (None, _) => shown.cut(&item.detail, REASON),
    };
    let sessions = format!(
        "{directory}   sessions {live}/{}, restarts {}",
        item.max_sessions, item.restarts
    );
    Row {
        name: format!("worker {} ({})", item.name, shown.cut(&item.id, 12)),
        phase: item.phase.clone(),
        age: age(item.age_ms),
        detail: join(&[alarm(&item.health), sessions, reason]),
        below: item
            .sessions
            .iter()
            .filter(|session| shown.reaches(2) && (shown.all || session.phase != "ended"))
            .map(|item| session(item, shown))
            .chain(item.roles.iter().filter(|_| shown.reaches(2)).map(role))
            .chain(
                item.tasks
                    .iter()
                    .filter(|_| shown.reaches(2))
                    .map(|item| tasks(item, shown)),
            )
            .collect(),
    }
}

fn role(item: &RoleReport) -> Row {
    let pid = item
        .agent_pid
        .map_or_else(String::new, |pid| format!("pid {pid}"));
    let memory = item
        .agent_rss_bytes
        .filter(|count| *count > 0)
        .map_or_else(String::new, bytes);
    let trouble = match item.phase.as_str() {
        "restarting" | "parked" => short(item.last_error.as_deref().unwrap_or_default(), REASON),
        _ => String::new(),
    };
    Row {
        name: format!("role {}", short(&item.name, 40)),
        phase: item.phase.clone(),
        age: age(item.age_ms),
        detail: join(&[
            alarm(&item.health),
            item.tool.clone(),
            pid,
            memory,
            format!("restarts {}", item.restarts),
            trouble,
        ]),
        below: Vec::new(),
    }
}

fn tasks(item: &TasksReport, shown: Shown) -> Row {
    let trouble = match item.phase.as_str() {
        "restarting" | "parked" => {
            shown.cut(item.last_error.as_deref().unwrap_or_default(), REASON)
        }
        _ => String::new(),
    };
    let (name, at) = match &item.task {
        Some(task) => (
            format!("task \"{}\"", shown.cut(&task.title, 30)),
            join(&[
                format!("{} for {}", task.step, age(item.age_ms)),
                format!("attempt {}", task.attempt),
                match task.turns {
                    0 => String::new(),
                    turns => plural(turns as usize, "turn"),
                },
                task.branch
                    .as_ref()
                    .map_or_else(String::new, |branch| format!("branch {branch}")),
            ]),
        ),
        None => ("tasks".to_owned(), String::new()),
    };
    Row {
        name,
        phase: item.phase.clone(),
        age: age(item.task.as_ref().map_or(item.age_ms, |task| task.age_ms)),
        detail: join(&[
            alarm(&item.health),
            at,
            shown.cut(&item.detail, REASON),
            format!("restarts {}", item.restarts),
            trouble,
        ]),
        below: Vec::new(),
    }
}

fn session(item: &SessionReport, shown: Shown) -> Row {
    let pid = item
        .agent_pid
        .map_or_else(String::new, |pid| format!("pid {pid}"));
    let memory = item
        .agent_rss_bytes
        .filter(|count| *count > 0)
        .map_or_else(String::new, bytes);
    let turn = match (&item.turn, item.chunks) {
        (Some(_), chunks) => format!(
            "turn {}, {}",
            item.turns.max(1),
            plural(usize::try_from(chunks).unwrap_or(usize::MAX), "chunk")
        ),
        (None, _) => String::new(),
    };
    let trouble = match item.phase.as_str() {
        // Its last lines are in the log and in the turn; here it is one row.
        "restarting" | "parked" | "failed" => {
            shown.cut(item.last_error.as_deref().unwrap_or_default(), REASON)
        }
        _ => String::new(),
    };
    let id = item.id.strip_prefix("session_").unwrap_or(&item.id);
    // Until the tree knows a title, the card is named after the session.
    let title = if item.title.is_empty() || item.title == item.id {
        String::new()
    } else {
        format!(" \"{}\"", shown.cut(&item.title, 30))
    };
    Row {
        name: format!("session {}{title}", shown.cut(id, 20)),
        phase: item.phase.clone(),
        age: age(item.age_ms),
        detail: join(&[
            alarm(&item.health),
            pid,
            memory,
            shown.cut(&item.detail, REASON),
            turn,
            format!("restarts {}", item.restarts),
            trouble,
        ]),
        below: Vec::new(),
    }
}

/// What is wrong with an actor's mailbox or handler, first in its row.
fn alarm(health: &Health) -> String {
    let stuck = health
        .stuck
        .as_ref()
        .map(|stuck| format!("stuck in {} for {}", stuck.doing, age(stuck.for_ms)));
    let crowded = format!("{} messages wait", health.mailbox);
    join(&[
        stuck.unwrap_or_default(),
        if health.crowded {
            crowded
        } else {
            String::new()
        },
    ])
}

fn join(parts: &[String]) -> String {
    let parts: Vec<&str> = parts
        .iter()
        .map(String::as_str)
        .filter(|part| !part.is_empty())
        .collect();
    parts.join(", ")
}

/// The part of a URL that people tell deployments apart by.
fn host(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.strip_suffix(".convex.cloud")
        .unwrap_or(rest)
        .to_owned()
}

fn width(row: &Row, depth: usize) -> usize {
    let own = depth * BRANCH + row.name.chars().count();
    row.below
        .iter()
        .map(|below| width(below, depth + 1))
        .fold(own, usize::max)
}

fn widest(row: &Row, of: &dyn Fn(&Row) -> usize) -> usize {
    row.below
        .iter()
        .map(|below| widest(below, of))
        .fold(of(row), usize::max)
}

#[derive(Clone, Copy)]
struct Columns {
    name: usize,
    phase: usize,
    age: usize,
    detail: Option<usize>,
}

fn build(row: &Row, depth: usize, columns: Columns) -> Tree<String> {
    let padding = columns.name - depth * BRANCH;
    let age = columns.age;
    let detail = match columns.detail {
        Some(most) => short(&row.detail, most),
        None => row.detail.clone(),
    };
    let text = format!(
        "{:padding$}  {}  {:age$}  {detail}",
        row.name,
        painted(&row.phase, columns.phase),
        row.age,
    );
    let mut tree = Tree::new(text.trim_end().to_owned()).with_glyphs(termtree::GlyphPalette {
        item_indent: "─ ",
        skip_indent: "  ",
        ..termtree::GlyphPalette::new()
    });
    for below in &row.below {
        tree.push(build(below, depth + 1, columns));
    }
    tree
}

fn painted(phase: &str, width: usize) -> String {
    let padded = format!("{phase:width$}");
    match phase {
        "ready" | "synced" | "online" => padded.green().to_string(),
        "active" => padded.cyan().to_string(),
        "waiting" => padded.magenta().to_string(),
        "starting" | "connecting" | "pending" | "paused" | "restarting" | "stopping" => {
            padded.yellow().to_string()
        }
        "offline" | "parked" | "failed" | "invalid" | "revoked" | "displaced" => {
            padded.red().to_string()
        }
        _ => padded.dimmed().to_string(),
    }
}

#[cfg(test)]
mod tests;

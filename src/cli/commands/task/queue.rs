//! Which queue is meant: a worker's, by default the one of this directory or the only one, or that of a role of a room. And
//! which task of it, by its id, a start of the id, or its number in the list.

use clap::Args;
use serde_json::{Value, json};

use super::row::{TaskRow, TaskRows};
use crate::cli::connection::Connection;
use crate::cli::failure::Failure;
use crate::cli::resolve::{unknown, worker_or_default};
use crate::cli::rows::{WorkerRow, read};
use crate::ui::format::quoted;

/// What the deployment gives at once.
const PAGE: u32 = 200;
/// Tasks that are gone through, the newest ones: more are of interest to nobody.
const MOST: usize = 10_000;
/// A start of an id that is shorter may be meant as something else.
const SHORTEST: usize = 4;

#[derive(Clone, Debug, Args)]
pub struct Named {
    /// The worker (name or id) [default: the one of this directory, or the only one]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["room", "role"])]
    worker: Option<String>,

    /// The room of a role's tasks
    #[arg(long, requires = "role")]
    room: Option<String>,

    /// The role in the room whose tasks these are
    #[arg(long, requires = "room")]
    role: Option<String>,
}

#[derive(Clone, Debug)]
pub enum Queue {
    Worker(WorkerRow),
    Role { room: String, role: String },
}

impl Named {
    pub async fn find(&self, connection: &Connection) -> Result<Queue, Failure> {
        if let (Some(room), Some(role)) = (&self.room, &self.role) {
            let (room, role) = (room.clone(), role.clone());
            return Ok(Queue::Role { room, role });
        }
        let worker = worker_or_default(connection, self.worker.as_deref()).await?;
        Ok(Queue::Worker(worker))
    }

    /// The flags by which it was named, for a command that people paste.
    pub fn flags(&self) -> String {
        let flag = |name: &str, value: &Option<String>| match value {
            Some(value) => format!(" --{name} {}", quoted(value)),
            None => String::new(),
        };
        flag("worker", &self.worker) + &flag("room", &self.room) + &flag("role", &self.role)
    }
}

impl Queue {
    /// The arguments that name it.
    pub fn args(&self) -> Value {
        match self {
            Self::Worker(worker) => json!({"workerId": worker.worker_id}),
            Self::Role { room, role } => json!({"room": room, "role": role}),
        }
    }

    pub fn with(&self, more: Value) -> Value {
        let mut args = self.args();
        if let (Value::Object(args), Value::Object(more)) = (&mut args, more) {
            args.extend(more);
        }
        args
    }

    pub fn name(&self) -> String {
        match self {
            Self::Worker(worker) => worker.label().to_owned(),
            Self::Role { room, role } => format!("{room}/{role}"),
        }
    }

    pub fn worker(&self) -> Option<&WorkerRow> {
        match self {
            Self::Worker(worker) => Some(worker),
            Self::Role { .. } => None,
        }
    }

    /// The newest tasks, newest first, as the deployment gives them.
    pub async fn newest(&self, connection: &Connection, limit: u32) -> Result<Vec<Value>, Failure> {
        self.page(connection, limit.min(PAGE), None).await
    }

    async fn page(
        &self,
        connection: &Connection,
        limit: u32,
        before: Option<f64>,
    ) -> Result<Vec<Value>, Failure> {
        let mut args = self.with(json!({"limit": limit}));
        if let Some(before) = before {
            args["beforeSeq"] = json!(before);
        }
        let mut page = connection.client.query("tasks:list", args).await?;
        match page["tasks"].take() {
            Value::Array(rows) => Ok(rows),
            other => read("tasks:list", other),
        }
    }

    /// All of them, newest first.
    pub async fn all(&self, connection: &Connection) -> Result<Vec<Value>, Failure> {
        let mut rows = Vec::new();
        let mut before = None;
        loop {
            let page = self.page(connection, PAGE, before).await?;
            let is_last = page.len() < PAGE as usize;
            before = page.last().and_then(|row| row["seq"].as_f64());
            rows.extend(page);
            if is_last || before.is_none() || rows.len() >= MOST {
                return Ok(rows);
            }
        }
    }
}

pub fn typed(rows: Vec<Value>) -> Result<Vec<TaskRow>, Failure> {
    let rows: TaskRows = read("tasks:list", json!({"tasks": rows}))?;
    Ok(rows.tasks)
}

/// Which task.
#[derive(Debug, Args)]
pub struct OneTask {
    /// Its id, a start of its id, or its number in the list
    #[arg(value_name = "ID|N")]
    task: String,

    #[command(flatten)]
    queue: Named,
}

/// Which tasks.
#[derive(Debug, Args)]
pub struct SomeTasks {
    /// Their ids, starts of their ids, or their numbers in the list
    #[arg(value_name = "ID|N", required = true)]
    tasks: Vec<String>,

    #[command(flatten)]
    queue: Named,
}

impl OneTask {
    /// The task as the deployment has it, with its text.
    pub async fn find(&self, connection: &Connection) -> Result<Value, Failure> {
        let id = id_of(connection, &self.queue, &self.task).await?;
        let found = get(connection, &id).await?;
        found.ok_or_else(|| unknown_task(&self.task, Vec::new()))
    }
}

impl SomeTasks {
    /// All are found before anything is done to one of them.
    pub async fn ids(&self, connection: &Connection) -> Result<Vec<String>, Failure> {
        let mut ids = Vec::new();
        for task in &self.tasks {
            let id = id_of(connection, &self.queue, task).await?;
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        Ok(ids)
    }
}

pub async fn get(connection: &Connection, id: &str) -> Result<Option<Value>, Failure> {
    let found = connection
        .client
        .query("tasks:get", json!({"taskId": id}))
        .await?;
    Ok(Some(found).filter(|found| !found.is_null()))
}

async fn id_of(connection: &Connection, queue: &Named, name: &str) -> Result<String, Failure> {
    let id = name.trim_end_matches('…');
    let number = id.parse::<u32>().ok().filter(|_| id.len() <= 7);
    if number.is_none() && get(connection, id).await?.is_some() {
        return Ok(id.to_owned());
    }
    let queue = queue.find(connection).await?;
    if let Some(number) = number {
        let at = f64::from(number);
        let page = queue.page(connection, 1, Some(at)).await?;
        let row = page
            .first()
            .filter(|row| row["seq"].as_f64() == Some(at - 1.0));
        return match row.and_then(|row| row["taskId"].as_str()) {
            Some(id) => Ok(id.to_owned()),
            None => Err(Failure::usage(format!(
                "there is no task {number} in the queue of {}",
                queue.name()
            ))
            .hint("look at orchestrator task list --all")),
        };
    }
    let rows = typed(queue.newest(connection, PAGE).await?)?;
    let begun: Vec<&TaskRow> = rows
        .iter()
        .filter(|row| id.len() >= SHORTEST && row.task_id.starts_with(id))
        .collect();
    match begun.as_slice() {
        [one] => Ok(one.task_id.clone()),
        [] => Err(unknown_task(
            name,
            rows.into_iter().map(|row| row.task_id).collect(),
        )),
        many => Err(
            Failure::usage(format!("`{name}` is the start of {} tasks", many.len()))
                .hint("say which one by its number: orchestrator task list"),
        ),
    }
}

fn unknown_task(name: &str, known: Vec<String>) -> Failure {
    let failure = unknown("task", name, known);
    match &failure.hint {
        Some(hint) if hint.starts_with("did you mean") => failure,
        _ => failure.hint("look at orchestrator task list --all"),
    }
}

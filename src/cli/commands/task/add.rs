//! `orchestrator task add`: tasks at the end of a queue, in their order. Their ids are made here, so that what is sent again
//! over a bad connection, or by a script that says its own ids, is added once.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::queue::{Named, Queue, typed};
use super::row::TaskRow;
use super::texts::{Layout, check, from_file};
use crate::cli::connection::{Connection, connect};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::turn::tell_undone;
use crate::ui::format::{plural, short};

/// What the deployment takes in one call.
const AT_ONCE: usize = 100;
const BYTES_AT_ONCE: usize = 4 * 1024 * 1024;

/// Add tasks to a queue; each becomes a branch
#[derive(Debug, Args)]
pub struct Add {
    /// What is to be done; each argument is a task
    #[arg(value_name = "TEXT")]
    texts: Vec<String>,

    /// Tasks from a file, or - for stdin: one a line, empty lines are skipped
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,

    /// The file's tasks have many lines each, with an empty line between two of them
    #[arg(long, requires = "from")]
    blocks: bool,

    #[command(flatten)]
    queue: Named,

    /// How often a task that failed is tried again [default: 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100))]
    max_retries: Option<u32>,

    /// Ids of your own: NAME-1, NAME-2 and so on. The same command again adds nothing
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    id: Option<String>,

    /// As one JSON object
    #[arg(long)]
    pub json: bool,
}

impl Add {
    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        let texts = self.gathered()?;
        check(&texts)?;
        let ids = self.ids(texts.len());
        let connection = connect(app).await?;
        let queue = self.queue.find(&connection).await?;
        let warnings = doubled(&connection, &queue, &ids, &texts).await;
        self.send(&connection, &queue, &ids, &texts).await?;
        if self.json {
            app.ui
                .json(&json!({"schema": 1, "queue": queue.args(), "taskIds": ids}));
        } else {
            for id in &ids {
                app.ui.line(id);
            }
        }
        app.ui.say(format!(
            "{} in the queue of {}; look at them: orchestrator task list{}",
            plural(ids.len(), "task"),
            queue.name(),
            self.queue.flags()
        ));
        for warning in warnings {
            app.ui.say(format!("warning: {warning}"));
        }
        if let Some(worker) = queue.worker() {
            tell_undone(app, &connection, &worker.worker_id).await;
        }
        Ok(Exit::Ok)
    }

    fn gathered(&self) -> Result<Vec<String>, Failure> {
        if self.texts.iter().any(|text| text == "-") {
            return Err(Failure::usage("`-` is no task").hint("tasks from stdin: --from -"));
        }
        let mut texts = self.texts.clone();
        if let Some(path) = &self.from {
            let layout = if self.blocks {
                Layout::Blocks
            } else {
                Layout::Lines
            };
            texts.extend(from_file(path, layout)?);
        }
        if texts.is_empty() {
            return Err(Failure::usage("no task is given").hint(
                "say what is to be done, each task in quotes, or name a file of tasks with --from",
            ));
        }
        Ok(texts)
    }

    fn ids(&self, count: usize) -> Vec<String> {
        (1..=count)
            .map(|at| match &self.id {
                Some(name) => format!("{name}-{at}"),
                None => uuid::Uuid::now_v7().to_string(),
            })
            .collect()
    }

    /// In as many calls as it takes. When a later one is refused, it is said how far the queue has them.
    async fn send(
        &self,
        connection: &Connection,
        queue: &Queue,
        ids: &[String],
        texts: &[String],
    ) -> Result<(), Failure> {
        let mut from = 0;
        while from < ids.len() {
            let to = upto(texts, from);
            let pairs = ids[from..to].iter().zip(&texts[from..to]);
            let tasks: Vec<_> = pairs
                .map(|(id, text)| json!({"id": id, "text": text}))
                .collect();
            let mut args = queue.with(json!({"tasks": tasks}));
            if let Some(retries) = self.max_retries {
                args["maxRetries"] = json!(f64::from(retries));
            }
            if let Err(error) = connection.client.mutation("tasks:add", args).await {
                let mut failure = Failure::from(error);
                if from > 0 {
                    failure.message = format!(
                        "{} (the first {from} of {} are in the queue)",
                        failure.message,
                        ids.len()
                    );
                }
                return Err(failure);
            }
            from = to;
        }
        Ok(())
    }
}

/// Where the call that begins at `from` ends.
fn upto(texts: &[String], from: usize) -> usize {
    let mut bytes = 0;
    let mut to = from;
    while to < texts.len() && to - from < AT_ONCE {
        bytes += texts[to].len();
        if bytes > BYTES_AT_ONCE && to > from {
            break;
        }
        to += 1;
    }
    to
}

/// What is said of texts that mean the same branch as another task's: of those only one can be done. What cannot be found
/// out is not said.
async fn doubled(
    connection: &Connection,
    queue: &Queue,
    ids: &[String],
    texts: &[String],
) -> Vec<String> {
    if queue.worker().is_none() {
        return Vec::new();
    }
    let known = queue.newest(connection, u32::MAX).await.and_then(typed);
    warnings(ids, texts, &known.unwrap_or_default())
}

fn warnings(ids: &[String], texts: &[String], known: &[TaskRow]) -> Vec<String> {
    let hash = |text: &str| orchestrator_actors::domain::task::cyrb53(text, 0).to_string();
    let of = |(at, text): (usize, &String)| {
        let shown = short(text, 60);
        if texts[..at].contains(text) {
            return Some(format!(
                "\"{shown}\" is there twice: the second will fail, because the branch of the first is there by then"
            ));
        }
        let hash = hash(text);
        let is_same = |row: &&TaskRow| {
            row.hash.as_deref() == Some(hash.as_str()) && !ids.contains(&row.task_id)
        };
        let same = || known.iter().filter(is_same);
        if let Some(row) = same().find(|row| row.state == "done") {
            return Some(format!(
                "\"{shown}\" was done before (task {}): its branch is there, so it will fail unless that is gone",
                row.number()
            ));
        }
        same().find(|row| row.is_open()).map(|row| {
            format!(
                "\"{shown}\" is in the queue already (task {}): the second will fail when the first is done",
                row.number()
            )
        })
    };
    texts.iter().enumerate().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_again_is_warned_of_and_the_same_id_is_not() {
        let row = |id: &str, text: &str, state: &str| {
            let hash = orchestrator_actors::domain::task::cyrb53(text, 0).to_string();
            super::super::row::tests::row(
                &serde_json::json!({"taskId": id, "hash": hash, "state": state, "seq": 6}),
            )
        };
        let known = [
            row("k1", "a", "done"),
            row("k2", "b", "queued"),
            row("x-3", "c", "queued"),
        ];
        let texts = ["a", "b", "c", "d", "d"].map(str::to_owned);
        let ids = (1..=5).map(|at| format!("x-{at}")).collect::<Vec<_>>();
        let told = warnings(&ids, &texts, &known);
        assert_eq!(told.len(), 3, "{told:?}");
        for (told, part) in told
            .iter()
            .zip(["was done before (task 7)", "in the queue", "twice"])
        {
            assert!(told.contains(part), "{told}");
        }
    }

    #[test]
    fn a_call_has_a_hundred_tasks_and_four_megabytes_at_most() {
        let small = vec!["x".to_owned(); 250];
        assert_eq!(
            (upto(&small, 0), upto(&small, 100), upto(&small, 200)),
            (100, 200, 250)
        );
        let large = vec!["x".repeat(262_144); 20];
        assert_eq!((upto(&large, 0), upto(&large, 16)), (16, 20));
    }
}

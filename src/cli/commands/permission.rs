//! `orchestrator permission`: what assistants ask their owner, and the answers, for whoever is not in a chat with them.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::adapters::convex::ClientError;
use crate::cli::connection::{Connection, connect};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::resolve::{Target, session};
use crate::cli::rows::{RequestRow, read};
use crate::cli::turn::dialog::{chosen, shown};
use crate::ui::format::age;

/// What assistants ask you: permissions and questions
#[derive(Debug, Args)]
pub struct Permission {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Answer(Answer),
}

/// What waits for your answer, longest first
#[derive(Debug, Args)]
struct List {
    /// Of this session only
    #[arg(long, value_name = "SESSION")]
    session: Option<String>,

    /// And so many of the newest that have ended
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100))]
    ended: u32,

    /// As one JSON object
    #[arg(long)]
    json: bool,
}

/// Answer a request; the first answer counts
#[derive(Debug, Args)]
struct Answer {
    /// The request's id, or a unique start of it
    request: String,

    /// once, always (also what is like it, while the assistant runs) or reject
    #[arg(
        value_enum,
        required_unless_present = "answers",
        conflicts_with = "answers"
    )]
    reply: Option<Reply>,

    /// What the assistant is told with a rejection
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,

    /// To a question: an option's number or label, several with commas, or a text of your own; once for each question
    #[arg(long = "answer", value_name = "TEXT")]
    answers: Vec<String>,

    /// As one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Reply {
    Once,
    Always,
    Reject,
}

impl Reply {
    fn as_str(self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::Always => "always",
            Self::Reject => "reject",
        }
    }
}

impl Permission {
    pub fn wants_json(&self) -> bool {
        match &self.command {
            Command::List(list) => list.json,
            Command::Answer(answer) => answer.json,
        }
    }

    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        let connection = connect(app).await?;
        match self.command {
            Command::List(list) => list.execute(app, &connection).await,
            Command::Answer(answer) => answer.execute(app, &connection).await,
        }
    }
}

impl List {
    async fn execute(self, app: &App, connection: &Connection) -> Result<Exit, Failure> {
        let mut args = json!({"ended": f64::from(self.ended)});
        if let Some(name) = &self.session {
            match session(connection, name).await? {
                Target::Session { id, .. } => args["sessionId"] = json!(id),
                Target::Worker { .. } => {
                    return Err(Failure::usage(format!("{name} is a worker, not a session")));
                }
            }
        }
        let value = connection.client.query("permissions:list", args).await?;
        if self.json {
            app.ui.json(&json!({"schema": 1, "requests": value}));
            return Ok(Exit::Ok);
        }
        let rows: Vec<RequestRow> = read("permissions:list", value)?;
        if rows.is_empty() {
            app.ui.say("nothing waits for your answer");
        }
        let now = jiff::Timestamp::now().as_millisecond() as f64;
        for row in rows {
            let waited = age((now - row.asked_at).max(0.0) as u64);
            app.ui.line(format!(
                "{}  {:9}  {waited:>4}  {}",
                row.request_id, row.state, row.session_id
            ));
            app.ui.foreign(&format!("{}\n", shown(&row)));
        }
        Ok(Exit::Ok)
    }
}

impl Answer {
    async fn execute(self, app: &App, connection: &Connection) -> Result<Exit, Failure> {
        let open = connection
            .client
            .query("permissions:list", json!({}))
            .await?;
        let open: Vec<RequestRow> = read("permissions:list", open)?;
        let found = named(&open, &self.request)?;
        let args = self.args(found)?;
        let answered = connection.client.mutation("permissions:answer", args).await;
        let state = match answered {
            Ok(value) => value["state"].clone(),
            Err(ClientError::Refused { code, message }) if code == "gone" => {
                return Err(
                    Failure::failed(message).hint("what waits now: orchestrator permission list")
                );
            }
            Err(error) => return Err(error.into()),
        };
        if self.json {
            app.ui
                .json(&json!({"schema": 1, "request": self.request, "state": state}));
        } else {
            app.ui.say("answered");
        }
        Ok(Exit::Ok)
    }

    /// One that is not in the list is sent all the same: the deployment says what has become of it.
    fn args(&self, found: Option<&RequestRow>) -> Result<Value, Failure> {
        let id = found.map_or(self.request.as_str(), |row| row.request_id.as_str());
        if let Some(reply) = self.reply {
            let mut args = json!({"requestId": id, "reply": reply.as_str()});
            if let Some(message) = &self.message {
                if reply != Reply::Reject {
                    return Err(Failure::usage("--message belongs to reject"));
                }
                args["message"] = json!(message);
            }
            return Ok(args);
        }
        if self.message.is_some() {
            return Err(Failure::usage("--message belongs to reject"));
        }
        let questions = found.map_or(&[][..], |row| &row.questions[..]);
        if found.is_some() && questions.len() != self.answers.len() {
            let what = if questions.is_empty() {
                "it is a permission: answer once, always or reject".to_owned()
            } else {
                format!(
                    "it has {} questions, these are {} answers",
                    questions.len(),
                    self.answers.len()
                )
            };
            return Err(Failure::usage(what));
        }
        let mut answers = Vec::new();
        for (at, text) in self.answers.iter().enumerate() {
            let answer = match questions.get(at) {
                Some(question) => chosen(question, text.trim())
                    .map_err(|why| Failure::usage(format!("answer {}: {why}", at + 1)))?,
                None => json!({"options": [], "text": text}),
            };
            answers.push(answer);
        }
        Ok(json!({"requestId": id, "reply": "answer", "answers": answers}))
    }
}

/// The fewest characters that a start of an id has, `req_` included.
const SHORTEST_START: usize = 8;

/// Whole ids may be of requests that have ended; a start must be of one that is open.
fn named<'r>(open: &'r [RequestRow], name: &str) -> Result<Option<&'r RequestRow>, Failure> {
    if let Some(found) = open.iter().find(|row| row.request_id == name) {
        return Ok(Some(found));
    }
    // What fits everything names nothing: an unset variable must not answer the one request that waits.
    let is_start = name.len() >= SHORTEST_START;
    let mut starts = open
        .iter()
        .filter(|row| is_start && row.request_id.starts_with(name));
    match (starts.next(), starts.next()) {
        (Some(_), Some(_)) => Err(
            Failure::usage(format!("several requests begin with `{name}`"))
                .hint("orchestrator permission list has the whole ids"),
        ),
        (found, _) => Ok(found),
    }
}

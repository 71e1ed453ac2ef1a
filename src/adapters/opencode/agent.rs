//! The handle of one running OpenCode. Its calls are short HTTP requests; what a turn says comes through the pump.

use std::sync::Arc;

use orchestrator_actors::domain::ids::{ConversationId, SessionId, TurnId};
use orchestrator_actors::domain::turn::StoredTurn;
use orchestrator_actors::ports::Pending;
use orchestrator_actors::ports::agent::{Agent, AgentError, Carried, Prompt, Reply, RequestId};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Duration, Instant, timeout_at};
use tracing::debug;

use super::Deadlines;
use super::api::{Api, ApiError, SHORT};
use super::choices::Choices;
use super::files;
use super::ids::PromptIds;
use super::pump::Command;
use super::stored;
use crate::adapters::process::{Ward, rss_bytes};

/// How often the store is asked whether a prompt arrived, should no event say so.
const ARRIVAL_POLL: Duration = Duration::from_millis(500);

/// OpenCode stores a prompt after it has looked at its images, and made large ones smaller: seconds on a busy machine.
const LOOKING_AT_FILES: Duration = Duration::from_secs(25);

pub struct OpenCodeAgent {
    /// Dropping the last handle closes the lifeline.
    ward: Arc<Ward>,
    api: Api,
    session: SessionId,
    commands: mpsc::Sender<Command>,
    /// Becomes true when the first prompt will not have to wait for loading any more.
    loaded: watch::Receiver<bool>,
    deadlines: Deadlines,
}

impl OpenCodeAgent {
    pub fn new(
        ward: Arc<Ward>,
        api: Api,
        session: SessionId,
        commands: mpsc::Sender<Command>,
        deadlines: Deadlines,
        learn: impl FnOnce(Choices) + Send + 'static,
    ) -> Self {
        let (tell, loaded) = watch::channel(false);
        let warmed = api.clone();
        // Meanwhile the session looks its conversation up and claims its turn.
        tokio::spawn(async move {
            let choices = warmed.prewarm().await;
            let _ = tell.send(true);
            if let Some(choices) = choices {
                learn(choices);
            }
        });
        Self {
            ward,
            api,
            session,
            commands,
            loaded,
            deadlines,
        }
    }
}

fn failed(error: ApiError) -> AgentError {
    AgentError::Failed(error.to_string())
}

impl Agent for OpenCodeAgent {
    fn pid(&self) -> u32 {
        self.ward.pid()
    }

    fn rss_bytes(&self) -> u64 {
        rss_bytes(self.ward.pid())
    }

    fn conversation(
        &self,
        known: Option<ConversationId>,
        title: String,
    ) -> Pending<Result<ConversationId, AgentError>> {
        let (api, session) = (self.api.clone(), self.session.clone());
        Box::pin(async move {
            if let Some(known) = known {
                match api.session(&known).await {
                    // Events of a session of another directory would never reach our stream.
                    Ok(found) if api.serves(&found.directory) => {
                        if found.title != title && !title.trim().is_empty() {
                            // A name is worth no turn: it is set again before the next one.
                            if let Err(error) = api.rename(&known, &title).await {
                                debug!(%error, "the conversation keeps its old name");
                            }
                        }
                        return Ok(known);
                    }
                    Ok(_) => {}
                    Err(error) if error.is_not_found() => {}
                    Err(error) => return Err(failed(error)),
                }
            }
            if let Some(found) = api.find_session(&session).await.map_err(failed)? {
                return Ok(found);
            }
            api.create_session(&session, &title).await.map_err(failed)
        })
    }

    fn lookup(
        &self,
        conversation: ConversationId,
        turn: TurnId,
    ) -> Pending<Result<StoredTurn, AgentError>> {
        let api = self.api.clone();
        Box::pin(async move {
            let user = PromptIds::of(&turn).message;
            let messages = api
                .messages_from(&conversation, &user)
                .await
                .map_err(failed)?;
            Ok(stored::judge(&user, &messages))
        })
    }

    fn deliver(&self, prompt: Prompt, files: Vec<Carried>) -> Pending<Result<(), AgentError>> {
        let (api, commands, mut loaded) =
            (self.api.clone(), self.commands.clone(), self.loaded.clone());
        let mut arrival = self.deadlines.arrival;
        if !files.is_empty() {
            arrival += LOOKING_AT_FILES;
        }
        Box::pin(async move {
            if let Some(model) = &prompt.model
                && !model
                    .as_str()
                    .split_once('/')
                    .is_some_and(|(a, b)| !a.is_empty() && !b.is_empty())
            {
                return Err(AgentError::Unacceptable(format!(
                    "the model `{model}` is not of the form provider/model"
                )));
            }
            if !api.directory_exists().await {
                // OpenCode would answer without noticing, and every tool would fail. Its own is the deleted one, also when
                // another is made in the same place: its successor is to have the turn, and waits for the directory.
                return Err(AgentError::Failed(format!(
                    "the working directory {} is gone: make it again, or remove this worker",
                    api.directory()
                )));
            }
            // An error means that the loading task is gone; then there is nothing to wait for.
            let _ = loaded.wait_for(|loaded| *loaded).await;
            let mut arrived = begin(&commands, &prompt).await?;
            let result = hand_over(&api, &prompt, &files, &mut arrived, arrival).await;
            if result.is_err() {
                let _ = commands.send(Command::Forget { turn: prompt.turn }).await;
            }
            result
        })
    }

    fn abort(&self, conversation: ConversationId) -> Pending<Result<(), AgentError>> {
        let (api, commands) = (self.api.clone(), self.commands.clone());
        Box::pin(async move {
            let _ = commands.send(Command::AbortAsked).await;
            api.abort(&conversation).await.map_err(failed)
        })
    }

    fn reply(&self, request: RequestId, reply: Reply) -> Pending<Result<(), AgentError>> {
        let api = self.api.clone();
        Box::pin(async move {
            match api.reply(&request.0, &reply).await {
                // Answered or dropped in between.
                Err(error) if error.is_not_found() => Ok(()),
                other => other.map_err(failed),
            }
        })
    }

    fn stop(&self) -> Pending<()> {
        let (api, ward, commands) = (self.api.clone(), self.ward.clone(), self.commands.clone());
        let deadlines = self.deadlines;
        Box::pin(async move {
            let (to, busy) = oneshot::channel();
            let _ = commands.send(Command::IsBusy(to)).await;
            // A turn is ended by OpenCode itself, so that its store says how far it came. Without a turn there is nothing to ask.
            if busy.await.unwrap_or(false) {
                let until = Instant::now() + deadlines.ask;
                let _ = timeout_at(until, api.dispose(deadlines.ask)).await;
            }
            ward.stop(deadlines.term.as_millis() as u64).await;
        })
    }
}

async fn begin(
    commands: &mpsc::Sender<Command>,
    prompt: &Prompt,
) -> Result<oneshot::Receiver<()>, AgentError> {
    let gone = || AgentError::Failed("OpenCode is gone".to_owned());
    let (accepted, is_accepted) = oneshot::channel();
    let (arrived_to, arrived) = oneshot::channel();
    let command = Command::Begin {
        turn: prompt.turn.clone(),
        conversation: prompt.conversation.clone(),
        accepted,
        arrived: arrived_to,
    };
    commands.send(command).await.map_err(|_| gone())?;
    match is_accepted.await {
        Ok(true) => Ok(arrived),
        Ok(false) => Err(AgentError::Failed(
            "another turn is running in this OpenCode".to_owned(),
        )),
        Err(_) => Err(gone()),
    }
}

/// Sends the prompt and waits for the proof. The 204 alone is none: the message is stored after it.
async fn hand_over(
    api: &Api,
    prompt: &Prompt,
    files: &[Carried],
    arrived: &mut oneshot::Receiver<()>,
    within: Duration,
) -> Result<(), AgentError> {
    let ids = PromptIds::of(&prompt.turn);
    let sent = api
        .prompt(prompt, &ids, files::parts(&ids, prompt, files))
        .await;
    match sent {
        // Its form was looked at before anything was stored.
        Err(error @ ApiError::Refused { status: 400, .. }) => {
            return Err(AgentError::Unacceptable(error.to_string()));
        }
        Err(error @ ApiError::Refused { .. }) => return Err(failed(error)),
        _ => {}
    }
    // Without an answer the prompt may have arrived all the same: only the proof decides.
    let until = Instant::now() + within;
    loop {
        let poll = (Instant::now() + ARRIVAL_POLL).min(until);
        match timeout_at(poll, &mut *arrived).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(_)) => {
                return Err(AgentError::Failed(
                    "OpenCode ended while a prompt was handed over".to_owned(),
                ));
            }
            Err(_) => {}
        }
        if api
            .has_message(&prompt.conversation, &ids.message, SHORT)
            .await
            .unwrap_or(false)
        {
            return Ok(());
        }
        if Instant::now() >= until {
            let why = sent
                .err()
                .map_or_else(String::new, |error| format!(" ({error})"));
            return Err(AgentError::Failed(format!(
                "the prompt did not arrive in OpenCode within {} s{why}",
                within.as_secs()
            )));
        }
    }
}

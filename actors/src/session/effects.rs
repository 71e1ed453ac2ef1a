//! What the machine decides, carried out: each effect starts a task whose result comes back as an input. Nothing here
//! waits. What belongs to the child's own life is in `child.rs`.

use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, info};

use super::child::gone;
use super::messages::SessionMsg;
use super::state::SessionState;
use crate::calls;
use crate::domain::assistant::{AgentError, Prompt};
use crate::domain::ids::{ConversationId, TurnId};
use crate::domain::session::{ConverseError, Effect, Input, Saying};
use crate::domain::turn::Ending;
use crate::ports::Pending;
use crate::supervision::Address;
use crate::table::ActorKey;

/// A word that the deployment failed to take is said again after this time.
const SAY_AGAIN: Duration = Duration::from_secs(2);

impl SessionState {
    /// An effect that is answered at once gives its answer.
    pub(super) fn perform(
        &mut self,
        myself: &Address<SessionMsg>,
        effect: Effect,
    ) -> Option<Input> {
        match effect {
            Effect::OpenChild => self.open_child(myself),
            Effect::StopChild => self.stop_child(myself),
            Effect::Claim(turn) => {
                let connections = self.args.connections.clone();
                let (link, credential) = (self.args.link.clone(), self.args.credential.clone());
                self.report(myself, async move {
                    Input::Claimed(match connections.follow_store(&link, &credential).await {
                        Ok(()) => calls::claim(&link, &credential, &turn).await,
                        Err(error) => Err(error),
                    })
                });
            }
            Effect::Title(title) => {
                self.args
                    .table
                    .change(&ActorKey::session(&self.args.session), |card| {
                        card.name = title;
                    });
            }
            // In the link's queue when this returns. One that is not taken is said again by the next change.
            Effect::Retitle(title) => drop(calls::retitle(
                &self.args.link,
                &self.args.credential,
                &self.args.session,
                &title,
            )),
            Effect::OpenStream { turn, next_index } => {
                self.args
                    .link
                    .open_stream(turn, self.args.credential.clone(), next_index);
            }
            Effect::Converse { known, title } => self.converse(myself, known, title),
            Effect::Lookup(conversation, turn) => {
                let Some(child) = &self.child else {
                    return Some(Input::LookedUp(Err(gone())));
                };
                let answer = child.agent.lookup(conversation, turn);
                self.report_child(myself, async move {
                    Input::LookedUp(in_time("a look into its store", answer).await)
                });
            }
            Effect::Deliver(prompt) => {
                let Some(child) = &self.child else {
                    return Some(Input::Delivered(Err(gone())));
                };
                info!(session = %self.args.session, worker = %self.args.worker.id(), turn = %prompt.turn, "prompt delivered");
                if prompt.attachments.is_empty() {
                    let answer = child.agent.deliver(*prompt, Vec::new());
                    self.report_child(myself, async move {
                        Input::Delivered(in_time("a prompt", answer).await)
                    });
                } else {
                    self.deliver_with_files(myself, *prompt);
                }
            }
            Effect::Abort(conversation) => {
                if let Some(child) = &self.child {
                    let answer = child.agent.abort(conversation);
                    self.tasks.spawn(async move {
                        if let Err(error) = in_time("an abort", answer).await {
                            debug!(%error, "abort not taken; it is asked for again");
                        }
                    });
                }
            }
            Effect::Ask {
                key,
                turn,
                asked,
                timeout_ms,
            } => {
                info!(session = %self.args.session, worker = %self.args.worker.id(), request = %key, kind = ?asked.kind, "its owner is asked");
                let (link, credential) = (&self.args.link, &self.args.credential);
                let answer = calls::ask(link, credential, &key, &turn, &asked, timeout_ms);
                self.report(
                    myself,
                    async move { Input::RequestStands(key, answer.await) },
                );
            }
            Effect::Take(key) => {
                let answer = calls::take_request(&self.args.link, &self.args.credential, &key);
                self.report(
                    myself,
                    async move { Input::RequestStands(key, answer.await) },
                );
            }
            // In the link's queue when this returns. One that is not taken ends with its turn.
            Effect::Withdraw(key) => {
                drop(calls::withdraw_request(
                    &self.args.link,
                    &self.args.credential,
                    &key,
                ));
            }
            Effect::Reply(request, reply) => {
                let Some(child) = &self.child else {
                    return Some(Input::Replied(request, Err(gone())));
                };
                let answer = child.agent.reply(request.clone(), reply);
                self.report_child(myself, async move {
                    Input::Replied(request, in_time("an answer", answer).await)
                });
            }
            Effect::Push(turn, drafts) => {
                let pushed = self.args.link.push(&turn, drafts);
                return pushed.err().map(|error| Input::StreamRefused(turn, error));
            }
            Effect::Recover(turn, drafts) => {
                let recovered = self.args.link.recover(turn.clone(), drafts);
                self.report(
                    myself,
                    async move { Input::Recovered(turn, recovered.await) },
                );
            }
            Effect::Finish(turn, ending) => {
                self.args.table.counters().turn(ending.outcome);
                info!(session = %self.args.session, worker = %self.args.worker.id(), %turn, outcome = ?ending.outcome,
                    reason = ending.error.as_ref().map(|error| error.code.as_str()), "turn ended");
                self.finish(myself, turn, ending);
            }
            Effect::FinishAgain(turn, ending) => self.finish(myself, turn, ending),
            Effect::Say(saying, reason) => self.say(myself, saying, reason),
            Effect::Done => myself.stop(),
        }
        None
    }

    /// The bytes go from the deployment to the assistant within this one task.
    fn deliver_with_files(&mut self, myself: &Address<SessionMsg>, prompt: Prompt) {
        let attachments = prompt.attachments.clone();
        let fetched = calls::attachments(
            &self.args.link,
            &self.args.credential,
            &prompt.turn,
            attachments,
        );
        // The child's lifeline is the guard's alone.
        let agent = self
            .child
            .as_ref()
            .map(|child| Arc::downgrade(&child.agent));
        self.report_child(myself, async move {
            let files = match tokio::time::timeout(FETCH, fetched).await {
                Ok(Ok(files)) => files,
                Ok(Err(error)) => return Input::Delivered(Err(not_fetched(&error.to_string()))),
                Err(_) => {
                    let late = format!("they did not come within {} s", FETCH.as_secs());
                    return Input::Delivered(Err(not_fetched(&late)));
                }
            };
            let Some(agent) = agent.and_then(|agent| agent.upgrade()) else {
                return Input::Delivered(Err(gone()));
            };
            let answer = agent.deliver(prompt, files);
            drop(agent);
            Input::Delivered(in_time("a prompt", answer).await)
        });
    }

    fn converse(
        &mut self,
        myself: &Address<SessionMsg>,
        known: Option<ConversationId>,
        title: String,
    ) {
        let child = self.child.as_ref();
        let found = child.map(|child| child.agent.conversation(known.clone(), title.clone()));
        // The child's lifeline is the guard's alone.
        let agent = child.map(|child| Arc::downgrade(&child.agent));
        let link = self.args.link.clone();
        let credential = self.args.credential.clone();
        let session = self.args.session.clone();
        self.report_child(myself, async move {
            let Some(found) = found else {
                return Input::Conversed(Err(ConverseError::Agent(gone())));
            };
            let conversation = match in_time("the conversation", found).await {
                Ok(conversation) => conversation,
                Err(error) => return Input::Conversed(Err(ConverseError::Agent(error))),
            };
            if known.as_ref() == Some(&conversation) {
                return Input::Conversed(Ok(conversation));
            }
            let confirmed = calls::confirm(&link, &credential, &session, &conversation).await;
            let agent = agent.and_then(|agent| agent.upgrade());
            match (confirmed, agent) {
                // Another one was confirmed meanwhile: that is the session's, and the prompt may have been given in it.
                (Ok(confirmed), Some(agent)) if known.is_none() && confirmed != conversation => {
                    let found = agent.conversation(Some(confirmed), title);
                    drop(agent);
                    let found = in_time("the confirmed conversation", found).await;
                    Input::Conversed(found.map_err(ConverseError::Agent))
                }
                // The session's first one cannot be gone on with here; what was given in it is looked up.
                (Ok(_), _) => Input::Conversed(Ok(conversation)),
                (Err(error), _) => Input::Conversed(Err(ConverseError::Call(error))),
            }
        });
    }

    /// The link owns a finish: it goes on when this actor is gone, only nobody hears of its answer then.
    fn finish(&mut self, myself: &Address<SessionMsg>, turn: TurnId, ending: Ending) {
        let answer = self
            .args
            .link
            .finish(turn.clone(), self.args.credential.clone(), ending);
        // The link says in the log why a finish was refused.
        self.report(myself, async move { Input::Finished(turn, answer.await) });
    }

    /// In the link's queue when this returns; an actor that is gone misses the answer and nothing else.
    fn say(&mut self, myself: &Address<SessionMsg>, saying: Saying, reason: Option<String>) {
        let answer = calls::set_status(
            &self.args.link,
            &self.args.credential,
            &self.args.session,
            saying,
            reason,
        );
        let (myself, session) = (myself.clone(), self.args.session.clone());
        self.tasks.spawn(async move {
            if let Err(error) = answer.await {
                debug!(%session, %error, "status not taken");
                if error.is_transient() {
                    tokio::time::sleep(SAY_AGAIN).await;
                    let _ = myself.cast(SessionMsg::DeploymentSaid(Input::Unsaid(saying)));
                }
            }
        });
    }

    fn report(
        &mut self,
        myself: &Address<SessionMsg>,
        step: impl Future<Output = Input> + Send + 'static,
    ) {
        let myself = myself.clone();
        self.tasks.spawn(async move {
            let _ = myself.cast(SessionMsg::DeploymentSaid(step.await));
        });
    }

    pub(super) fn report_child(
        &mut self,
        myself: &Address<SessionMsg>,
        step: impl Future<Output = Input> + Send + 'static,
    ) {
        let myself = myself.clone();
        let child = self.child_number;
        self.tasks.spawn(async move {
            let input = step.await;
            let _ = myself.cast(SessionMsg::ChildSaid {
                child,
                input,
                credit: None,
            });
        });
    }
}

/// The last belt of every call to the child; the adapter's own limits are shorter.
const CALL: Duration = Duration::from_mins(1);

/// For the files that go along with a message: ten megabytes over a slow line, or a short outage on the way.
const FETCH: Duration = Duration::from_mins(4);

/// Nothing was given to the assistant; its owner is told, and can send the message again.
fn not_fetched(why: &str) -> AgentError {
    AgentError::Unacceptable(format!(
        "the files that go along with the message cannot be fetched from the deployment: {why}"
    ))
}

/// A child that does not answer is as good as gone: the turn must not wait for it.
async fn in_time<T>(what: &str, answer: Pending<Result<T, AgentError>>) -> Result<T, AgentError> {
    match tokio::time::timeout(CALL, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(AgentError::Failed(format!(
            "the assistant did not answer within {} s to {what}",
            CALL.as_secs()
        ))),
    }
}

//! The task beside each OpenCode: reads its events, runs the reducer, asks the store when the reducer wants to know, and
//! hands the results to the session's actor as fast as that takes them. It ends with the child, and says so last.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use orchestrator_actors::domain::ids::{ConversationId, TurnId};
use orchestrator_actors::ports::agent::{AgentEvent, ExitReport};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::api::{Api, ApiError};
use super::ids::PromptIds;
use super::places::InUse;
use super::queue::Queue;
use super::reducer::{Asking, Effect, Reducer};
use super::sse::Input;
use super::wire::{Event, Stored};
use crate::adapters::clock::wall_ms;
use crate::adapters::process::rss_bytes;

/// While a turn runs, `/session/status` is asked this often, because an idle event can get lost.
const POLL: Duration = Duration::from_secs(10);

/// How fine the reducer's own times are.
const TICK: Duration = Duration::from_millis(100);

/// How often the store is asked again before what was seen has to do.
const STORE_TRIES: u32 = 3;

/// How long events that the child sent before its end are still read.
const LAST_EVENTS: Duration = Duration::from_millis(200);

/// How often the child's memory is looked at.
const MEMORY: Duration = Duration::from_secs(5);

/// The child as the pump watches it.
#[derive(Debug)]
pub struct Watched {
    pub pid: u32,
    /// Above it the child should go as soon as no turn needs it.
    pub most_memory: u64,
    pub in_use: std::sync::Arc<InUse>,
}

/// What the agent's handle tells its pump.
#[derive(Debug)]
pub enum Command {
    /// A prompt is about to be handed over. `accepted` is `false` while another turn runs; `arrived` fires when an event proves it.
    Begin {
        turn: TurnId,
        conversation: ConversationId,
        accepted: oneshot::Sender<bool>,
        arrived: oneshot::Sender<()>,
    },
    /// The prompt did not arrive.
    Forget {
        turn: TurnId,
    },
    AbortAsked,
    /// Answers whether a turn runs.
    IsBusy(oneshot::Sender<bool>),
    /// Somebody else needs this child's place.
    AskToGo(String),
}

/// What a child has stored and asks, read after a reconnect.
struct Read {
    messages: Vec<Stored>,
    busy: bool,
    asking: Asking,
}

/// What a task that asked OpenCode brings back.
enum Answer {
    Settle(Option<(Vec<Stored>, bool)>),
    CaughtUp(Option<Read>),
    Polled(Option<(bool, Option<Asking>)>),
}

pub struct Pump {
    api: Api,
    watched: Watched,
    to: mpsc::Sender<AgentEvent>,
    queue: Queue,
    reducer: Reducer,
    /// The event stream is down: nothing more comes on it from a child that is gone.
    stream_is_lost: bool,
    /// It came back, and what was missed meanwhile could not be read yet.
    is_behind: bool,
    following: Option<TurnId>,
    arrived: Option<oneshot::Sender<()>>,
    answers: JoinSet<Answer>,
    started: Instant,
    next_poll: Instant,
}

impl Pump {
    pub fn new(api: Api, watched: Watched, to: mpsc::Sender<AgentEvent>) -> Self {
        let now = Instant::now();
        Self {
            api,
            watched,
            to,
            queue: Queue::default(),
            reducer: Reducer::default(),
            stream_is_lost: false,
            is_behind: false,
            following: None,
            arrived: None,
            answers: JoinSet::new(),
            started: now,
            next_poll: now,
        }
    }

    fn now(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// Runs until `exited` says that the child is gone.
    pub async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut inputs: mpsc::Receiver<Input>,
        exited: impl Future<Output = ExitReport> + Send,
    ) {
        let to = self.to.clone();
        let mut exited = std::pin::pin!(exited);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut memory = tokio::time::interval(MEMORY);
        memory.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut heard = true;
        let report = loop {
            self.watched.in_use.set(self.reducer.is_following());
            tokio::select! {
                command = commands.recv(), if heard => match command {
                    Some(command) => self.command(command),
                    None => heard = false,
                },
                room = to.reserve(), if !self.queue.is_empty() => match room {
                    Ok(room) => if let Some(event) = self.queue.pop() {
                        room.send(event);
                    },
                    // Nobody wants to know any more; the agent itself is stopped by its handle.
                    Err(_) => self.queue.clear(),
                },
                Some(input) = inputs.recv(), if self.queue.has_room() => self.input(input),
                Some(answer) = self.answers.join_next(), if !self.answers.is_empty() => {
                    if let Ok(answer) = answer {
                        self.answer(answer);
                    }
                }
                _ = tick.tick(), if self.reducer.is_following() => self.tick(),
                _ = memory.tick(), if !self.reducer.is_following() => self.weigh(),
                report = &mut exited => break report,
            }
        };
        self.last_events(&mut inputs).await;
        self.queue.push(AgentEvent::Exited { report });
        while let Some(event) = self.queue.pop() {
            if to.send(event).await.is_err() {
                return;
            }
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Begin {
                turn,
                conversation,
                accepted,
                arrived,
            } => {
                let user = PromptIds::of(&turn).message;
                let begun = self
                    .reducer
                    .begin(turn.clone(), &conversation, &user, self.now());
                if begun {
                    self.following = Some(turn);
                    self.arrived = Some(arrived);
                    self.next_poll = Instant::now() + POLL;
                }
                let _ = accepted.send(begun);
            }
            Command::Forget { turn } => self.reducer.forget(&turn),
            Command::AbortAsked => self.reducer.abort_asked(),
            Command::IsBusy(to) => {
                let _ = to.send(self.reducer.is_following());
            }
            Command::AskToGo(reason) => self.ask_to_go(reason),
        }
    }

    /// Only between turns; its session decides, because it may have a turn that was not handed over yet.
    fn ask_to_go(&mut self, reason: String) {
        if !self.reducer.is_following() {
            self.queue.push(AgentEvent::ReleaseWanted { reason });
        }
    }

    fn weigh(&mut self) {
        let (memory, most) = (rss_bytes(self.watched.pid), self.watched.most_memory);
        if memory > most {
            let megabytes = |bytes: u64| bytes / (1024 * 1024);
            self.ask_to_go(format!(
                "it had grown to {} MB of memory, and {} MB are allowed",
                megabytes(memory),
                megabytes(most)
            ));
        }
    }

    fn input(&mut self, input: Input) {
        match input {
            Input::Event(mut event) => {
                if let Event::Status { status, .. } = &mut *event {
                    // The reducer knows no wall clock: it is told how long the wait is.
                    status.next = (status.next - wall_ms() as f64).max(0.0);
                }
                let effects = self.reducer.event(*event, self.now());
                self.apply(effects);
            }
            Input::Lost => {
                self.stream_is_lost = true;
                self.reducer.lost();
            }
            Input::Connected => {
                self.stream_is_lost = false;
                self.is_behind = self.reducer.is_following();
                self.catch_up();
            }
        }
    }

    fn tick(&mut self) {
        let effects = self.reducer.tick(self.now());
        self.apply(effects);
        if Instant::now() >= self.next_poll {
            self.next_poll = Instant::now() + POLL;
            self.poll();
        }
    }

    fn poll(&mut self) {
        if self.is_behind {
            return self.catch_up();
        }
        let Some(conversation) = self.reducer.conversation() else {
            return;
        };
        let (api, known) = (self.api.clone(), self.reducer.asked());
        self.answers.spawn(async move {
            let Ok(busy) = api.is_busy(&conversation).await else {
                return Answer::Polled(None);
            };
            Answer::Polled(Some((busy, asking(&api, &conversation, known).await.ok())))
        });
    }

    fn apply(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Emit(event) => self.queue.push(event),
                Effect::Arrived => {
                    if let Some(arrived) = self.arrived.take() {
                        let _ = arrived.send(());
                    }
                }
                Effect::AskStore => self.ask_store(),
            }
        }
    }

    fn subject(&self) -> Option<(ConversationId, String)> {
        let conversation = self.reducer.conversation()?;
        let user = PromptIds::of(self.following.as_ref()?).message;
        Some((conversation, user))
    }

    fn ask_store(&mut self) {
        let Some((conversation, user)) = self.subject() else {
            return;
        };
        let api = self.api.clone();
        self.answers.spawn(async move {
            for attempt in 1..=STORE_TRIES {
                // Busy is read first: a turn that goes on after it would otherwise be taken for ended.
                if let Ok(busy) = api.is_busy(&conversation).await
                    && let Ok(messages) = api.messages_from(&conversation, &user).await
                {
                    return Answer::Settle(Some((messages, busy)));
                }
                tokio::time::sleep(Duration::from_millis(100) * attempt).await;
            }
            Answer::Settle(None)
        });
    }

    fn catch_up(&mut self) {
        let Some((conversation, user)) = self.subject() else {
            return;
        };
        let api = self.api.clone();
        let known = self.reducer.asked();
        self.answers.spawn(async move {
            let read = async {
                let messages = api.messages_from(&conversation, &user).await?;
                let busy = api.is_busy(&conversation).await?;
                Ok::<_, ApiError>(Read {
                    messages,
                    busy,
                    asking: asking(&api, &conversation, known).await?,
                })
            };
            Answer::CaughtUp(read.await.ok())
        });
    }

    fn answer(&mut self, answer: Answer) {
        let now = self.now();
        let effects = match answer {
            Answer::Settle(Some((messages, busy))) => {
                self.reducer.settle(Some((&messages, busy)), now)
            }
            Answer::Settle(None) => self.reducer.settle(None, now),
            Answer::CaughtUp(Some(read)) => {
                self.is_behind = false;
                self.reducer
                    .caught_up(&read.messages, read.busy, &read.asking, now)
            }
            Answer::Polled(Some((busy, asking))) => self.reducer.polled(busy, asking.as_ref(), now),
            // The next poll tries again.
            Answer::CaughtUp(None) | Answer::Polled(None) => Vec::new(),
        };
        self.apply(effects);
    }

    /// What the child had sent before it ended is content all the same.
    async fn last_events(&mut self, inputs: &mut mpsc::Receiver<Input>) {
        let until = Instant::now() + LAST_EVENTS;
        while !self.stream_is_lost
            && let Ok(Some(input)) = tokio::time::timeout_at(until, inputs.recv()).await
        {
            match input {
                Input::Event(event) => self.input(Input::Event(event)),
                Input::Lost => self.stream_is_lost = true,
                Input::Connected => {}
            }
        }
        let effects = self.reducer.child_gone(self.now());
        self.apply(effects);
    }
}

async fn asking(
    api: &Api,
    conversation: &ConversationId,
    known: HashSet<String>,
) -> Result<Asking, ApiError> {
    let requests = api.requests().await?;
    let others: BTreeSet<&str> = requests
        .iter()
        .map(|request| request.session.as_str())
        .filter(|session| *session != conversation.as_str())
        .collect();
    let within = api.within(conversation, &others).await;
    Ok(Asking {
        requests,
        within,
        known,
    })
}

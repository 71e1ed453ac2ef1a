//! The script that an assistant plays by itself: two steps, a tool in the first, each through the gates. It asks the model
//! once, and that is counted.

use std::time::Duration;

use orchestrator_actors::domain::item::{Draft, ItemKind};
use orchestrator_actors::ports::agent::{AgentEvent, TurnEnd};
use tokio::sync::mpsc;

use crate::fake_agent::{FakeAgents, Stored};
use crate::fold::Part;
use crate::gate::Point;

/// Plays every prompt by itself.
#[derive(Clone, Copy)]
pub struct Script {
    /// The longest pause between two things; each pause is random below it.
    pub pause: Duration,
}

/// The answer that the script gives, whatever it is asked.
pub fn whole(turn: &str) -> Vec<Part> {
    let part = |name: &str, kind, text: &str| Part {
        id: format!("{turn}.{name}"),
        kind,
        text: text.to_owned(),
    };
    vec![
        part("a", ItemKind::Text, "let me look"),
        part("b", ItemKind::Tool, "completed"),
        part("c", ItemKind::Text, " and here it is"),
    ]
}

impl FakeAgents {
    /// One prompt's answer, from the model to the store and the events.
    pub async fn play(self, events: mpsc::Sender<AgentEvent>, turn: String) {
        let say = async |name: &str, kind, text: &str| {
            let part = format!("{turn}.{name}");
            let _ = events.send(item(&turn, &part, kind, text)).await;
        };
        self.gate.pass(Point::AfterPrompt).await;
        self.pause().await;
        self.write(|shared| {
            *shared.starts.entry(turn.clone()).or_default() += 1;
            shared.store.insert(turn.clone(), Stored::Begun);
        });
        say("a", ItemKind::Text, "let me").await;
        self.gate.pass(Point::FirstDelta).await;
        self.pause().await;
        say("a", ItemKind::Text, " look").await;
        say("b", ItemKind::Tool, "running").await;
        self.gate.pass(Point::InTool).await;
        self.pause().await;
        say("b", ItemKind::Tool, "completed").await;
        self.gate.pass(Point::BetweenSteps).await;
        self.pause().await;
        say("c", ItemKind::Text, " and here").await;
        self.pause().await;
        say("c", ItemKind::Text, " it is").await;
        self.write(|shared| {
            let stored = Stored::Complete(whole(&turn));
            shared.store.insert(turn.clone(), stored);
        });
        self.gate.pass(Point::AfterLastStep).await;
        self.pause().await;
        let ended = TurnEnd::Complete { usage: None };
        let _ = events.send(over(&turn, ended)).await;
    }

    pub async fn pause(&self) {
        let longest = self.script.map_or(Duration::ZERO, |script| script.pause);
        tokio::time::sleep(longest.mul_f64(rand::random())).await;
    }
}

pub fn item(turn: &str, part: &str, kind: ItemKind, text: &str) -> AgentEvent {
    AgentEvent::Item {
        turn: turn.into(),
        draft: Draft {
            part_id: part.to_owned(),
            kind,
            content: text.to_owned(),
        },
    }
}

pub fn over(turn: &str, ended: TurnEnd) -> AgentEvent {
    AgentEvent::TurnEnded {
        turn: turn.into(),
        ended,
    }
}

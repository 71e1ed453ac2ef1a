//! Holds the fakes at one point of a turn, once, so that a test can let something go wrong exactly there.

use std::sync::Arc;

use tokio::sync::watch;

/// Where a kill or a panic can fall, in the order of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// The child is being opened; nobody has claimed the turn.
    BeforeClaim,
    /// Claimed; the assistant has not heard of it.
    AfterClaim,
    /// The prompt lies in the assistant's store; the model has not been asked.
    AfterPrompt,
    FirstDelta,
    InTool,
    BetweenSteps,
    /// The answer is complete in the store; its last event is not out.
    AfterLastStep,
    /// The end is known; nothing of it is on disk.
    BeforeRecord,
    /// The end is on disk; the deployment has not heard of it.
    BeforeFinish,
    /// The deployment has closed the turn; its acknowledgement is not back.
    AfterFinish,
}

impl Point {
    pub const ALL: [Self; 10] = [
        Self::BeforeClaim,
        Self::AfterClaim,
        Self::AfterPrompt,
        Self::FirstDelta,
        Self::InTool,
        Self::BetweenSteps,
        Self::AfterLastStep,
        Self::BeforeRecord,
        Self::BeforeFinish,
        Self::AfterFinish,
    ];
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    Armed(Point),
    Reached,
}

#[derive(Clone, Default)]
pub struct Gate(Arc<watch::Sender<State>>);

impl Gate {
    /// The first who comes to this point waits there.
    pub fn hold(&self, point: Point) {
        self.0.send_replace(State::Armed(point));
    }

    pub async fn reached(&self) {
        let mut state = self.0.subscribe();
        let reached = state.wait_for(|state| *state == State::Reached);
        reached.await.expect("the gate lives");
    }

    pub fn open(&self) {
        self.0.send_replace(State::Open);
    }

    pub async fn pass(&self, point: Point) {
        let mut state = self.0.subscribe();
        let held = self.0.send_if_modified(|state| {
            let is_here = *state == State::Armed(point);
            if is_here {
                *state = State::Reached;
            }
            is_here
        });
        if held {
            let open = state.wait_for(|state| *state == State::Open);
            open.await.expect("the gate lives");
        }
    }
}

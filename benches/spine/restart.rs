//! How soon a session that panicked is there again. A panic is raised inside the session's message handler (by the link,
//! when the session pushes its first item); the worker replaces the actor at once, as it does for a first crash. Two moments
//! count: the successor has built its state and put its card down, so its mailbox accepts; and it has handled a message
//! (it asks for an assistant).

use std::sync::Arc;
use std::time::Duration;

use orchestrator_actors::table::ActorKey;
use tokio::sync::{mpsc, oneshot};

use crate::common::stamps::now_ns;
use crate::common::table::{TIMES, Table, Times};
use crate::fake_agents::FakeAgents;
use crate::rig::Rig;
use crate::{Samples, common};

const LIMIT: Duration = Duration::from_secs(30);

pub fn table(samples: Samples) {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let asked_for = panic
            .payload_as_str()
            .is_some_and(|text| text.contains("restart table"));
        if !asked_for {
            usual(panic);
        }
    }));
    let runtime = common::runtime();
    let (mut accepting, mut handled) = (Times::new(), Times::new());
    runtime.block_on(async {
        let agents = FakeAgents::default();
        let rig = Rig::with_agents(Arc::new(agents.clone())).await;
        for n in 0..samples.panics {
            let id = format!("p{n}");
            let one = tokio::time::timeout(LIMIT, crash(&rig, &agents, &id));
            let times = one.await.expect("the session comes back");
            accepting.add_ns(times.0);
            handled.add_ns(times.1);
        }
        rig.stop().await;
    });
    let task = runtime.block_on(task_round_trips(samples.panics));
    let mut table = Table::new("A session's panic, until its successor", &TIMES);
    table.row("accepts messages", accepting.cells());
    table.row("has handled one (asks for an assistant)", handled.cells());
    table.row(
        "yardstick: a new task that takes a message and answers",
        task.cells(),
    );
    table.print();
}

/// Nanoseconds from a panic to the two moments.
async fn crash(rig: &Rig, agents: &FakeAgents, id: &str) -> (u64, u64) {
    let session = format!("session_{id}");
    let key = ActorKey::parse(&format!("session/{session}"));
    let cards = rig.machine.table();
    let mut changes = cards.changes();
    rig.probe.arm();
    rig.send(id, "hello").await;
    // The card of a successor: until there is one, a placeholder without an incarnation stands there.
    let accepting = loop {
        let card = cards.get(&key);
        if card.is_some_and(|card| card.incarnation > 0 && card.restarts == 1) {
            break now_ns();
        }
        changes.changed().await.expect("the table lives");
    };
    let handled = agents.opened_at_ns(&session, 1).await;
    let panicked = rig.probe.panicked_at_ns();
    (accepting - panicked, handled.saturating_sub(panicked))
}

async fn task_round_trips(samples: usize) -> Times {
    let mut times = Times::new();
    for _ in 0..samples {
        let begun = now_ns();
        let (to, mut mailbox) = mpsc::channel::<oneshot::Sender<()>>(1);
        tokio::spawn(async move {
            if let Some(reply) = mailbox.recv().await {
                let _ = reply.send(());
            }
        });
        let (reply, answer) = oneshot::channel();
        to.send(reply).await.expect("a task");
        answer.await.expect("an answer");
        times.add_ns(now_ns() - begun);
    }
    times
}

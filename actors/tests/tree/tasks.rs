//! The task queue in the tree: there while there are tasks, replaced when it crashes, called off in order, and never twice in
//! one directory.

use std::sync::Arc;

use orchestrator_actors::domain::phase::Phase;
use orchestrator_actors::domain::task::{GitSettings, TaskSettings};
use orchestrator_actors::machine::{Desired, WorkerSpec};
use orchestrator_actors::supervision::fault::Fault;
use orchestrator_actors::table::ActorKey;

use crate::world::{World, spec};

const QUEUE: &str = "task/w";

#[tokio::test(start_paused = true)]
async fn a_worker_without_tasks_has_no_queue_and_one_with_tasks_has_it_until_they_are_done() {
    let world = World::start().await;
    world.quiet().await;
    assert!(world.card(QUEUE).is_none());
    world.tasks.hold();
    world.deployment.add_task("t1", "implement login");
    world.deployment.add_task("t2", "add validation");
    world.tasks.until_running().await;
    let card = world
        .until_card(QUEUE, |card| {
            card.task.as_ref().is_some_and(|task| task.turns == 3)
        })
        .await;
    let task = card.task.unwrap();
    assert_eq!(
        (&*task.id, &*task.title, task.attempt),
        ("t1", "implement login", 1)
    );
    assert_eq!((task.step, card.phase), ("running", Phase::Active));
    assert_eq!(task.branch.as_deref(), Some("1282544961935709"));
    world.tasks.let_go();
    world.deployment.task_ends("t2", "done").await;
    world.until_gone(QUEUE).await;
    assert_eq!(world.tasks.state().branches.len(), 2);
    let counted: Vec<u64> = world
        .machine
        .table()
        .counters()
        .tasks()
        .map(|(_, count)| count)
        .collect();
    assert_eq!(counted, [2, 0, 0]);
    assert_eq!(world.machine.table().counters().task_tokens(), (200, 14));
    // And again for a task that comes later.
    world.deployment.add_task("t3", "write tests");
    world.deployment.task_ends("t3", "done").await;
    world.until_gone(QUEUE).await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_in_the_middle_undoes_the_attempt_and_gives_the_task_back() {
    let mut world = World::start().await;
    world.tasks.hold();
    world.deployment.add_task("t1", "implement login");
    world.tasks.until_running().await;
    world.stop_machine().await;
    assert_eq!(world.tasks.running(), 0);
    assert_eq!(world.tasks.holders(), 0);
    {
        let state = world.tasks.state();
        assert_eq!((&*state.current, state.undone), ("main", 1));
        assert!(state.journal.is_none());
    }
    let task = world.deployment.task("t1");
    assert_eq!((&*task.state, task.attempt), ("queued", 0));
    world.tasks.let_go();
    world.start_again("boot").await;
    world.deployment.task_ends("t1", "done").await;
    assert_eq!(world.deployment.task("t1").attempt, 1);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_killed_supervisors_task_is_taken_up_by_the_next_one() {
    let mut world = World::start().await;
    world.tasks.hold();
    world.deployment.add_task("t1", "implement login");
    world.tasks.until_running().await;
    world.kill().await;
    assert!(world.tasks.state().journal.is_some());
    world.tasks.let_go();
    world.start_again("boot").await;
    world.deployment.task_ends("t1", "done").await;
    {
        let state = world.tasks.state();
        assert_eq!((state.undone, state.branches.len()), (1, 1));
        assert_eq!(state.runs.len(), 2);
    }
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_supervisor_left_is_undone_although_the_deployment_knows_no_task() {
    let mut world = World::start().await;
    world.tasks.hold();
    world.deployment.add_task("t1", "implement login");
    world.tasks.until_running().await;
    world.kill().await;
    world.deployment.drop_task("t1");
    world.start_again("boot").await;
    world.until_journal_is_empty().await;
    assert_eq!(world.tasks.state().current, "main");
    world.until_gone(QUEUE).await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_panics_is_replaced_and_one_that_keeps_panicking_is_parked_until_a_person_says_otherwise()
 {
    let world = World::start().await;
    world.tasks.hold();
    world.deployment.add_task("t1", "implement login");
    world.tasks.until_running().await;
    world.inject(QUEUE, Fault::Panic);
    world.until_card(QUEUE, |card| card.restarts == 1).await;
    world.tasks.until_running().await;
    assert_eq!(world.tasks.running(), 1, "one loop at a time");
    // The loop itself, from now on.
    world.tasks.state().panics = 50;
    world.tasks.let_go();
    world.inject(QUEUE, Fault::Panic);
    world
        .until_card(QUEUE, |card| card.phase == Phase::Parked)
        .await;
    let error = world.card(QUEUE).unwrap().last_error.unwrap();
    assert!(error.contains("panic"), "{error}");
    world.tasks.state().panics = 0;
    let queue = ActorKey::parse(QUEUE);
    world.machine.restart(queue).await.unwrap();
    world.deployment.task_ends("t1", "done").await;
    assert_eq!(world.tasks.state().branches.len(), 1);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn who_has_no_turn_leaves_the_directory_for_a_task_and_who_has_one_is_waited_for() {
    let world = World::start().await;
    world.streaming("s1", "m1", "hello").await;
    world.tasks.state().occupied = true;
    world.deployment.add_task("t1", "implement login");
    let card = world
        .until_card(QUEUE, |card| card.phase == Phase::Waiting)
        .await;
    assert_eq!(card.detail, "waits for the turn of session/s1");
    world.agents.complete("s1", "m1", "hello").await;
    world.deployment.ended("m1").await;
    // Its child has nothing to do, so it goes.
    world
        .until_card("session/s1", |card| card.phase == Phase::Idle)
        .await;
    assert!(world.tasks.state().runs.is_empty());
    world.tasks.state().occupied = false;
    world.deployment.task_ends("t1", "done").await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_waits_for_a_place_leaves_the_directory_to_the_chats() {
    let world = World::start().await;
    world.tasks.set_roomy(false);
    world.deployment.add_task("t1", "implement login");
    let card = world
        .until_card(QUEUE, |card| card.phase == Phase::Waiting)
        .await;
    assert!(card.detail.contains("a place"), "{}", card.detail);
    assert_eq!(world.tasks.holders(), 0, "nobody waits for the directory");
    world.tasks.set_roomy(true);
    world.deployment.task_ends("t1", "done").await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_is_not_used_up_by_what_is_missing() {
    let world = World::start().await;
    world.tasks.state().missing = true;
    world.deployment.add_task("t1", "implement login");
    world.deployment.add_task("t2", "add validation");
    let card = world
        .until_card(QUEUE, |card| card.phase == Phase::Blocked)
        .await;
    assert_eq!(card.detail, "nobody is there");
    tokio::time::sleep(std::time::Duration::from_hours(1)).await;
    for task in ["t1", "t2"] {
        let task = world.deployment.task(task);
        assert_eq!((&*task.state, task.attempt), ("queued", 0));
    }
    assert_eq!(
        world.deployment.task("t1").pulls,
        1,
        "it is not taken again and again"
    );
    world.tasks.state().missing = false;
    world.deployment.task_ends("t2", "done").await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_crashed_loop_left_in_the_tree_is_undone_and_no_reason_to_wait_for_a_person() {
    let world = World::start().await;
    {
        let mut state = world.tasks.state();
        state.panics = 1;
        // The first look after the crash, with the tries again of git.
        state.undo_fails = 4;
    }
    world.deployment.add_task("t1", "implement login");
    let card = world
        .until_card(QUEUE, |card| card.phase == Phase::Blocked)
        .await;
    assert!(card.detail.contains("index.lock"), "{}", card.detail);
    world.deployment.task_ends("t1", "done").await;
    assert_eq!(world.tasks.state().undone, 1);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_paused_worker_brings_its_task_to_its_end_and_takes_no_other() {
    let world = World::start().await;
    world.tasks.hold();
    world.deployment.add_task("t1", "implement login");
    world.deployment.add_task("t2", "add validation");
    world.tasks.until_running().await;
    world.reload(|worker| worker.paused = true).await;
    world.tasks.let_go();
    world.deployment.task_ends("t1", "done").await;
    world.until_gone(QUEUE).await;
    world.quiet().await;
    assert_eq!(world.deployment.task("t2").state, "queued");
    world.reload(|worker| worker.paused = false).await;
    world.deployment.task_ends("t2", "done").await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn other_settings_hold_from_the_next_task_on() {
    let world = World::start().await;
    world.tasks.hold();
    world.deployment.add_task("t1", "implement login");
    world.deployment.add_task("t2", "add validation");
    world.tasks.until_running().await;
    let prefixed = TaskSettings {
        git: GitSettings {
            branch_prefix: "task-".to_owned(),
            ..GitSettings::default()
        },
        ..TaskSettings::default()
    };
    let prefixed = Arc::new(prefixed);
    world.reload(|worker| worker.tasks = prefixed.clone()).await;
    world.tasks.let_go();
    world.deployment.task_ends("t2", "done").await;
    let branches = world.tasks.state().branches.clone();
    assert_eq!(branches, ["1282544961935709", "task-2456583589892771"]);
    // Switched off, the next one waits.
    let off = Arc::new(TaskSettings {
        enabled: false,
        ..TaskSettings::default()
    });
    world.reload(|worker| worker.tasks = off.clone()).await;
    world.deployment.add_task("t3", "write tests");
    world.quiet().await;
    assert_eq!(world.deployment.task("t3").state, "queued");
    assert!(world.card(QUEUE).is_none());
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_revoked_and_a_displaced_worker_stop_their_task() {
    for displaced in [false, true] {
        let world = World::start().await;
        world.tasks.hold();
        world.deployment.add_task("t1", "implement login");
        world.tasks.until_running().await;
        if displaced {
            world.deployment.displace();
        } else {
            world.deployment.set_revoked(true);
        }
        world.until_gone(QUEUE).await;
        assert_eq!(world.tasks.running(), 0);
        assert_eq!(world.tasks.state().current, "main");
        world.stop().await;
    }
}

impl World {
    async fn reload(&self, change: impl Fn(&mut WorkerSpec)) {
        let mut worker = spec("w", 300_000);
        change(&mut worker);
        let desired = Desired {
            workers: vec![worker],
        };
        self.machine.reload(desired, false).await.unwrap();
    }

    async fn until_journal_is_empty(&self) {
        for _ in 0..600 {
            if self.tasks.state().journal.is_none() {
                return;
            }
            self.quiet().await;
        }
        panic!("the journal is never cleared");
    }
}

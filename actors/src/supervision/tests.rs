//! How ractor reports each end of a child, and what the restart policy makes of it.

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use tokio::sync::mpsc;

use super::{ChildEnd, child_end};

/// A child that ends as it is told to.
struct Child;

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    PanicInPreStart,
    FailInPreStart,
    PanicInPostStart,
    FailInPostStart,
    PanicInHandle,
    FailInHandle,
    Stop,
    Never,
}

impl Actor for Child {
    type Msg = ();
    type State = End;
    type Arguments = End;

    async fn pre_start(&self, _: ActorRef<()>, end: End) -> Result<End, ActorProcessingErr> {
        match end {
            End::PanicInPreStart => panic!("in pre_start"),
            End::FailInPreStart => Err("in pre_start".into()),
            other => Ok(other),
        }
    }

    async fn post_start(&self, _: ActorRef<()>, end: &mut End) -> Result<(), ActorProcessingErr> {
        match end {
            End::PanicInPostStart => panic!("in post_start"),
            End::FailInPostStart => Err("in post_start".into()),
            _ => Ok(()),
        }
    }

    async fn handle(
        &self,
        myself: ActorRef<()>,
        (): (),
        end: &mut End,
    ) -> Result<(), ActorProcessingErr> {
        match end {
            End::PanicInHandle => panic!("in handle"),
            End::FailInHandle => return Err("in handle".into()),
            End::Stop => myself.stop(None),
            _ => {}
        }
        Ok(())
    }
}

struct Parent;

impl Actor for Parent {
    type Msg = ();
    type State = mpsc::UnboundedSender<ChildEnd>;
    type Arguments = mpsc::UnboundedSender<ChildEnd>;

    async fn pre_start(
        &self,
        _: ActorRef<()>,
        ends: Self::State,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(ends)
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<()>,
        event: SupervisionEvent,
        ends: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        if let Some(end) = child_end(&event) {
            let _ = ends.send(end);
        }
        Ok(())
    }
}

async fn parent() -> (ActorCell, mpsc::UnboundedReceiver<ChildEnd>) {
    let (ends, received) = mpsc::unbounded_channel();
    let (parent, _) = Actor::spawn(None, Parent, ends).await.unwrap();
    (parent.get_cell(), received)
}

#[tokio::test]
async fn a_child_that_fails_in_pre_start_is_told_to_who_started_it_and_to_nobody_else() {
    for end in [End::PanicInPreStart, End::FailInPreStart] {
        let (parent, mut ends) = parent().await;
        let started = Child::spawn_linked(None, Child, end, parent.clone()).await;
        assert!(matches!(started, Err(SpawnErr::StartupFailed(_))));
        parent.stop(None);
        assert_eq!(ends.recv().await, None);
    }
}

#[tokio::test]
async fn a_child_that_fails_in_post_start_or_in_its_handler_has_crashed() {
    for (end, text) in [
        (End::PanicInPostStart, "in post_start"),
        (End::FailInPostStart, "in post_start"),
        (End::PanicInHandle, "in handle"),
        (End::FailInHandle, "in handle"),
    ] {
        let (parent, mut ends) = parent().await;
        let (child, _) = Child::spawn_linked(None, Child, end, parent.clone())
            .await
            .unwrap();
        let _ = child.cast(());
        match ends.recv().await {
            Some(ChildEnd::Crashed(id, error)) => {
                assert_eq!(id, child.get_id());
                assert!(error.contains(text), "{error}");
            }
            other => panic!("{other:?}"),
        }
        parent.stop(None);
    }
}

#[tokio::test]
async fn a_killed_or_aborted_child_has_crashed_and_only_a_stopped_one_has_not() {
    let (parent, mut ends) = parent().await;
    let spawn = |end| Child::spawn_linked(None, Child, end, parent.clone());
    let (killed, _) = spawn(End::Never).await.unwrap();
    killed.kill();
    let expected = ChildEnd::Crashed(killed.get_id(), "killed".to_owned());
    assert_eq!(ends.recv().await, Some(expected));
    let (aborted, task) = spawn(End::Never).await.unwrap();
    task.abort();
    let expected = ChildEnd::Crashed(aborted.get_id(), "actor_task_cancelled".to_owned());
    assert_eq!(ends.recv().await, Some(expected));
    let (stopped, _) = spawn(End::Stop).await.unwrap();
    stopped.cast(()).unwrap();
    assert_eq!(ends.recv().await, Some(ChildEnd::Stopped(stopped.get_id())));
    parent.stop(None);
}

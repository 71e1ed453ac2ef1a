//! What the link adds: finishes through the outbox, replays, displacement, flushing.

use std::sync::Arc;
use std::time::Duration;

use orchestrator_actors::domain::ids::{DeploymentUrl, TurnId};
use orchestrator_actors::domain::item::{Draft, ItemKind};
use orchestrator_actors::domain::token::WorkerToken;
use orchestrator_actors::domain::turn::{Ending, Outcome};
use orchestrator_actors::ports::link::{
    Credential, Finished, Link, LinkDown, LinkPhase, StreamError,
};
use orchestrator_actors::ports::outbox::{FinishRecord, Outbox};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::super::connection::Settings;
use super::super::link::{ConvexLink, ConvexLinks};
use super::server::{Fault, Server};
use super::{quick, until, within};
use crate::adapters::outbox::FileOutbox;

/// A link, its outbox, and whoever drives it.
pub struct Rig {
    pub link: Arc<ConvexLink>,
    pub outbox: Arc<FileOutbox>,
    pub drive: Option<AbortOnDropHandle<LinkDown>>,
    pub folder: TempDir,
}

impl Rig {
    pub fn new(server: &Server) -> Self {
        Self::in_folder(server, quick(), tempfile::tempdir().unwrap())
    }

    pub fn in_folder(server: &Server, settings: Settings, folder: TempDir) -> Self {
        let outbox = FileOutbox::open(&folder.path().join("outbox.ndjson")).unwrap();
        let outbox = Arc::new(outbox);
        let url = DeploymentUrl::new(&server.url);
        let link = ConvexLink::new(&url, settings, Arc::clone(&outbox) as Arc<dyn Outbox>);
        let mut rig = Self {
            link,
            outbox,
            drive: None,
            folder,
        };
        rig.drive_again();
        rig
    }

    pub fn drive_again(&mut self) {
        drop(self.drive.take());
        let drive = tokio::spawn(self.link.drive());
        self.drive = Some(AbortOnDropHandle::new(drive));
    }
}

pub fn credential(epoch: u64) -> Credential {
    let token = WorkerToken::parse("machine_m:worker_w:secret_s").unwrap();
    Credential {
        token: Arc::new(token),
        epoch,
    }
}

pub fn text(content: &str) -> Vec<Draft> {
    vec![Draft {
        part_id: "p".to_owned(),
        kind: ItemKind::Text,
        content: content.to_owned(),
    }]
}

fn numbers(count: usize) -> String {
    let numbers: Vec<String> = (0..count).map(|n| n.to_string()).collect();
    numbers.join(" ")
}

#[tokio::test]
async fn a_finish_goes_through_the_outbox_with_what_is_left() {
    let server = Server::start().await;
    let mut rig = Rig::new(&server);
    rig.drive = None;
    let turn = TurnId::from("t");
    rig.link.open_stream(turn.clone(), credential(1), 0);
    rig.link.push(&turn, text("hello")).unwrap();
    let ending = Ending::because(Outcome::Failed, "provider", "no money");
    let finish = tokio::spawn(rig.link.finish(turn.clone(), credential(1), ending.clone()));
    until("the record", || rig.outbox.depth() == 1).await;
    let record = &rig.outbox.pending(credential(1).worker())[0];
    assert_eq!(record.ending, ending);
    assert_eq!(record.items[0].content, "hello");
    assert_eq!(
        rig.link.push(&turn, text("late")),
        Err(StreamError::Unknown)
    );

    rig.drive_again();
    let finished = within("the finish", finish).await.unwrap();
    assert_eq!(finished, Ok(Finished::Closed));
    assert_eq!(rig.outbox.depth(), 0);
    {
        let world = server.world();
        let stored = &world.turns["t"];
        assert_eq!(stored.text(), "hello");
        let closed = stored.closed.as_ref().unwrap();
        assert_eq!(closed["outcome"], "failed");
        assert_eq!(closed["error"]["code"], "provider");
        assert!(closed.get("usage").is_none(), "null is not absent");
        assert_eq!(closed["items"][0]["partId"], "p");
    }
    let again = rig.link.finish(turn, credential(1), Ending::complete(None));
    assert_eq!(within("the second", again).await, Ok(Finished::Already));
}

#[tokio::test]
async fn a_finish_whose_caller_and_bridge_are_gone_still_happens_once() {
    let server = Server::with_faults(|nth| (nth == 1).then_some(Fault::AfterCommit)).await;
    let mut rig = Rig::new(&server);
    let turn = TurnId::from("t");
    drop(
        rig.link
            .finish(turn.clone(), credential(1), Ending::complete(None)),
    );
    rig.drive_again();
    until("an empty outbox", || {
        server.world().turns.contains_key("t") && rig.outbox.depth() == 0
    })
    .await;
    assert_eq!(server.world().turns["t"].finishes, 1);
}

#[tokio::test]
async fn what_a_killed_supervisor_left_is_replayed_under_the_next_epoch() {
    let mut server = Server::start().await;
    server.stop().await;
    let mut rig = Rig::new(&server);
    let turn = TurnId::from("t");
    rig.link.open_stream(turn.clone(), credential(1), 0);
    rig.link.push(&turn, text("the whole answer")).unwrap();
    let _lost = rig
        .link
        .finish(turn.clone(), credential(1), Ending::complete(None));
    until("the record", || rig.outbox.depth() == 1).await;
    let folder = std::mem::replace(&mut rig.folder, tempfile::tempdir().unwrap());
    drop(rig);

    server.start_again().await;
    server.world().epoch = 2;
    let rig = Rig::in_folder(&server, quick(), folder);
    let replayed = within("the replay", rig.link.replay(credential(2))).await;
    assert_eq!(replayed, Ok(1));
    assert_eq!(rig.outbox.depth(), 0);
    let stored = server.world().turns["t"].clone();
    assert_eq!(stored.text(), "the whole answer");
    assert!(stored.closed.is_some());
    assert_eq!(
        within("an empty one", rig.link.replay(credential(2))).await,
        Ok(0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_replay_keeps_its_order_and_a_second_one_changes_nothing() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let record = |n: usize| FinishRecord {
        worker: credential(1).worker().clone(),
        turn: TurnId::new(format!("t{n}")),
        ending: Ending::complete(None),
        items: Vec::new(),
    };
    let outbox = FileOutbox::open(&folder.path().join("outbox.ndjson")).unwrap();
    for n in 0..100 {
        outbox.put(record(n)).await.unwrap();
    }
    drop(outbox);
    let rig = Rig::in_folder(&server, quick(), folder);
    let replayed = within("the replay", rig.link.replay(credential(1))).await;
    assert_eq!(replayed, Ok(100));
    let in_order: Vec<String> = (0..100).map(|n| format!("t{n}")).collect();
    assert_eq!(server.world().closed, in_order);

    // A kill before the acknowledgements were on disk: all of them again.
    for n in 0..100 {
        rig.outbox.put(record(n)).await.unwrap();
    }
    let replayed = within("the replay", rig.link.replay(credential(1))).await;
    assert_eq!(replayed, Ok(100));
    assert_eq!(server.world().closed, in_order);
    assert_eq!(rig.outbox.depth(), 0);
}

#[tokio::test]
async fn a_replay_appends_first_what_does_not_fit_and_skips_what_is_there() {
    let mut server = Server::start().await;
    let mut rig = Rig::new(&server);
    let turn = TurnId::from("t");
    let long: String = numbers(200_000);
    rig.link.open_stream(turn.clone(), credential(1), 0);
    rig.link.push(&turn, text("begin ")).unwrap();
    until("the first item", || !server.world().turns.is_empty()).await;
    server.stop().await;
    rig.link.push(&turn, text(&long)).unwrap();
    let _lost = rig
        .link
        .finish(turn.clone(), credential(1), Ending::complete(None));
    until("the record", || rig.outbox.depth() == 1).await;
    let folder = std::mem::replace(&mut rig.folder, tempfile::tempdir().unwrap());
    drop(rig);

    server.start_again().await;
    // Drops along the way, and the deployment is ahead of the record by what it had.
    server.script(|nth| (nth % 3 == 0).then_some(Fault::AfterCommit));
    let rig = Rig::in_folder(&server, quick(), folder);
    let replayed = within("the replay", rig.link.replay(credential(1))).await;
    assert_eq!(replayed, Ok(1));
    let world = server.world();
    assert_eq!(world.turns["t"].text(), format!("begin {long}"));
    assert!(world.largest_append <= 256 * 1024);
}

#[tokio::test]
async fn a_displaced_turn_waits_in_the_outbox_for_the_next_epoch() {
    let server = Server::start().await;
    let rig = Rig::new(&server);
    let turn = TurnId::from("t");
    rig.link.open_stream(turn.clone(), credential(1), 0);
    server.world().epoch = 2;
    rig.link.push(&turn, text("hello")).unwrap();
    let ending = Ending::complete(None);
    let finish = rig.link.finish(turn.clone(), credential(1), ending);
    let refused = within("the refusal", finish).await.unwrap_err();
    assert_eq!(refused.code(), "displaced");
    assert_eq!(rig.outbox.depth(), 1);
    assert_eq!(
        within("the replay", rig.link.replay(credential(2))).await,
        Ok(1)
    );
    assert_eq!(server.world().turns["t"].text(), "hello");
}

#[tokio::test]
async fn a_bad_item_fails_its_own_turn_and_that_turn_can_still_be_finished() {
    let server = Server::start().await;
    let rig = Rig::new(&server);
    for n in 0..4 {
        let turn = TurnId::new(format!("t{n}"));
        rig.link.open_stream(turn.clone(), credential(1), 0);
        let content = if n == 2 { "☠" } else { "fine" };
        let draft = |part: &str, content: &str| Draft {
            part_id: part.to_owned(),
            kind: ItemKind::Text,
            content: content.to_owned(),
        };
        let drafts = vec![
            draft("a", "before "),
            draft("b", content),
            draft("c", "after"),
        ];
        rig.link.push(&turn, drafts).unwrap();
    }
    for n in 0..4 {
        let turn = TurnId::new(format!("t{n}"));
        let finish = rig.link.finish(turn, credential(1), Ending::complete(None));
        assert_eq!(within("a finish", finish).await, Ok(Finished::Closed));
    }
    let world = server.world();
    for n in 0..4 {
        let stored = &world.turns[&format!("t{n}")];
        let expected = if n == 2 {
            "before "
        } else {
            "before fineafter"
        };
        assert_eq!(stored.text(), expected);
    }
}

#[tokio::test]
async fn a_finish_that_fails_again_and_again_brings_the_answer_twice_at_most_and_closes_once() {
    let server = Server::start().await;
    server.world().refuses_finishes = true;
    let rig = Rig::new(&server);
    let turn = TurnId::from("t");
    let whole = numbers(20_000);
    rig.link.open_stream(turn.clone(), credential(1), 0);
    rig.link.push(&turn, text(&whole)).unwrap();
    let mut brought = Vec::new();
    for _ in 0..3 {
        let ending = Ending::complete(None);
        let finish = rig.link.finish(turn.clone(), credential(1), ending);
        let refused = tokio::time::timeout(Duration::from_mins(1), finish).await;
        assert_eq!(refused.unwrap().unwrap_err().code(), "server");
        assert_eq!(server.world().turns["t"].text(), whole);
        assert_eq!(rig.outbox.depth(), 1);
        brought.push(server.world().brought);
    }
    // With the finish, once more with it, and then as appends.
    assert!(brought[0] <= 3 * whole.len(), "{brought:?}");
    assert_eq!(brought[0], brought[2], "{brought:?}");

    server.world().refuses_finishes = false;
    let finish = rig.link.finish(turn, credential(1), Ending::complete(None));
    assert_eq!(within("the finish", finish).await, Ok(Finished::Closed));
    let stored = server.world().turns["t"].clone();
    assert_eq!((stored.text(), stored.finishes), (whole, 1));
    assert_eq!(rig.outbox.depth(), 0);
}

#[tokio::test]
async fn a_part_that_was_refused_is_not_forgotten_between_two_tries_of_a_finish() {
    let server = Server::start().await;
    server.world().refuses_finishes = true;
    let rig = Rig::new(&server);
    let turn = TurnId::from("t");
    rig.link.open_stream(turn.clone(), credential(1), 0);
    rig.link.push(&turn, text("☠")).unwrap();
    let finish = |ending| rig.link.finish(turn.clone(), credential(1), ending);
    let refused = tokio::time::timeout(Duration::from_mins(1), finish(Ending::complete(None)));
    assert_eq!(refused.await.unwrap().unwrap_err().code(), "server");
    server.world().refuses_finishes = false;
    let finished = within("the finish", finish(Ending::complete(None))).await;
    assert_eq!(finished, Ok(Finished::Closed));
    let closed = server.world().turns["t"].closed.clone().unwrap();
    assert_eq!(closed["outcome"], "failed", "{closed}");
    assert_eq!(closed["error"]["code"], "stream_refused");
}

#[tokio::test]
async fn flush_says_whether_everything_is_there() {
    let mut server = Server::start().await;
    let rig = Rig::new(&server);
    let turn = TurnId::from("t");
    rig.link.open_stream(turn.clone(), credential(1), 0);
    rig.link.push(&turn, text("hello")).unwrap();
    let _call = rig.link.mutate("test:bump", json!({}));
    assert!(within("the flush", rig.link.flush(10_000)).await);
    assert_eq!(server.world().turns["t"].text(), "hello");
    assert_eq!(server.world().counter, 1);
    assert_eq!(rig.link.status().waiting, 0);
    assert_eq!(rig.link.status().phase, LinkPhase::Synced);
    server.stop().await;
    rig.link.push(&turn, text(" again")).unwrap();
    assert!(!within("the flush", rig.link.flush(50)).await);
    until("the outage", || {
        rig.link.status().phase != LinkPhase::Synced
    })
    .await;
    assert!(rig.link.status().waiting > 0);
}

#[tokio::test]
async fn a_watch_survives_a_new_driver_and_a_new_server() {
    let mut server = Server::start().await;
    let mut rig = Rig::new(&server);
    let (to, mut results) = mpsc::channel(1);
    rig.link.watch("test:counter", json!({}), to);
    assert_eq!(
        within("the first", results.recv()).await,
        Some(Ok(json!(0)))
    );
    rig.drive_again();
    server.stop().await;
    server.world().counter = 5;
    server.start_again().await;
    assert_eq!(within("the next", results.recv()).await, Some(Ok(json!(5))));
    drop(results);
    until("no subscription", || server.world().subscribed == 0).await;
}

#[tokio::test]
async fn a_thousand_waiting_calls_are_enough() {
    let mut server = Server::start().await;
    server.stop().await;
    let settings = Settings {
        max_calls: 3,
        ..quick()
    };
    let rig = Rig::in_folder(&server, settings, tempfile::tempdir().unwrap());
    let waiting: Vec<_> = (0..3)
        .map(|_| rig.link.mutate("test:bump", json!({})))
        .collect();
    let refused = within("the refusal", rig.link.mutate("test:bump", json!({}))).await;
    assert_eq!(refused.unwrap_err().code(), "queue_full");
    server.start_again().await;
    for call in waiting {
        within("an answer", call).await.unwrap();
    }
    assert_eq!(server.world().counter, 3);
}

#[tokio::test]
async fn appends_keep_their_distance_and_merge_what_comes_between() {
    let server = Server::start().await;
    let spacing = Duration::from_millis(100);
    let settings = Settings {
        append_spacing: spacing,
        ..quick()
    };
    let rig = Rig::in_folder(&server, settings, tempfile::tempdir().unwrap());
    let turn = TurnId::from("t");
    rig.link.open_stream(turn.clone(), credential(1), 0);
    let begun = tokio::time::Instant::now();
    for n in 0..40 {
        let gap = if n == 0 { "" } else { " " };
        rig.link.push(&turn, text(&format!("{gap}{n}"))).unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(within("the flush", rig.link.flush(10_000)).await);
    let most = begun.elapsed().as_millis() / spacing.as_millis() + 1;
    let appends = server.world().ran.len() as u128;
    assert!(appends <= most, "{appends} appends, {most} at most");
    let all: String = numbers(40);
    assert_eq!(server.world().turns["t"].text(), all);
}

#[tokio::test]
async fn there_is_one_link_per_deployment() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = FileOutbox::open(&folder.path().join("outbox.ndjson")).unwrap();
    let links = ConvexLinks::new(Arc::new(outbox));
    let a = links.link(&DeploymentUrl::new("http://127.0.0.1:1"));
    let b = links.link(&DeploymentUrl::new("http://127.0.0.1:2"));
    assert!(Arc::ptr_eq(
        &a,
        &links.link(&DeploymentUrl::new("http://127.0.0.1:1"))
    ));
    assert!(!Arc::ptr_eq(&a, &b));
}

#[tokio::test]
async fn the_link_of_a_removed_deployment_is_dropped_when_nobody_holds_it_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = FileOutbox::open(&folder.path().join("outbox.ndjson")).unwrap();
    let links = ConvexLinks::new(Arc::new(outbox));
    let (kept, removed) = (
        DeploymentUrl::new("http://127.0.0.1:1"),
        DeploymentUrl::new("http://127.0.0.1:2"),
    );
    let (idle, flushing) = (links.link(&kept), links.link(&removed));
    let (idle, watched) = (Arc::downgrade(&idle), Arc::downgrade(&flushing));
    links.keep(&[&kept].into());
    assert!(Arc::ptr_eq(&flushing, &links.link(&removed)));
    drop(flushing);
    links.keep(&[&kept].into());
    assert!(watched.upgrade().is_none());
    assert!(idle.upgrade().is_some());
}

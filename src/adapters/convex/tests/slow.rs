//! A deployment that is slow or stalls, and more to say than it takes: what waits stays bounded, one append is in flight, and
//! nobody waits for more than the mutation that runs and its own. Time is paused, so the latencies are exact.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use orchestrator_actors::domain::ids::TurnId;
use orchestrator_actors::domain::item::{Draft, ItemKind};
use orchestrator_actors::domain::turn::Ending;
use orchestrator_actors::ports::link::{Finished, Link, StreamError};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::super::connection::{Settings, lock};
use super::link::{Rig, credential, text};
use super::server::{Fault, Server};
use super::{bytes_take_time, quick, until, within};

const MUTATION: Duration = Duration::from_millis(30);

async fn slow(mutation: Duration) -> (Server, Rig) {
    let server = Server::with_faults(move |_| Some(Fault::Slow(mutation))).await;
    let settings = Settings {
        call_timeout: Duration::from_mins(10),
        read_timeout: Duration::from_mins(10),
        ..quick()
    };
    let rig = Rig::in_folder(&server, settings, tempfile::tempdir().unwrap());
    (server, rig)
}

fn turns(rig: &Rig, count: usize) -> Vec<TurnId> {
    let turns: Vec<_> = (0..count).map(|n| TurnId::new(format!("t{n}"))).collect();
    for turn in &turns {
        rig.link.open_stream(turn.clone(), credential(1), 0);
    }
    turns
}

/// Pushes `deltas` to each turn, 7 ms apart; gives the 99th percentile of the time until they are acknowledged, and the
/// longest from a last delta to its turn's acknowledged end.
async fn paced(rig: &Rig, turns: &[TurnId], deltas: usize) -> (Duration, Duration) {
    let times = Arc::new(Mutex::new(Vec::new()));
    let mut pushed = tokio::task::JoinSet::new();
    for n in 0..deltas {
        for turn in turns {
            rig.link.push(turn, text(&format!("{n} "))).unwrap();
            let (begun, there) = (Instant::now(), rig.link.flush(60_000));
            let times = Arc::clone(&times);
            pushed.spawn(async move {
                assert!(there.await);
                lock(&times).push(begun.elapsed());
            });
        }
        sleep(Duration::from_millis(7)).await;
    }
    let begun = Instant::now();
    let finishes = turns.iter().map(|turn| {
        let ending = Ending::complete(None);
        rig.link.finish(turn.clone(), credential(1), ending)
    });
    let mut ends: Vec<_> = finishes
        .map(|finish| tokio::spawn(async move { (finish.await, Instant::now()) }))
        .collect();
    let mut longest = Duration::ZERO;
    for end in &mut ends {
        let (finished, at) = within("a finish", end).await.unwrap();
        assert_eq!(finished, Ok(Finished::Closed));
        longest = longest.max(at - begun);
    }
    while pushed.join_next().await.is_some() {}
    let mut times = lock(&times).clone();
    times.sort_unstable();
    (times[times.len() * 99 / 100], longest)
}

#[tokio::test(start_paused = true)]
async fn a_delta_waits_for_the_append_in_flight_and_its_own() {
    let _pace = bytes_take_time(Duration::from_millis(2));
    let (server, rig) = slow(MUTATION).await;
    let turns = turns(&rig, 1);
    let (p99, end) = paced(&rig, &turns, 300).await;
    assert!(p99 <= Duration::from_millis(75), "p99 of a delta: {p99:?}");
    assert!(
        end <= Duration::from_millis(75),
        "last delta to finished: {end:?}"
    );
    assert_eq!(server.world().overlapping, 0);
}

#[tokio::test(start_paused = true)]
async fn ten_sessions_share_the_one_append_in_flight() {
    let _pace = bytes_take_time(Duration::from_millis(2));
    let (server, rig) = slow(MUTATION).await;
    let turns = turns(&rig, 10);
    let (p99, _) = paced(&rig, &turns, 200).await;
    assert!(p99 <= Duration::from_millis(120), "p99 of a delta: {p99:?}");
    let world = server.world();
    assert_eq!(world.overlapping, 0, "appends in flight beside another one");
    assert_eq!(world.widest_append, 10);
    let all: String = (0..200).map(|n| format!("{n} ")).collect();
    assert!(world.turns.values().all(|turn| turn.text() == all));
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_takes_five_seconds_hears_a_thousand_updates_in_few_calls() {
    let _pace = bytes_take_time(Duration::from_millis(20));
    let (server, rig) = slow(Duration::from_secs(5)).await;
    let (to, mut results) = mpsc::channel(1);
    rig.link.watch("test:counter", json!({}), to);
    let turn = turns(&rig, 1).remove(0);
    let mut whole = String::new();
    for n in 0..1_000 {
        let said = format!("{n} ");
        rig.link.push(&turn, text(&said)).unwrap();
        whole += &said;
        server.world().counter += 1;
        sleep(Duration::from_millis(20)).await;
        assert!(rig.link.status().waiting <= 2, "calls pile up");
        assert!(rig.link.unacknowledged() < 16 * 1024);
    }
    assert!(within("the flush", rig.link.flush(60_000)).await);
    assert!(server.world().ran.len() <= 8, "{:?}", server.world().ran);
    assert_eq!(server.world().turns["t0"].text(), whole);
    let mut heard = Vec::new();
    while heard.last() != Some(&json!(1_000)) {
        heard.push(within("a result", results.recv()).await.unwrap().unwrap());
    }
    assert!(heard.len() <= 8, "{} results", heard.len());
}

#[tokio::test]
async fn a_hundred_thousand_deltas_meet_a_stalled_deployment() {
    let server = Server::with_faults(|_| Some(Fault::Silence)).await;
    let settings = Settings {
        call_timeout: Duration::from_mins(10),
        read_timeout: Duration::from_mins(10),
        ..quick()
    };
    let mut rig = Rig::in_folder(&server, settings, tempfile::tempdir().unwrap());
    let turns = turns(&rig, 10);
    let delta = "0123456789 ".repeat(20);
    let mut missed = 0;
    for n in 0..100_000 {
        let pushed = rig.link.push(&turns[n % 10], text(&delta));
        // A full stream goes on, and says so to whoever can have the answer from elsewhere.
        assert!(
            matches!(pushed, Ok(()) | Err(StreamError::Missed)),
            "{pushed:?}"
        );
        missed += usize::from(pushed.is_err());
        if n % 1_000 == 0 {
            tokio::task::yield_now().await;
        }
    }
    assert!(missed > 10_000, "{missed}");
    let held = rig.link.unacknowledged();
    assert!((7_000_000..10_000_000).contains(&held), "{held} bytes wait");

    server.script(|_| None);
    rig.drive_again();
    for turn in &turns {
        let finish = rig
            .link
            .finish(turn.clone(), credential(1), Ending::complete(None));
        assert_eq!(within("a finish", finish).await, Ok(Finished::Closed));
    }
    let world = server.world();
    let (mut kept, mut missing) = (0, 0);
    for turn in world.turns.values() {
        let said = turn.text();
        let (before, note) = said
            .split_once("\n[")
            .expect("it says that something is missing");
        kept += before.len();
        missing += note.split(' ').next().unwrap().parse::<usize>().unwrap();
    }
    assert_eq!(kept + missing, 100_000 * delta.len());
    assert_eq!(rig.link.unacknowledged(), 0);
}

#[tokio::test]
async fn a_recovered_answer_that_meets_a_stalled_deployment_waits_for_room_and_arrives_whole() {
    let server = Server::with_faults(|_| Some(Fault::Silence)).await;
    let settings = Settings {
        call_timeout: Duration::from_mins(10),
        read_timeout: Duration::from_mins(10),
        ..quick()
    };
    let mut rig = Rig::in_folder(&server, settings, tempfile::tempdir().unwrap());
    let turns = turns(&rig, 2);
    let piece = "0123456789abcdef".repeat(3 * 1024);
    for _ in 0..50 {
        rig.link.push(&turns[1], text(&piece)).unwrap();
    }
    let held = rig.link.unacknowledged();
    let whole: Vec<Draft> = (0..200).flat_map(|_| text(&piece)).collect();
    let mut recovery =
        AbortOnDropHandle::new(tokio::spawn(rig.link.recover(turns[0].clone(), whole)));
    let waits = tokio::time::timeout(Duration::from_millis(200), &mut recovery).await;
    assert!(waits.is_err(), "{waits:?}");
    assert_eq!(rig.link.unacknowledged(), held, "copies of what waits");

    server.script(|_| None);
    rig.drive_again();
    within("a recovery", recovery).await.unwrap().unwrap();
    for turn in &turns {
        let ending = Ending::complete(None);
        let finish = rig.link.finish(turn.clone(), credential(1), ending);
        assert_eq!(within("a finish", finish).await, Ok(Finished::Closed));
    }
    assert_eq!(server.world().turns["t0"].text(), piece.repeat(200));
    assert_eq!(rig.link.unacknowledged(), 0);
}

#[tokio::test]
async fn a_burst_of_fifty_thousand_deltas_arrives_whole() {
    let server = Server::start().await;
    let rig = Rig::new(&server);
    let turn = turns(&rig, 1).remove(0);
    let mut whole = String::new();
    for n in 0..50_000 {
        let content = format!("{n} ");
        whole += &content;
        let draft = Draft {
            part_id: format!("part{}", n / 5_000),
            kind: ItemKind::Text,
            content,
        };
        rig.link.push(&turn, vec![draft]).unwrap();
    }
    let finish = rig.link.finish(turn, credential(1), Ending::complete(None));
    assert_eq!(within("the finish", finish).await, Ok(Finished::Closed));
    assert_eq!(server.world().turns["t0"].text(), whole);
    assert!(server.world().largest_append <= 256 * 1024);
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_holds_nobody_up_and_gets_the_latest() {
    let server = Server::start().await;
    let rig = Rig::new(&server);
    let (to, mut stalled) = mpsc::channel(1);
    rig.link.watch("test:counter", json!({}), to);
    for _ in 0..1_000 {
        within("an answer", rig.link.mutate("test:bump", json!({})))
            .await
            .unwrap();
    }
    let mut heard = 0;
    until("the subscription is there", || {
        server.world().subscribed == 1
    })
    .await;
    while within("the latest", stalled.recv()).await != Some(Ok(json!(1_000))) {
        heard += 1;
    }
    assert!(heard <= 3, "{heard} old results were kept");
}

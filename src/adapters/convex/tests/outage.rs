//! A deployment that is away: for a minute, for hours, from the start, behind a network that swallows everything, or
//! because the machine slept. Time is paused: hours pass in milliseconds, and every attempt is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use orchestrator_actors::domain::ids::TurnId;
use orchestrator_actors::domain::turn::Ending;
use orchestrator_actors::ports::link::{Finished, Link, LinkPhase};
use orchestrator_actors::ports::outbox::Outbox;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::super::connection::{Connection, Settings};
use super::link::{Rig, credential, text};
use super::server::{Fault, Server};
use super::{bytes_take_time, quick, until, within};

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

async fn dead() -> Server {
    let mut server = Server::start().await;
    server.stop().await;
    server
}

#[tokio::test(start_paused = true)]
async fn a_dead_deployment_costs_at_most_twenty_attempts_in_its_first_minute() {
    for suited_to in [
        "http://127.0.0.1:3210",
        "https://happy-otter-1.convex.cloud",
    ] {
        for _ in 0..50 {
            let server = dead().await;
            let connection = Connection::new(&server.url, Settings::suited_to(suited_to), None);
            let driven = Arc::clone(&connection);
            let _drive = AbortOnDropHandle::new(tokio::spawn(async move { driven.drive().await }));
            sleep(MINUTE).await;
            let attempts = connection.standing().borrow().attempts;
            assert!((8..=20).contains(&attempts), "{attempts} to {suited_to}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn hours_without_a_network_end_with_the_same_session_and_every_word() {
    let mut server = Server::start().await;
    let settings = Settings::suited_to("https://happy-otter-1.convex.cloud");
    let rig = Rig::in_folder(&server, settings, tempfile::tempdir().unwrap());
    let turn = TurnId::from("t");
    let pace = bytes_take_time(Duration::from_millis(20));
    let (to, mut inbox) = mpsc::channel(4);
    rig.link.watch("test:counter", json!({}), to);
    rig.link.open_stream(turn.clone(), credential(1), 0);
    rig.link.push(&turn, text("before ")).unwrap();
    assert!(within("the flush", rig.link.flush(10_000)).await);
    assert_eq!(within("it", inbox.recv()).await, Some(Ok(json!(0))));

    server.stop().await;
    drop(pace);
    let beat = tokio::spawn(rig.link.mutate("test:bump", json!({})));
    let mut whole = "before ".to_owned();
    for n in 0..60 * 8 {
        sleep(MINUTE).await;
        let said = format!("{n} ");
        rig.link.push(&turn, text(&said)).unwrap();
        whole += &said;
        let status = rig.link.status();
        assert_ne!(status.phase, LinkPhase::Synced, "it shows what is not so");
        assert!(
            status.last_error.is_some() && status.waiting == 2,
            "{status:?}"
        );
    }
    let attempts = rig.link.status().attempts;
    assert!((8 * 240..8 * 330).contains(&attempts), "{attempts}");
    // Now packets vanish: connections come about and nothing is ever said on them.
    let address = server.url.trim_start_matches("http://");
    let hole = std::net::TcpListener::bind(address).unwrap();
    sleep(HOUR).await;
    let reason = rig.link.status().last_error.unwrap();
    assert!(reason.contains("no connection within"), "{reason}");
    let finish = tokio::spawn(
        rig.link
            .finish(turn.clone(), credential(1), Ending::complete(None)),
    );
    until("the record", || rig.outbox.depth() == 1).await;
    sleep(HOUR).await;
    drop(hole);

    let _pace = bytes_take_time(Duration::from_millis(20));
    let back = Instant::now();
    server.start_again().await;
    // The pause and the connection that the hole still holds may add up to more than `within` waits.
    let finished = tokio::time::timeout(MINUTE, finish).await.unwrap().unwrap();
    assert_eq!(finished, Ok(Finished::Closed));
    assert!(
        back.elapsed() <= Duration::from_secs(30),
        "{:?}",
        back.elapsed()
    );
    within("the call", beat).await.unwrap().unwrap();
    assert_eq!(within("the news", inbox.recv()).await, Some(Ok(json!(1))));
    let world = server.world();
    assert_eq!(world.turns["t"].text(), whole);
    assert_eq!((world.turns["t"].finishes, world.counter), (1, 1));
    let session = &world.connects[0].0;
    assert!(world.connects.iter().all(|(one, _)| one == session));
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_is_down_at_the_start_is_found_when_it_comes() {
    let mut server = dead().await;
    let settings = Settings::suited_to("http://127.0.0.1:3210");
    let rig = Rig::in_folder(&server, settings, tempfile::tempdir().unwrap());
    let call = tokio::spawn(rig.link.mutate("test:bump", json!({})));
    sleep(10 * MINUTE).await;
    assert_ne!(rig.link.status().phase, LinkPhase::Synced);
    let _pace = bytes_take_time(Duration::from_millis(20));
    let back = Instant::now();
    server.start_again().await;
    assert_eq!(within("the answer", call).await.unwrap(), Ok(json!(1)));
    assert!(
        back.elapsed() <= Duration::from_secs(8),
        "{:?}",
        back.elapsed()
    );
    assert_eq!(rig.link.status().phase, LinkPhase::Synced);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_wakes_up_believes_neither_its_socket_nor_its_pause() {
    static SLEPT: AtomicU64 = AtomicU64::new(0);
    let _pace = bytes_take_time(Duration::from_millis(100));
    let mut server = Server::start().await;
    let settings = Settings {
        read_timeout: HOUR,
        backoff_first: HOUR,
        backoff_cap: HOUR,
        slept_ms: || SLEPT.load(Ordering::SeqCst),
        ..quick()
    };
    let rig = Rig::in_folder(&server, settings, tempfile::tempdir().unwrap());
    until("it is there", || {
        rig.link.status().phase == LinkPhase::Synced
    })
    .await;
    sleep(MINUTE).await;
    assert_eq!(server.world().connects.len(), 1);

    // The lid was closed over lunch; the peer has forgotten us and says nothing.
    SLEPT.fetch_add(3_600_000, Ordering::SeqCst);
    let woken = Instant::now();
    until("the old socket is given up", || {
        rig.link.status().phase == LinkPhase::Offline
    })
    .await;
    let reason = rig.link.status().last_error.unwrap();
    assert_eq!(reason, "the machine slept for 3600 s");
    assert!(
        woken.elapsed() <= Duration::from_secs(3),
        "{:?}",
        woken.elapsed()
    );

    // Closed again while it waits for its next attempt, which is an hour away.
    server.stop().await;
    sleep(MINUTE).await;
    server.start_again().await;
    SLEPT.fetch_add(3_600_000, Ordering::SeqCst);
    let woken = Instant::now();
    until("it is there again", || {
        rig.link.status().phase == LinkPhase::Synced
    })
    .await;
    assert!(
        woken.elapsed() <= Duration::from_secs(3),
        "{:?}",
        woken.elapsed()
    );
}

#[tokio::test]
async fn a_bridge_that_dies_while_its_deployment_stalls_loses_no_chunk() {
    let server = Server::with_faults(|nth| (nth <= 2).then_some(Fault::Silence)).await;
    let settings = Settings {
        call_timeout: Duration::from_millis(100),
        ..quick()
    };
    let mut rig = Rig::in_folder(&server, settings, tempfile::tempdir().unwrap());
    let turn = TurnId::from("t");
    rig.link.open_stream(turn.clone(), credential(1), 0);
    let mut whole = String::new();
    for n in 0..200 {
        let said = format!("{n} ");
        rig.link.push(&turn, text(&said)).unwrap();
        whole += &said;
        if n % 20 == 0 {
            rig.drive_again();
            sleep(Duration::from_millis(1)).await;
        }
    }
    let finish = rig.link.finish(turn, credential(1), Ending::complete(None));
    assert_eq!(within("the finish", finish).await, Ok(Finished::Closed));
    assert_eq!(server.world().turns["t"].text(), whole);
}

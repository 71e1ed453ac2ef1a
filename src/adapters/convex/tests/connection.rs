//! Calls run exactly once and subscriptions hear what changed, whatever the sockets do.

use std::sync::Arc;
use std::time::Duration;

use orchestrator_actors::ports::link::{CallError, LinkPhase};
use serde_json::json;
use tokio_util::task::AbortOnDropHandle;

use super::super::connection::{Connection, DriveEnd, Settings};
use super::server::{Fault, Server};
use super::{quick, until, within};

fn drive(connection: &Arc<Connection>) -> AbortOnDropHandle<DriveEnd> {
    let connection = Arc::clone(connection);
    AbortOnDropHandle::new(tokio::spawn(async move { connection.drive().await }))
}

fn client(server: &Server) -> Arc<Connection> {
    Connection::new(&server.url, quick(), None)
}

/// `at_once` bumps are in flight, `total` run; every one of them exactly once.
async fn bumps(server: &Server, total: usize, at_once: usize) {
    let connection = client(server);
    let _drive = drive(&connection);
    for _ in 0..total / at_once {
        let calls: Vec<_> = (0..at_once)
            .map(|_| connection.call("test:bump", json!({})).unwrap())
            .collect();
        for call in calls {
            within("an answer", call).await.unwrap().unwrap();
        }
    }
    let world = server.world();
    assert_eq!(world.counter, total as u64);
    assert_eq!(world.ran.len(), total);
    let session = &world.connects[0].0;
    assert!(world.connects.iter().all(|(one, _)| one == session));
    let counts: Vec<u32> = world.connects.iter().map(|(_, count)| *count).collect();
    let rising: Vec<u32> = (0..counts.len() as u32).collect();
    assert_eq!(counts, rising);
}

#[tokio::test]
async fn a_drop_at_every_seventh_commit_runs_nothing_twice() {
    let every_7th = |nth| (nth % 7 == 0).then_some(Fault::AfterCommit);
    for at_once in [1, 16] {
        let server = Server::with_faults(every_7th).await;
        bumps(&server, 64, at_once).await;
        assert!(server.world().connects.len() > 3);
    }
}

#[tokio::test]
async fn a_drop_before_the_transition_runs_nothing_twice() {
    let every_5th = |nth| (nth % 5 == 0).then_some(Fault::BeforeTransition);
    for at_once in [1, 8] {
        let server = Server::with_faults(every_5th).await;
        bumps(&server, 40, at_once).await;
        assert!(server.world().connects.len() > 3);
    }
}

#[tokio::test]
async fn a_drop_before_the_run_loses_nothing() {
    let server = Server::with_faults(|nth| (nth % 4 == 1).then_some(Fault::BeforeRun)).await;
    bumps(&server, 32, 8).await;
}

#[tokio::test]
async fn a_slow_server_is_waited_for() {
    let slow = Some(Fault::Slow(Duration::from_millis(20)));
    let server = Server::with_faults(move |_| slow).await;
    bumps(&server, 8, 4).await;
    assert_eq!(server.world().connects.len(), 1);
}

#[tokio::test]
async fn a_silent_socket_is_given_up_and_the_call_sent_again() {
    for by_call_timeout in [true, false] {
        let server = Server::with_faults(|nth| (nth == 2).then_some(Fault::Silence)).await;
        let short = Duration::from_millis(200);
        let settings = Settings {
            call_timeout: if by_call_timeout {
                short
            } else {
                quick().call_timeout
            },
            read_timeout: if by_call_timeout {
                quick().read_timeout
            } else {
                short
            },
            ..quick()
        };
        let connection = Connection::new(&server.url, settings, None);
        let _drive = drive(&connection);
        for _ in 0..3 {
            let call = connection.call("test:bump", json!({})).unwrap();
            within("an answer", call).await.unwrap().unwrap();
        }
        assert_eq!(server.world().counter, 3);
    }
}

#[tokio::test]
async fn calls_wait_for_a_deployment_that_is_away() {
    let mut server = Server::start().await;
    server.stop().await;
    let connection = client(&server);
    let _drive = drive(&connection);
    let call = connection.call("test:bump", json!({})).unwrap();
    let standing = connection.standing();
    until("an attempt", || standing.borrow().attempts > 1).await;
    assert!(standing.borrow().nobody_there);
    assert_eq!(connection.waiting().0, 1);
    server.start_again().await;
    assert_eq!(within("an answer", call).await.unwrap(), Ok(json!(1)));
    assert_eq!(standing.borrow().phase, LinkPhase::Synced);
    assert!(connection.rtt_us().is_some());
}

#[tokio::test]
async fn a_driver_that_ends_in_mid_call_loses_nothing() {
    let slow = Some(Fault::Slow(Duration::from_millis(30)));
    let server = Server::with_faults(move |_| slow).await;
    let connection = client(&server);
    let first = drive(&connection);
    let calls: Vec<_> = (0..5)
        .map(|_| connection.call("test:bump", json!({})).unwrap())
        .collect();
    until("the first run", || server.world().counter > 0).await;
    drop(first);
    until("the socket's end", || {
        connection.standing().borrow().phase == LinkPhase::Offline
    })
    .await;
    let _second = drive(&connection);
    for call in calls {
        within("an answer", call).await.unwrap().unwrap();
    }
    assert_eq!(server.world().counter, 5);
}

#[tokio::test]
async fn errors_come_as_what_they_are() {
    let server = Server::start().await;
    let connection = client(&server);
    let _drive = drive(&connection);
    let refused = connection.call("test:refuse", json!({})).unwrap();
    let refusal = within("a refusal", refused).await.unwrap().unwrap_err();
    assert_eq!(
        refusal,
        CallError::Refused {
            code: "queue_full".into(),
            message: "too many".into()
        }
    );
    let crashed = connection.call("test:crash", json!({})).unwrap();
    let crash = within("a failure", crashed).await.unwrap().unwrap_err();
    assert_eq!(crash, CallError::Server("Server Error".into()));
    let echoed = connection.call("test:echo", json!({"n": 7, "x": [0.5, null, "ä"]}));
    let echo = within("an echo", echoed.unwrap()).await.unwrap();
    assert_eq!(echo, Ok(json!({"n": 7, "x": [0.5, null, "ä"]})));
    let mut forbidden = connection.watch("test:forbidden", json!({})).unwrap();
    let forbidden = within("a refused query", forbidden.next()).await.unwrap();
    assert_eq!(forbidden.unwrap_err().code(), "forbidden");
    assert!(connection.call("test:echo", json!([])).is_err());
}

#[tokio::test]
async fn a_subscription_hears_changes_only_and_ends_with_its_handle() {
    let server = Server::with_faults(|nth| (nth % 6 == 0).then_some(Fault::AfterCommit)).await;
    let connection = client(&server);
    let _drive = drive(&connection);
    let mut constant = connection.watch("test:constant", json!({})).unwrap();
    let mut counter = connection.watch("test:counter", json!({})).unwrap();
    within("the constant", constant.next())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        within("the counter", counter.next()).await.unwrap(),
        Ok(json!(0))
    );
    for _ in 0..20 {
        let call = connection.call("test:bump", json!({})).unwrap();
        within("an answer", call).await.unwrap().unwrap();
    }
    let mut last = json!(0);
    while last != json!(20) {
        let next = within("the counter", counter.next())
            .await
            .unwrap()
            .unwrap();
        assert!(next.as_u64() > last.as_u64(), "{next} after {last}");
        last = next;
    }
    assert!(!constant.latest.has_changed().unwrap(), "it never changed");

    // A second one of the same query has the result at once, without the server.
    let mut second = connection.watch("test:counter", json!({})).unwrap();
    assert_eq!(
        within("the cached one", second.next()).await.unwrap(),
        Ok(json!(20))
    );
    drop((constant, counter));
    until("one subscription", || server.world().subscribed == 1).await;
    drop(second);
    until("none", || server.world().subscribed == 0).await;
}

#[tokio::test]
async fn a_url_that_is_none_ends_the_driver() {
    let connection = Connection::new("ftp://nowhere", quick(), None);
    let end = within("the end", connection.drive()).await;
    assert!(matches!(end, DriveEnd::BadUrl(_)), "{end}");
}

/// Without a cryptography provider the first TLS connection panics.
#[tokio::test]
async fn tls_to_a_server_without_it_is_an_error_like_any_other() {
    let server = Server::start().await;
    let url = server.url.replace("http://", "https://");
    let connection = Connection::new(&url, quick(), None);
    let drive = drive(&connection);
    let standing = connection.standing();
    until("an attempt", || standing.borrow().attempts > 1).await;
    assert!(standing.borrow().last_error.is_some());
    assert!(!drive.is_finished());
}

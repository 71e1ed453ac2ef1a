//! A sample machine, and what a report makes of it.

use super::*;

pub(crate) fn sample() -> Report {
    let url = DeploymentUrl::new("https://happy-otter-123.convex.cloud");
    let machine = ActorKey::machine();
    let worker = ActorKey::parse("worker/xyz789");
    let mut root = ActorCard::new(machine.clone(), None, ActorKind::Machine, "laptop");
    root.phase = Phase::Ready;
    let mut bridge = ActorCard::new(
        ActorKey::bridge(&url),
        Some(machine.clone()),
        ActorKind::Bridge,
        "happy-otter-123",
    );
    bridge.phase = Phase::Synced;
    let mut shop = ActorCard::new(worker.clone(), Some(machine), ActorKind::Worker, "shop");
    shop.phase = Phase::Ready;
    shop.since_ms = 1_795_170_253_000;
    let mut chat = ActorCard::new(
        ActorKey::parse("session/c_81f"),
        Some(worker),
        ActorKind::Session,
        "fix the cart",
    );
    chat.phase = Phase::Active;
    chat.since_ms = 1_795_170_301_000;
    chat.agent_pid = Some(4711);
    chat.agent_rss_bytes = Some(412 * 1024 * 1024);
    chat.turn = Some("turn_1".to_owned());
    chat.chunks = 14;
    chat.restarts = 1;
    let status = LinkStatus {
        phase: LinkPhase::Synced,
        rtt_us: Some(84_000),
        ..LinkStatus::default()
    };
    build(Sources {
        machine: MachineReport {
            id: "5f0cd1c2-aaaa".to_owned(),
            name: "laptop".to_owned(),
            pid: 4100,
            uptime_ms: 180_000,
            ..MachineReport::default()
        },
        cards: &[root, bridge, shop, chat],
        links: &[(url, status)],
        workers: &[WorkerFacts {
            id: "xyz789".to_owned(),
            name: "shop".to_owned(),
            broken: None,
            directory: "/home/me/shop".to_owned(),
            deployment: "https://happy-otter-123.convex.cloud".to_owned(),
            max_sessions: 4,
        }],
        largest: LargestMailbox {
            messages: 17,
            actor: Some(ActorKey::parse("session/c_81f")),
        },
        now_ms: 1_795_170_313_000,
    })
}

#[test]
fn sessions_are_under_their_worker_with_the_promised_fields() {
    let value = serde_json::to_value(sample()).unwrap();
    assert_eq!(value["schema"], 1);
    let session = &value["workers"][0]["sessions"][0];
    assert_eq!(session["id"], "c_81f");
    assert_eq!(session["phase"], "active");
    assert_eq!(session["agent_pid"], 4711);
    assert_eq!(session["restarts"], 1);
    assert_eq!(session["age_ms"], 12_000);
    assert_eq!(value["bridges"][0]["rtt_us"], 84_000);
    assert_eq!(value["bridges"][0]["phase"], "synced");
    assert_eq!(value["machine"]["mailbox_largest"], 17);
    assert_eq!(value["machine"]["mailbox_largest_of"], "session/c_81f");
    assert_eq!(session["health"]["mailbox"], 0);
    assert_eq!(session["health"]["stuck"], serde_json::Value::Null);
}

#[test]
fn counts_are_what_is_there() {
    let mut report = sample();
    report.machine.outbox = 2;
    let said = crate::control::Tally::of(&report).to_string();
    assert_eq!(said, "1 worker, 1 ready; 1 session, 1 active; outbox 2");
    report.workers[0].sessions.clear();
    report.workers[0].phase = "failed".to_owned();
    let said = crate::control::Tally::of(&report).to_string();
    assert_eq!(said, "1 worker, 0 ready; 0 sessions, 0 active; outbox 2");
}

#[test]
fn a_bridge_between_two_lives_is_restarting_whatever_its_link_last_knew() {
    let url = DeploymentUrl::new("http://127.0.0.1:1");
    let key = ActorKey::bridge(&url);
    let mut card = ActorCard::new(key, None, ActorKind::Bridge, url.as_str());
    card.phase = Phase::Restarting;
    let status = LinkStatus {
        phase: LinkPhase::Synced,
        ..LinkStatus::default()
    };
    assert_eq!(bridge(&card, &[(url, status)], 0).phase, "restarting");
}

#[test]
fn a_bridge_whose_card_has_not_heard_of_the_lost_connection_yet_is_not_synced() {
    let url = DeploymentUrl::new("http://127.0.0.1:1");
    let key = ActorKey::bridge(&url);
    let mut card = ActorCard::new(key, None, ActorKind::Bridge, url.as_str());
    card.phase = Phase::Synced;
    let status = LinkStatus {
        phase: LinkPhase::Connecting,
        attempts: 1,
        ..LinkStatus::default()
    };
    assert_eq!(bridge(&card, &[(url, status)], 0).phase, "connecting");
}

//! What hurt earlier implementations and is shown nowhere else: what a restart must not do again. The whole list, with what shows
//! each row, is in `tests/requirements.md`.

use orchestrator_test_support::Home;
use serde_json::json;

use crate::ORCHESTRATOR;
use crate::stage;

#[test]
fn a_restart_asks_for_no_approval_again_answers_nothing_twice_and_answers_what_came_meanwhile() {
    let server = Home::new(ORCHESTRATOR);
    let (_deployment, api, site) = stage::served(&server, &["shop"]);
    site.write();
    let supervisor = site.home.supervisor(["run", "--demo", "--no-input"]);
    supervisor.workers_are("ready");
    let (session, first) = api.send("m1", &json!({ "workerId": "shop" }), "answered once");
    let answered = api.closed(&session, &first);
    assert_eq!(answered["state"], "complete");
    assert!(supervisor.terminate().success());
    // Two sessions, so that neither subscription is the first one alone.
    let (_, second) = api.send("m2", &json!({ "sessionId": session }), "sent meanwhile");
    let (other, third) = api.send("m3", &json!({ "workerId": "shop" }), "in another session");

    let supervisor = site.home.supervisor(["run", "--demo", "--no-input"]);
    assert_eq!(api.closed(&session, &second)["state"], "complete");
    assert_eq!(api.closed(&other, &third)["state"], "complete");
    assert_eq!(api.turn(&session, &first), answered, "it was touched again");
    let printed = supervisor.printed();
    assert!(!printed.contains("approv"), "{printed}");
    for prompt in ["answered once", "sent meanwhile", "in another session"] {
        assert_eq!(site.starts(prompt), 1, "{prompt}");
    }
    assert!(supervisor.terminate().success());
}

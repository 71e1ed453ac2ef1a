//! `deployment check` against the embedded deployment.

use orchestrator_test_support::Home;
use serde_json::json;

use crate::ORCHESTRATOR;

#[test]
fn the_embedded_deployment_passes_its_own_check_and_is_left_clean() {
    let home = Home::new(ORCHESTRATOR);
    let deployment = home.deployment();
    let checked = home.run(["deployment", "check", deployment.url()]).exits(0);
    assert!(!checked.stdout.contains("fail"), "{}", checked.stdout);
    assert!(checked.stdout.lines().count() >= 10, "{}", checked.stdout);
    let api = deployment.api();
    assert_eq!(api.query("machines:list", &json!({})), json!([]));
    assert_eq!(api.query("workers:list", &json!({})), json!([]));
}

//! The owner's key of an embedded deployment is changed: the file is put away, and the next start makes another one (or
//! with `orchestrator owner rotate`, where both keys are trusted for a while). Tokens of the old key are refused from then
//! on, on the socket and over HTTP; what the owner had is there.

use std::fs;
use std::path::Path;

use orchestrator_test_support::{Api, Home};
use serde_json::{Value, json};

use crate::ORCHESTRATOR;
use crate::socket::{Seen, subscribe};

#[test]
fn after_a_rotation_the_old_keys_tokens_are_refused_and_the_new_ones_see_everything() {
    let home = Home::bare(ORCHESTRATOR);
    let machine =
        json!({ "machineId": "m1", "name": "m1", "hostname": "m1", "os": "linux", "tools": [] });
    let deployment = home.deployment();
    let before = deployment.api();
    before.mutation("machines:register", &machine);
    let old = before.token().to_owned();
    drop(deployment);

    let key = Path::new(home.get("XDG_DATA_HOME")).join("opencode-orchestrator/local/owner.key");
    fs::rename(&key, key.with_extension("old")).unwrap();
    let deployment = home.deployment();
    let after = deployment.api();
    assert_ne!(after.token(), old);

    let refused = Api::new(deployment.url(), &old)
        .call("query", "machines:list", &json!({}))
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("no auth provider of this deployment has the token's key"),
        "{refused}"
    );
    let seen = |token: &str| {
        let seen = subscribe(
            deployment.url(),
            &[],
            Some(token),
            "machines:list",
            &json!({}),
        );
        let Seen::Said(said) = seen else {
            panic!("{seen:?}")
        };
        said
    };
    assert_eq!(seen(&old)["type"], "AuthError");

    let listed = after.query("machines:list", &json!({}));
    assert_eq!(listed[0]["machineId"], "m1", "{listed}");
    let said = seen(after.token());
    assert_eq!(
        said["modifications"][0]["value"][0]["machineId"], "m1",
        "{said}"
    );
    let again = after.mutation("machines:register", &machine);
    assert_eq!(again["machineId"], "m1");

    // Whoever puts the old key back is the owner again, and the new one is not.
    let new = after.token().to_owned();
    drop(deployment);
    fs::rename(key.with_extension("old"), &key).unwrap();
    let deployment = home.deployment();
    let call = |token: &str| -> Result<Value, Value> {
        Api::new(deployment.url(), token).call("query", "machines:list", &json!({}))
    };
    assert!(call(&old).is_ok() && call(&new).is_err());
}

#[test]
fn a_key_is_exchanged_without_a_moment_in_which_nobody_is_the_owner() {
    let home = Home::bare(ORCHESTRATOR);
    let deployment = home.deployment();
    let machine =
        json!({ "machineId": "m1", "name": "m1", "hostname": "m1", "os": "linux", "tools": [] });
    let old = deployment.api().token().to_owned();
    deployment.api().mutation("machines:register", &machine);
    let said = home.run(["owner", "rotate"]).exits(0);
    assert!(said.stderr.contains("started again"), "{}", said.stderr);
    assert_eq!(
        home.run(["owner", "jwks"]).exits(0).json()["keys"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    // The one that runs does not know it yet: it is reached with the one before, which cannot be removed meanwhile.
    home.run(["--url", deployment.url(), "session", "list"])
        .exits(0);
    let examined = home.run(["--url", deployment.url(), "doctor"]).stdout;
    assert!(examined.contains("knows only the key before"), "{examined}");
    let refused = home.run(["owner", "rotate", "--finish"]).exits(1);
    assert!(
        refused.stderr.contains("knows only the key before"),
        "{}",
        refused.stderr
    );
    drop(deployment);

    let sees = |url: &str, token: &str| {
        let listed = Api::new(url, token).call("query", "machines:list", &json!({}));
        listed.map(|listed| listed[0]["machineId"].clone()).ok()
    };
    let deployment = home.deployment();
    let new = deployment.api().token().to_owned();
    assert_ne!(new, old);
    for token in [&old, &new] {
        assert_eq!(sees(deployment.url(), token), Some(json!("m1")));
    }
    home.run(["owner", "rotate"]).exits(2);
    home.run(["owner", "rotate", "--finish"]).exits(0);
    home.run(["owner", "rotate", "--finish"]).exits(2);
    drop(deployment);
    let deployment = home.deployment();
    assert_eq!(sees(deployment.url(), &old), None);
    assert_eq!(sees(deployment.url(), &new), Some(json!("m1")));
}

//! `orchestrator models`: asked of a real OpenCode once, then remembered with its age, also without a supervisor.

use orchestrator_test_support::{Stage, eventually};
use serde_json::{Value, json};

use crate::ORCHESTRATOR;

fn ids(listed: &Value) -> Vec<&str> {
    let models = listed["models"].as_array().expect("models");
    models
        .iter()
        .filter_map(|model| model["id"].as_str())
        .collect()
}

#[test]
fn models_are_asked_of_an_assistant_that_goes_again_and_remembered_without_a_supervisor() {
    let stage = Stage::new(ORCHESTRATOR);
    let home = &stage.home;
    let ran = home.run(["models"]).exits(4);
    assert!(
        ran.stderr.contains("orchestrator is not running"),
        "{}",
        ran.stderr
    );
    let supervisor = stage.run();
    let folder = home.state().join("models");
    let is_up = || {
        home.processes()
            .iter()
            .any(|(_, line)| line.contains("serve --hostname"))
    };
    assert!(!folder.exists() && !is_up(), "a start lists no models");
    let listed = home.run(["models", "--json"]).exits(0);
    assert_eq!(listed.stderr, "", "it was asked just now");
    let listed = listed.json();
    assert_eq!(listed["schema"], 1);
    assert_eq!(listed["name"], "shop");
    let found = ids(&listed);
    assert!(!found.is_empty(), "{listed}");
    for id in &found {
        assert!(
            id.split_once('/')
                .is_some_and(|(provider, _)| !provider.is_empty()),
            "{id}"
        );
    }
    assert!(!listed.to_string().contains("apiKey"), "{listed}");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    // Who was started for the question is gone, and was in nobody's session.
    assert_eq!(supervisor.sessions(), Vec::<Value>::new());
    eventually("no assistant is left", || !is_up());

    // A model that was listed can be named.
    let args = ["send", "hello", "--wait", "--model", found[0]];
    assert!(home.run(args).exits(0).stdout.contains("hello"));
    let again = home.run(["models"]).exits(0);
    assert!(again.stdout.contains(found[0]), "{}", again.stdout);
    assert!(
        again
            .stderr
            .contains("orchestrator models --refresh asks again"),
        "{}",
        again.stderr
    );
    let before = supervisor.session("is up", |row| row["agent_pid"].is_u64());
    let fresh = home.run(["models", "--refresh", "--json"]).exits(0).json();
    assert_eq!(fresh["models"], listed["models"]);
    assert_ne!(fresh["asked_at"], listed["asked_at"]);
    let after = supervisor.session("is up", |row| row["agent_pid"].is_u64());
    assert_eq!(
        before["agent_pid"], after["agent_pid"],
        "the one that lives was asked"
    );

    let ran = home.run(["models", "--worker", "shp"]).exits(2);
    assert!(
        ran.stderr.contains("did you mean `shop`?"),
        "{}",
        ran.stderr
    );
    assert!(supervisor.terminate().success());
    let ran = home.run(["models"]).exits(0);
    assert!(
        ran.stdout.contains(found[0]) && ran.stderr.contains("as of "),
        "{}",
        ran.stderr
    );
    let error = home.run(["models", "--refresh", "--json"]).exits(4).json();
    assert_eq!(error["error"]["exit"], json!(4));
}

//! A device comes in by a code, once, and is shown the door when it is revoked.

use orchestrator_test_support::http::request;
use orchestrator_test_support::{Api, Home, Ran, Stage, eventually};
use serde_json::{Value, json};

use crate::ORCHESTRATOR;

/// The code in what `pair` prints, and its device.
fn paired_by(home: &Home, url: &str, more: &[&str]) -> (String, String) {
    let mut args = vec!["--url", url, "pair", "--json"];
    args.extend(more);
    let made = home.run(args).exits(0).json();
    let link = made["link"].as_str().expect("a link");
    let (page, code) = link.split_once("#pair=").expect("a code in the fragment");
    assert!(!page.contains('?'), "{page}");
    let device = made["device"].as_str().expect("a device");
    (code.to_owned(), device.to_owned())
}

/// As a page does it that is nobody yet. A wrong token would be refused, so there is none.
fn trade(url: &str, code: &str) -> Value {
    let body = json!({ "path": "devices:trade", "args": { "code": code }, "format": "json" });
    let headers = [("Content-Type", "application/json")];
    let url = format!("{url}/api/mutation");
    let (_, answer) = request("POST", &url, &headers, &body.to_string());
    let answer: Value = serde_json::from_str(&answer).expect("an answer");
    assert_eq!(answer["status"], "success", "{answer}");
    answer["value"].clone()
}

/// A command of somebody who has this token.
fn run_as<const N: usize>(home: &Home, token: &str, args: [&str; N]) -> Ran {
    let mut command = home.command(args);
    command.env("ORCHESTRATOR_OWNER_TOKEN", token);
    home.finish(command, "")
}

#[test]
fn a_stolen_code_is_good_for_nothing_once_it_was_used() {
    let home = Home::new(ORCHESTRATOR);
    let deployment = home.deployment();
    let url = deployment.url();
    let (code, device) = paired_by(&home, url, &["--name", "phone"]);
    let traded = trade(url, &code);
    assert_eq!(traded["status"], "paired", "{traded}");
    assert_eq!(traded["name"], "phone");
    let again = trade(url, &code);
    assert_eq!(again["code"], "conflict", "{again}");
    let message = again["message"].as_str().unwrap_or_default();
    assert!(
        message.contains(&format!("device revoke {device}")),
        "{message}"
    );

    let secret = code.split_once('.').expect("two parts").1;
    for text in [code.as_str(), secret] {
        let listed = home.run(["--url", url, "device", "list"]).exits(0);
        assert!(!listed.stdout.contains(text) && !listed.stderr.contains(text));
    }
}

#[test]
fn a_revoked_device_and_one_with_an_expired_code_are_refused() {
    let home = Home::new(ORCHESTRATOR);
    let deployment = home.deployment();
    let url = deployment.url().to_owned();
    let (late, _) = paired_by(&home, &url, &["--ttl", "1s"]);
    eventually("the code has lapsed", || {
        let listed = home.run(["--url", &url, "device", "list"]).exits(0);
        listed.stdout.contains("lapsed")
    });
    assert_eq!(trade(&url, &late)["code"], "expired");
    assert_eq!(
        trade(&url, "machine_m1:worker_w1:secret_abcdefghijklmnop")["code"],
        "invalid"
    );

    let (code, device) = paired_by(&home, &url, &[]);
    let token = trade(&url, &code)["token"]
        .as_str()
        .expect("a token")
        .to_owned();
    let api = Api::new(url.as_str(), token.as_str());
    assert!(api.query("sessions:list", &json!({})).is_array());
    home.run(["--url", &url, "device", "revoke", &device])
        .exits(0);
    let refused = api
        .call("query", "sessions:list", &json!({}))
        .expect_err("revoked");
    assert_eq!(refused["errorData"]["code"], "device_revoked", "{refused}");
    // The same for whoever took its token to a terminal.
    run_as(&home, &token, ["--url", &url, "session", "list"]).exits(6);
}

#[test]
fn a_workers_token_and_a_device_cannot_pair() {
    let home = Home::new(ORCHESTRATOR);
    let deployment = home.deployment();
    let url = deployment.url().to_owned();
    let worker = Api::new(url.as_str(), "machine_m1:worker_w1:secret_abcdefghijklmnop");
    let refused = worker.call("query", "sessions:list", &json!({}));
    assert!(refused.is_err(), "{refused:?}");

    let (code, _) = paired_by(&home, &url, &[]);
    let token = trade(&url, &code)["token"]
        .as_str()
        .expect("a token")
        .to_owned();
    run_as(&home, &token, ["--url", &url, "pair"]).exits(6);
}

#[test]
fn other_devices_reach_it_only_when_that_was_asked_for_and_it_is_said() {
    let stage = Stage::new(ORCHESTRATOR);
    let refused = stage
        .home
        .run(["run", "--local", "--listen", "0.0.0.0:0"])
        .exits(2);
    assert!(
        refused.stderr.contains("--allow-insecure-listen"),
        "{}",
        refused.stderr
    );

    let supervisor = stage.run_with(&["--listen", "0.0.0.0:0", "--allow-insecure-listen"]);
    let printed = supervisor.printed();
    assert!(
        printed.contains("other devices can reach this deployment"),
        "{printed}"
    );
    assert!(printed.contains("Nothing is encrypted"), "{printed}");
    let made = stage.home.run(["pair", "--json"]).exits(0).json();
    let link = made["link"].as_str().expect("a link");
    let page = link.split_once("/#pair=").expect("a code").0;
    let own = supervisor.ps()["deployments"][0]["url"].clone();
    assert_ne!(page, own.as_str().expect("a URL"));
    let get = |headers: &[(&str, &str)]| request("GET", &format!("{page}/version"), headers, "").0;
    assert_eq!(get(&[]), 200);
    assert_eq!(get(&[("Origin", "http://evil.example")]), 403);
    assert!(supervisor.terminate().success());
}

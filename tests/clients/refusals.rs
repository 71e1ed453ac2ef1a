//! Who is kept out: pages from elsewhere, callers without an identity or with a wrong one, supervisors without their
//! token; on the socket and over HTTP alike.

use orchestrator_test_support::{Api, Package, Stage, http};
use serde_json::{Value, json};

use crate::ORCHESTRATOR;
use crate::socket::{Seen, subscribe};

const FOREIGN: [(&str, &str); 3] = [
    ("Origin", "https://evil.example"),
    ("Origin", "null"),
    ("Origin", "http://127.0.0.1:1"),
];

/// A token whose signature does not fit: a letter of its payload is another one.
fn forged(token: &str) -> String {
    let (head, rest) = token.split_once('.').expect("a JWT");
    let (payload, signature) = rest.split_once('.').expect("a JWT");
    let mut payload: Vec<char> = payload.chars().collect();
    let middle = payload.len() / 2;
    payload[middle] = if payload[middle] == 'A' { 'B' } else { 'A' };
    let payload: String = payload.into_iter().collect();
    format!("{head}.{payload}.{signature}")
}

/// The status and the reply of one HTTP call.
fn post(
    api: &Api,
    kind: &str,
    function: &str,
    args: &Value,
    headers: &[(&str, &str)],
) -> (u16, Value) {
    let body = json!({ "path": function, "args": args, "format": "convex_encoded_json" });
    let mut all = vec![("Content-Type", "application/json")];
    all.extend(headers);
    let url = format!("{}/api/{kind}", api.url());
    let (status, body) = http::request("POST", &url, &all, &body.to_string());
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

#[test]
fn a_page_from_elsewhere_is_refused_even_with_the_owners_token() {
    let stage = Stage::new(ORCHESTRATOR);
    let deployment = stage.home.deployment();
    let api = deployment.api();
    let bearer = format!("Bearer {}", api.token());
    let own = ("Authorization", bearer.as_str());
    let list = ("machines:list", json!({}));
    for foreign in FOREIGN {
        let (status, _) = post(&api, "query", list.0, &list.1, &[own, foreign]);
        assert_eq!(status, 403, "{foreign:?}");
        let machine =
            json!({ "machineId": "m1", "name": "x", "hostname": "x", "os": "x", "tools": [] });
        let (status, _) = post(
            &api,
            "mutation",
            "machines:register",
            &machine,
            &[own, foreign],
        );
        assert_eq!(status, 403, "{foreign:?}");
        let seen = subscribe(api.url(), &[foreign], Some(api.token()), list.0, &list.1);
        assert!(
            matches!(seen, Seen::NoUpgrade(403)),
            "{foreign:?}: {seen:?}"
        );
    }
    // The same calls from a program and from the deployment's own page; nothing of the above has happened.
    let page = ("Origin", api.url());
    for headers in [vec![own], vec![own, page]] {
        let (status, reply) = post(&api, "query", list.0, &list.1, &headers);
        assert_eq!((status, &reply["value"]), (200, &json!([])), "{reply}");
    }
    for headers in [vec![], vec![page]] {
        let seen = subscribe(api.url(), &headers, Some(api.token()), list.0, &list.1);
        let Seen::Said(said) = seen else {
            panic!("{seen:?}")
        };
        assert_eq!(said["modifications"][0]["type"], "QueryUpdated", "{said}");
    }
}

#[test]
fn without_the_owners_token_or_with_a_wrong_one_nothing_is_shown() {
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = stage.run();
    let api = stage.api(&supervisor);
    let worker = stage.worker(&supervisor);
    let (session, turn) = api.send("m1", &worker, "a secret");
    api.closed(&session, &turn);
    let list = json!({ "sessionId": session });

    let (_, reply) = post(&api, "query", "messages:list", &list, &[]);
    assert_eq!(reply["errorData"]["code"], "unauthorized", "{reply}");
    let mut send = worker.clone();
    send["id"] = json!("m2");
    send["content"] = json!("hello");
    let (_, reply) = post(&api, "mutation", "messages:send", &send, &[]);
    assert_eq!(reply["errorData"]["code"], "unauthorized", "{reply}");
    let seen = subscribe(api.url(), &[], None, "messages:list", &list);
    let Seen::Said(said) = seen else {
        panic!("{seen:?}")
    };
    let result = &said["modifications"][0];
    assert_eq!(
        (&result["type"], &result["errorData"]["code"]),
        (&json!("QueryFailed"), &json!("unauthorized")),
        "{said}"
    );

    for wrong in [forged(api.token()), "nonsense".to_owned()] {
        let bearer = format!("Bearer {wrong}");
        let (status, reply) = post(
            &api,
            "query",
            "messages:list",
            &list,
            &[("Authorization", &bearer)],
        );
        assert_eq!(status, 401, "{reply}");
        let seen = subscribe(api.url(), &[], Some(&wrong), "messages:list", &list);
        let Seen::Said(said) = seen else {
            panic!("{seen:?}")
        };
        assert_eq!(said["type"], "AuthError", "{said}");
    }

    // The official client makes the best of a wrong token: it goes on without, and is refused.
    let package = Package::get();
    let mut client = package.client(&stage.home, "npm-chat.mjs");
    client
        .args([
            "--url",
            api.url(),
            "--session",
            &session,
            "--text",
            "hello",
            "--timeout",
            "60",
        ])
        .env("ORCHESTRATOR_OWNER_TOKEN", forged(api.token()));
    let refused = stage.home.finish(client, "").exits(1).json();
    assert_eq!(refused["error"]["code"], "unauthorized", "{refused}");
    let rows = api.query("messages:list", &list);
    assert_eq!(rows["messages"].as_array().unwrap().len(), 2, "{rows}");
    assert!(supervisor.terminate().success());
}

#[test]
fn a_supervisor_without_its_workers_token_gets_nothing() {
    let stage = Stage::new(ORCHESTRATOR);
    let deployment = stage.home.deployment();
    let api = deployment.api();
    stage.home.enrol(&api, deployment.url(), "shop");
    let (session, turn) = api.send("m1", &json!({ "workerId": "shop" }), "hello");
    let item =
        json!({ "index": 0, "timestamp": 1, "partId": "p", "kind": "text", "content": "forged" });
    let wrong = format!("machine_testmachine:worker_shop:secret_{}", "x".repeat(32));
    for token in ["", "shop", wrong.as_str()] {
        let call = |kind: &str, function: &str, mut args: Value| {
            args["token"] = json!(token);
            args["epoch"] = json!(1);
            let (_, reply) = post(&api, kind, function, &args, &[]);
            assert_eq!(
                reply["errorData"]["code"], "unauthorized",
                "{function}: {reply}"
            );
        };
        call("query", "work:inbox", json!({}));
        call("mutation", "messages:claim", json!({ "turnId": turn }));
        let finish = json!({ "turnId": turn, "outcome": "complete", "items": [item] });
        call("mutation", "messages:finish", finish);
        call("mutation", "presence:beat", json!({}));
        let batch = json!({ "token": token, "epoch": 1, "turn": turn, "items": [item] });
        let (_, reply) = post(
            &api,
            "mutation",
            "chunks:append",
            &json!({ "batches": [batch] }),
            &[],
        );
        assert_eq!(
            reply["value"]["results"][0]["status"], "unauthorized",
            "{reply}"
        );
    }
    assert_eq!(api.turn(&session, &turn)["state"], "queued");
    assert_eq!(api.streamed(&turn), "");
}

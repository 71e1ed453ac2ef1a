//! The HTTP API, as `ConvexHttpClient` and curl call it.

use serde_json::{Value, json};

use crate::support::{Owner, World, deployment};
use orchestrator_backend::Deployment;

async fn post(
    deployment: &Deployment,
    path: &str,
    body: Value,
    token: Option<&str>,
) -> (u16, Value) {
    let mut request = reqwest::Client::new()
        .post(format!("{}{path}", deployment.url()))
        .json(&body);
    if let Some(token) = token {
        request = request.header("authorization", token);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

fn call(path: &str, args: Value) -> Value {
    json!({"path": path, "args": args, "format": "convex_encoded_json"})
}

#[tokio::test]
async fn a_mutation_that_took_too_long_was_said_not_to_have_run() {
    let world = World::default();
    let deployment = deployment(&world, |config| {
        config.tuning.call_timeout = std::time::Duration::from_millis(50);
    })
    .await;
    world.hold(true);
    let add = call("rows:add", json!({"key": "n"}));
    let (status, answer) = post(&deployment, "/api/mutation", add, None).await;
    assert_eq!(status, 503);
    let message = answer["message"].as_str().unwrap();
    assert!(message.contains("may still run"), "{message}");
    world.hold(false);
    crate::support::eventually("it runs", || world.executed() == 1).await;
    deployment.stop().await;
}

#[tokio::test]
async fn calls_answer_200_when_the_function_failed_too() {
    let deployment = deployment(&World::default(), |_| {}).await;
    let put = call(
        "rows.js:put",
        json!([{"key": "a", "text": {"$integer": "BQAAAAAAAAA="}}]),
    );
    assert_eq!(
        post(&deployment, "/api/mutation", put, None).await,
        (
            200,
            json!({"status": "success", "value": {"$integer": "BQAAAAAAAAA="}, "logLines": []})
        )
    );
    let get = json!({"path": "rows:get", "args": {"key": "a"}, "format": "json"});
    let (status, answer) = post(&deployment, "/api/query", get, None).await;
    assert_eq!((status, &answer["value"]), (200, &json!("5")));
    assert_eq!(answer["logLines"], json!(["[LOG] 'ran rows:get'"]));
    let (status, answer) = post(
        &deployment,
        "/api/mutation",
        call("fail:convex", json!({})),
        None,
    )
    .await;
    assert_eq!(status, 200);
    assert_eq!(
        (&answer["status"], &answer["errorData"]["code"]),
        (&json!("error"), &json!("held"))
    );
    let (status, answer) = post(
        &deployment,
        "/api/query",
        call("fail:plain", json!({})),
        None,
    )
    .await;
    assert_eq!(
        (status, &answer["errorMessage"]),
        (200, &json!("Uncaught Error: no luck"))
    );
    assert!(answer.get("errorData").is_none());
    for (path, function) in [("rows:add", 1.0), ("rows:add", 2.0)] {
        let (_, answer) = post(
            &deployment,
            "/api/function",
            call(path, json!({"key": "n"})),
            None,
        )
        .await;
        assert_eq!(answer["value"], function);
    }
    let (_, answer) = post(
        &deployment,
        "/api/function",
        call("rows:get", json!({"key": "n"})),
        None,
    )
    .await;
    assert_eq!(answer["value"], 2.0);
    deployment.stop().await;
}

#[tokio::test]
async fn queries_at_one_timestamp_belong_together_or_are_refused() {
    let deployment = deployment(&World::default(), |_| {}).await;
    let (_, answer) = post(&deployment, "/api/query_ts", json!({}), None).await;
    let at = |key: &str| {
        let mut body = call("rows:get", json!({"key": key}));
        body["ts"] = answer["ts"].clone();
        body
    };
    assert_eq!(
        post(&deployment, "/api/query_at_ts", at("a"), None).await.0,
        200
    );
    post(
        &deployment,
        "/api/mutation",
        call("rows:put", json!({"key": "a", "text": 1})),
        None,
    )
    .await;
    assert_eq!(
        post(&deployment, "/api/query_at_ts", at("b"), None).await.0,
        200
    );
    let (status, refusal) = post(&deployment, "/api/query_at_ts", at("a"), None).await;
    assert_eq!((status, &refusal["code"]), (409, &json!("SnapshotGone")));
    for ts in [json!(null), json!("x"), json!("/////////38=")] {
        let mut body = call("rows:get", json!({"key": "a"}));
        body["ts"] = ts;
        assert_eq!(
            post(&deployment, "/api/query_at_ts", body, None).await.0,
            400
        );
    }
    deployment.stop().await;
}

#[tokio::test]
async fn what_is_not_a_call_says_so() {
    let deployment = deployment(&World::default(), |config| {
        config.tuning.message_bytes = 10_000;
    })
    .await;
    for (body, code) in [
        (json!({"path": "../x:y", "args": {}}), "BadFunctionPath"),
        (json!({"path": "rows:get", "args": 5}), "BadArguments"),
        (
            json!({"path": "rows:get", "args": {}, "format": "xml"}),
            "BadJsonBody",
        ),
        (json!([1]), "BadJsonBody"),
    ] {
        let (status, refusal) = post(&deployment, "/api/query", body, None).await;
        assert_eq!(
            (status, refusal["code"].as_str().unwrap()),
            (400, code),
            "{refusal}"
        );
    }
    let large = call("rows:put", json!({"key": "a", "text": "x".repeat(20_000)}));
    let (status, refusal) = post(&deployment, "/api/mutation", large, None).await;
    assert_eq!((status, &refusal["code"]), (413, &json!("BodyTooLarge")));
    let (status, refusal) = post(&deployment, "/api/action", call("a:b", json!({})), None).await;
    assert_eq!(
        (status, &refusal["code"]),
        (400, &json!("ActionsUnsupported"))
    );
    assert_eq!(
        post(&deployment, "/api/nothing", json!({}), None).await.0,
        404
    );
    let (status, refusal) = post(&deployment, "/version", json!({}), None).await;
    assert_eq!(
        (status, &refusal["code"]),
        (405, &json!("MethodNotAllowed"))
    );
    deployment.stop().await;
}

#[tokio::test]
async fn a_bearer_token_is_the_caller() {
    let owner = Owner::new();
    let provider = owner.provider.clone();
    let deployment = deployment(&World::default(), |config| config.identity = vec![provider]).await;
    let who = || call("who:am", json!({}));
    let bearer = format!("Bearer {}", owner.token("ann", 60));
    let (_, answer) = post(&deployment, "/api/query", who(), Some(&bearer)).await;
    assert_eq!(answer["value"], "https://orchestrator.local|ann");
    assert_eq!(
        post(&deployment, "/api/query", who(), None).await.1["value"],
        Value::Null
    );
    let expired = format!("Bearer {}", owner.token("ann", -300));
    for header in [expired.as_str(), "Bearer x", "Convex admin", "Basic eDp5"] {
        let (status, refusal) = post(&deployment, "/api/query", who(), Some(header)).await;
        assert_eq!(
            (status, &refusal["code"]),
            (401, &json!("Unauthenticated")),
            "{header}"
        );
    }
    deployment.stop().await;
}

#[tokio::test]
async fn it_says_which_instance_it_is() {
    let deployment = deployment(&World::default(), |config| {
        config.instance.name = "tidy-otter-12".to_owned();
        config.instance.version = "9.8.7".to_owned();
    })
    .await;
    for (path, text) in [
        ("/version", "9.8.7"),
        ("/instance_version", "9.8.7"),
        ("/instance_name", "tidy-otter-12"),
    ] {
        let answer = reqwest::get(format!("{}{path}", deployment.url()))
            .await
            .unwrap();
        assert_eq!(answer.text().await.unwrap(), text);
    }
    deployment.stop().await;
}

#[tokio::test]
async fn a_deployment_without_a_page_says_how_to_get_one() {
    let deployment = deployment(&World::default(), |_| {}).await;
    let answer = reqwest::get(deployment.url()).await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    let said = answer.text().await.unwrap();
    assert!(said.contains("just web"), "{said}");
    deployment.stop().await;
}

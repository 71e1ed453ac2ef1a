//! The order and the versions of the sync protocol, spoken by hand.

use serde_json::{Value, json};

use crate::support::{Client, World, deployment, eventually, field_ts};

#[tokio::test]
async fn a_response_comes_before_the_transition_that_shows_it() {
    let deployment = deployment(&World::default(), |_| {}).await;
    let mut client = Client::connect(&deployment.url()).await;
    client
        .subscribe(0, "rows.js:get", json!({"key": "a"}))
        .await;
    assert_eq!(client.value().await, Value::Null);
    client
        .mutate(0, "rows:put", json!({"key": "a", "text": "hello"}))
        .await;
    let response = client.response(0).await;
    assert_eq!(response["success"], true);
    assert_eq!(response["result"], "hello");
    let transition = client.transition().await;
    assert_eq!(transition["modifications"][0]["value"], "hello");
    assert_eq!(
        transition["modifications"][0]["logLines"][0],
        "[LOG] 'ran rows:get'"
    );
    assert!(field_ts(&transition["endVersion"]["ts"]) >= field_ts(&response["ts"]));
    deployment.stop().await;
}

#[tokio::test]
async fn a_transition_follows_every_mutation_and_every_empty_modification() {
    let deployment = deployment(&World::default(), |_| {}).await;
    let mut client = Client::connect(&deployment.url()).await;
    client.modify(json!([])).await;
    assert_eq!(client.transition().await["modifications"], json!([]));
    client.mutate(0, "fail:plain", json!({})).await;
    let response = client.response(0).await;
    assert_eq!(
        (&response["success"], &response["result"]),
        (&json!(false), &json!("Uncaught Error: no luck"))
    );
    assert!(response.get("errorData").is_none());
    assert_eq!(client.transition().await["modifications"], json!([]));
    client.mutate(1, "fail:convex", json!({})).await;
    assert_eq!(client.response(1).await["errorData"]["code"], "held");
    client.transition().await;
    // a call that cannot be made is a failed call, not a broken protocol
    client
        .send(json!({"type": "Mutation", "requestId": 2, "udfPath": "rows:put", "args": [1, 2]}))
        .await;
    assert_eq!(client.response(2).await["success"], false);
    client.transition().await;
    client
        .mutate(3, "rows:put", json!({"key": "x", "text": 1}))
        .await;
    client.response(3).await;
    assert_eq!(client.transition().await["modifications"], json!([]));
    deployment.stop().await;
}

#[tokio::test]
async fn a_resent_mutation_is_answered_from_its_record() {
    let world = World::default();
    let deployment = deployment(&world, |_| {}).await;
    let session = uuid::Uuid::new_v4().to_string();
    let mut first = Client::connect_as(&deployment.url(), &session, 0).await;
    first.mutate(7, "rows:add", json!({"key": "n"})).await;
    let original = first.response(7).await;
    drop(first);
    let mut second = Client::connect_as(&deployment.url(), &session, 1).await;
    second.mutate(7, "rows:add", json!({"key": "n"})).await;
    let replay = second.response(7).await;
    assert_eq!(
        (&replay["result"], &replay["ts"]),
        (&original["result"], &original["ts"])
    );
    let transition = second.transition().await;
    assert!(field_ts(&transition["endVersion"]["ts"]) >= field_ts(&replay["ts"]));
    let mut other = Client::connect(&deployment.url()).await;
    other.mutate(7, "rows:add", json!({"key": "n"})).await;
    assert_eq!(other.response(7).await["result"], 2.0);
    assert_eq!(world.executed(), 2);
    deployment.stop().await;
}

#[tokio::test]
async fn resent_mutations_are_answered_before_the_first_transition_of_a_reconnect() {
    let deployment = deployment(&World::default(), |_| {}).await;
    let session = uuid::Uuid::new_v4().to_string();
    let mut client = Client::connect_as(&deployment.url(), &session, 3).await;
    client.subscribe(0, "rows:get", json!({"key": "n"})).await;
    for request in 0..20 {
        client
            .mutate(request, "rows:add", json!({"key": "n"}))
            .await;
    }
    for request in 0..20 {
        client.response(request).await;
    }
    assert_eq!(client.value().await, 20.0);
    deployment.stop().await;
}

#[tokio::test]
async fn mutations_of_one_socket_run_in_order() {
    let deployment = deployment(&World::default(), |_| {}).await;
    let mut client = Client::connect(&deployment.url()).await;
    for request in 0..300 {
        client
            .mutate(request, "rows:add", json!({"key": "n"}))
            .await;
    }
    let (mut answered, mut shown) = (0, 0);
    while answered < 300 || shown < answered {
        let message = client.receive().await;
        if message["type"] == "MutationResponse" {
            assert_eq!(message["requestId"], answered);
            answered += 1;
            assert_eq!(message["result"], f64::from(answered));
        } else {
            shown = answered;
        }
    }
    deployment.stop().await;
}

#[tokio::test]
async fn only_the_queries_that_a_commit_touches_run_again() {
    let world = World::default();
    let deployment = deployment(&world, |_| {}).await;
    let mut reader = Client::connect(&deployment.url()).await;
    let unrelated: Vec<Value> = (1..=1000)
        .map(|id| json!({"type": "Add", "queryId": id, "udfPath": "rows:get", "args": [{"key": format!("other{id}")}]}))
        .collect();
    reader.modify(json!(unrelated)).await;
    assert_eq!(
        reader.transition().await["modifications"]
            .as_array()
            .unwrap()
            .len(),
        1000
    );
    reader
        .subscribe(0, "rows:scan", json!({"from": "a", "to": "b"}))
        .await;
    assert_eq!(reader.value().await, json!([]));
    let before = world.queried();

    let mut writer = Client::connect(&deployment.url()).await;
    for (request, key, text) in [
        (0, "b", "no"),
        (1, "a1", "one"),
        (2, "a1", "one"),
        (3, "a2", "two"),
    ] {
        writer
            .mutate(request, "rows:put", json!({"key": key, "text": text}))
            .await;
        writer.response(request).await;
        writer.transition().await;
        match request {
            1 => assert_eq!(reader.value().await, json!(["one"])),
            // the same text again runs the query and changes nothing
            2 => eventually("the query ran again", || world.queried() == before + 2).await,
            3 => assert_eq!(reader.value().await, json!(["one", "two"])),
            _ => {}
        }
    }
    assert_eq!(world.queried(), before + 3);
    reader.unsubscribe(0).await;
    assert_eq!(
        reader.transition().await["modifications"][0]["type"],
        "QueryRemoved"
    );
    writer
        .mutate(4, "rows:put", json!({"key": "a3", "text": 3}))
        .await;
    writer.response(4).await;
    assert_eq!(world.queried(), before + 3, "nobody watches it any more");
    deployment.stop().await;
}

#[tokio::test]
async fn a_failing_query_is_a_result_like_any_other() {
    let deployment = deployment(&World::default(), |_| {}).await;
    let mut client = Client::connect(&deployment.url()).await;
    client.subscribe(0, "fail:convex", json!({})).await;
    let failed = client.transition().await["modifications"][0].clone();
    assert_eq!(
        (&failed["type"], &failed["errorData"]["code"]),
        (&json!("QueryFailed"), &json!("held"))
    );
    client.subscribe(1, "no:such", json!({})).await;
    let failed = client.transition().await["modifications"][0].clone();
    assert!(failed["errorMessage"].as_str().unwrap().contains("no:such"));
    client
        .modify(json!([{"type": "Add", "queryId": 2, "udfPath": "rows:get", "args": [1]}]))
        .await;
    let failed = client.transition().await["modifications"][0].clone();
    assert!(
        failed["errorMessage"]
            .as_str()
            .unwrap()
            .contains("one object")
    );
    deployment.stop().await;
}

#[tokio::test]
async fn a_scheduled_function_runs_when_due_and_is_seen() {
    let deployment = deployment(&World::default(), |_| {}).await;
    let mut client = Client::connect(&deployment.url()).await;
    client
        .subscribe(0, "rows:get", json!({"key": "late"}))
        .await;
    client.transition().await;
    client
        .mutate(
            0,
            "rows:putLater",
            json!({"key": "late", "text": "done", "ms": 30}),
        )
        .await;
    client.response(0).await;
    client.shows(json!("done")).await;
    deployment.stop().await;
}

#[tokio::test]
async fn who_breaks_the_protocol_is_told_and_closed() {
    let deployment = deployment(&World::default(), |_| {}).await;
    let connect = json!({"type": "Connect", "sessionId": uuid::Uuid::new_v4(), "connectionCount": 0, "lastCloseReason": null});
    let modify = |base: u32, new: u32| json!({"type": "ModifyQuerySet", "baseVersion": base, "newVersion": new, "modifications": []});
    for (messages, says) in [
        (vec![modify(0, 1)], "Connect"),
        (vec![connect.clone(), connect.clone()], "twice"),
        (vec![connect.clone(), modify(1, 2)], "base version mismatch"),
        (
            vec![
                connect.clone(),
                json!({"type": "Authenticate", "baseVersion": 3, "tokenType": "None"}),
            ],
            "base version mismatch",
        ),
        (
            vec![connect.clone(), json!({"type": "Dance"})],
            "invalid message",
        ),
        (
            vec![
                connect.clone(),
                json!({"type": "ModifyQuerySet", "baseVersion": 0, "newVersion": 1, "modifications": [{"type": "Remove", "queryId": 5}]}),
            ],
            "not in the query set",
        ),
    ] {
        let mut client = Client::open(&deployment.url()).await;
        for message in messages {
            client.send(message).await;
        }
        let (messages, code, _) = client.closed().await;
        let last = messages.last().unwrap();
        assert_eq!(last["type"], "FatalError");
        assert!(last["error"].as_str().unwrap().contains(says), "{last}");
        assert_eq!(code, 1002);
    }
    let mut client = Client::open(&deployment.url()).await;
    client.send_text("not json".to_owned()).await;
    assert_eq!(client.closed().await.0[0]["type"], "FatalError");
    deployment.stop().await;
}

#[tokio::test]
async fn actions_are_refused_by_name() {
    let deployment = deployment(&World::default(), |_| {}).await;
    let mut client = Client::connect(&deployment.url()).await;
    client
        .send(json!({"type": "Action", "requestId": 0, "udfPath": "a:b", "args": [{}]}))
        .await;
    let answer = client.receive().await;
    assert_eq!(
        (&answer["type"], &answer["success"]),
        (&json!("ActionResponse"), &json!(false))
    );
    assert!(answer["result"].as_str().unwrap().contains("not supported"));
    client
        .send(json!({"type": "Event", "eventType": "ClientConnect", "event": {}}))
        .await;
    client.mutate(1, "rows:add", json!({"key": "n"})).await;
    client.response(1).await;
    deployment.stop().await;
}

#[tokio::test]
async fn a_client_from_the_future_is_closed() {
    let deployment = deployment(&World::default(), |_| {}).await;
    let mut client = Client::open(&deployment.url()).await;
    client
        .send(json!({
            "type": "Connect", "sessionId": uuid::Uuid::new_v4(), "connectionCount": 1,
            "lastCloseReason": "x", "maxObservedTimestamp": "/////////38=",
        }))
        .await;
    let (messages, _, reason) = client.closed().await;
    assert!(
        messages.is_empty() && reason.contains("later state"),
        "{messages:?} {reason}"
    );
    deployment.stop().await;
}

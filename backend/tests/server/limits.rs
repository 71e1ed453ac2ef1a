//! Sizes: what is too large is refused with a readable reason, and what is merely large arrives.

use serde_json::{Value, json};

use crate::support::{Client, World, deployment};

#[tokio::test]
async fn a_message_that_is_too_large_closes_with_a_reason() {
    let deployment = deployment(&World::default(), |config| {
        config.tuning.message_bytes = 1 << 20;
    })
    .await;
    for bytes in [2 << 20, 16 << 20] {
        let mut client = Client::connect(&deployment.url()).await;
        let text = "x".repeat(bytes);
        let message = json!({"type": "Mutation", "requestId": 0, "udfPath": "rows:put", "args": [{"key": "a", "text": text}]});
        // the server may hang up while we are still writing
        let frame = tokio_tungstenite::tungstenite::Message::text(message.to_string());
        let _ = futures_util::SinkExt::send(&mut client.socket, frame).await;
        if bytes == 2 << 20 {
            let (_, code, reason) = client.closed().await;
            assert_eq!(
                (code, reason.as_str()),
                (1009, "message too large: the limit is 1 MiB")
            );
        }
    }
    let mut client = Client::connect(&deployment.url()).await;
    client.modify(json!([])).await;
    client.transition().await;
    deployment.stop().await;
}

#[tokio::test]
async fn results_that_no_client_could_read_are_errors() {
    let deployment = deployment(&World::default(), |_| {}).await;
    let mut client = Client::connect(&deployment.url()).await;
    client
        .subscribe(0, "make:text", json!({"bytes": 17 << 20}))
        .await;
    let failed = client.transition().await["modifications"][0].clone();
    assert_eq!(failed["type"], "QueryFailed");
    assert!(
        failed["errorMessage"]
            .as_str()
            .unwrap()
            .contains("too large")
    );
    client
        .mutate(0, "make:text", json!({"bytes": 17 << 20}))
        .await;
    let response = client.response(0).await;
    assert_eq!(response["success"], false);
    assert!(response["result"].as_str().unwrap().contains("committed"));
    client.transition().await;
    deployment.stop().await;
}

#[tokio::test]
async fn a_transition_too_large_for_one_frame_comes_in_several() {
    let deployment = deployment(&World::default(), |_| {}).await;
    let mut client = Client::connect(&deployment.url()).await;
    let queries: Vec<Value> = (0..4)
        .map(|id| json!({"type": "Add", "queryId": id, "udfPath": "make:text", "args": [{"bytes": 7 << 20}]}))
        .collect();
    client.modify(json!(queries)).await;
    let mut arrived = 0;
    let mut transitions = 0;
    while arrived < 4 {
        // the client itself refuses frames of 16 MiB
        let transition = client.transition().await;
        arrived += transition["modifications"].as_array().unwrap().len();
        transitions += 1;
    }
    assert_eq!(transitions, 2);
    client.mutate(0, "rows:add", json!({"key": "n"})).await;
    client.response(0).await;
    client.transition().await;
    deployment.stop().await;
}

#[tokio::test]
async fn subscriptions_larger_than_what_may_be_unsent_kept_their_client_from_ever_connecting() {
    let world = World::default();
    let deployment = deployment(&world, |config| {
        config.tuning.unsent_bytes = 8 << 20;
        config.tuning.part_bytes = 3 << 20;
    })
    .await;
    let mut client = Client::connect(&deployment.url()).await;
    let add = |id: u32| json!({"type": "Add", "queryId": id, "udfPath": "make:text", "args": [{"bytes": 1 << 20}]});
    client.modify((0..24).map(add).collect()).await;
    let mut shown = 0;
    while shown < 24 {
        let transition = client.transition().await;
        shown += transition["modifications"].as_array().unwrap().len();
        // the version is reached with the last of them, not before
        let reached = u32::from(shown == 24);
        assert_eq!(transition["endVersion"]["querySet"], reached);
        assert!(shown <= 24 && world.queried() < shown + 16, "not in parts");
    }
    client.mutate(0, "rows:add", json!({"key": "make"})).await;
    client.response(0).await;
    let mut changed = 0;
    while changed < 24 {
        let transition = client.transition().await;
        changed += transition["modifications"].as_array().unwrap().len();
    }
    deployment.stop().await;
}

#[tokio::test]
async fn answers_larger_than_what_may_be_unsent_wait_for_a_quick_reader() {
    let deployment = deployment(&World::default(), |config| {
        config.tuning.unsent_bytes = 2 << 20;
    })
    .await;
    let mut client = Client::connect(&deployment.url()).await;
    for request in 0..20 {
        client
            .mutate(request, "make:text", json!({"bytes": 3 << 20}))
            .await;
    }
    let mut next = 0;
    while next < 20 {
        let message = client.receive().await;
        if message["type"] == "MutationResponse" {
            assert_eq!(message["requestId"], next);
            next += 1;
        }
    }
    deployment.stop().await;
}

#[tokio::test]
async fn too_many_queries_on_one_socket_are_the_clients_fault() {
    let deployment = deployment(&World::default(), |config| config.tuning.queries = 3).await;
    let mut client = Client::connect(&deployment.url()).await;
    for id in 0..4 {
        client.subscribe(id, "rows:get", json!({"key": "a"})).await;
    }
    let (messages, code, reason) = client.closed().await;
    assert_eq!(messages.last().unwrap()["type"], "FatalError");
    assert_eq!(code, 1002);
    assert!(reason.contains("too many queries"), "{reason}");
    deployment.stop().await;
}

//! The same over the real engine: JavaScript functions, a SQLite file, restarts of the thread and of the deployment.

use std::net::SocketAddr;
use std::path::Path;

use futures_util::StreamExt;
use orchestrator_backend::engine::OpenError;
use orchestrator_backend::server::{DeploymentConfig, StartError};
use orchestrator_backend::{Deployment, Instance, Phase, Site};
use serde_json::{Value, json};

use crate::support::{Client, Owner, eventually, field_ts};

const SCHEMA: &str = r#"
import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";
export default defineSchema({
  lines: defineTable({ room: v.string(), seq: v.number(), text: v.string() }).index("by_room_seq", ["room", "seq"]),
});
"#;

const LINES: &str = r#"
import { queryGeneric as query, mutationGeneric as mutation, internalMutationGeneric as internalMutation,
  makeFunctionReference } from "convex/server";
import { v, ConvexError } from "convex/values";

const line = { room: v.string(), seq: v.number(), text: v.string() };

export const page = query({
  args: { room: v.string(), from: v.number() },
  returns: v.array(v.string()),
  handler: async (ctx, { room, from }) => {
    const rows = await ctx.db.query("lines")
      .withIndex("by_room_seq", (q) => q.eq("room", room).gte("seq", from).lt("seq", from + 4)).collect();
    return rows.map((row) => row.text);
  },
});

export const add = mutation({ args: line, returns: v.number(), handler: async (ctx, args) => {
  await ctx.db.insert("lines", args);
  return args.seq;
} });

export const addInternally = internalMutation({ args: line, handler: async (ctx, args) => {
  await ctx.db.insert("lines", args);
} });

export const addLater = mutation({ args: { ms: v.number(), ...line }, handler: async (ctx, { ms, ...args }) => {
  await ctx.scheduler.runAfter(ms, makeFunctionReference("lines:addInternally"), args);
} });

export const refuse = mutation({ args: {}, handler: async (ctx) => {
  await ctx.db.insert("lines", { room: "refused", seq: 0, text: "never seen" });
  throw new ConvexError({ code: "held", message: "taken" });
} });

export const who = query({ args: {}, handler: async (ctx) =>
  (await ctx.auth.getUserIdentity())?.tokenIdentifier ?? null });
"#;

fn config(folder: &Path, owner: &Owner) -> DeploymentConfig {
    DeploymentConfig {
        bind: SocketAddr::from(([127, 0, 0, 1], 0)),
        data: folder.join("local.sqlite3"),
        functions: vec![
            ("schema".to_owned(), SCHEMA.to_owned()),
            ("lines".to_owned(), LINES.to_owned()),
        ],
        environment: Vec::new(),
        identity: vec![owner.provider.clone()],
        allowed_origins: Vec::new(),
        instance: Instance::default(),
        site: Site::default(),
    }
}

fn line(room: &str, seq: u32, text: &str) -> Value {
    json!({"room": room, "seq": seq, "text": text})
}

#[tokio::test]
async fn a_window_is_sent_again_only_when_something_falls_into_it() {
    let folder = tempfile::tempdir().unwrap();
    let owner = Owner::new();
    let deployment = Deployment::start(config(folder.path(), &owner))
        .await
        .unwrap();
    let mut reader = Client::connect(&deployment.url()).await;
    reader
        .subscribe(0, "lines:page", json!({"room": "a", "from": 0}))
        .await;
    assert_eq!(reader.value().await, json!([]));
    reader
        .subscribe(1, "lines:page", json!({"room": "a", "from": 4}))
        .await;
    assert_eq!(reader.value().await, json!([]));
    let mut writer = Client::connect(&deployment.url()).await;
    for (request, seq) in [(0, 4), (1, 0), (2, 8)] {
        writer
            .mutate(request, "lines:add", line("a", seq, "x"))
            .await;
        writer.response(request).await;
        writer.transition().await;
    }
    writer.mutate(3, "lines:add", line("a", 1, "y")).await;
    let mut changes = Vec::new();
    while changes.last() != Some(&(0, json!(["x", "y"]))) {
        for change in reader.transition().await["modifications"]
            .as_array()
            .unwrap()
        {
            changes.push((change["queryId"].as_u64().unwrap(), change["value"].clone()));
        }
    }
    assert_eq!(
        changes.iter().filter(|change| change.0 == 1).count(),
        1,
        "{changes:?}"
    );
    drop(reader);
    drop(writer);
    deployment.stop().await;
}

#[tokio::test]
async fn failures_roll_back_and_carry_their_data() {
    let folder = tempfile::tempdir().unwrap();
    let owner = Owner::new();
    let deployment = Deployment::start(config(folder.path(), &owner))
        .await
        .unwrap();
    let mut client = Client::connect(&deployment.url()).await;
    client
        .subscribe(0, "lines:page", json!({"room": "refused", "from": 0}))
        .await;
    client.transition().await;
    client.mutate(0, "lines:refuse", json!({})).await;
    assert_eq!(
        client.response(0).await["errorData"],
        json!({"code": "held", "message": "taken"})
    );
    assert_eq!(client.transition().await["modifications"], json!([]));
    client.mutate(1, "lines:add", json!({"room": 5})).await;
    let refused = client.response(1).await;
    assert!(
        refused["result"]
            .as_str()
            .unwrap()
            .contains("ArgumentValidationError"),
        "{refused}"
    );
    client.transition().await;
    client
        .mutate(2, "lines:addInternally", line("a", 0, "x"))
        .await;
    assert_eq!(
        client.response(2).await["success"],
        false,
        "internal functions are not for clients"
    );
    client.transition().await;
    client
        .mutate(3, "lines:page", json!({"room": "a", "from": 0}))
        .await;
    assert_eq!(
        client.response(3).await["success"],
        false,
        "a query is not a mutation"
    );
    drop(client);
    deployment.stop().await;
}

#[tokio::test]
async fn a_scheduled_function_reaches_the_subscribers() {
    let folder = tempfile::tempdir().unwrap();
    let owner = Owner::new();
    let deployment = Deployment::start(config(folder.path(), &owner))
        .await
        .unwrap();
    let mut client = Client::connect(&deployment.url()).await;
    client
        .subscribe(0, "lines:page", json!({"room": "a", "from": 0}))
        .await;
    client.transition().await;
    let mut args = line("a", 2, "later");
    args["ms"] = json!(20);
    client.mutate(0, "lines:addLater", args).await;
    client.response(0).await;
    // Perhaps with the mutation's own transition: the function may have run by then.
    client.shows(json!(["later"])).await;
    drop(client);
    deployment.stop().await;
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_restart_and_is_not_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let owner = Owner::new();
    let session = uuid::Uuid::new_v4().to_string();
    let first = Deployment::start(config(folder.path(), &owner))
        .await
        .unwrap();
    let mut client = Client::connect_as(&first.url(), &session, 0).await;
    client.mutate(0, "lines:add", line("a", 0, "once")).await;
    let response = client.response(0).await;
    let seen = client.transition().await["endVersion"]["ts"].clone();
    drop(client);
    let second = Deployment::start(config(folder.path(), &owner)).await;
    assert!(
        matches!(second, Err(StartError::Engine(OpenError::Locked { .. }))),
        "one engine per file"
    );
    first.stop().await;
    let second = Deployment::start(config(folder.path(), &owner))
        .await
        .unwrap();
    let mut client = Client::open(&second.url()).await;
    client
        .send(json!({
            "type": "Connect", "sessionId": session, "connectionCount": 1, "lastCloseReason": "x",
            "maxObservedTimestamp": seen, "clientTs": 1,
        }))
        .await;
    client
        .subscribe(0, "lines:page", json!({"room": "a", "from": 0}))
        .await;
    client.mutate(0, "lines:add", line("a", 0, "once")).await;
    let replay = client.response(0).await;
    assert_eq!(
        (&replay["ts"], &replay["result"]),
        (&response["ts"], &response["result"])
    );
    let transition = client.transition().await;
    assert_eq!(transition["modifications"][0]["value"], json!(["once"]));
    assert!(field_ts(&transition["endVersion"]["ts"]) >= field_ts(&seen));
    drop(client);
    second.stop().await;
}

#[cfg(debug_assertions)]
#[tokio::test]
async fn sixty_mutations_with_panics_in_between_run_exactly_once() {
    let folder = tempfile::tempdir().unwrap();
    let owner = Owner::new();
    let deployment = Deployment::start(config(folder.path(), &owner))
        .await
        .unwrap();
    let session = uuid::Uuid::new_v4().to_string();
    let (mut connections, mut next) = (0, 0);
    while next < 60 {
        eventually("the engine serves", || deployment.phase() == Phase::Ready).await;
        let Ok(mut client) = Client::try_open(&deployment.url(), &[]).await else {
            continue;
        };
        let connect = json!({
            "type": "Connect", "sessionId": session, "connectionCount": connections, "lastCloseReason": "x",
        });
        connections += 1;
        // everything not yet answered is sent at once, as a client does after a reconnect
        let mut burst = vec![connect];
        burst.extend((next..60).map(|request| {
            json!({"type": "Mutation", "requestId": request, "udfPath": "lines:add", "args": [line("a", request, "x")]})
        }));
        for message in burst {
            let frame = tokio_tungstenite::tungstenite::Message::text(message.to_string());
            if futures_util::SinkExt::send(&mut client.socket, frame)
                .await
                .is_err()
            {
                break;
            }
        }
        while let Some(Ok(frame)) = client.socket.next().await {
            let Ok(message) = serde_json::from_str::<Value>(frame.to_text().unwrap_or_default())
            else {
                continue;
            };
            if message["type"] == "MutationResponse" {
                assert_eq!(
                    (&message["requestId"], &message["success"]),
                    (&json!(next), &json!(true))
                );
                next += 1;
                if next % 15 == 7 {
                    deployment.inject_engine_panic();
                }
                if next == 60 {
                    break;
                }
            }
        }
    }
    assert!(deployment.engine_restarts() >= 1);
    let mut reader = Client::connect(&deployment.url()).await;
    for from in (0..60).step_by(4) {
        let id = from / 4;
        reader
            .subscribe(id, "lines:page", json!({"room": "a", "from": from}))
            .await;
        assert_eq!(
            reader.value().await,
            json!(["x", "x", "x", "x"]),
            "window {from}"
        );
    }
    drop(reader);
    deployment.stop().await;
}

#[tokio::test]
async fn the_callers_identity_reaches_the_functions() {
    let folder = tempfile::tempdir().unwrap();
    let owner = Owner::new();
    let deployment = Deployment::start(config(folder.path(), &owner))
        .await
        .unwrap();
    let mut client = Client::connect(&deployment.url()).await;
    client.authenticate(Some(&owner.token("owner", 60))).await;
    client.subscribe(0, "lines:who", json!({})).await;
    let mut seen = Value::Null;
    while seen.is_null() {
        let transition = client.transition().await;
        if let Some(change) = transition["modifications"].get(0) {
            seen = change["value"].clone();
        }
    }
    assert_eq!(seen, "https://orchestrator.local|owner");
    let answer: Value = reqwest::Client::new()
        .post(format!("{}/api/function", deployment.url()))
        .json(&json!({"path": "lines:add", "args": line("h", 1, "x"), "format": "json"}))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(
        (&answer["status"], &answer["value"]),
        (&json!("success"), &json!(1)),
        "{answer}"
    );
    drop(client);
    deployment.stop().await;
}

#[tokio::test]
async fn functions_that_do_not_load_are_a_start_error_that_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), &Owner::new());
    config
        .functions
        .push(("broken".to_owned(), "export const x = ;".to_owned()));
    let error = Deployment::start(config).await.err().unwrap();
    assert!(error.to_string().contains("broken"), "{error}");
}

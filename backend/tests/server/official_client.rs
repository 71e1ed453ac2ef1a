//! The official Rust client, unchanged, as a proof of compatibility.

use std::collections::BTreeMap;

use convex::{ConvexClient, FunctionResult, Value};
use futures_util::StreamExt;

use crate::support::{DEADLINE, Owner, World, deployment, eventually};

fn args<const N: usize>(fields: [(&str, Value); N]) -> BTreeMap<String, Value> {
    fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

async fn until(subscription: &mut convex::QuerySubscription, wanted: &FunctionResult) {
    let wait = async {
        while let Some(result) = subscription.next().await {
            if result == *wanted {
                return;
            }
        }
        panic!("the subscription ended");
    };
    tokio::time::timeout(DEADLINE, wait)
        .await
        .expect("the value never came");
}

#[tokio::test]
async fn it_subscribes_mutates_and_reads_errors() {
    let deployment = deployment(&World::default(), |_| {}).await;
    let mut client = ConvexClient::new(&deployment.url()).await.unwrap();
    let key = || ("key", Value::from("a"));
    let mut rows = client.subscribe("rows:get", args([key()])).await.unwrap();
    until(&mut rows, &FunctionResult::Value(Value::Null)).await;
    let put = args([key(), ("text", Value::from("hello"))]);
    let answer = client.mutation("rows:put", put).await.unwrap();
    assert_eq!(answer, FunctionResult::Value(Value::from("hello")));
    until(&mut rows, &FunctionResult::Value(Value::from("hello"))).await;
    match client.mutation("fail:convex", args([])).await.unwrap() {
        FunctionResult::ConvexError(error) => {
            assert_eq!(
                error.data,
                Value::Object(args([("code", "held".into()), ("message", "taken".into())]))
            );
        }
        other => panic!("{other:?}"),
    }
    match client.mutation("fail:plain", args([])).await.unwrap() {
        FunctionResult::ErrorMessage(message) => assert_eq!(message, "Uncaught Error: no luck"),
        other => panic!("{other:?}"),
    }
    let scan = args([("from", "a".into()), ("to", "b".into())]);
    let rows = client.query("rows:scan", scan).await.unwrap();
    assert_eq!(
        rows,
        FunctionResult::Value(Value::Array(vec!["hello".into()]))
    );
    deployment.stop().await;
}

#[tokio::test]
async fn it_authenticates() {
    let owner = Owner::new();
    let provider = owner.provider.clone();
    let deployment = deployment(&World::default(), |config| config.identity = vec![provider]).await;
    let mut client = ConvexClient::new(&deployment.url()).await.unwrap();
    client.set_auth(Some(owner.token("ann", 60))).await;
    let who = client.query("who:am", args([])).await.unwrap();
    assert_eq!(
        who,
        FunctionResult::Value("https://orchestrator.local|ann".into())
    );
    deployment.stop().await;
}

#[cfg(debug_assertions)]
#[tokio::test]
async fn it_comes_back_by_itself_after_an_engines_panic() {
    let world = World::default();
    let deployment = deployment(&world, |_| {}).await;
    let mut client = ConvexClient::new(&deployment.url()).await.unwrap();
    let mut rows = client
        .subscribe("rows:get", args([("key", "n".into())]))
        .await
        .unwrap();
    until(&mut rows, &FunctionResult::Value(Value::Null)).await;
    for round in 1..=3 {
        deployment.inject_engine_panic();
        let count = FunctionResult::Value(Value::Float64(f64::from(round)));
        let answer = client
            .mutation("rows:add", args([("key", "n".into())]))
            .await;
        // the stock client may run a mutation twice over a reconnect, so only the arrival is asked for
        assert!(answer.is_ok(), "{answer:?}");
        let wait = async {
            while let Some(FunctionResult::Value(value)) = rows.next().await {
                if matches!(value, Value::Float64(seen) if FunctionResult::Value(Value::Float64(seen)) == count || seen > f64::from(round))
                {
                    return;
                }
            }
        };
        tokio::time::timeout(DEADLINE, wait)
            .await
            .expect("the subscription resumes");
    }
    deployment.stop().await;
}

#[cfg(debug_assertions)]
#[tokio::test]
async fn many_calls_in_flight_survive_an_engines_panic_without_a_reconnect_storm() {
    let world = World::default();
    let deployment = deployment(&world, |_| {}).await;
    let client = ConvexClient::new(&deployment.url()).await.unwrap();
    let calls: Vec<_> = (0..600)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move {
                client
                    .mutation("rows:add", args([("key", "n".into())]))
                    .await
            })
        })
        .collect();
    eventually("some have run", || world.executed() > 50).await;
    deployment.inject_engine_panic();
    let mut given_up = 0;
    for call in calls {
        // with a storm, this takes minutes
        let answer = tokio::time::timeout(DEADLINE, call).await;
        if let Err(error) = answer.expect("answered").unwrap() {
            // The stock client drops a call that reaches it while its socket is down (and may run it all the same). That
            // is the only error of its own that is taken; one of the deployment's would be another text.
            assert_eq!(error.to_string(), "channel closed");
            given_up += 1;
        }
    }
    assert!(world.executed() + given_up >= 600);
    assert_eq!(deployment.engine_restarts(), 1);
    deployment.stop().await;
}

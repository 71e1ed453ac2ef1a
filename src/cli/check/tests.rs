//! The scenario against a deployment in this process: what it leaves behind when it does not end well.

use std::sync::Arc;

use orchestrator_backend::{AuthProvider, Deployment, DeploymentConfig, Instance, Site};
use tokio::sync::Notify;

use super::*;
use crate::adapters::identity::{AUDIENCE, ISSUER, OwnerKey};

const DEADLINE: Duration = Duration::from_secs(20);

async fn deploy(folder: &std::path::Path, key: &OwnerKey) -> Deployment {
    let functions = orchestrator_backend::functions::product().into_iter();
    let config = DeploymentConfig {
        bind: ([127, 0, 0, 1], 0).into(),
        data: folder.join("local.sqlite3"),
        environment: Vec::new(),
        functions: functions
            .map(|(name, source)| (name.to_owned(), source.to_owned()))
            .collect(),
        identity: vec![AuthProvider {
            issuer: ISSUER.to_owned(),
            audience: AUDIENCE.to_owned(),
            jwks: key.jwks(),
        }],
        allowed_origins: Vec::new(),
        instance: Instance::default(),
        site: Site::default(),
    };
    Deployment::start(config).await.unwrap()
}

async fn client(deployment: &Deployment, key: OwnerKey) -> OwnerClient {
    OwnerClient::connect(&deployment.url(), Arc::new(key), DEADLINE)
        .await
        .unwrap()
}

#[tokio::test]
async fn an_interrupted_check_left_its_machine_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("owner.key");
    let deployment = deploy(folder.path(), &OwnerKey::load_or_create(&path).unwrap()).await;
    let owner = client(&deployment, OwnerKey::load(&path).unwrap()).await;
    let pressed = Notify::new();
    let mut steps = Vec::new();
    let passed = play(
        &owner,
        async || pressed.notified().await,
        |step| {
            steps.push(step);
            if steps.len() == 4 {
                pressed.notify_one();
            }
        },
    )
    .await;
    assert!(!passed);
    let errors: Vec<_> = steps.iter().map(|step| step.error.as_deref()).collect();
    let expected = [None, None, None, None, Some("interrupted"), None];
    assert_eq!(errors, expected, "{steps:?}");
    let machines = owner.query("machines:list", json!({})).await.unwrap();
    assert_eq!(machines, json!([]));
    deployment.stop().await;
}

#[tokio::test]
async fn the_clean_up_tries_all_of_it_and_says_what_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("owner.key");
    let deployment = deploy(folder.path(), &OwnerKey::load_or_create(&path).unwrap()).await;
    let owner = client(&deployment, OwnerKey::load(&path).unwrap()).await;
    let scenario = Scenario::new(&owner);
    for step in [Name::Register, Name::Approve, Name::Connect, Name::Send] {
        scenario.step(step).await.unwrap();
    }
    // Somebody else may not remove anything of it.
    let stranger = OwnerKey::load(&path).unwrap().with_subject("stranger");
    let stranger = client(&deployment, stranger).await;
    let theirs = Scenario {
        client: &stranger,
        id: scenario.id.clone(),
        token: std::sync::Mutex::default(),
    };
    let left = theirs.clean_up().await.unwrap_err();
    for part in [
        "sessions:end",
        "workers:remove",
        "machines:remove",
        &scenario.id,
    ] {
        assert!(left.contains(part), "{left}");
    }
    scenario.clean_up().await.unwrap();
    deployment.stop().await;
}

#[test]
fn a_page_out_of_order_or_with_other_content_is_not_what_was_appended() {
    let item = |index: usize, content: &str| json!({ "index": index, "content": content });
    let page = |items: &[Value]| json!({ "items": items });
    let (first, second) = (item(0, "0 "), item(1, "1 "));
    assert_eq!(in_order(&page(&[first.clone(), second.clone()])), Ok(2));
    for wrong in [
        page(&[second.clone(), first.clone()]),
        page(&[first.clone(), first.clone()]),
        page(&[first, item(1, "x")]),
        json!({}),
    ] {
        assert!(in_order(&wrong).is_err(), "{wrong}");
    }
}

//! The product's scenarios against somebody's own deployment, when asked to: `ORCHESTRATOR_CONFORMANCE_URL` and
//! `ORCHESTRATOR_OWNER_TOKEN`. They live under throwaway machines, which are removed again, whatever has happened.
//!
//! There is one identity only: scenarios with a stranger in them are left out.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::drivers::{self, Driver, Target};
use crate::report::Report;
use crate::scenario::{self, Scenario};

const URL: &str = "ORCHESTRATOR_CONFORMANCE_URL";
const TOKEN: &str = "ORCHESTRATOR_OWNER_TOKEN";

#[test]
fn the_product_behaves_on_another_deployment() {
    let Ok(url) = std::env::var(URL) else {
        eprintln!(
            "skipped: set {URL} and {TOKEN} to run the product's scenarios against a deployment"
        );
        return;
    };
    let token = std::env::var(TOKEN)
        .unwrap_or_else(|_| panic!("{TOKEN} must hold a JWT of the deployment's owner"));
    let target = Target {
        url,
        tokens: [("owner".to_owned(), token)].into(),
    };
    check(&target);
}

/// Plays them through every client, and removes what they have made.
fn check(target: &Target) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock");
    let mut faults = Vec::new();
    for driver in Driver::all()
        .into_iter()
        .filter(|driver| driver.is_remote() && driver.is_wanted())
    {
        let scenarios: Vec<Scenario> = scenario::load("product")
            .into_iter()
            .filter(|scenario| scenario.is_wanted() && !scenario.names("stranger"))
            .map(|scenario| {
                scenario.renamed(&format!("check{}{}", since.as_millis(), driver.name()))
            })
            .collect();
        let outcomes = drivers::run_against(&runtime, driver, &scenarios, target);
        runtime.block_on(clean(target, &scenarios));
        let report = Report::new(&scenarios, vec![(driver, outcomes)]);
        eprintln!("{}", report.summary());
        if !report.is_clean() {
            faults.push(report.to_string());
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Every scenario keeps to the machine that is called like its run, and to that machine's workers.
async fn clean(target: &Target, scenarios: &[Scenario]) {
    for scenario in scenarios {
        let machine = json!({ "machineId": scenario.run });
        let workers = ask(target, "query", "workers:list", &machine).await;
        for worker in workers.as_array().into_iter().flatten() {
            let worker = json!({ "workerId": worker["workerId"] });
            ask(target, "mutation", "workers:remove", &worker).await;
        }
        ask(target, "mutation", "machines:remove", &machine).await;
    }
}

async fn ask(target: &Target, kind: &str, function: &str, args: &Value) -> Value {
    let body = json!({ "path": function, "args": [args], "format": "convex_encoded_json" });
    let request = reqwest::Client::new()
        .post(format!("{}/api/{kind}", target.url.trim_end_matches('/')))
        .bearer_auth(&target.tokens["owner"])
        .json(&body);
    let reply = request
        .send()
        .await
        .expect("the deployment answers")
        .text()
        .await;
    let reply = serde_json::from_str::<Value>(&reply.unwrap_or_default()).unwrap_or_default();
    if reply["status"] != "success" {
        eprintln!("{function} {args} could not clean up: {reply}");
    }
    reply["value"].clone()
}

/// The same against a deployment of our own: the scenarios pass, and nothing of them is left.
#[test]
fn a_check_leaves_nothing_behind() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let served = runtime.block_on(crate::deployment::Served::start());
    let target = Target {
        url: served.url.clone(),
        tokens: [("owner".to_owned(), served.tokens["owner"].clone())].into(),
    };
    let scenarios: Vec<Scenario> = scenario::load("product")
        .into_iter()
        .filter(|scenario| !scenario.names("stranger"))
        .map(|scenario| scenario.renamed("check1"))
        .collect();
    let outcomes = drivers::run_against(&runtime, Driver::Rust, &scenarios, &target);
    let report = Report::new(&scenarios, vec![(Driver::Rust, outcomes)]);
    assert!(report.is_clean(), "{report}");
    runtime.block_on(async {
        clean(&target, &scenarios).await;
        assert_eq!(
            ask(&target, "query", "machines:list", &json!({})).await,
            json!([])
        );
        assert_eq!(
            ask(&target, "query", "workers:list", &json!({})).await,
            json!([])
        );
        served.stop().await;
    });
}

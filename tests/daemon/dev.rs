//! Development mode: one worker out of `.env`, which is made by questions on a terminal; it ends with its worker.

use std::os::unix::fs::PermissionsExt;

use orchestrator_test_support::{Home, eventually};
use serde_json::json;

use crate::ORCHESTRATOR;
use crate::stage::{self, Site};

fn dotenv(site: &Site, url: &str, token: &str, more: &str) {
    let text = format!("# mine\nWORKER_TOKEN={token}\nCONVEX_URL={url}\n{more}");
    std::fs::write(site.dotenv(), text).unwrap();
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(site.dotenv(), mode).unwrap();
}

fn token(site: &Site) -> String {
    site.token(0)
}

#[test]
fn an_existing_env_serves_one_worker_and_ends_with_it() {
    let server = Home::new(ORCHESTRATOR);
    let (deployment, api, site) = stage::served(&server, &["blog"]);
    let more = format!(
        "ROOT_DIRECTORY={}\nIDLE_TIMEOUT=600000\nMACHINE_TOKEN=\n",
        site.home.dir("blog").display()
    );
    dotenv(&site, deployment.url(), &token(&site), &more);
    let supervisor = site
        .home
        .supervisor(["run", "--dev", "--demo", "--no-input"]);
    supervisor.workers_are("ready");
    let worker = supervisor.ps()["workers"][0].clone();
    assert_eq!(worker["directory"], json!(site.home.dir("blog")));
    let (session, turn) = api.send("m1", &json!({ "workerId": "blog" }), "hello");
    assert_eq!(api.closed(&session, &turn)["state"], "complete");

    // The one way to change it while it runs is the one of production.
    dotenv(
        &site,
        deployment.url(),
        &token(&site),
        &more.replace("600000", "900000"),
    );
    let ran = site.run(&["reload", "--dry-run"]).exits(0);
    assert!(
        ran.stdout.contains("idle_timeout 600s -> 900s (live)"),
        "{}",
        ran.stdout
    );
    dotenv(&site, "http://a.example", &token(&site), &more);
    let ran = site.run(&["reload"]).exits(3);
    assert!(
        ran.stderr
            .contains("CONVEX_URL: Convex URL must use HTTPS (.env:3:1)"),
        "{}",
        ran.stderr
    );

    api.mutation("workers:revoke", &json!({ "workerId": "blog" }));
    eventually("it has ended", || site.run(&["ps"]).code == 4);
    eventually("it says why", || {
        supervisor
            .printed()
            .contains("error: worker blog: revoked by its owner")
    });
    let ran = site.run(&["ps"]).exits(4);
    assert!(
        ran.stderr
            .contains("failed: worker blog: revoked by its owner"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_worker_that_cannot_start_ends_it_with_the_reason() {
    let server = Home::new(ORCHESTRATOR);
    let (deployment, _, site) = stage::served(&server, &["shop"]);
    let args = ["run", "--dev", "--demo", "--no-input"];

    dotenv(
        &site,
        deployment.url(),
        "machine_m1:worker_shop:secret_wrong",
        "",
    );
    let ran = site.run(&args).exits(1);
    assert!(ran.stderr.contains("worker shop: "), "{}", ran.stderr);
    assert!(ran.stderr.contains("check token and URL"), "{}", ran.stderr);

    dotenv(
        &site,
        deployment.url(),
        &token(&site),
        "ROOT_DIRECTORY=./nowhere\n",
    );
    let ran = site.run(&args).exits(1);
    assert!(
        ran.stderr
            .contains("worker nowhere: working directory ./nowhere does not exist"),
        "{}",
        ran.stderr
    );

    let url = deployment.url().to_owned();
    drop(deployment);
    dotenv(&site, &url, &token(&site), "");
    let ran = site.run(&args).exits(7);
    assert!(
        ran.stderr
            .contains(&format!("cannot reach the deployment {url}: ")),
        "{}",
        ran.stderr
    );
}

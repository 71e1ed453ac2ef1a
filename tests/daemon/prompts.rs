//! What is asked on a terminal, on a real one: `run` and `run --dev` without a configuration, `init`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use orchestrator_test_support::{Home, eventually};

use crate::ORCHESTRATOR;
use crate::stage::{self, Site};
use crate::terminal::Terminal;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_first_development_run_asks_and_keeps_the_answers() {
    let server = Home::new(ORCHESTRATOR);
    let (deployment, _, site) = stage::served(&server, &["shop"]);
    let token = site.token(0);
    std::fs::write(site.dotenv(), "# ours\nOTHER=1\n").unwrap();
    let run = || site.home.command(["run", "--dev", "--demo"]);

    let mut terminal = Terminal::open(run());
    terminal.shows("Worker token (web UI: Machine > menu > Add Worker): ");
    terminal.types("machine_a:worker_b");
    terminal.shows(
        "Worker token must be in format: machine_<machine_id>:worker_<worker_id>:secret_<secret>",
    );
    terminal.shows("Worker token (web UI: Machine > menu > Add Worker): ");
    terminal.types(&token);
    let echoed = terminal.shows("Convex URL: ");
    assert!(!echoed.contains("secret_"), "the token was shown: {echoed}");
    terminal.types("http://happy-otter-123.convex.cloud");
    terminal.shows("Convex URL must use HTTPS");
    terminal.types(deployment.url());
    terminal.shows("(0600): never commit it");
    terminal.shows("talk to it:");
    let text = std::fs::read_to_string(site.dotenv()).unwrap();
    let expected = format!(
        "# ours\nOTHER=1\nWORKER_TOKEN={token}\nCONVEX_URL={}\n",
        deployment.url()
    );
    assert_eq!(text, expected);
    assert_eq!(mode(&site.dotenv()), 0o600);
    terminal.control('c');
    terminal.shows("(up to 10.0 s");
    terminal.ends_with(0);

    // And never asks again.
    let mut terminal = Terminal::open(run());
    let before = terminal.shows("talk to it:");
    assert!(!before.contains("Worker token"), "{before}");
    site.run(&["stop"]).exits(0);
    terminal.ends_with(0);
}

#[test]
fn the_first_production_run_asks_three_questions_and_serves() {
    let server = Home::new(ORCHESTRATOR);
    let (deployment, _, site) = stage::served(&server, &["shop"]);
    let mut terminal = Terminal::open(site.home.command(["run", "--demo"]));
    terminal.shows("No workers configuration found.");
    terminal.shows("Worker token");
    terminal.types(&site.token(0));
    terminal.shows("machine m1, worker shop");
    terminal.shows(&format!(
        "Working directory [{}]: ",
        site.home.dir("shop").display()
    ));
    terminal.types("/nowhere/at/all");
    terminal.shows("working directory /nowhere/at/all does not exist");
    terminal.types("");
    terminal.shows("Convex URL: ");
    terminal.types(deployment.url());
    terminal.shows("reachable, ");
    terminal.shows("workers.json (0600)");
    terminal.shows("talk to it:");
    assert_eq!(mode(&site.home.config_file()), 0o600);
    site.run(&["config", "check", "--strict"]).exits(0);
    eventually("it serves", || site.run(&["ps", "--check"]).code == 0);
    site.run(&["stop"]).exits(0);
    terminal.ends_with(0);
}

#[test]
fn init_given_up_writes_nothing() {
    let home = Home::new(ORCHESTRATOR);
    let mut terminal = Terminal::open(home.command(["init"]));
    terminal.shows("Worker token");
    terminal.control('d');
    let rest = terminal.ends_with(130);
    assert!(rest.contains("nothing was written"), "{rest}");
    assert!(!home.config_file().exists());
}

#[test]
fn init_without_a_terminal_takes_flags_and_checks_the_deployment() {
    let server = Home::new(ORCHESTRATOR);
    let deployment = server.deployment();
    let api = deployment.api();
    let site = Site::new(&server);
    site.pending(&api, deployment.url(), "shop");
    let token = site.token(0);
    let init = |more: &[&str], token: &str| {
        let args = ["init", "--token-stdin", "--dir", "."].iter().chain(more);
        site.home.run_with_input(args, token)
    };
    let ran = init(&["--url", "http://127.0.0.1:9"], &token).exits(7);
    assert!(ran.stderr.contains("nothing was written"), "{}", ran.stderr);
    let ran = init(
        &["--url", deployment.url()],
        "machine_m1:worker_shop:secret_wrong",
    )
    .exits(6);
    assert!(ran.stderr.contains("check token and URL"), "{}", ran.stderr);
    assert!(!site.home.config_file().exists());
    let ran = init(&["--url", deployment.url()], &token).exits(0);
    assert!(ran.stderr.contains("reachable, "), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("waits for its owner's approval"),
        "{}",
        ran.stderr
    );
    assert_eq!(mode(&site.home.config_file()), 0o600);

    let ran = init(&["--url", deployment.url()], &token).exits(2);
    assert!(
        ran.stderr.contains("init --force replaces it"),
        "{}",
        ran.stderr
    );
    init(&["--url", deployment.url(), "--force"], &token).exits(0);
    let kept = site.home.config_file().with_extension("json.old");
    assert_eq!(mode(&kept), 0o600);
    // From a .env the same comes out, and the .env stays.
    let text = format!("WORKER_TOKEN={token}\nCONVEX_URL={}\n", deployment.url());
    std::fs::write(site.dotenv(), &text).unwrap();
    site.run(&["init", "--from-env", ".env", "--force"])
        .exits(0);
    assert_eq!(std::fs::read_to_string(site.dotenv()).unwrap(), text);
    let shown = site.run(&["config", "show"]).exits(0).stdout;
    assert!(
        shown.contains(&site.home.dir("shop").display().to_string()),
        "{shown}"
    );
}

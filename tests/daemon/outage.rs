//! The network goes away for a minute and comes back: nothing is lost, nobody touches the machine, it costs little, and
//! what `ps` and the deployment show meanwhile is true. (Hours of it, under paused time: the link's own tests.)

use std::time::{Duration, Instant};

use orchestrator_test_support::{
    Api, Deployment, Home, Model, Proxy, Supervisor, eventually, script, text_of, until,
};
use serde_json::{Value, json};

use crate::ORCHESTRATOR;

const OUTAGE: Duration = Duration::from_mins(1);

/// A supervisor whose deployment is behind a network that can fail, and the owner, who reaches it another way.
struct Stage {
    model: Model,
    server: Home,
    home: Home,
}

impl Stage {
    fn new() -> Self {
        let model = Model::start(ORCHESTRATOR);
        let mut home = Home::new(ORCHESTRATOR);
        home.set("ORCHESTRATOR_DEMO_MODEL", model.url());
        Self {
            model,
            server: Home::new(ORCHESTRATOR),
            home,
        }
    }

    fn network(&self) -> (Deployment<'_>, Api, Proxy) {
        let deployment = self.server.deployment();
        let api = deployment.api();
        let proxy = Proxy::to(deployment.address());
        self.home.enrol(&api, &proxy.url(), "shop");
        (deployment, api, proxy)
    }

    fn run(&self) -> Supervisor<'_> {
        self.home.supervisor(["run", "--demo", "--no-input"])
    }

    fn log_bytes(&self) -> u64 {
        let files = std::fs::read_dir(self.home.state().join("logs")).expect("a folder");
        let sizes = files.filter_map(|file| Some(file.ok()?.metadata().ok()?.len()));
        sizes.sum()
    }

    /// How often the model was asked to begin with this prompt.
    fn starts(&self, needle: &str) -> u64 {
        let stats = self.model.stats();
        let prompts = stats["prompts"].as_array().cloned().unwrap_or_default();
        let asked = prompts
            .iter()
            .filter(|prompt| prompt["text"].as_str().unwrap_or_default().contains(needle));
        asked.filter_map(|prompt| prompt["starts"].as_u64()).sum()
    }
}

fn bridge(supervisor: &Supervisor<'_>) -> Value {
    supervisor.ps()["bridges"][0].clone()
}

/// How old the worker's last beat is at the deployment, in ms.
fn beat_age(api: &Api) -> f64 {
    let rows = api.query("presence:list", &json!({}));
    let beat = rows[0]["lastBeat"].as_f64().expect("a beat");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("a time").as_millis() as f64 - beat
}

/// An answer streams when the network goes and is complete before it is back; another message is sent meanwhile.
fn a_minute_without(go: impl Fn(&Proxy), come_back: impl Fn(&Proxy), most_attempts: u64) {
    let stage = Stage::new();
    let (_deployment, api, proxy) = stage.network();
    let supervisor = stage.run();
    supervisor.workers_are("ready");
    let prompt = script(&json!([[
        { "text": "first begins " },
        { "stream": { "n": 200, "rate": 10, "size": 6 } },
        { "text": " and ends" },
    ]]));
    let (session, first) = api.send("m1", &json!({ "workerId": "shop" }), &prompt);
    eventually("it streams", || {
        api.streamed(&first).contains("first begins")
    });
    let child = supervisor.session("has a child", |session| session["agent_pid"].is_u64());
    let logged = stage.log_bytes();

    go(&proxy);
    let gone = Instant::now();
    let (_, second) = api.send("m2", &json!({ "sessionId": session }), "second message");
    let shown = until("`ps` says that the deployment is away", || {
        let bridge = bridge(&supervisor);
        (bridge["phase"] != "synced").then_some(bridge)
    });
    assert!(
        gone.elapsed() < Duration::from_secs(45),
        "{:?}",
        gone.elapsed()
    );
    assert!(shown["last_error"].is_string(), "{shown}");
    eventually("the finish waits in the outbox", || {
        supervisor.ps()["machine"]["outbox"] == 1
    });
    let mut attempts = 0;
    eventually("the minute is over", || {
        let bridge = bridge(&supervisor);
        assert_ne!(
            bridge["phase"], "synced",
            "it shows what is not so: {bridge}"
        );
        attempts = bridge["attempts"].as_u64().expect("a number");
        gone.elapsed() >= OUTAGE
    });
    assert!(
        (1..=most_attempts).contains(&attempts),
        "{attempts} attempts"
    );
    let more = stage.log_bytes() - logged;
    assert!(more <= 100 * 1024, "{more} bytes of log");
    // The deployment's own view: nobody is there, the turn is still taken, the next one waits.
    assert!(beat_age(&api) > 35_000.0, "{} ms", beat_age(&api));
    assert_eq!(api.turn(&session, &first)["state"], "claimed");
    assert_eq!(api.turn(&session, &second)["state"], "queued");

    come_back(&proxy);
    let back = Instant::now();
    let row = api.closed(&session, &first);
    let resynced = back.elapsed();
    assert_eq!(row["state"], "complete", "{row}");
    let text = text_of(&row);
    assert!(
        text.starts_with("first begins ") && text.ends_with(" and ends"),
        "{text}"
    );
    let row = api.closed(&session, &second);
    assert_eq!(row["state"], "complete", "{row}");
    assert!(resynced < Duration::from_secs(30), "{resynced:?}");
    let after = supervisor.session("is still there", |session| session["agent_pid"].is_u64());
    assert_eq!(after["agent_pid"], child["agent_pid"], "another child");
    assert_eq!(
        (after["id"].as_str(), after["restarts"].as_u64()),
        (Some(session.as_str()), Some(0))
    );
    assert_eq!(
        (stage.starts("first begins"), stage.starts("second message")),
        (1, 1)
    );
    assert!(supervisor.terminate().success());
}

#[test]
fn a_minute_in_which_nobody_listens_costs_twenty_attempts_at_most_and_no_word() {
    a_minute_without(Proxy::refuse, Proxy::accept_again, 20);
}

#[test]
fn a_minute_in_which_everything_is_swallowed_ends_the_same_way() {
    // Silence is noticed after half a minute; each attempt waits for a quarter.
    a_minute_without(Proxy::hold, Proxy::release, 4);
}

#[test]
fn a_deployment_that_comes_after_its_supervisor_is_served_without_help() {
    let stage = Stage::new();
    let (_deployment, api, proxy) = stage.network();
    proxy.refuse();
    let (session, turn) = api.send(
        "m1",
        &json!({ "workerId": "shop" }),
        "sent before the start",
    );
    let supervisor = stage.run();
    eventually("it tries", || {
        let bridge = bridge(&supervisor);
        bridge["attempts"].as_u64() >= Some(3) && bridge["phase"] != "synced"
    });
    let ps = supervisor.ps();
    assert_ne!(ps["workers"][0]["phase"], "ready", "{ps}");
    proxy.accept_again();
    assert_eq!(api.closed(&session, &turn)["state"], "complete");
    supervisor.workers_are("ready");
    assert_eq!(stage.starts("sent before the start"), 1);
    assert!(supervisor.terminate().success());
}

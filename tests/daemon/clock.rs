//! The wall clock is wrong, and jumps: an hour ahead, two hours back, in the middle of an answer. The supervisor runs under
//! `libfaketime`, which changes what it is told and nothing of the machine; the monotonic clocks are left alone, as on a
//! machine whose clock is set. Everything goes on: timers do not fire, nothing expires, ages are true.

use std::path::PathBuf;

use orchestrator_test_support::{Home, Model, Stage, Supervisor, eventually, script, text_of};
use serde_json::json;

use crate::ORCHESTRATOR;

/// The wall clock of a home's processes.
struct WallClock(PathBuf);

impl WallClock {
    fn of(home: &mut Home) -> Self {
        let file = home.path().join("wall-clock");
        let clock = Self(file);
        clock.is_off_by(0);
        home.set("LD_PRELOAD", library().display().to_string());
        home.set("FAKETIME_TIMESTAMP_FILE", clock.0.display().to_string());
        // It is asked each time, so that the clock jumps under a running process.
        home.set("FAKETIME_NO_CACHE", "1");
        home.set("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        clock
    }

    fn is_off_by(&self, seconds: i64) {
        let draft = self.0.with_extension("new");
        std::fs::write(&draft, format!("{seconds:+}\n")).unwrap();
        std::fs::rename(&draft, &self.0).unwrap();
    }
}

fn library() -> PathBuf {
    let roots = std::fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .flatten();
    let folders = roots.map(|root| root.path().join("faketime"));
    let known = ["/usr/lib/faketime", "/usr/local/lib/faketime"].map(PathBuf::from);
    folders
        .chain(known)
        .map(|folder| folder.join("libfaketimeMT.so.1"))
        .find(|file| file.is_file())
        .expect("libfaketime is missing: `apt-get install faketime` (Debian, Ubuntu), then run the tests again")
}

const HOUR: i64 = 3_600;

/// By its own account, whatever the wall says.
fn is_young(supervisor: &Supervisor<'_>) {
    let ps = supervisor.ps();
    let worker = &ps["workers"][0];
    for age in [&ps["machine"]["uptime_ms"], &worker["age_ms"]] {
        assert!(age.as_u64() < Some(10 * 60_000), "{ps}");
    }
}

#[test]
fn a_supervisor_whose_clock_is_an_hour_off_and_jumps_serves_a_deployment_whose_clock_is_right() {
    let model = Model::start(ORCHESTRATOR);
    let server = Home::new(ORCHESTRATOR);
    let deployment = server.deployment();
    let api = deployment.api();
    let mut home = Home::new(ORCHESTRATOR);
    home.set("ORCHESTRATOR_DEMO_MODEL", model.url());
    home.enrol(&api, deployment.url(), "shop");
    let clock = WallClock::of(&mut home);
    clock.is_off_by(HOUR);
    let supervisor = home.supervisor(["run", "--demo", "--no-input"]);
    supervisor.workers_are("ready");
    let since = supervisor.ps()["machine"]["since"]
        .as_str()
        .unwrap()
        .to_owned();
    let prompt = script(&json!([[
        { "text": "begins " },
        { "stream": { "n": 60, "rate": 10, "size": 6 } },
        { "text": " ends" },
    ]]));
    let (session, turn) = api.send("m1", &json!({ "workerId": "shop" }), &prompt);
    eventually("it streams", || api.streamed(&turn).contains("begins"));
    let child = supervisor.session("has a child", |session| session["agent_pid"].is_u64());

    clock.is_off_by(-HOUR);
    eventually("it sees the jump", || {
        supervisor.ps()["machine"]["since"].as_str() < Some(since.as_str())
    });
    is_young(&supervisor);
    let row = api.closed(&session, &turn);
    assert_eq!(row["state"], "complete", "{row}");
    assert!(text_of(&row).ends_with(" ends"), "{row}");
    // Neither the idle timer nor a turn's guard took the jump for time that passed; the deployment never missed a beat.
    for (n, offset) in [HOUR, -HOUR, 24 * HOUR, 0].into_iter().enumerate() {
        clock.is_off_by(offset);
        let id = format!("again{n}");
        let (_, turn) = api.send(&id, &json!({ "sessionId": session }), "and again");
        assert_eq!(
            api.closed(&session, &turn)["state"],
            "complete",
            "off by {offset} s"
        );
        is_young(&supervisor);
        let presence = api.query("presence:list", &json!({}));
        assert_eq!(presence[0]["disconnected"], false, "{presence}");
        let beat = presence[0]["lastBeat"].as_f64().unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let age = now.unwrap().as_millis() as f64 - beat;
        assert!(
            (-1_000.0..35_000.0).contains(&age),
            "the beat is {age} ms old"
        );
    }
    let after = supervisor.session("is there", |session| session["agent_pid"].is_u64());
    assert_eq!(after["agent_pid"], child["agent_pid"]);
    assert!(supervisor.terminate().success());
}

#[test]
fn a_machine_whose_clock_jumps_with_deployment_and_all_goes_on() {
    let mut stage = Stage::new(ORCHESTRATOR);
    let clock = WallClock::of(&mut stage.home);
    let supervisor = stage.run();
    let prompt = script(&json!([[
        { "text": "begins " },
        { "stream": { "n": 80, "rate": 10, "size": 6 } },
        { "text": " ends" },
    ]]));
    // Somebody waits for the answer while the clock is set; their identity expires by it.
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| stage.home.run(["send", prompt.as_str(), "--wait"]));
        supervisor.session("answers", |session| session["chunks"].as_u64() >= Some(2));
        for offset in [HOUR, -HOUR] {
            let since = || supervisor.ps()["machine"]["since"].clone();
            let before = since();
            clock.is_off_by(offset);
            eventually("it sees the jump", || since() != before);
        }
        waiting.join().unwrap()
    });
    let said = waiting.exits(0).stdout;
    assert!(
        said.starts_with("begins ") && said.ends_with(" ends\n"),
        "{said}"
    );
    is_young(&supervisor);
    let child = supervisor.session("has a child", |session| session["agent_pid"].is_u64());
    let session = child["id"].as_str().unwrap();
    for offset in [HOUR, -HOUR, 0] {
        clock.is_off_by(offset);
        let text = format!("off by {offset}");
        let args = ["send", text.as_str(), "--to", session, "--wait"];
        let sent = stage.home.run(args).exits(0);
        assert!(sent.stdout.contains(&text), "{}", sent.stdout);
        is_young(&supervisor);
    }
    let after = supervisor.session("is there", |session| session["agent_pid"].is_u64());
    assert_eq!(after["agent_pid"], child["agent_pid"]);
    assert!(supervisor.terminate().success());
}

//! What the supervisor's process holds in memory: idle, after many messages, and what its warden adds.

use std::time::Duration;

use orchestrator_test_support::{Api, Home, eventually, processes};
use serde_json::json;

use crate::common::files;
use crate::common::memory::{MEMORY, held};
use crate::common::table::Table;
use crate::{Samples, package, start};

/// After what was measured is done, so that buffers of it are gone.
const QUIET: Duration = Duration::from_secs(2);
/// Turns that are queued at once; the deployment takes 100 of a session.
const AT_ONCE: usize = 50;

pub fn table(samples: Samples) {
    let folder = files::folder();
    let opencode = package::opencode_package(folder.path())
        .display()
        .to_string();
    let mut table = Table::new("Memory, MB", &MEMORY);

    let mut home = Home::new(crate::ORCHESTRATOR);
    home.set("ORCHESTRATOR_OPENCODE_BIN", opencode);
    let supervisor = home.supervisor(["run", "--local", "--port", "0"]);
    supervisor.workers_are("ready");
    std::thread::sleep(QUIET);
    table.row("run --local, idle after its start", held(supervisor.pid()));

    let ps = supervisor.ps();
    let url = ps["deployments"][0]["url"]
        .as_str()
        .expect("a deployment")
        .to_owned();
    let worker = ps["workers"][0]["id"]
        .as_str()
        .expect("a worker")
        .to_owned();
    let token = home
        .run(["owner", "token"])
        .exits(0)
        .stdout
        .trim()
        .to_owned();
    let api = Api::new(url, token);
    converse(&api, &worker, samples.messages);
    std::thread::sleep(QUIET);
    table.row(
        &format!(
            "the same after {} messages, one session live",
            samples.messages
        ),
        held(supervisor.pid()),
    );
    let warden = processes::descendants(supervisor.pid())
        .into_iter()
        .find(|pid| processes::command_line(*pid).contains("__warden"));
    if let Some(warden) = warden {
        table.row(
            "its warden: what a live session costs besides OpenCode",
            held(warden),
        );
    }
    supervisor.terminate();

    let home = Home::new(crate::ORCHESTRATOR);
    let (deployment, _) = start::up(&home, &["deployment", "run", "--port", "0"], "deployment ");
    std::thread::sleep(QUIET);
    table.row(
        "yardstick: deployment run, the same binary, alone",
        held(deployment.id()),
    );
    start::stop(deployment);
    table.print();
}

/// Messages to one session, each answered with ten deltas.
fn converse(api: &Api, worker: &str, messages: usize) {
    let mut to = json!({ "workerId": worker });
    for n in 0..messages {
        let (session, turn) = api.send(&format!("m{n}"), &to, "deltas=10");
        to = json!({ "sessionId": session });
        if n % AT_ONCE == AT_ONCE - 1 || n == messages - 1 {
            eventually("a turn is answered", || {
                api.turn(&session, &turn)["state"] == "complete"
            });
        }
    }
}

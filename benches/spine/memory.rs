//! What the supervisor's process holds in memory, by the kernel's account (`smaps_rollup`): resident, its proportional
//! share (pages of files and libraries divided among those who map them), and what is its own alone.

use std::fs;
use std::time::Duration;

use orchestrator_test_support::{Api, Home, eventually, processes};
use serde_json::json;

use crate::table::Table;
use crate::{Samples, files, start};

/// After what was measured is done, so that buffers of it are gone.
const QUIET: Duration = Duration::from_secs(2);
/// Turns that are queued at once; the deployment takes 100 of a session.
const AT_ONCE: usize = 50;

pub fn table(samples: Samples) {
    let package = files::folder();
    let opencode = files::opencode_package(package.path())
        .display()
        .to_string();
    let mut table = Table::new("Memory, MB", &["Rss", "Pss", "Private", "threads"]);

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

fn held(pid: u32) -> Vec<String> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let sum = |names: &[&str]| {
        let kilobytes: u64 = rollup
            .lines()
            .filter_map(|line| line.split_once(':'))
            .filter(|(name, _)| names.contains(name))
            .filter_map(|(_, value)| value.trim().trim_end_matches(" kB").parse::<u64>().ok())
            .sum();
        format!("{:.1}", kilobytes as f64 / 1024.0)
    };
    let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    vec![
        sum(&["Rss"]),
        sum(&["Pss"]),
        sum(&["Private_Clean", "Private_Dirty"]),
        threads.to_string(),
    ]
}

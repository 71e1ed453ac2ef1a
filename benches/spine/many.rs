//! Many workers of one configuration: how long a start takes until all of them are ready, and what each one costs in memory. They
//! live on a deployment of another process, as in production mode; no OpenCode is started for them.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use orchestrator_test_support::{Deployment, Home};
use serde_json::{Value, json};

use crate::common::files;
use crate::common::memory::held;
use crate::common::table::{TIMES, Table, Times};
use crate::{Samples, package, start};

/// The most workers; the first ones are taken for smaller configurations.
const MOST: usize = 150;
const COUNTS: [usize; 4] = [1, 50, 100, MOST];
/// After the start, so that what it needed is given back.
const QUIET: Duration = Duration::from_secs(2);

pub fn table(samples: Samples) {
    let folder = files::folder();
    let opencode = package::opencode_package(folder.path())
        .display()
        .to_string();
    let server = Home::new(crate::ORCHESTRATOR);
    let deployment = server.deployment();
    let mut home = Home::new(crate::ORCHESTRATOR);
    home.set("ORCHESTRATOR_OPENCODE_BIN", opencode);
    let workers = enrol(&home, &deployment);

    let mut times = Table::new("run, production mode, until all workers are ready", &TIMES);
    for count in [1, 50] {
        home.write_config(&json!({ "workers": workers[..count] }));
        let mut taken = Times::new();
        for _ in 0..samples.starts {
            let (child, took) = ready(&home, count);
            start::stop(child);
            taken.add(took);
        }
        let name = if count == 1 {
            "yardstick: 1 worker".to_owned()
        } else {
            format!("{count} workers, one deployment")
        };
        times.row(&name, taken.cells());
    }
    times.print();

    let columns = [
        "Rss MB",
        "Pss MB",
        "Private MB",
        "threads",
        "Rss, KB a further worker",
    ];
    let mut memory = Table::new("Memory of the supervisor, idle", &columns);
    let mut before: Option<(usize, f64)> = None;
    for count in COUNTS {
        home.write_config(&json!({ "workers": workers[..count] }));
        let (child, _) = ready(&home, count);
        std::thread::sleep(QUIET);
        let mut cells = held(child.id());
        let resident = resident_kb(child.id());
        cells.push(before.map_or_else(
            || "-".to_owned(),
            |(fewer, kb)| format!("{:.1}", (resident - kb) / (count - fewer) as f64),
        ));
        before = Some((count, resident));
        memory.row(&format!("{count} workers"), cells);
        start::stop(child);
    }
    memory.print();
}

/// Approved workers on the deployment, each with a directory of its own: the entries of a configuration.
fn enrol(home: &Home, deployment: &Deployment<'_>) -> Vec<Value> {
    let api = deployment.api();
    let machine =
        json!({ "machineId": "m1", "name": "m", "hostname": "m", "os": "linux", "tools": [] });
    api.mutation("machines:register", &machine);
    let entry = |n: usize| {
        let name = format!("w{n}");
        let directory = home.dir(&name);
        let args =
            json!({ "workerId": name, "machineId": "m1", "name": name, "directory": directory });
        let token = api.mutation("workers:create", &args)["token"].clone();
        api.mutation("workers:approve", &json!({ "workerId": name }));
        json!({ "token": token, "working_directory": directory, "convex_url": deployment.url() })
    };
    (0..MOST).map(entry).collect()
}

/// Until every worker's line says that it is ready.
fn ready(home: &Home, count: usize) -> (Child, Duration) {
    let mut command = home.command(["run", "--no-input"]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let begun = Instant::now();
    let mut child = command.spawn().expect("a process");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let told = lines.by_ref().map_while(Result::ok);
    let workers = told.filter(|line| line.starts_with("worker ")).take(count);
    let ready = workers.filter(|line| line.ends_with("ready")).count();
    let took = begun.elapsed();
    assert_eq!(ready, count, "not all got ready");
    std::thread::spawn(move || lines.for_each(drop));
    (child, took)
}

fn resident_kb(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number
        .and_then(|number| number.parse().ok())
        .unwrap_or_default()
}

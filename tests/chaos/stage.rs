//! Everything that runs: the model, the deployment behind one proxy for each bridge, the supervisor in a home of its
//! own, and the owner's way to the deployment, which no fault of the proxies touches.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use orchestrator_test_support::{Home, Model, Proxy, until};
use serde_json::{Value, json};

use crate::ORCHESTRATOR;
use crate::control::Control;
use crate::daemon::Daemon;
use crate::figures::Figures;
use crate::options::Options;
use crate::owner::Owner;
use crate::verdict::Verdict;

pub const RUN: &[&str] = &["run", "--demo", "--no-input"];

/// As long as a developer would leave it, for a run of minutes.
const IDLE_MS: u64 = 300_000;

pub struct Stage {
    /// Before the homes: they are dropped in this order, and a home is left by nobody alive.
    pub supervisor: Mutex<Daemon>,
    pub deployment: Mutex<Daemon>,
    pub model: Model,
    pub server: Home,
    pub home: Home,
    /// Which life of the supervisor this is; probes of an earlier one mean nothing any more.
    pub life: AtomicU32,
    pub lanes: Vec<Proxy>,
    pub workers: Vec<Worker>,
    pub config: Mutex<Config>,
    pub control: Control,
    pub owner: Owner,
    pub figures: Figures,
    /// OpenCodes that were killed under a turn.
    pub killed: Mutex<Vec<u32>>,
    pub verdict: Verdict,
    port: u16,
}

pub struct Worker {
    pub id: String,
    token: String,
    directory: PathBuf,
    lane: usize,
}

/// What `workers.json` says at the moment.
pub struct Config {
    pub away: BTreeSet<usize>,
    pub idle_ms: u64,
    pub broken: bool,
}

impl Stage {
    /// All but the supervisor.
    pub fn set(options: &Options) -> Self {
        let model = Model::start(ORCHESTRATOR);
        let server = Home::bare(ORCHESTRATOR);
        let mut home = Home::new(ORCHESTRATOR);
        home.set("ORCHESTRATOR_DEMO_MODEL", model.url());
        let log = server.path().join("deployment.log");
        let mut deployment = Daemon::new(&log);
        deployment.start(&server, &["deployment", "run", "--port", "0"]);
        let port = until("the deployment says where it listens", || {
            port_in(&std::fs::read_to_string(&log).ok()?)
        });
        let address: SocketAddr = ([127, 0, 0, 1], port).into();
        // Two bridges: what befalls one is nothing to the other.
        let lanes = vec![Proxy::to(address), Proxy::to(address)];
        let owner = Owner::of(&server, port);
        let workers = enrol(&owner, &server, &home, options.workers, lanes.len());
        let supervisor = Daemon::new(&home.path().join("supervisor.log"));
        let control = Control::of(&home);
        let stage = Self {
            server,
            home,
            model,
            deployment: Mutex::new(deployment),
            supervisor: Mutex::new(supervisor),
            life: AtomicU32::new(0),
            lanes,
            workers,
            config: Mutex::new(Config {
                away: BTreeSet::new(),
                idle_ms: IDLE_MS,
                broken: false,
            }),
            control,
            owner,
            figures: Figures::default(),
            killed: Mutex::default(),
            verdict: Verdict::default(),
            port,
        };
        stage.write_config();
        stage
    }

    pub fn write_config(&self) {
        let config = self.config.lock().unwrap();
        let present = self.workers.iter().enumerate();
        let workers: Vec<Value> = present
            .filter(|(at, _)| !config.away.contains(at))
            .map(|(_, worker)| {
                json!({
                    "token": worker.token,
                    "name": worker.id,
                    "working_directory": worker.directory,
                    "convex_url": self.lanes[worker.lane].url(),
                    "idle_timeout": config.idle_ms,
                })
            })
            .collect();
        let text = json!({ "workers": workers }).to_string();
        let broken = &text[..text.len() / 2];
        let text = if config.broken { broken } else { &text };
        self.home.write_config_text(text);
    }

    pub fn set_idle(&self, idle_ms: u64) {
        self.config.lock().unwrap().idle_ms = idle_ms;
        self.write_config();
    }

    pub fn calm_idle_ms() -> u64 {
        IDLE_MS
    }

    pub fn start_deployment(&self) {
        let port = self.port.to_string();
        let args = ["deployment", "run", "--port", &port];
        self.deployment.lock().unwrap().start(&self.server, &args);
    }

    pub fn start_supervisor(&self) {
        self.supervisor.lock().unwrap().start(&self.home, RUN);
        self.life.fetch_add(1, Ordering::SeqCst);
    }

    pub fn supervisor_pid(&self) -> Option<u32> {
        self.supervisor.lock().unwrap().pid()
    }

    pub fn deployment_pid(&self) -> Option<u32> {
        self.deployment.lock().unwrap().pid()
    }

    /// Whether all configured workers serve.
    pub fn is_ready(&self) -> bool {
        let Some(ps) = self.control.ps() else {
            return false;
        };
        let workers = ps["workers"].as_array().cloned().unwrap_or_default();
        !workers.is_empty() && workers.iter().all(|worker| worker["phase"] == "ready")
    }

    /// Polls until `holds`; a miss is a broken promise, not a panic.
    pub fn within(&self, limit: Duration, what: &str, mut holds: impl FnMut() -> bool) -> bool {
        let deadline = Instant::now() + limit;
        while !holds() {
            if Instant::now() > deadline {
                self.verdict
                    .wrong("late", format!("not within {} s: {what}", limit.as_secs()));
                return false;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        true
    }
}

fn enrol(owner: &Owner, server: &Home, home: &Home, workers: usize, lanes: usize) -> Vec<Worker> {
    let api = owner.api(server);
    let machine = json!({ "machineId": "chaos", "name": "chaos", "hostname": "chaos", "os": "linux", "tools": [] });
    api.mutation("machines:register", &machine);
    let one = |at: usize| {
        let id = format!("worker{at}");
        let directory = home.dir(&id);
        let new =
            json!({ "workerId": id, "machineId": "chaos", "name": id, "directory": directory });
        let created = api.mutation("workers:create", &new);
        api.mutation("workers:approve", &json!({ "workerId": id }));
        Worker {
            token: created["token"].as_str().expect("a token").to_owned(),
            // The last worker has a bridge of its own.
            lane: if at + 1 == workers { lanes - 1 } else { 0 },
            directory,
            id,
        }
    };
    (0..workers).map(one).collect()
}

fn port_in(log: &str) -> Option<u16> {
    let (_, rest) = log.split_once("http://127.0.0.1:")?;
    // The whole number, not the half of a line that is being written.
    let (port, _) = rest.split_once(|c: char| !c.is_ascii_digit())?;
    port.parse().ok()
}

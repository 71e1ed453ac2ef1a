//! Mutations in flight through our own link's connection, from tasks of this process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use orchestrator::adapters::convex::connection::{Connection, Settings, Watching};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::load::{Acknowledged, Kind};

const NAME: &str = "link";
const DRAIN_LIMIT: Duration = Duration::from_secs(90);

pub struct LinkLoad {
    runtime: Runtime,
    shared: Arc<Shared>,
    counter: Watching,
    callers: Vec<JoinHandle<Vec<(Kind, String)>>>,
}

struct Shared {
    connection: Arc<Connection>,
    stopping: AtomicBool,
    acknowledged: AtomicU64,
}

impl LinkLoad {
    pub fn start(url: &str, callers: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let connection = Connection::new(url, Settings::suited_to(url), None);
        let shared = Arc::new(Shared {
            connection: Arc::clone(&connection),
            stopping: AtomicBool::new(false),
            acknowledged: AtomicU64::new(0),
        });
        let counter = connection
            .watch("ledger:count", json!({ "name": NAME }))
            .unwrap();
        runtime.spawn(async move { panic!("the link gave up: {}", connection.drive().await) });
        let callers = (0..callers)
            .map(|caller| runtime.spawn(call(Arc::clone(&shared), caller)))
            .collect();
        Self {
            runtime,
            shared,
            counter,
            callers,
        }
    }

    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::SeqCst)
    }

    /// Waits for all answers, and for the subscription to show what they imply.
    pub fn drain(self) -> Acknowledged {
        self.shared.stopping.store(true, Ordering::SeqCst);
        let mut all = Acknowledged::default();
        let deadline = Instant::now() + DRAIN_LIMIT;
        for caller in self.callers {
            let left = deadline.saturating_duration_since(Instant::now());
            let calls = self
                .runtime
                .block_on(async { tokio::time::timeout(left, caller).await });
            let calls = calls.expect("all answers in time").expect("no panic");
            for (kind, key) in calls {
                all.add(kind, key);
            }
        }
        let wanted = json!(all.count(Kind::Add));
        let mut latest = self.counter.latest.clone();
        let left = deadline.saturating_duration_since(Instant::now());
        let shown = self.runtime.block_on(async {
            let same = latest.wait_for(|shown| {
                let shown = shown.as_ref().and_then(|answer| answer.as_ref().ok());
                shown.and_then(Value::as_f64) == wanted.as_f64()
            });
            tokio::time::timeout(left, same).await.is_ok()
        });
        assert!(
            shown,
            "the link's subscription shows {:?} after {wanted} additions",
            *self.counter.latest.borrow()
        );
        all
    }
}

async fn call(shared: Arc<Shared>, caller: usize) -> Vec<(Kind, String)> {
    let mut done = Vec::new();
    for n in 0.. {
        if shared.stopping.load(Ordering::SeqCst) {
            break;
        }
        let kind = Kind::ALL[(caller + n) % Kind::ALL.len()];
        let key = format!("{NAME}-{caller}-{n}");
        match kind {
            Kind::Put => {
                let args = json!({ "key": key });
                // Asked for twice at once: one of the two must find it new, and only one.
                let (first, second) = tokio::join!(
                    shared.mutate("ledger:put", args.clone()),
                    shared.mutate("ledger:put", args)
                );
                assert_ne!(first, second, "both puts of {key} say the same");
            }
            Kind::Add => {
                let args = json!({ "name": NAME, "key": key });
                shared.mutate("ledger:add", args).await;
            }
            Kind::Schedule => {
                let ms = rand::random_range(0..200);
                let args = json!({ "key": key, "ms": ms });
                shared.mutate("ledger:schedule", args).await;
            }
        }
        shared.acknowledged.fetch_add(1, Ordering::SeqCst);
        done.push((kind, key));
    }
    done
}

impl Shared {
    async fn mutate(&self, function: &str, args: Value) -> Value {
        let answer = self.connection.call(function, args).expect("it is sent");
        let answer = answer.await.expect("the connection lives");
        answer.unwrap_or_else(|error| panic!("{function}: {error}"))
    }
}

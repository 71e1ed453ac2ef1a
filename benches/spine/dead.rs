//! What a deployment that is dead costs in its first minute: attempts, as it would count them; bytes of log; processor time.
//! Somebody listens there and hangs up at once, which is how it can be counted from outside.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use orchestrator_test_support::Home;
use serde_json::json;

use crate::common::table::Table;
use crate::common::{self, files};
use crate::{Samples, package};

const MINUTE: Duration = Duration::from_mins(1);

pub fn table(_: Samples) {
    let folder = files::folder();
    let mut home = Home::new(crate::ORCHESTRATOR);
    home.set(
        "ORCHESTRATOR_OPENCODE_BIN",
        package::opencode_package(folder.path())
            .display()
            .to_string(),
    );
    let (ours, ours_count) = hang_up();
    let (stock, stock_count) = hang_up();
    home.write_config(&json!({ "workers": [{
        "token": "machine_m:worker_w:secret_abcdefghijklmnopqrstuvwxyz012345",
        "working_directory": home.dir("shop"),
        "convex_url": ours,
    }] }));
    let supervisor = home.supervisor(["run", "--no-input"]);
    let runtime = common::runtime();
    let before = (
        ours_count.load(Ordering::SeqCst),
        processor_ms(supervisor.pid()),
        log_bytes(&home),
    );
    runtime.block_on(async {
        let mut client = convex::ConvexClient::new(&stock).await.expect("a client");
        let _watching = tokio::time::timeout(
            MINUTE,
            client.subscribe("work:inbox", std::collections::BTreeMap::new()),
        )
        .await;
        tokio::time::sleep(MINUTE).await;
    });
    let attempts = ours_count.load(Ordering::SeqCst);
    let mut table = Table::new(
        "A dead deployment, first minute",
        &["attempts", "log bytes", "processor ms"],
    );
    table.row(
        "run, one worker",
        vec![
            attempts.to_string(),
            log_bytes(&home).to_string(),
            (processor_ms(supervisor.pid()) - before.1).to_string(),
        ],
    );
    let none = || "-".to_owned();
    table.row(
        "yardstick: Convex's own Rust client, one subscription",
        vec![
            stock_count.load(Ordering::SeqCst).to_string(),
            none(),
            none(),
        ],
    );
    table.print();
    assert!(before.2 <= log_bytes(&home));
    supervisor.terminate();
}

/// A port that accepts and closes, and how often it did.
fn hang_up() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let count = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&count);
    std::thread::spawn(move || {
        for _ in listener.incoming().flatten() {
            counting.fetch_add(1, Ordering::SeqCst);
        }
    });
    (url, count)
}

fn log_bytes(home: &Home) -> u64 {
    let files = std::fs::read_dir(home.state().join("logs"))
        .into_iter()
        .flatten()
        .flatten();
    files
        .filter_map(|file| Some(file.metadata().ok()?.len()))
        .sum()
}

/// Of the process, in user and system mode.
fn processor_ms(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = text
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks = |at: usize| {
        fields
            .get(at)
            .and_then(|text| text.parse::<u64>().ok())
            .unwrap_or(0)
    };
    // utime and stime, in hundredths of a second.
    (ticks(11) + ticks(12)) * 10
}

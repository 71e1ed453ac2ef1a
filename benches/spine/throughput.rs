//! How many deltas a second get through flat out, and how many mutations they cost: what arrives while an append is in
//! flight is merged into the next one, so the number falls as the pace rises.

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use rusqlite::{Connection, OpenFlags};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::common::stamps::stamps_in;
use crate::common::table::Table;
use crate::common::{self, files, yardstick};
use crate::rig::Rig;
use crate::{Samples, reader};

pub fn table(samples: Samples) {
    let runtime = common::runtime();
    let source = runtime.block_on(source_alone(samples.flat));
    let folder = files::folder();
    let commits = samples.flat / 10;
    let (_, alone) = yardstick::sqlite_commits(folder.path(), yardstick::WEIGHT, commits, 0);

    let (took, seen, items, stopped) = runtime.block_on(async {
        let rig = Rig::with_opencode().await;
        // The child is up and warm before the clock starts.
        let warm = rig.send("warm", "deltas=1").await;
        reader::follow(&rig.owner, &warm, |_| {}).await;
        let (mut seen, mut items) = (0, 0);
        let session = json!({ "id": "flat", "sessionId": "session_warm", "content": format!("deltas={}", samples.flat) });
        let begun = Instant::now();
        let sent = rig.owner.mutation("messages:send", session).await.expect("a turn");
        let turn = sent["turnId"].as_str().expect("an id").to_owned();
        reader::follow(&rig.owner, &turn, |content| {
            items += 1;
            seen += stamps_in(content).count() as u64;
        })
        .await;
        (begun.elapsed(), seen, items, rig.stop().await)
    });
    assert_eq!(seen, samples.flat, "deltas were lost");
    let mutations = mutations(&stopped.0);

    let mut table = Table::new("Deltas flat out", &["a second", "deltas", "took ms"]);
    table.row(
        "through to a subscribed client, turn closed",
        rate(samples.flat, took),
    );
    table.row(
        "yardstick: the scripted OpenCode's stream, read and dropped",
        rate(samples.flat, source),
    );
    table.row(
        "yardstick: bare SQLite, one commit a delta",
        rate(commits, alone),
    );
    table.print();
    let per_thousand = mutations as f64 * 1e3 / samples.flat as f64;
    println!(
        "mutations per 1,000 deltas: {per_thousand:.1} ({mutations} mutations in all, {items} rows); one by one it would be 1000"
    );
}

fn rate(count: u64, took: Duration) -> Vec<String> {
    vec![
        format!("{:.0}", count as f64 / took.as_secs_f64()),
        count.to_string(),
        took.as_millis().to_string(),
    ]
}

/// Mutations that the deployment answered, whatever they were: their records tell nobody what is in them.
fn mutations(database: &Path) -> u64 {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let database = Connection::open_with_flags(database, flags).expect("the closed database");
    let count = "SELECT count(*) FROM records";
    database
        .query_row(count, [], |row| row.get::<_, i64>(0))
        .expect("a number") as u64
}

/// The same stream, read by a plain HTTP client that only looks for its end.
async fn source_alone(deltas: u64) -> Duration {
    let mut child = tokio::process::Command::new(std::env::current_exe().expect("our path"))
        .arg("serve")
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("a process");
    let stdout = child.stdout.take().expect("a pipe");
    let line = BufReader::new(stdout).lines().next_line().await;
    let line = line.expect("a line").expect("a line");
    let base = line.rsplit(' ').next().expect("an address").to_owned();
    let client = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client");
    let events = client
        .get(format!("{base}/event"))
        .send()
        .await
        .expect("a stream");
    let mut stream = events.bytes_stream();
    let begun = Instant::now();
    let body = json!({ "messageID": "m", "parts": [{ "text": format!("deltas={deltas}") }] });
    let prompt = client
        .post(format!("{base}/session/s/prompt_async"))
        .json(&body);
    prompt.send().await.expect("an answer");
    let mut tail = Vec::new();
    let end = b"session.idle";
    while let Some(piece) = stream.next().await {
        tail.extend_from_slice(&piece.expect("a piece"));
        if tail.windows(end.len()).any(|window| window == end) {
            break;
        }
        tail.drain(..tail.len().saturating_sub(end.len()));
    }
    begun.elapsed()
}

//! What 100,000 deltas cost in memory while the deployment says nothing, and that all of them (or a note of what is missing) are
//! there when it speaks again. The growth of this process, which is the link, its outbox and the clients that read.

use std::fs;
use std::time::{Duration, Instant};

use orchestrator_actors::domain::ids::TurnId;
use orchestrator_actors::domain::turn::Ending;

use crate::common::table::Table;
use crate::far::{Far, Near, text};
use crate::{Samples, common, reader};

const DELTAS: usize = 100_000;

pub fn table(_: Samples) {
    let runtime = common::runtime();
    let mut table = Table::new(
        "100,000 deltas while the deployment stalls",
        &[
            "said MB",
            "growth MB",
            "at the end MB",
            "there MB",
            "named missing MB",
            "took ms",
        ],
    );
    runtime.block_on(async {
        let far = Far::start().await;
        // Once without a record: what a first run allocates for good is not growth.
        let near = far.worker("warm").await;
        stall(&far, &near, "warm", 1, 10).await;
        for (name, sessions, bytes) in [
            ("one session, 20 bytes each", 1, 20),
            ("ten sessions, 20 bytes each", 10, 20),
            ("ten sessions, 200 bytes each", 10, 200),
        ] {
            let near = far.worker(&format!("w{sessions}-{bytes}")).await;
            let cells = stall(&far, &near, &near.worker.clone(), sessions, bytes).await;
            table.row(name, cells);
        }
        far.stop().await;
    });
    table.row(
        "yardstick: the same 20 bytes each, kept in a list of strings",
        list(),
    );
    table.print();
}

async fn stall(far: &Far, near: &Near, name: &str, sessions: usize, bytes: usize) -> Vec<String> {
    let mut turns: Vec<TurnId> = Vec::new();
    for n in 0..sessions {
        turns.push(far.turn(near, &format!("{name}-{n}")).await);
    }
    near.network.hold();
    let before = resident();
    let delta = "x".repeat(bytes);
    let begun = Instant::now();
    for n in 0..DELTAS {
        near.link
            .push(&turns[n % sessions], text(&delta))
            .expect("a stream");
        if n % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let took = begun.elapsed();
    let grown = resident().saturating_sub(before);
    let mut finishes = tokio::task::JoinSet::new();
    for turn in &turns {
        finishes.spawn(
            near.link
                .finish(turn.clone(), near.credential(), Ending::complete(None)),
        );
    }
    // The finishes are in the outbox by then; nobody can say when memory is settled.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let ended = resident().saturating_sub(before);
    near.network.release();
    while let Some(finished) = finishes.join_next().await {
        finished.expect("a task").expect("an end");
    }
    let (mut there, mut missing) = (0, 0);
    for turn in &turns {
        reader::follow(&far.owner, turn.as_str(), |content| {
            if let Some(note) = content.strip_prefix("\n[") {
                let number = note
                    .split(' ')
                    .next()
                    .and_then(|number| number.parse().ok());
                missing += number.unwrap_or(0);
            } else {
                there += content.len();
            }
        })
        .await;
    }
    assert_eq!(there + missing, DELTAS * bytes, "neither there nor named");
    let cells = [DELTAS * bytes, grown, ended, there, missing].map(megabytes);
    let mut cells = cells.to_vec();
    cells.push(took.as_millis().to_string());
    cells
}

fn list() -> Vec<String> {
    let before = resident();
    let begun = Instant::now();
    let list: Vec<String> = (0..DELTAS).map(|_| "x".repeat(20)).collect();
    let took = begun.elapsed();
    let grown = resident().saturating_sub(before);
    assert_eq!(list.len(), DELTAS);
    let none = || "-".to_owned();
    vec![
        megabytes(DELTAS * 20),
        megabytes(grown),
        none(),
        none(),
        none(),
        took.as_millis().to_string(),
    ]
}

fn megabytes(bytes: usize) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}

/// Bytes of this process in memory.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    kilobytes.unwrap_or(0) * 1024
}

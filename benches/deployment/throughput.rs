//! Mutations a second over one socket: one after the other, and with many under way. Each is a transaction of its own
//! with a synced commit.

use std::time::{Duration, Instant};

use crate::client::{Client, UNDER_WAY, row};
use crate::common::table::{Table, Times};
use crate::common::{self, files, yardstick};
use crate::server::Server;
use crate::{Samples, WEIGHTS};

pub fn table(samples: Samples) {
    let columns = ["a second", "p50 ms", "p99 ms", "of the yardstick"];
    let mut table = Table::new("Mutations over one socket", &columns);
    let runtime = common::runtime();
    let count = samples.mutations;
    for weight in WEIGHTS {
        let (echo, echoes) = runtime.block_on(async {
            let mut echo = yardstick::Echo::start().await;
            let begun = Instant::now();
            for _ in 0..count {
                echo.round_trip(weight).await;
            }
            let one_by_one = begun.elapsed();
            (
                one_by_one,
                echo.pipelined(count, UNDER_WAY as u64, weight).await,
            )
        });
        let folder = files::folder();
        let (inserted, inserts) = yardstick::sqlite_commits(folder.path(), weight, count, 0);

        let server = Server::start();
        let (times, sequential, pipelined) = runtime.block_on(async {
            let client = Client::connect(server.url());
            client.call("rows:add", row("warm", 0, weight)).await;
            let mut times = Times::new();
            let begun = Instant::now();
            for seq in 0..count {
                let sent = Instant::now();
                client.call("rows:add", row("one", seq, weight)).await;
                times.add(sent.elapsed());
            }
            let sequential = begun.elapsed();
            let calls = (0..count).map(|seq| row("many", seq, weight));
            (times, sequential, client.pipelined("rows:add", calls).await)
        });

        let mut add = |what: &str, took: Duration, times: Option<&Times>, of: Option<Duration>| {
            let quantiles = times.map(Times::cells).unwrap_or_default();
            let cell = |at: usize| quantiles.get(at).cloned().unwrap_or_default();
            let share = of.map_or_else(String::new, |of| share(of, took));
            let rate = format!("{:.0}", count as f64 / took.as_secs_f64());
            table.row(
                &format!("{weight} bytes: {what}"),
                vec![rate, cell(0), cell(1), share],
            );
        };
        add(
            "one after the other",
            sequential,
            Some(&times),
            Some(echo + inserts),
        );
        add(
            &format!("{UNDER_WAY} under way"),
            pipelined,
            None,
            Some(inserts),
        );
        add(
            "yardstick: WebSocket echo, one after the other",
            echo,
            None,
            None,
        );
        add(
            &format!("yardstick: WebSocket echo, {UNDER_WAY} under way"),
            echoes,
            None,
            None,
        );
        add(
            "yardstick: bare SQLite insert, synced",
            inserts,
            Some(&inserted),
            None,
        );
    }
    table.print();
    println!(
        "the yardstick of a mutation: an echo and then an insert; with many under way: an insert"
    );
}

/// How fast it was, the yardstick being 1.
fn share(yardstick: Duration, took: Duration) -> String {
    format!("{:.2}", yardstick.as_secs_f64() / took.as_secs_f64())
}

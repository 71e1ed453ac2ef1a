//! Mutations a second over one socket: one after the other, and with many under way. Each is a transaction of its own
//! with a synced commit. Product and yardsticks take turns, so that a machine that is busy for a while is so for all.

use std::time::{Duration, Instant};

use crate::client::{Client, UNDER_WAY, row};
use crate::common::memory::Meter;
use crate::common::table::{Table, Times};
use crate::common::{self, files, yardstick};
use crate::server::Server;
use crate::{ROUNDS, Samples, WEIGHTS};

const COLUMNS: [&str; 5] = [
    "a second",
    "p50 ms",
    "p99 ms",
    "of the yardstick",
    "server's processor µs",
];

pub fn table(samples: Samples) {
    let mut table = Table::new("Mutations over one socket", &COLUMNS);
    for weight in WEIGHTS {
        let took = common::runtime().block_on(measure(samples.mutations, weight));
        took.rows(&mut table, weight);
    }
    table.print();
    println!(
        "the yardstick of a mutation: an echo and then an insert; with many under way: an insert"
    );
}

struct Took {
    count: u64,
    one_by_one: Part,
    under_way: Part,
    echoes: Part,
    echoes_under_way: Part,
    inserts: Part,
}

/// All rounds of one kind together.
#[derive(Default)]
struct Part {
    all: Duration,
    times: Option<Times>,
    processor: Option<Duration>,
}

async fn measure(count: u64, weight: usize) -> Took {
    let server = Server::start();
    let client = Client::connect(server.url());
    client.call("rows:add", row("warm", 0, weight)).await;
    let mut echo = yardstick::Echo::start().await;
    let folder = files::folder();
    let mut took = Took {
        count,
        one_by_one: Part::default(),
        under_way: Part::default(),
        echoes: Part::default(),
        echoes_under_way: Part::default(),
        inserts: Part::default(),
    };
    let each = count / ROUNDS;
    for round in 0..ROUNDS {
        let rows = round * each..(round + 1) * each;
        let begun = Instant::now();
        for _ in rows.clone() {
            echo.round_trip(weight).await;
        }
        took.echoes.all += begun.elapsed();
        took.echoes_under_way.all += echo.pipelined(each, UNDER_WAY as u64, weight).await;
        let (times, all) = yardstick::sqlite_commits(folder.path(), weight, each, 0);
        took.inserts.all += all;
        took.inserts.add_times(times);

        let mut meter = Meter::of(server.pid());
        let mut times = Times::new();
        let begun = Instant::now();
        for seq in rows.clone() {
            let sent = Instant::now();
            client.call("rows:add", row("one", seq, weight)).await;
            times.add(sent.elapsed());
        }
        took.one_by_one.all += begun.elapsed();
        took.one_by_one.add_times(times);
        took.one_by_one.add_processor(meter.since());
        let calls = rows.map(|seq| row("many", seq, weight));
        took.under_way.all += client.pipelined("rows:add", calls).await;
        took.under_way.add_processor(meter.since());
    }
    took
}

impl Part {
    fn add_processor(&mut self, time: Duration) {
        *self.processor.get_or_insert_default() += time;
    }

    fn add_times(&mut self, times: Times) {
        self.times.get_or_insert_with(Times::new).merge(&times);
    }

    fn cells(&self, count: u64, yardstick: Option<Duration>) -> Vec<String> {
        let quantiles = self.times.as_ref().map(Times::cells).unwrap_or_default();
        let cell = |at: usize| quantiles.get(at).cloned().unwrap_or_default();
        let share = |of: Duration| format!("{:.2}", of.as_secs_f64() / self.all.as_secs_f64());
        let each = |all: Duration| format!("{:.0}", all.as_secs_f64() * 1e6 / count as f64);
        vec![
            format!("{:.0}", count as f64 / self.all.as_secs_f64()),
            cell(0),
            cell(1),
            yardstick.map(share).unwrap_or_default(),
            self.processor.map(each).unwrap_or_default(),
        ]
    }
}

impl Took {
    fn rows(&self, table: &mut Table, weight: usize) {
        let inserts = self.inserts.all;
        for (name, part, yardstick) in [
            (
                "one after the other",
                &self.one_by_one,
                Some(self.echoes.all + inserts),
            ),
            ("256 under way", &self.under_way, Some(inserts)),
            (
                "yardstick: WebSocket echo, one after the other",
                &self.echoes,
                None,
            ),
            (
                "yardstick: WebSocket echo, 256 under way",
                &self.echoes_under_way,
                None,
            ),
            ("yardstick: bare SQLite insert, synced", &self.inserts, None),
        ] {
            table.row(
                &format!("{weight} bytes: {name}"),
                part.cells(self.count, yardstick),
            );
        }
    }
}

//! What a table's size costs: one more row, one row replaced and a window of rows read, at 1,000, 10,000 and 100,000
//! rows. Straight through the engine, so that nothing hides the growth.

use std::time::Instant;

use orchestrator_backend::engine::Functions;
use serde_json::json;

use crate::client::row;
use crate::common::table::{Table, Times, milliseconds};
use crate::common::{files, yardstick};
use crate::rows::{SEQS, ask, grow, mutate, stream};
use crate::{Samples, server, start};

const STEPS: [u64; 3] = [1_000, 10_000, 100_000];

pub fn table(samples: Samples) {
    let folder = files::folder();
    let functions = Functions::new(server::functions());
    let (mut engine, _) = start::open(&folder.path().join("rows.sqlite3"), &functions);
    let bare = Bare::new(folder.path());
    let steps: Vec<u64> = STEPS
        .iter()
        .copied()
        .filter(|rows| *rows <= samples.rows)
        .collect();
    let mut rows: Vec<(&str, Vec<u64>)> = [
        "a row inserted",
        "a row replaced",
        "a window of 10 rows read",
        "yardstick: bare SQLite insert, the same keys",
    ]
    .map(|name| (name, Vec::new()))
    .to_vec();
    let (mut size, mut request) = (0, 0);
    for step in &steps {
        grow(&mut engine, size, *step);
        bare.grow(size, *step);
        size = *step;
        let [mut added, mut replaced, mut read, mut inserted] =
            std::array::from_fn(|_| Times::new());
        for sample in 0..samples.growth {
            request += 1;
            let timed = |times: &mut Times, operation: &mut dyn FnMut()| {
                let begun = Instant::now();
                operation();
                times.add(begun.elapsed());
            };
            let some = stream((sample * 7919) % (size / SEQS));
            // Below the table's own rows, so that it keeps its size but for a few.
            let new = row(&some, u64::from(1000 + request), 200);
            timed(&mut added, &mut || {
                mutate(&mut engine, "rows:add", new.clone(), Some(request))
            });
            let old = row(&some, sample % SEQS, 200);
            timed(&mut replaced, &mut || {
                mutate(&mut engine, "rows:replace", old.clone(), None)
            });
            let window = json!({ "stream": some, "from": 0.0, "to": SEQS as f64 });
            timed(&mut read, &mut || {
                drop(ask(&mut engine, "rows:window", window.clone()))
            });
            timed(&mut inserted, &mut || {
                bare.insert(&some, u64::from(1000 + request))
            });
        }
        for ((_, medians), times) in rows.iter_mut().zip([added, replaced, read, inserted]) {
            medians.push(times.median());
        }
    }
    print(&steps, &rows);
}

fn print(steps: &[u64], rows: &[(&str, Vec<u64>)]) {
    let mut columns: Vec<String> = steps
        .iter()
        .map(|rows| format!("{rows} rows, p50 ms"))
        .collect();
    columns.extend(steps.iter().skip(1).map(|rows| format!("×10 to {rows}")));
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut table = Table::new("Cost and the table's size", &columns);
    for (name, medians) in rows {
        let ratios = medians
            .windows(2)
            .map(|pair| format!("{:.2}", pair[1] as f64 / pair[0] as f64));
        let cells = medians.iter().map(|median| milliseconds(*median));
        table.row(name, cells.chain(ratios).collect());
    }
    table.print();
}

/// The same rows in a table of SQLite's own, with an index on the same fields.
struct Bare(rusqlite::Connection);

impl Bare {
    fn new(folder: &std::path::Path) -> Self {
        let database = yardstick::sqlite(&folder.join("bare.sqlite3"));
        database
            .execute_batch(
                "CREATE TABLE rows (id INTEGER PRIMARY KEY, stream TEXT NOT NULL, seq REAL NOT NULL, body TEXT NOT NULL);
                 CREATE UNIQUE INDEX by_stream_seq ON rows (stream, seq);",
            )
            .expect("tables");
        Self(database)
    }

    fn grow(&self, from: u64, to: u64) {
        self.0.execute_batch("BEGIN").expect("a transaction");
        for number in from / SEQS..to / SEQS {
            (0..SEQS).for_each(|seq| self.insert(&stream(number), seq));
        }
        self.0.execute_batch("COMMIT").expect("a commit");
    }

    fn insert(&self, stream: &str, seq: u64) {
        self.0
            .prepare_cached("INSERT INTO rows (stream, seq, body) VALUES (?1, ?2, ?3)")
            .expect("a statement")
            .execute(rusqlite::params![stream, seq as f64, "x".repeat(200)])
            .expect("a row");
    }
}

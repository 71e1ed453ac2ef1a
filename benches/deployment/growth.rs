//! What a table's size costs: one more row, one row replaced and a window of rows read, at 1,000, 10,000 and 100,000
//! rows. Straight through the engine, so that nothing hides the growth; by the clock, and by the thread's processor time,
//! which leaves out the disk and whatever else the machine does.

use std::time::Instant;

use orchestrator_backend::engine::{Engine, Functions};
use serde_json::json;

use crate::client::row;
use crate::common::table::{Table, Times, milliseconds};
use crate::common::{files, stamps, yardstick};
use crate::rows::{SEQS, ask, grow, mutate, stream};
use crate::{Samples, server, start};

const STEPS: [u64; 3] = [1_000, 10_000, 100_000];

const OPERATIONS: [&str; 4] = [
    "a row inserted",
    "a row replaced",
    "a window of 10 rows read",
    "yardstick: bare SQLite insert, the same keys",
];

/// Of one operation at one size.
struct Cost {
    clock: Times,
    processor: Times,
}

pub fn table(samples: Samples) {
    let folder = files::folder();
    let functions = Functions::new(server::functions());
    let (mut engine, _) = start::open(&folder.path().join("rows.sqlite3"), &functions);
    let bare = Bare::new(folder.path());
    let steps: Vec<u64> = STEPS
        .into_iter()
        .filter(|rows| *rows <= samples.rows)
        .collect();
    let mut costs = Vec::new();
    let mut size = 0;
    for step in &steps {
        grow(&mut engine, size, *step);
        bare.grow(size, *step);
        size = *step;
        costs.push(measure(&mut engine, &bare, size, samples.growth));
    }
    let print = |title: &str, median: fn(&Cost) -> u64| {
        let rows =
            (0..OPERATIONS.len()).map(|at| costs.iter().map(|step| median(&step[at])).collect());
        print(title, &steps, &rows.collect::<Vec<Vec<u64>>>());
    };
    print("Cost and the table's size, by the clock, p50 ms", |cost| {
        cost.clock.median()
    });
    print("The same, processor time, p50 ms", |cost| {
        cost.processor.median()
    });
}

fn measure(engine: &mut Engine, bare: &Bare, size: u64, samples: u64) -> [Cost; 4] {
    let mut costs: [Cost; 4] = std::array::from_fn(|_| Cost::new());
    for sample in 0..samples {
        let some = stream((sample * 7919) % (size / SEQS));
        // Behind the stream's own rows, and other ones at each size.
        let seq = size + sample;
        let new = row(&some, seq, 200);
        let request = u32::try_from(seq).expect("a small number");
        let old = row(&some, sample % SEQS, 200);
        let window = json!({ "stream": &some, "from": 0.0, "to": SEQS as f64 });
        let [added, replaced, read, inserted] = &mut costs;
        added.add(|| mutate(engine, "rows:add", new, Some(request)));
        replaced.add(|| mutate(engine, "rows:replace", old, None));
        read.add(|| drop(ask(engine, "rows:window", window)));
        inserted.add(|| bare.insert(&some, seq));
    }
    costs
}

impl Cost {
    fn new() -> Self {
        Self {
            clock: Times::new(),
            processor: Times::new(),
        }
    }

    fn add(&mut self, operation: impl FnOnce()) {
        let (begun, used) = (Instant::now(), stamps::processor_ns());
        operation();
        self.processor.add_ns(stamps::processor_ns() - used);
        self.clock.add(begun.elapsed());
    }
}

fn print(title: &str, steps: &[u64], rows: &[Vec<u64>]) {
    let mut columns: Vec<String> = steps.iter().map(|rows| format!("{rows} rows")).collect();
    columns.extend(steps.iter().skip(1).map(|rows| format!("×10 to {rows}")));
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut table = Table::new(title, &columns);
    for (name, medians) in OPERATIONS.iter().zip(rows) {
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

//! How long an engine takes to open: QuickJS with all modules, the file, the schema against what is stored.

use std::path::Path;
use std::time::{Duration, Instant};

use orchestrator_backend::engine::{Engine, EngineConfig, Functions, Limits, Store};

use crate::common::table::{TIMES, Table, Times};
use crate::common::{files, yardstick};
use crate::{Samples, rows, server};

pub fn table(samples: Samples) {
    let product = Functions::new(orchestrator_backend::functions::product());
    let ours = Functions::new(server::functions());
    let folder = files::folder();
    let filled = folder.path().join("filled.sqlite3");
    rows::grow(&mut open(&filled, &ours).0, 0, samples.documents);
    let [mut first, mut later, mut empty, mut full, mut bare] =
        std::array::from_fn(|_| Times::new());
    let small = folder.path().join("small.sqlite3");
    drop(open(&small, &ours));
    for start in 0..samples.starts {
        let file = folder.path().join(format!("{start}.sqlite3"));
        first.add(open(&file, &product).1);
        later.add(open(&file, &product).1);
        empty.add(open(&small, &ours).1);
        full.add(open(&filled, &ours).1);
        bare.add(opened_bare(&folder.path().join("bare.sqlite3")));
    }
    let mut table = Table::new("Start of the engine", &TIMES);
    table.row("the product's functions, no file yet", first.cells());
    table.row("the product's functions, later", later.cells());
    table.row("the bench's functions, no documents", empty.cells());
    let documents = format!("the bench's functions, {} documents", samples.documents);
    table.row(&documents, full.cells());
    table.row("yardstick: the same file by SQLite alone", bare.cells());
    table.print();
}

pub fn open(file: &Path, functions: &Functions) -> (Engine, Duration) {
    let config = EngineConfig {
        store: Store::File(file.into()),
        functions: functions.clone(),
        limits: Limits::default(),
    };
    let begun = Instant::now();
    let engine = Engine::open(config).expect("it opens");
    (engine, begun.elapsed())
}

fn opened_bare(file: &Path) -> Duration {
    let begun = Instant::now();
    let database = yardstick::sqlite(file);
    database
        .execute_batch(
            "CREATE TABLE IF NOT EXISTS rows (seq INTEGER PRIMARY KEY, body TEXT NOT NULL)",
        )
        .expect("a table");
    begun.elapsed()
}

//! Session records in the file: for the client that they are for, for two weeks, and for nobody else.

use std::path::Path;

use orchestrator_backend::engine::{Engine, EngineConfig, Functions, Limits, Store};
use orchestrator_backend::functions::product;
use serde_json::json;

use crate::support::{as_user, call, config, request};

const SESSION: &str = "8b0e5b4e-31a5-4e1d-9a0c-6f3b8a0d5e11";
const DAY_MS: u64 = 24 * 3600 * 1000;
const MODULE: &str = r#"
export const add = mutation({ handler: (ctx, args) => ctx.db.insert("any", args) });
"#;

fn open(file: &Path, functions: Functions) -> Engine {
    Engine::open(EngineConfig {
        store: Store::File(file.into()),
        functions,
        limits: Limits::default(),
    })
    .unwrap()
}

/// Whether any file of the folder, the log included, holds the text.
fn found(folder: &Path, text: &str) -> bool {
    let files = std::fs::read_dir(folder).unwrap();
    files
        .map(|file| std::fs::read(file.unwrap().path()).unwrap())
        .any(|bytes| {
            bytes
                .windows(text.len())
                .any(|window| window == text.as_bytes())
        })
}

#[test]
fn a_copy_of_the_database_gave_its_reader_a_workers_token() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("db.sqlite3");
    let functions = Functions::new(product());
    let mut engine = open(&file, functions.clone());
    let machine = json!({"machineId": "laptop", "name": "laptop", "hostname": "laptop", "os": "linux", "tools": []});
    let machine = as_user("machines:register", machine, "ann");
    engine
        .mutation(&machine, Some(&request(SESSION, 1)))
        .result
        .unwrap();
    let worker = json!({"workerId": "shop", "machineId": "laptop", "name": "shop", "directory": "/srv/shop"});
    let create = as_user("workers:create", worker, "ann");
    let created = engine.mutation(&create, Some(&request(SESSION, 2)));
    let rotate = as_user("workers:rotate", json!({"workerId": "shop"}), "ann");
    let rotated = engine.mutation(&rotate, Some(&request(SESSION, 3)));
    for outcome in [&created, &rotated] {
        let answer = outcome.result.as_ref().unwrap();
        let token = answer["token"].as_str().unwrap();
        let (_, secret) = token.rsplit_once("secret_").unwrap();
        assert_eq!(secret.len(), 32);
        assert!(!found(folder.path(), secret), "the secret is in the file");
    }
    assert!(!found(folder.path(), SESSION), "the session id opens it");
    assert!(found(folder.path(), "/srv/shop"), "nothing was looked at");
    engine.checkpoint().unwrap();
    drop(engine);
    // The client that asked gets it again.
    let mut engine = open(&file, functions);
    let again = engine.mutation(&create, Some(&request(SESSION, 2)));
    assert_eq!((again.result, again.ts), (created.result, created.ts));
}

#[test]
fn records_in_clear_of_an_older_layout_are_sealed_when_the_file_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("db.sqlite3");
    let functions = config(MODULE).functions;
    drop(open(&file, functions.clone()));
    let old = rusqlite::Connection::open(&file).unwrap();
    old.execute_batch(&format!(
        "DROP TABLE records;
         CREATE TABLE records (seq INTEGER PRIMARY KEY, session TEXT NOT NULL, request INTEGER NOT NULL,
                               ts INTEGER NOT NULL, result TEXT NOT NULL, UNIQUE (session, request));
         INSERT INTO records (session, request, ts, result) VALUES ('{SESSION}', 7, 5, '\"the secret\"');
         PRAGMA user_version = 1;"
    ))
    .unwrap();
    drop(old);
    assert!(found(folder.path(), "the secret") && found(folder.path(), SESSION));
    let mut engine = open(&file, functions);
    assert!(!found(folder.path(), "the secret") && !found(folder.path(), SESSION));
    let add = call("m:add", json!({}));
    let replayed = engine.mutation(&add, Some(&request(SESSION, 7)));
    assert_eq!(
        (replayed.result.unwrap(), replayed.ts),
        (json!("the secret"), 5)
    );
}

#[test]
fn records_stayed_for_ever_where_little_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("db.sqlite3");
    let functions = config(MODULE).functions;
    let add = call("m:add", json!({}));
    let mut engine = open(&file, functions.clone());
    assert_eq!(engine.next_due_ms(), None);
    let first = engine.mutation(&add, Some(&request(SESSION, 1)));
    let made_ms = first.ts / 1_000_000;
    assert_eq!(engine.next_due_ms(), Some(made_ms + 14 * DAY_MS));
    assert!(engine.run_due_jobs(made_ms + 13 * DAY_MS).is_empty());
    let again = engine.mutation(&add, Some(&request(SESSION, 1)));
    assert_eq!(again.ts, first.ts);
    drop(engine);
    // Found by the clock of the next engine on the file, too.
    let mut engine = open(&file, functions);
    let due = engine.next_due_ms().unwrap();
    assert_eq!(due, made_ms + 14 * DAY_MS);
    assert!(engine.run_due_jobs(due + 1).is_empty());
    assert_eq!((engine.next_due_ms(), engine.latest_ts()), (None, first.ts));
    let another = engine.mutation(&add, Some(&request(SESSION, 1)));
    assert!(another.ts > first.ts);
}

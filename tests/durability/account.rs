//! Holds what the clients were told against what is in the deployment, and in its file.

use std::collections::BTreeMap;
use std::path::Path;

use orchestrator_test_support::{Api, eventually};
use rusqlite::{Connection, OpenFlags};
use serde_json::json;

use crate::load::{Acknowledged, Kind};
use crate::server::Server;

/// The deployment serves `clients` clients, and no call is in flight any more. Ends with its process killed and its file
/// looked at.
pub fn settle(mut server: Server, told: &Acknowledged, clients: usize) {
    let api = server.api();
    let scheduled = told.count(Kind::Schedule);
    eventually("all scheduled functions have run", || {
        keys(&api, "runs").len() >= scheduled
    });
    let entries = keys(&api, "entries");
    let runs = keys(&api, "runs");
    for (key, kind) in &told.0 {
        assert_eq!(entries.get(key), Some(&1), "{kind:?} {key}: rows");
        let expected = (*kind == Kind::Schedule).then_some(&1);
        assert_eq!(runs.get(key), expected, "{kind:?} {key}: runs");
    }
    // Every call was answered in the end, so there is nothing else.
    assert_eq!(entries.len(), told.0.len());
    assert_eq!(runs.len(), scheduled);
    // One counter per client.
    let documents = entries.len() + runs.len() + clients;
    look_at(&server.database(), documents);
}

fn look_at(database: &Path, documents: usize) {
    let file = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    let text = |sql: &str| -> String { file.query_row(sql, [], |row| row.get(0)).unwrap() };
    let number = |sql: &str| -> usize { file.query_row(sql, [], |row| row.get(0)).unwrap() };
    assert_eq!(text("PRAGMA integrity_check"), "ok");
    assert_eq!(number("SELECT count(*) FROM jobs"), 0);
    assert_eq!(number("SELECT count(*) FROM job_failures"), 0);
    assert_eq!(number("SELECT count(*) FROM documents"), documents);
    // Of every document: by id, by creation time, and by the table's own index.
    assert_eq!(number("SELECT count(*) FROM entries"), 3 * documents);
}

/// How often each key is in a table.
fn keys(api: &Api, table: &str) -> BTreeMap<String, usize> {
    let mut keys = BTreeMap::new();
    let mut after = String::new();
    loop {
        let page = api.query("ledger:page", &json!({ "table": table, "after": after }));
        let page = page.as_array().expect("a page");
        for key in page {
            let key = key.as_str().expect("a key");
            *keys.entry(key.to_owned()).or_default() += 1;
            key.clone_into(&mut after);
        }
        if page.is_empty() {
            return keys;
        }
    }
}

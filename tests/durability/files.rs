//! The file under a running deployment: a disk that runs full, a second process, a file that cannot be used. Whoever
//! causes it is told so, and so is whoever runs it; what was acknowledged stays. (The full disk is a limit of file sizes,
//! whose signal would end a process that does not expect it.)

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use orchestrator::adapters::convex::connection::{Connection, Settings};
use orchestrator_test_support::{Home, eventually};
use serde_json::{Value, json};

use crate::ORCHESTRATOR;
use crate::server::Server;

/// Blocks of 512 bytes: the file and its write-ahead log stop growing at 2 MiB each, as on a disk of that size.
const FILE_BLOCKS: u32 = 4096;

const ANSWER: Duration = Duration::from_secs(90);

#[test]
fn a_full_disk_refuses_writes_serves_reads_and_loses_nothing() {
    let mut server = Server::start();
    server.kill();
    server.spawn_limited(FILE_BLOCKS);
    server.wait_until_it_serves();
    let api = server.api();
    let text = "x".repeat(100_000);
    let mut acknowledged = 0;
    let refused = loop {
        assert!(acknowledged < 1000, "it never runs full");
        let key = format!("{acknowledged:04}-{text}");
        match api.call("mutation", "ledger:put", &json!({ "key": key })) {
            Ok(new) => assert_eq!(new, true),
            Err(refused) => break refused,
        }
        acknowledged += 1;
    };
    let message = refused["errorMessage"].as_str().unwrap_or_default();
    assert!(message.contains("Internal error: storage:"), "{refused}");
    assert!(
        message.contains("nothing of this call was kept"),
        "{refused}"
    );
    assert!(!message.contains("local.sqlite3"), "{refused}");
    let log = server.log();
    let errors: Vec<_> = log
        .lines()
        .filter(|line| line.contains("ERROR") && line.contains("the deployment cannot store"))
        .collect();
    assert_eq!(errors.len(), 1, "{log}");
    for part in ["local.sqlite3", "free_bytes"] {
        assert!(errors[0].contains(part), "{log}");
    }
    assert!(acknowledged > 0);
    // Refused again, not worse; and what is there is served.
    let again = json!({ "name": "n", "key": text });
    assert!(api.call("mutation", "ledger:add", &again).is_err());
    assert_eq!(rows(&api.query("ledger:page", &all())), acknowledged);

    server.kill();
    server.spawn();
    server.wait_until_it_serves();
    let api = server.api();
    assert_eq!(rows(&api.query("ledger:page", &all())), acknowledged);
    api.mutation("ledger:add", &again);
    assert_eq!(rows(&api.query("ledger:page", &all())), acknowledged + 1);
    let database = server.database();
    let file = rusqlite::Connection::open(database).unwrap();
    let check: String = file
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
}

/// Told that it failed, a client would take it for the function's own failure and give the item up.
#[test]
fn a_full_disk_answers_no_mutation_of_a_socket_and_each_is_run_when_there_is_room() {
    let mut server = Server::start();
    server.kill();
    server.spawn_limited(FILE_BLOCKS);
    server.wait_until_it_serves();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let connection = Connection::new(&server.url(), Settings::suited_to(&server.url()), None);
    let driven = Arc::clone(&connection);
    runtime.spawn(async move { panic!("the link gave up: {}", driven.drive().await) });
    // Three times what fits.
    let text = "x".repeat(100_000);
    let put = |n: usize| json!({ "key": format!("{n:04}-{text}") });
    let calls: Vec<_> = (0..60)
        .map(|n| connection.call("ledger:put", put(n)).unwrap())
        .collect();
    eventually("the disk is full", || {
        let standing = connection.standing().borrow().clone();
        standing
            .last_error
            .is_some_and(|error| error.contains("cannot write"))
    });

    server.kill();
    server.spawn();
    server.wait_until_it_serves();
    for call in calls {
        let answer = runtime.block_on(async { tokio::time::timeout(ANSWER, call).await });
        assert_eq!(answer.expect("an answer in time").unwrap(), Ok(json!(true)));
    }
    assert_eq!(rows(&server.api().query("ledger:page", &all())), 60);
}

#[test]
fn a_second_process_on_the_same_file_is_refused_and_disturbs_nobody() {
    let server = Server::start();
    let api = server.api();
    api.mutation("ledger:put", &json!({ "key": "before" }));
    let second = server
        .home
        .run(["deployment", "run", "--port", "0"])
        .exits(5);
    assert!(
        second.stderr.contains("is in use (pid "),
        "{}",
        second.stderr
    );
    // Somebody who gets around the folder's lock meets the file's own.
    let other = Home::bare(ORCHESTRATOR);
    let data = other.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
    fs::hard_link(server.file(), data.join("local.sqlite3")).unwrap();
    let third = other
        .run([
            "deployment",
            "run",
            "--port",
            "0",
            "--data",
            data.to_str().unwrap(),
        ])
        .exits(1);
    assert!(
        third.stderr.contains("is in use by another process"),
        "{}",
        third.stderr
    );
    api.mutation("ledger:put", &json!({ "key": "after" }));
    assert_eq!(rows(&api.query("ledger:page", &all())), 2);
}

#[test]
fn a_damaged_file_is_named_and_left_alone() {
    let mut server = Server::start();
    server.api().mutation("ledger:put", &json!({ "key": "a" }));
    let database = server.database();
    // It would repair the page: what a kill leaves in the log is as good as in the file.
    fs::remove_file(database.with_extension("sqlite3-wal")).unwrap();
    let mut bytes = fs::read(&database).unwrap();
    bytes[..4096].fill(0xab);
    fs::write(&database, &bytes).unwrap();
    let refused = server
        .home
        .run(["deployment", "run", "--port", "0"])
        .exits(1);
    for part in ["local.sqlite3", "it is damaged"] {
        assert!(refused.stderr.contains(part), "{}", refused.stderr);
    }
    assert_eq!(fs::read(&database).unwrap(), bytes);
}

fn all() -> Value {
    json!({ "table": "entries", "after": "" })
}

fn rows(page: &Value) -> usize {
    page.as_array().expect("a page").len()
}

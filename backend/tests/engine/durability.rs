//! The file: what survives a restart, who may open it, and what is said about one that cannot be used.

use std::path::Path;
use std::time::{Duration, Instant};

use orchestrator_backend::engine::{Engine, EngineConfig, OpenError, Store};
use serde_json::json;

use crate::support::{Calls as _, call, config, refusal, request};

const MODULE: &str = r#"
export const add = mutation({ handler: (ctx, args) => ctx.db.insert("any", args) });
export const count = query({ handler: async (ctx) => (await ctx.db.query("any").collect()).length });
export const first = query({ handler: (ctx) => ctx.db.query("any").first() });
export const times = query({ handler: async (ctx) => (await ctx.db.query("any").collect()).map((row) => row._creationTime) });
"#;

fn at(path: &Path) -> EngineConfig {
    EngineConfig {
        store: Store::File(path.into()),
        ..config(MODULE)
    }
}

#[test]
fn commits_and_records_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("db.sqlite3");
    let add = call("m:add", json!({"a": 1}));
    let mut engine = Engine::open(at(&file)).unwrap();
    let first = engine.mutation(&add, Some(&request("s", 7)));
    let ts = engine.latest_ts();
    assert!(ts >= first.ts && ts > 1_600_000_000_000_000_000);
    engine.checkpoint().unwrap();
    drop(engine);
    let mut engine = Engine::open(at(&file)).unwrap();
    assert_eq!(engine.latest_ts(), ts);
    let again = engine.mutation(&add, Some(&request("s", 7)));
    assert_eq!((again.result, again.ts), (first.result, first.ts));
    let second = engine.mutation(&add, None);
    assert!(second.ts > ts);
    let times = engine.get("m:times", json!({}));
    assert!(times[0].as_f64() < times[1].as_f64());
}

#[test]
fn a_dropped_engine_lost_nothing_that_it_answered() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("db.sqlite3");
    let mut engine = Engine::open(at(&file)).unwrap();
    for _ in 0..5 {
        engine.done("m:add", json!({}));
    }
    // As after a kill: the copies are what another process would find.
    let copy = folder.path().join("copy.sqlite3");
    std::fs::copy(&file, &copy).unwrap();
    std::fs::copy(
        folder.path().join("db.sqlite3-wal"),
        folder.path().join("copy.sqlite3-wal"),
    )
    .unwrap();
    let mut survivor = Engine::open(at(&copy)).unwrap();
    assert_eq!(survivor.get("m:count", json!({})), json!(5));
    assert_eq!(survivor.latest_ts(), engine.latest_ts());
}

#[test]
fn a_file_has_one_engine() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("db.sqlite3");
    let engine = Engine::open(at(&file)).unwrap();
    let asked = Instant::now();
    let error = refusal(at(&file));
    assert!(
        matches!(&error, OpenError::Locked { path } if *path == file),
        "{error}"
    );
    // Without waiting for what will not happen: SQLite's own patience would be five seconds.
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
    drop(engine);
    Engine::open(at(&file)).unwrap();
}

#[cfg(unix)]
#[test]
fn the_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("db.sqlite3");
    let mut engine = Engine::open(at(&file)).unwrap();
    engine.done("m:add", json!({}));
    for name in ["db.sqlite3", "db.sqlite3-wal"] {
        let mode = std::fs::metadata(folder.path().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn an_unusable_file_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let garbage = folder.path().join("garbage");
    std::fs::write(
        &garbage,
        "this is not a database, but it is longer than a header".repeat(50),
    )
    .unwrap();
    let before = std::fs::read(&garbage).unwrap();
    assert!(matches!(refusal(at(&garbage)), OpenError::Corrupt { .. }));
    assert_eq!(std::fs::read(&garbage).unwrap(), before);

    for (name, sql) in [
        ("foreign.sqlite3", "CREATE TABLE theirs (x)"),
        (
            "marked.sqlite3",
            "PRAGMA application_id = 7; PRAGMA user_version = 2",
        ),
        (
            "logged.sqlite3",
            "PRAGMA journal_mode = WAL; CREATE TABLE theirs (x)",
        ),
    ] {
        let foreign = folder.path().join(name);
        rusqlite::Connection::open(&foreign)
            .unwrap()
            .execute_batch(sql)
            .unwrap();
        let before = std::fs::read(&foreign).unwrap();
        let error = refusal(at(&foreign));
        assert!(error.to_string().contains("of another program"), "{error}");
        assert_eq!(std::fs::read(&foreign).unwrap(), before, "{name}");
        assert!(!folder.path().join(format!("{name}-wal")).exists());
    }

    assert!(matches!(
        refusal(at(folder.path())),
        OpenError::Unreadable { .. }
    ));
    assert!(matches!(
        refusal(at(&folder.path().join("missing/db"))),
        OpenError::Unreadable { .. }
    ));

    let newer = folder.path().join("newer.sqlite3");
    drop(Engine::open(at(&newer)).unwrap());
    rusqlite::Connection::open(&newer)
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let before = std::fs::read(&newer).unwrap();
    assert!(matches!(
        refusal(at(&newer)),
        OpenError::TooNew { found: 99, .. }
    ));
    assert_eq!(std::fs::read(&newer).unwrap(), before);

    let damaged = folder.path().join("damaged.sqlite3");
    drop(Engine::open(at(&damaged)).unwrap());
    let mut bytes = std::fs::read(&damaged).unwrap();
    bytes[100..4096].fill(0xab);
    std::fs::write(&damaged, bytes).unwrap();
    assert!(matches!(refusal(at(&damaged)), OpenError::Corrupt { .. }));
}

/// Killed before its log was moved into the file, which then says nothing of whose it is.
#[test]
fn a_file_of_ours_that_is_all_in_its_log_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("db.sqlite3");
    let mut engine = Engine::open(at(&file)).unwrap();
    engine.done("m:add", json!({}));
    let copy = folder.path().join("copy.sqlite3");
    for companion in ["", "-wal"] {
        std::fs::copy(
            folder.path().join(format!("db.sqlite3{companion}")),
            folder.path().join(format!("copy.sqlite3{companion}")),
        )
        .unwrap();
    }
    assert_eq!(std::fs::read(&copy).unwrap()[68..72], [0; 4]);
    let mut engine = Engine::open(at(&copy)).unwrap();
    assert_eq!(engine.get("m:count", json!({})), json!(1));
}

/// What a program with ordinary rights finds when somebody took away its right to write.
#[cfg(unix)]
#[test]
fn a_read_only_file_is_refused_and_left_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("db.sqlite3");
    Engine::open(at(&file)).unwrap().done("m:add", json!({}));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400)).unwrap();
    if std::fs::OpenOptions::new().write(true).open(&file).is_ok() {
        // The superuser may write everywhere: for them it is a file like any other.
        assert_eq!(
            Engine::open(at(&file)).unwrap().get("m:count", json!({})),
            json!(1)
        );
        return;
    }
    let before = std::fs::read(&file).unwrap();
    let error = refusal(at(&file));
    assert!(
        matches!(&error, OpenError::Unreadable { path, .. } if *path == file),
        "{error}"
    );
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

/// "cannot write the database: malformed" named neither the file nor what to do, and nothing had been written.
#[test]
fn damage_that_is_found_while_a_file_is_opened_names_it_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    for table in ["jobs_by_due", "documents", "tables"] {
        let file = folder.path().join(format!("{table}.sqlite3"));
        let mut engine = Engine::open(at(&file)).unwrap();
        engine.mutation(&call("m:add", json!({})), None);
        engine.checkpoint().unwrap();
        drop(engine);
        let page: usize = rusqlite::Connection::open(&file)
            .unwrap()
            .query_row(
                "SELECT rootpage FROM sqlite_schema WHERE name = ?1",
                [table],
                |row| row.get(0),
            )
            .unwrap();
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[(page - 1) * 4096..page * 4096].fill(0xab);
        std::fs::write(&file, bytes).unwrap();
        let refused = refusal(at(&file)).to_string();
        for part in [&*file.to_string_lossy(), "malformed", "move it away"] {
            assert!(refused.contains(part), "{table}: {refused}");
        }
    }
}

#[test]
fn a_page_that_is_damaged_fails_who_needs_it_and_nothing_is_written_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("db.sqlite3");
    let mut engine = Engine::open(at(&file)).unwrap();
    for _ in 0..300 {
        engine.done("m:add", json!({ "text": "x".repeat(2000) }));
    }
    engine.checkpoint().unwrap();
    drop(engine);
    // A page of documents in the middle: the first and the last stay whole.
    let mut bytes = std::fs::read(&file).unwrap();
    let page = bytes.len() / 4096 / 2 * 4096;
    bytes[page..page + 4096].fill(0xab);
    std::fs::write(&file, bytes).unwrap();
    let mut engine = Engine::open(at(&file)).unwrap();
    let outcome = engine.ask("m:count", json!({}));
    let error = outcome.result.unwrap_err().message;
    assert!(error.contains("malformed"), "{error}");
    // Asking again would not help: whoever needs the page is told, and keeps everything else.
    assert!(!outcome.internal);
    assert!(engine.get("m:first", json!({})).is_object());
    // It was found when the file was opened: nothing is written over it.
    let trouble = engine.trouble().unwrap().to_owned();
    for part in ["db.sqlite3 is damaged", "nothing is written", "put a copy"] {
        assert!(trouble.contains(part), "{trouble}");
    }
    let refused = engine.mutation(&call("m:add", json!({})), None);
    assert!(refused.storage_failed);
    let message = refused.result.unwrap_err().message;
    assert!(
        message.contains("damaged, so nothing is written"),
        "{message}"
    );
    assert!(!message.contains("db.sqlite3"), "{message}");
    assert!(
        engine
            .query_error("m:count", json!({}))
            .message
            .contains("malformed")
    );
}

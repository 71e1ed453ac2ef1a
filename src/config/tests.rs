//! Every documented mistake of a `workers.json`, with its text and its place.

use std::path::Path;

use orchestrator_actors::domain::turn::OnInterrupt;

use super::*;

const TOKEN: &str = "machine_abc123:worker_xyz789:secret_def456ghi789jkl012";

fn base(home: &Path) -> Base {
    Base {
        home: home.to_owned(),
        current: home.to_owned(),
    }
}

fn read(text: &str) -> Result<Loaded, ConfigError> {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("shop")).unwrap();
    parse(
        text,
        Path::new("/x/workers.json"),
        &base(home.path()),
        UrlRule::default(),
    )
}

fn problems(text: &str) -> Vec<String> {
    match read(text) {
        Err(ConfigError::Invalid { problems, .. }) => {
            problems.iter().map(ToString::to_string).collect()
        }
        other => panic!("expected problems, got {other:?}"),
    }
}

fn one(fields: &str) -> String {
    format!("{{\"workers\": [{{{fields}}}]}}")
}

fn good(extra: &str) -> String {
    one(&format!(
        "\"token\": \"{TOKEN}\", \"working_directory\": \"~/shop\", \"convex_url\": \"https://a.convex.cloud\"{extra}"
    ))
}

#[test]
fn three_fields_are_enough() {
    let loaded = read(&good("")).unwrap();
    let worker = &loaded.config.workers[0];
    assert_eq!(worker.name, "shop");
    assert_eq!(worker.idle_timeout_ms, 300_000);
    assert_eq!(worker.max_sessions, 4);
    assert_eq!(worker.on_interrupt, OnInterrupt::Report);
    assert!(worker.directory.is_absolute() && worker.broken.is_none());
    assert!(loaded.warnings.is_empty());
}

#[test]
fn comments_and_trailing_commas_are_fine() {
    let text = format!(
        "// a\n{{ /* b */ \"workers\": [ {{ \"token\": \"{TOKEN}\", // \"https://c\"\n\"working_directory\": \"./shop\", \"convex_url\": \"https://a.convex.cloud/\", }}, ], }}"
    );
    let loaded = read(&text).unwrap();
    assert_eq!(
        loaded.config.workers[0].url.as_str(),
        "https://a.convex.cloud"
    );
    assert!(loaded.config.workers[0].broken.is_none());
}

#[test]
fn every_missing_field_is_named_at_once() {
    assert_eq!(
        problems("{\"workers\": [\n  {}\n]}"),
        [
            "workers.0.token: Worker token is required (workers.json:2:3)",
            "workers.0.working_directory: Working directory is required (workers.json:2:3)",
            "workers.0.convex_url: Convex URL is required (workers.json:2:3)",
        ]
    );
}

#[test]
fn wrong_values_have_their_text_and_place() {
    let text = "{\n\"workers\": [{\n  \"token\": \"nope\",\n  \"working_directory\": 7,\n  \"convex_url\": \"http://a.example\",\n  \"idle_timeout\": \"soon\",\n  \"max_sessions\": 0,\n  \"interrupted_turns\": \"again\"\n}]}";
    assert_eq!(
        problems(text),
        [
            "workers.0.token: Worker token must be in format: machine_<machine_id>:worker_<worker_id>:secret_<secret> (workers.json:3:12)",
            "workers.0.working_directory: must be a string, found a number (workers.json:4:24)",
            "workers.0.convex_url: Convex URL must use HTTPS (workers.json:5:17)",
            "workers.0.idle_timeout: must be a time such as 300000 (milliseconds) or \"300s\" (workers.json:6:19)",
            "workers.0.max_sessions: must be a whole number from 1 to 64 (workers.json:7:19)",
            "workers.0.interrupted_turns: must be `report` or `continue` (workers.json:8:24)",
        ]
    );
}

#[test]
fn broken_syntax_has_file_line_and_column() {
    let found = problems("{\n  \"workers\": [\n    { \"token\": \"x\" \"y\" }\n  ]\n}");
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("not valid JSON: "), "{found:?}");
    assert!(found[0].contains("(workers.json:3:"), "{found:?}");
    assert_eq!(problems(""), ["the file is empty (workers.json:1:1)"]);
    assert_eq!(
        problems("[]"),
        ["must be an object with a list `workers`, found a list (workers.json:1:1)"]
    );
}

#[test]
fn a_list_without_workers_is_no_configuration() {
    assert_eq!(
        problems("{}"),
        ["workers: a list of workers is required (workers.json:1:1)"]
    );
    assert_eq!(
        problems("{\"workers\": []}"),
        ["workers: at least one worker is required (workers.json:1:13)"]
    );
    assert_eq!(
        problems("{\"workers\": [3]}"),
        ["workers.0: must be an object, found a number (workers.json:1:14)"]
    );
}

#[test]
fn the_same_token_twice_is_refused() {
    let entry = format!(
        "{{\"token\": \"{TOKEN}\", \"working_directory\": \"~/shop\", \"convex_url\": \"https://a.convex.cloud\"}}"
    );
    let found = problems(&format!("{{\"workers\": [{entry},\n{entry}]}}"));
    assert_eq!(
        found,
        [
            "workers.1.token: each worker must have a unique token (worker xyz789 is also workers.0) (workers.json:2:11)"
        ]
    );
}

#[test]
fn an_unknown_key_is_a_warning_with_the_nearest_name() {
    let loaded = read(&good(", \"idle_timout\": 5, \"zzz\": 1")).unwrap();
    assert_eq!(loaded.warnings.len(), 2);
    assert_eq!(loaded.warnings[0].path, "workers.0.idle_timout");
    assert_eq!(
        loaded.warnings[0].help.as_deref(),
        Some("did you mean `idle_timeout`?")
    );
    assert_eq!(loaded.warnings[1].help, None);
}

#[test]
fn a_missing_directory_breaks_its_worker_and_not_the_file() {
    let text = good("").replace("~/shop", "~/blog");
    let worker = read(&text).unwrap().config.workers.remove(0);
    assert!(
        worker
            .broken
            .unwrap()
            .starts_with("working directory ~/blog does not exist")
    );
    assert_eq!(worker.name, "blog");
}

#[test]
fn defaults_hold_for_workers_that_say_nothing() {
    let text = good("").replacen(
        '{',
        "{\"defaults\": {\"idle_timeout\": \"1s\", \"max_sessions\": 2, \"interrupted_turns\": \"continue\"}, \"machine\": {\"name\": \"m\", \"max_assistants\": 6, \"max_memory_mb\": 2048}, \"logs\": {\"level\": \"debug\"}, ",
        1,
    );
    let config = read(&text).unwrap().config;
    assert_eq!(config.workers[0].idle_timeout_ms, 1_000);
    assert_eq!(config.workers[0].max_sessions, 2);
    assert_eq!(config.workers[0].on_interrupt, OnInterrupt::Continue);
    assert_eq!(config.machine_name.as_deref(), Some("m"));
    let limits = config.limits;
    assert_eq!(
        (
            limits.max_assistants,
            limits.max_starting,
            limits.max_memory_mb
        ),
        (Some(6), None, Some(2048))
    );
    assert_eq!(config.log_level.as_deref(), Some("debug"));
}

#[test]
fn no_secret_is_in_an_error() {
    let text = good("").replace("https://", "http://");
    let error = read(&text).unwrap_err();
    let ConfigError::Invalid { source_text, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(source_text.contains("secret_def4***"), "{source_text}");
    assert_eq!(source_text.len(), text.len());
    assert!(!format!("{error:?}").contains("ghi789"));
}

#[test]
fn the_template_lacks_nothing_but_a_real_token() {
    let found = problems(template::TEXT);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("workers.0.token: Worker token must be in format"));
    let filled = template::TEXT.replace(
        "machine_<machine_id>:worker_<worker_id>:secret_<secret>",
        TOKEN,
    );
    let loaded = read(&filled).unwrap();
    assert_eq!((loaded.config.workers.len(), loaded.warnings.len()), (1, 0));
}

#[test]
fn a_worker_is_added_without_losing_a_comment() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("workers.json");
    append_worker(&path, TOKEN, folder.path(), "https://a.convex.cloud", None).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("// mine\n{text}")).unwrap();
    let second = TOKEN.replace("xyz789", "other");
    append_worker(
        &path,
        &second,
        folder.path(),
        "https://a.convex.cloud",
        Some("two"),
    )
    .unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("// mine\n"), "{text}");
    let loaded = load(&path, &base(folder.path()), UrlRule::default()).unwrap();
    assert_eq!(loaded.config.workers.len(), 2);
    assert_eq!(loaded.config.workers[1].name, "two");
}

//! Every documented mistake of a `workers.json`, with its text and its place.

use std::path::Path;

use orchestrator_actors::domain::ids::{DeploymentUrl, MachineId};
use orchestrator_actors::domain::task::{GitIsolation, RunnerKind};
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
fn what_is_said_about_tasks_counts_setting_by_setting_and_in_both_spellings() {
    let own = ", \"maxRetries\": 0, \"goose\": {\"processTimeout\": 30000, \"max_turns\": 7}, \"git\": {\"isolation\": true, \"push\": false}";
    let text = good(own).replacen(
        '{',
        "{\"defaults\": {\"tasks\": false, \"task_runner\": \"goose\", \"max_retries\": 5, \"goose\": {\"model\": \"m\", \"process_timeout\": \"1h\"}, \"git\": {\"branch_prefix\": \"task-\", \"userConfig\": {\"name\": \"Ada\", \"email\": \"a@b.c\"}}}, ",
        1,
    );
    let config = read(&text).unwrap().config;
    let tasks = &config.workers[0].tasks;
    assert!(!tasks.enabled);
    assert_eq!(tasks.runner, Some(RunnerKind::Goose));
    assert_eq!(tasks.max_retries, Some(0));
    let goose = tasks.goose.as_ref().unwrap();
    assert_eq!(goose.model.as_deref(), Some("m"));
    assert_eq!(goose.provider, None);
    assert_eq!(
        (goose.process_timeout_ms, goose.max_turns),
        (Some(30_000), Some(7))
    );
    assert_eq!(tasks.git.branch_prefix, "task-");
    assert_eq!(tasks.git.user.as_ref().unwrap().name, "Ada");
    assert_eq!(tasks.git.isolation, GitIsolation::Worktree);
    assert!(!tasks.git.push);
    let origins = &config.origins[0].tasks;
    assert!(origins.contains_key("goose.model") && origins.contains_key("max_retries"));
    assert!(!origins.contains_key("goose.provider"));
}

#[test]
fn wrong_values_about_tasks_have_their_place_and_keys_are_for_the_environment() {
    let own = ", \"task_runner\": \"duck\", \"max_retries\": 101, \"goose\": {\"model\": \"\", \"apiKeys\": {}}, \"git\": {\"branch_prefix\": \"a b\", \"isolation\": \"some\", \"user\": {\"name\": \"x\"}}";
    let found: Vec<String> = problems(&good(own))
        .into_iter()
        .map(|problem| problem.split(':').next().unwrap_or_default().to_owned())
        .collect();
    for path in [
        "workers.0.task_runner",
        "workers.0.max_retries",
        "workers.0.goose.model",
        "workers.0.git.branch_prefix",
        "workers.0.git.isolation",
        "workers.0.git.user.email",
    ] {
        assert!(found.iter().any(|one| one == path), "{path}: {found:?}");
    }
    let loaded = read(&good(", \"goose\": {\"modl\": \"m\", \"apiKeys\": {}}")).unwrap();
    let warned: Vec<_> = loaded
        .warnings
        .iter()
        .map(|warning| (warning.path.as_str(), warning.help.as_deref()))
        .collect();
    assert!(
        warned.contains(&("workers.0.goose.modl", Some("did you mean `model`?"))),
        "{warned:?}"
    );
    let keys = warned
        .iter()
        .find(|(path, _)| *path == "workers.0.goose.apiKeys");
    let help = keys.and_then(|(_, help)| *help).unwrap_or_default();
    assert!(help.contains("OPENROUTER_API_KEY"), "{warned:?}");
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

/// Adds as commands do.
fn add(path: &Path, entry: NewEntry<'_>) -> Result<(), EditError> {
    let home = path.parent().unwrap();
    let (mut edit, _) = Edit::to_add(path, &base(home), UrlRule::default())?;
    edit.append(entry)?;
    Ok(edit.write()?)
}

#[test]
fn a_worker_is_added_without_losing_a_comment() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("workers.json");
    let entry = NewEntry::new(TOKEN, folder.path(), "https://a.convex.cloud");
    add(&path, entry).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("// mine\n{text}")).unwrap();
    let second = TOKEN.replace("xyz789", "other");
    let entry = NewEntry {
        token: &second,
        ..entry
    };
    add(&path, entry.named(Some("two")).idle_after(Some(1_500))).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("// mine\n"), "{text}");
    let loaded = load(&path, &base(folder.path()), UrlRule::default()).unwrap();
    assert_eq!(loaded.config.workers.len(), 2);
    assert_eq!(loaded.config.workers[1].name, "two");
    assert_eq!(loaded.config.workers[1].idle_timeout_ms, 1_500);
}

#[test]
fn what_is_added_never_makes_a_file_that_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("workers.json");
    let long = "x".repeat(70);
    // Of one name on the deployment, called as a directory is here, and such that no file may have them.
    let names = [
        None,
        Some("shop"),
        Some("shop"),
        Some("a/b"),
        Some(" "),
        Some(&*long),
        Some(&*long),
    ];
    for (number, name) in names.into_iter().enumerate() {
        let token = format!("machine_m:worker_w{number}:secret_x");
        let directory = Path::new("/nowhere/shop");
        let entry = NewEntry::new(&token, directory, "https://a.convex.cloud");
        add(&path, entry.named(name)).unwrap();
    }
    let loaded = load(&path, &base(folder.path()), UrlRule::default()).unwrap();
    let workers = loaded.config.workers.iter();
    let names: Vec<&str> = workers.map(|worker| worker.name.as_str()).collect();
    assert_eq!(names[..5], ["shop", "shop-2", "shop-3", "a-b", "worker"]);
    assert_eq!(names[5], &long[..60]);
    assert_eq!(names[6], format!("{}-2", &long[..58]));
    let again = NewEntry::new(
        "machine_m:worker_w0:secret_y",
        &path,
        "https://b.convex.cloud",
    );
    let refused = add(&path, again).unwrap_err().to_string();
    assert!(refused.contains("worker w0 is in"), "{refused}");
}

#[test]
fn a_name_that_is_given_is_taken_from_no_directory_before_it() {
    let text = format!(
        "{{\"workers\": [{0}, {1}]}}",
        "{\"token\": \"machine_m:worker_a:secret_x\", \"working_directory\": \"~/shop\", \"convex_url\": \"https://a.convex.cloud\"}",
        "{\"token\": \"machine_m:worker_b:secret_x\", \"working_directory\": \"~/b\", \"convex_url\": \"https://a.convex.cloud\", \"name\": \"shop\"}"
    );
    let workers = read(&text).unwrap().config.workers;
    assert_eq!((&*workers[0].name, &*workers[1].name), ("shop-2", "shop"));
}

#[test]
fn the_templates_placeholder_makes_room_for_the_first_entry() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("workers.json");
    template::write(&path).unwrap();
    let entry = NewEntry::new(TOKEN, folder.path(), "https://a.convex.cloud");
    add(&path, entry).unwrap();
    let loaded = load(&path, &base(folder.path()), UrlRule::default()).unwrap();
    assert_eq!(loaded.config.workers.len(), 1);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("machine_<"), "{text}");
    assert!(text.contains("// \"machine\": {"), "{text}");
}

#[test]
fn nothing_is_added_to_a_file_that_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("workers.json");
    for (text, why) in [
        ("{ \"workers\": [ } ", "not valid JSON"),
        (
            "{ \"workers\": [], \"logs\": { \"level\": \"loud\" } }",
            "logs.level",
        ),
        ("[]", "must be an object"),
    ] {
        std::fs::write(&path, text).unwrap();
        let entry = NewEntry::new(TOKEN, folder.path(), "https://a.convex.cloud");
        match add(&path, entry) {
            Err(EditError::Config(error)) => assert!(error.to_string().contains(why), "{error}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn what_a_machine_has_no_more_goes_and_what_is_anothers_stays() {
    let text = edited(|edit| {
        let machine = MachineId::new("m");
        let here = DeploymentUrl::new("https://a.convex.cloud");
        let elsewhere = DeploymentUrl::new("https://b.convex.cloud");
        assert!(
            edit.keep_only(&MachineId::new("other"), &here, &[])
                .is_empty()
        );
        assert!(edit.keep_only(&machine, &elsewhere, &[]).is_empty());
        assert_eq!(edit.keep_only(&machine, &here, &["blog"]), ["shop"]);
    });
    assert!(
        text.contains("secret_two") && !text.contains("secret_one"),
        "{text}"
    );
}

#[test]
fn an_unknown_key_is_told_beside_the_mistake_that_it_may_be() {
    let error = read("{\"wokers\": [], \"log\": {}}").unwrap_err();
    let ConfigError::Invalid { warnings, .. } = error else {
        panic!("{error:?}");
    };
    let help: Vec<_> = warnings.iter().map(|one| one.help.as_deref()).collect();
    assert_eq!(
        help,
        [
            Some("did you mean `workers`?"),
            Some("did you mean `logs`?")
        ]
    );
}

const FILE: &str = r#"// the machine at home
{
  "workers": [
    // the shop
    {
      "token": "machine_m:worker_shop:secret_one", // rotated in May
      "working_directory": "~/shop",
      "convex_url": "https://a.convex.cloud",
    },
    /* the blog */
    {
      "token": "machine_m:worker_blog:secret_two",
      "working_directory": "~/blog", "convex_url": "https://a.convex.cloud"
    },
  ],
  "logs": { "level": "info" }, // loud
}
"#;

fn edited(change: impl FnOnce(&mut Edit)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("workers.json");
    paths::write_private(&path, FILE.as_bytes()).unwrap();
    let mut edit = Edit::open(&path).unwrap();
    change(&mut edit);
    edit.write().unwrap();
    assert!(!paths::is_exposed(&path));
    std::fs::read_to_string(&path).unwrap()
}

#[test]
fn a_token_is_replaced_where_it_stands() {
    let text = edited(|edit| assert!(edit.set_token("shop", "machine_m:worker_shop:secret_new")));
    assert_eq!(text, FILE.replace("secret_one", "secret_new"));
    assert_eq!(edited(|edit| assert!(!edit.set_token("none", "x"))), FILE);
}

#[test]
fn a_worker_of_the_same_id_elsewhere_keeps_its_token() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("workers.json");
    let there = DeploymentUrl::new("https://there.example");
    let entry = |secret: &str, url: &str| {
        format!(
            r#"{{ "token": "machine_m:worker_shop:secret_{secret}", "working_directory": "/", "convex_url": "{url}" }}"#
        )
    };
    let (first, second) = (
        entry("here", "https://here.example/"),
        entry("there", "https://THERE.example/"),
    );
    std::fs::write(&path, format!("{{ \"workers\": [{first}, {second}] }}")).unwrap();
    let mut edit = Edit::open(&path).unwrap();
    assert!(edit.set_token_at("shop", &there, "machine_m:worker_shop:secret_new"));
    let nowhere = DeploymentUrl::new("https://nowhere.example");
    assert!(!edit.set_token_at("shop", &nowhere, "machine_m:worker_shop:secret_lost"));
    edit.write().unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        text.contains("secret_here") && text.contains("secret_new"),
        "{text}"
    );
    assert!(
        !text.contains("secret_there") && !text.contains("secret_lost"),
        "{text}"
    );
}

#[test]
fn a_worker_is_taken_out_and_every_other_comment_stays() {
    let text = edited(|edit| assert!(edit.remove("blog")));
    assert!(!text.contains("secret_two"), "{text}");
    for comment in [
        "// the machine at home",
        "// the shop",
        "// rotated in May",
        "// loud",
    ] {
        assert!(text.contains(comment), "{text}");
    }
    let left = edited(|edit| {
        assert!(edit.remove("shop") && edit.remove("blog") && !edit.remove("blog"));
    });
    assert!(left.contains("// loud"), "{left}");
    insta::assert_snapshot!(text);
}

#[test]
fn a_link_to_a_file_kept_elsewhere_stays_one() {
    let folder = tempfile::tempdir().unwrap();
    let real = folder.path().join("kept.json");
    let link = folder.path().join("workers.json");
    paths::write_private(&real, FILE.as_bytes()).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let mut edit = Edit::open(&link).unwrap();
    edit.remove("shop");
    edit.write().unwrap();
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(
        !std::fs::read_to_string(&real)
            .unwrap()
            .contains("secret_one")
    );
}

#[test]
fn many_who_add_at_once_lose_nobodys_entry() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("workers.json");
    std::thread::scope(|scope| {
        for number in 0..8 {
            let path = &path;
            scope.spawn(move || {
                let token = format!("machine_m:worker_w{number}:secret_x");
                add(path, NewEntry::new(&token, path, "https://a.convex.cloud")).unwrap();
            });
        }
    });
    let edit = Edit::open(&path).unwrap();
    assert!((0..8).all(|number| edit.has(&format!("w{number}"))));
}

#[test]
fn three_beats_fit_into_what_counts_as_presence() {
    let usual = orchestrator_actors::machine::Settings::default().beat_ms;
    for beat in [usual, *SYNC_INTERVAL_MS.end()] {
        assert!(SYNC_INTERVAL_MS.contains(&beat));
        assert!(3 * beat < PRESENCE_MS, "{beat}");
    }
    let text = include_str!("../../convex/lib/limits.ts");
    let theirs = format!("PRESENCE_FRESH_MS = {} * SECOND", PRESENCE_MS / 1_000);
    assert!(text.contains(&theirs), "the deployment has another one");
}

#[test]
fn the_time_fields_of_the_documents_are_read() {
    let text = good("").replace(
        "{\"workers\"",
        "{\"machine\": {\"idle_timeout\": 1500, \"sync_interval\": \"5s\"}, \"workers\"",
    );
    let loaded = read(&text).unwrap();
    assert_eq!(loaded.config.sync_interval_ms, Some(5_000));
    assert_eq!(loaded.config.workers[0].idle_timeout_ms, 1_500);
    assert_eq!(
        loaded.config.origins[0].idle_timeout.to_string(),
        "workers.json:1"
    );
    assert_eq!(loaded.config.origins[0].max_sessions.to_string(), "default");
    let text = text.replace("\"5s\"", "\"40s\"");
    assert!(problems(&text)[0].starts_with("machine.sync_interval: must be from 1s to 11s"));
}

#[test]
fn tilde_absolute_and_relative_directories() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().canonicalize().unwrap();
    let here = home.join("here");
    std::fs::create_dir_all(here.join("shop")).unwrap();
    std::fs::create_dir(home.join("shop")).unwrap();
    let base = Base {
        home: home.clone(),
        current: here.clone(),
    };
    let directory = |given: &str| {
        let text = good("").replace("~/shop", given);
        let path = Path::new("/x/workers.json");
        let loaded = parse(&text, path, &base, UrlRule::default()).unwrap();
        let worker = &loaded.config.workers[0];
        assert_eq!(worker.broken, None, "{given}");
        (worker.directory.clone(), loaded.notes.len())
    };
    assert_eq!(directory("~"), (home.clone(), 0));
    assert_eq!(directory("~/shop"), (home.join("shop"), 0));
    assert_eq!(
        directory(&home.join("shop").display().to_string()),
        (home.join("shop"), 0)
    );
    assert_eq!(directory("./shop"), (here.join("shop"), 1));
    assert_eq!(directory("../shop"), (home.join("shop"), 1));
}

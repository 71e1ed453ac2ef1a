//! `workers.json`: every documented mistake, as it is shown.

use insta::assert_snapshot;

use crate::{home, told};

const TOKEN: &str = "machine_abc123:worker_xyz789:secret_def456ghi789jkl012";

fn check(text: &str) -> String {
    let home = home();
    home.dir("shop");
    home.write_config_text(text);
    let ran = home.run(["config", "check"]);
    assert!(!ran.stderr.contains("ghi789"), "a secret: {}", ran.stderr);
    told(&home, &ran)
}

#[test]
fn a_good_one_is_listed() {
    assert_snapshot!(check(&format!(
        r#"{{ // ours
  "workers": [
    {{ "token": "{TOKEN}", "working_directory": ".", "convex_url": "https://happy-otter-123.convex.cloud", }},
  ],
}}"#
    )));
}

#[test]
fn broken_syntax() {
    assert_snapshot!(check(&format!(
        "{{\n  \"workers\": [\n    {{ \"token\": \"{TOKEN}\" \"convex_url\": 1 }}\n  ]\n}}\n"
    )));
}

#[test]
fn wrong_fields_are_all_shown() {
    assert_snapshot!(check(&format!(
        r#"{{
  "workers": [
    {{ "token": "{TOKEN}", "working_directory": "." }},
    {{
      "token": "machine_a:worker_b",
      "working_directory": 7,
      "convex_url": "http://happy-otter-123.convex.cloud"
    }}
  ]
}}"#
    )));
}

#[test]
fn the_same_token_twice() {
    let worker = format!(
        r#"{{ "token": "{TOKEN}", "working_directory": ".", "convex_url": "https://a.convex.cloud" }}"#
    );
    assert_snapshot!(check(&format!(
        "{{ \"workers\": [\n  {worker},\n  {worker}\n] }}"
    )));
}

#[test]
fn a_typo_and_a_missing_directory_are_warnings() {
    assert_snapshot!(check(&format!(
        r#"{{ "workers": [
  {{ "token": "{TOKEN}", "working_directory": "~/blog", "convex_url": "https://a.convex.cloud", "idle_timout": "1s" }}
] }}"#
    )));
}

#[test]
fn mistakes_are_data_with_json() {
    let home = home();
    home.write_config_text("{\"workers\": [{}]}");
    let ran = home.run(["config", "check", "--json"]).exits(3);
    let json = ran.json();
    assert_eq!(json["schema"], 1);
    assert_eq!(json["error"]["exit"], 3);
    let problems = json["error"]["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 3);
    assert_eq!(problems[2]["path"], "workers.0.convex_url");
    assert_eq!(problems[2]["line"], 1);
}

#[test]
fn others_can_read_it() {
    let home = home();
    home.write_config_text(&format!(
        r#"{{ "workers": [{{ "token": "{TOKEN}", "working_directory": ".", "convex_url": "https://a.convex.cloud" }}] }}"#
    ));
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(home.config_file(), open).unwrap();
    let ran = home.run(["config", "check"]).exits(0);
    assert!(ran.stderr.contains("others can read it"), "{}", ran.stderr);
    assert!(ran.stderr.contains("chmod 600"), "{}", ran.stderr);
    home.run(["config", "check", "--strict"]).exits(3);
}

#[test]
fn show_cuts_secrets_short() {
    let home = home();
    home.write_config_text(&format!(
        r#"{{ "workers": [{{ "token": "{TOKEN}", "working_directory": ".", "convex_url": "https://a.convex.cloud" }}] }}"#
    ));
    for args in [&["config", "show"][..], &["config", "show", "--json"]] {
        let ran = home.run(args).exits(0);
        assert!(ran.stdout.contains("secret_def4…"), "{}", ran.stdout);
        assert!(!ran.stdout.contains("def456"), "{}", ran.stdout);
    }
}

#[test]
fn the_template_is_where_it_is_looked_for() {
    let home = home();
    let path = home.run(["config", "path"]).exits(0).stdout;
    assert_eq!(path.trim(), home.config_file().display().to_string());
    let template = home.run(["config", "template"]).exits(0).stdout;
    home.write_config_text(&template);
    let ran = home.run(["config", "check"]).exits(3);
    assert!(
        ran.stderr.contains("Worker token must be in format"),
        "{}",
        ran.stderr
    );
}

fn one(home: &orchestrator_test_support::Home) {
    home.write_config_text(&format!(
        "{{\n  \"machine\": {{ \"name\": \"desk\" }},\n  \"defaults\": {{ \"idle_timeout\": \"60s\", \"notify_quiet\": \"22:00-07:00\" }},\n  \"workers\": [{{\n    \"token\": \"{TOKEN}\",\n    \"working_directory\": \".\",\n    \"convex_url\": \"https://a.convex.cloud\",\n    \"max_sessions\": 2,\n    \"notify_push\": true\n  }}]\n}}"
    ));
}

#[test]
fn the_origin_of_every_setting_is_told() {
    let mut home = home();
    one(&home);
    assert_snapshot!(told(&home, &home.run(["config", "show", "--origin"])));
    home.set("IDLE_TIMEOUT", "1500");
    let ran = home.run(["config", "show", "--origin", "--json"]).exits(0);
    let worker = ran.json()["workers"][0].clone();
    assert_eq!(worker["idle_timeout_ms"], 1_500);
    assert_eq!(
        worker["origins"]["idle_timeout"],
        "environment: IDLE_TIMEOUT"
    );
    assert_eq!(worker["origins"]["max_sessions"], "workers.json:8");
}

#[test]
fn a_relative_directory_is_noted_with_what_it_means_here() {
    let home = home();
    one(&home);
    let ran = home.run(["config", "check"]).exits(0);
    let here = home.dir("shop").display().to_string();
    assert!(
        ran.stderr.contains(&format!(
            "relative to the folder that `run` is started in: here {here}"
        )),
        "{}",
        ran.stderr
    );
    home.run(["config", "check", "--strict"]).exits(3);
}

#[test]
fn the_schema_is_json_and_names_the_three_fields() {
    let schema = home().run(["config", "schema"]).exits(0).json();
    let required = &schema["properties"]["workers"]["items"]["required"];
    assert_eq!(
        *required,
        serde_json::json!(["token", "working_directory", "convex_url"])
    );
}

#[test]
fn an_edit_is_checked_when_the_editor_is_closed() {
    let mut home = home();
    one(&home);
    home.set("EDITOR", "sed -i s/https:/http:/");
    let ran = home.run(["config", "edit"]).exits(3);
    assert!(
        ran.stderr.contains("Convex URL must use HTTPS"),
        "{}",
        ran.stderr
    );
    home.set("VISUAL", "sed -i s/http:/https:/");
    home.run(["config", "edit"]).exits(0);
    home.set("VISUAL", "false");
    let ran = home.run(["config", "edit"]).exits(1);
    assert!(
        ran.stderr.contains("the editor `false` failed"),
        "{}",
        ran.stderr
    );
}

#[test]
fn an_env_is_migrated_and_stays() {
    let home = home();
    let file = home.dir("shop").join(".env");
    let text = format!("WORKER_TOKEN={TOKEN}\nCONVEX_URL=https://a.convex.cloud\n");
    home.run(["config", "migrate-env"]).exits(3);
    std::fs::write(&file, &text).unwrap();
    assert_snapshot!(told(&home, &home.run(["config", "migrate-env"])));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    home.run(["config", "check", "--strict"]).exits(0);
    let ran = home.run(["config", "migrate-env"]).exits(2);
    assert!(ran.stderr.contains("already"), "{}", ran.stderr);
    std::fs::write(&file, "WORKER_TOKEN=x\n").unwrap();
    let ran = home.run(["config", "migrate-env"]).exits(3);
    assert!(
        ran.stderr.contains("Worker token must be in format"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_migrated_env_keeps_its_idle_timeout_its_directory_and_our_prefix() {
    let home = home();
    let folder = home.dir("project");
    let inner = home.dir("project/inner");
    let file = folder.join("dev.env");
    let text = format!(
        "WORKER_TOKEN={TOKEN}\nORCHESTRATOR_CONVEX_URL=https://a.convex.cloud\nROOT_DIRECTORY=./inner\nIDLE_TIMEOUT=1500\n"
    );
    std::fs::write(&file, text.replace("1500", "soon")).unwrap();
    let name = file.display().to_string();
    let ran = home.run(["config", "migrate-env", &name]).exits(3);
    assert!(ran.stderr.contains("dev.env:4:1"), "{}", ran.stderr);
    let init = [
        "init",
        "--from-env",
        &name,
        "--force",
        "--url",
        "http://127.0.0.1:9",
    ];
    home.run(init).exits(3);
    std::fs::write(&file, &text).unwrap();
    for take in [&["config", "migrate-env", &name][..], &init] {
        home.run(take).exits(0);
        let shown = home.run(["config", "show", "--json"]).exits(0).json();
        let worker = &shown["workers"][0];
        assert_eq!(worker["idle_timeout_ms"], 1_500, "{take:?}");
        let written = std::fs::read_to_string(home.config_file()).unwrap();
        assert!(written.contains(&inner.display().to_string()), "{take:?}");
    }
}

#[test]
fn a_level_that_is_none_is_wrong_use() {
    let home = home();
    let ran = home.run(["config", "path", "--log-level", "loud"]).exits(2);
    assert!(ran.stderr.contains("error, warn, info"), "{}", ran.stderr);
    home.run(["config", "path", "--log-level", "orchestrator=debug,warn"])
        .exits(0);
}

#[test]
fn an_unknown_key_is_shown_beside_what_is_missing() {
    let told = check("{ \"wokers\": [] }");
    assert!(told.contains("did you mean `workers`?"), "{told}");
    assert!(told.contains("a list of workers is required"), "{told}");
}

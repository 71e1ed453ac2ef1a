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

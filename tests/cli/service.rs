//! `orchestrator service`, without a service manager: a script stands for its program and writes down what it is asked for.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use orchestrator_test_support::Home;

use crate::{home, told};

/// A home with a configuration, in which nothing of this machine's systemd can be reached.
fn configured() -> Home {
    let mut home = home();
    home.write_config_text("{\"workers\": []}");
    let bin = home.dir("bin");
    home.set("PATH", bin.display().to_string());
    home.set("USER", "me");
    home.set("ORCHESTRATOR_OPENCODE_BIN", "/opt/opencode");
    home
}

fn file(home: &Home) -> PathBuf {
    PathBuf::from(home.get("XDG_CONFIG_HOME")).join("systemd/user/orchestrator.service")
}

/// Stands for systemctl: answers `is-active` with `active`, everything else with success, and remembers.
fn systemctl(home: &Home, active: i32) -> PathBuf {
    let asked = home.path().join("asked");
    let script = home.dir("bin").join("systemctl");
    let text = format!(
        "#!/bin/sh\necho \"$*\" >> {}\ncase \"$*\" in *is-active*) exit {active};; esac\n",
        asked.display()
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    asked
}

fn shown(home: &Home, text: &str) -> String {
    text.replace(env!("CARGO_BIN_EXE_orchestrator"), "[BINARY]")
        .replace(&home.path().display().to_string(), "[ROOT]")
}

#[test]
fn without_the_managers_program_the_file_is_written_and_the_rest_is_said() {
    let home = configured();
    let ran = home.run(["service", "install"]);
    insta::assert_snapshot!(told(&home, &ran));
    let text = std::fs::read_to_string(file(&home)).unwrap();
    insta::assert_snapshot!("the_unit", shown(&home, &text));
    let again = home.run(["service", "install", "--no-start"]).exits(0);
    assert!(
        again.stderr.contains("is as it should be"),
        "{}",
        again.stderr
    );
    let status = home.run(["service", "status", "--json"]).exits(4).json();
    assert_eq!(status["service"], "installed");
    assert_eq!(status["active"], serde_json::Value::Null);
    home.run(["service", "uninstall"]).exits(0);
    assert!(!file(&home).exists());
    home.run(["service", "uninstall"]).exits(0);
}

#[test]
fn the_service_is_enabled_started_seen_and_taken_away_again() {
    let home = configured();
    let asked = systemctl(&home, 3);
    let ran = home.run(["service", "install"]);
    insta::assert_snapshot!(told(&home, &ran));
    home.run(["service", "status"]).exits(4);
    systemctl(&home, 0);
    let status = home.run(["service", "status"]).exits(0);
    assert!(
        status.stdout.ends_with("installed, active\n"),
        "{}",
        status.stdout
    );
    // It runs: a new file is taken by a restart.
    home.run(["service", "install"]).exits(0);
    home.run(["service", "uninstall"]).exits(0);
    insta::assert_snapshot!(
        "asked_of_systemctl",
        std::fs::read_to_string(asked).unwrap()
    );
    assert!(!file(&home).exists());
}

#[test]
fn a_manager_that_refuses_leaves_the_file_and_says_what_is_left_to_do() {
    let home = configured();
    let script = home.dir("bin").join("systemctl");
    std::fs::write(
        &script,
        "#!/bin/sh\necho 'Failed to connect to bus' >&2\nexit 1\n",
    )
    .unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let ran = home.run(["service", "install"]);
    insta::assert_snapshot!(told(&home, &ran));
    assert!(file(&home).exists());
}

#[test]
fn somebody_elses_unit_is_neither_replaced_nor_removed() {
    let home = configured();
    let asked = systemctl(&home, 3);
    std::fs::create_dir_all(file(&home).parent().unwrap()).unwrap();
    std::fs::write(file(&home), "[Service]\nExecStart=/bin/true\n").unwrap();
    let ran = home.run(["service", "install"]);
    insta::assert_snapshot!(told(&home, &ran));
    home.run(["service", "uninstall"]).exits(6);
    assert!(!asked.exists(), "nothing is asked of the manager");
    let text = std::fs::read_to_string(file(&home)).unwrap();
    assert!(text.contains("/bin/true"));
    home.run(["service", "install", "--force"]).exits(0);
    home.run(["service", "uninstall"]).exits(0);
}

#[test]
fn a_service_without_a_configuration_is_not_installed() {
    let home = home();
    let ran = home.run(["service", "install"]);
    insta::assert_snapshot!(told(&home, &ran));
    assert!(!file(&home).exists());
}

#[test]
fn a_path_that_has_changed_is_said_until_it_is_taken_over() {
    let mut home = configured();
    home.run(["service", "install"]).exits(0);
    let bin = home.get("PATH").to_owned();
    home.set("PATH", format!("/opt/new:.:{bin}"));
    let status = home.run(["service", "status", "--json"]).exits(4).json();
    assert_eq!(status["path_outdated"], true);
    let ran = home.run(["service", "install"]).exits(0);
    assert!(
        ran.stderr.contains("left out of PATH: \".\""),
        "{}",
        ran.stderr
    );
    let status = home.run(["service", "status", "--json"]).exits(4).json();
    assert_eq!(status["path_outdated"], false);
    assert_eq!(status["path"], format!("/opt/new:{bin}"));
}

#[test]
fn systemd_has_nothing_to_say_about_the_unit() {
    let mut home = home();
    let path = format!(
        r#"/with space:/100%:/$HOME:/"quoted":/back\slash:{}"#,
        home.get("PATH")
    );
    home.set("PATH", path);
    let odd = home.dir("of % $HOME \"and\" more");
    let unit = home.path().join("orchestrator.service");
    let odd = odd.display().to_string();
    let printed = home
        .run(["service", "print", "--format", "systemd", "--local", &odd])
        .exits(0);
    std::fs::write(&unit, printed.stdout).unwrap();
    let mut verify = home.foreign("systemd-analyze");
    verify.args(["--user", "verify"]).arg(&unit);
    match verify.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("not verified: there is no systemd-analyze here");
        }
        output => {
            let output = output.unwrap();
            assert!(output.status.success(), "{output:?}");
            assert_eq!(String::from_utf8_lossy(&output.stderr), "");
            assert_eq!(String::from_utf8_lossy(&output.stdout), "");
        }
    }
}

/// Parsed by Python, as no macOS is here to do it.
#[test]
fn the_property_list_holds_what_it_should() {
    let mut home = home();
    let path = "/with <&> and \"more\":/usr/bin";
    home.set("PATH", path);
    let odd = home.dir("of <&> more");
    let list = home.path().join("orchestrator.plist");
    let printed = home
        .run([
            "service",
            "print",
            "--format=launchd",
            "--local",
            &odd.display().to_string(),
        ])
        .exits(0);
    std::fs::write(&list, printed.stdout).unwrap();
    let parsed = crate::home()
        .foreign("python3")
        .args([
            "-c",
            "import json,plistlib,sys; print(json.dumps(plistlib.load(open(sys.argv[1],'rb'))))",
        ])
        .arg(&list)
        .output()
        .unwrap();
    assert!(parsed.status.success(), "{parsed:?}");
    let list: serde_json::Value = serde_json::from_slice(&parsed.stdout).unwrap();
    assert_eq!(
        list["ProgramArguments"],
        serde_json::json!([
            env!("CARGO_BIN_EXE_orchestrator"),
            "run",
            "--no-input",
            "--local",
            odd,
        ])
    );
    assert_eq!(list["EnvironmentVariables"]["PATH"], path);
    assert_eq!(list["KeepAlive"]["SuccessfulExit"], false);
    assert_eq!(list["RunAtLoad"], true);
}

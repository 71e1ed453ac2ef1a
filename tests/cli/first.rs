//! The first start: what `init` and `run --dev` say when nobody can be asked, and that a disk which takes nothing leaves
//! nothing half-written.

use std::path::Path;

use insta::assert_snapshot;
use orchestrator_test_support::{Home, Ran};

use crate::{home, told};

const TOKEN: &str = "machine_abc123:worker_xyz789:secret_def456ghi789jkl012";

#[test]
fn init_without_a_terminal_says_what_is_missing() {
    let home = home();
    assert_snapshot!(told(&home, &home.run(["init"])));
    let ran = home
        .run_with_input(["init", "--token-stdin"], TOKEN)
        .exits(2);
    assert!(
        ran.stderr.contains("Convex URL is required"),
        "{}",
        ran.stderr
    );
    let args = ["init", "--token-stdin", "--url", "http://a.example"];
    let ran = home.run_with_input(args, TOKEN).exits(3);
    assert!(
        ran.stderr.contains("Convex URL must use HTTPS"),
        "{}",
        ran.stderr
    );
    let ran = home.run_with_input(args, "machine_a:worker_b").exits(3);
    assert!(
        ran.stderr.contains(
            "Worker token must be in format: machine_<machine_id>:worker_<worker_id>:secret_<secret>"
        ),
        "{}",
        ran.stderr
    );
    assert!(!home.config_file().exists());
}

#[test]
fn development_mode_without_a_terminal_says_what_is_missing() {
    let home = home();
    assert_snapshot!(told(&home, &home.run(["run", "--dev"])));
    assert!(!home.dir("shop").join(".env").exists());
}

#[test]
fn every_mistake_of_a_dotenv_is_drawn_in_it() {
    let home = home();
    let text = "CONVEX_URL=http://happy-otter-123.convex.cloud\nWORKER_TOKEN=hunter2hunter2\nIDLE_TIMEOUT=soon\n";
    std::fs::write(home.dir("shop").join(".env"), text).unwrap();
    let ran = home.run(["run", "--dev"]);
    assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
    assert_snapshot!(told(&home, &ran));
}

#[test]
fn a_dotenv_that_others_can_read_is_warned_about() {
    let home = home();
    let text = format!(
        "WORKER_TOKEN={TOKEN}\nCONVEX_URL=https://a.convex.cloud\nROOT_DIRECTORY=./nowhere\n"
    );
    let file = home.dir("shop").join(".env");
    std::fs::write(&file, text).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&file, open).unwrap();
    let ran = home.run(["run", "--dev"]).exits(1);
    assert!(
        ran.stderr
            .contains("this file holds secrets and others can read it (.env:1:1); chmod 600 "),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr
            .contains("worker nowhere: working directory ./nowhere does not exist"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_home_that_cannot_be_written_is_one_clear_error() {
    let home = home();
    // A file where the folder should be; permissions would not keep a test that runs as root out.
    let folder = home.config_file().parent().unwrap().to_owned();
    std::fs::write(&folder, "").unwrap();
    let ran = init(
        &home,
        home.command([
            "init",
            "--force",
            "--token-stdin",
            "--url",
            "http://127.0.0.1:9",
        ]),
    );
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("error: cannot "), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("hint: nothing was changed"),
        "{}",
        ran.stderr
    );
    let ran = home.run(["run"]).exits(3);
    assert!(ran.stderr.contains("hint: "), "{}", ran.stderr);
}

#[test]
fn a_disk_that_takes_nothing_leaves_the_file_as_it_was() {
    let home = home();
    let before = format!(
        "{{ \"workers\": [{{ \"token\": \"{TOKEN}\", \"working_directory\": \".\", \"convex_url\": \"https://a.convex.cloud\" }}] }}"
    );
    home.write_config_text(&before);
    let folder = home.config_file().parent().unwrap().to_owned();
    for args in [
        &["worker", "remove", "shop", "--entry-only"][..],
        &[
            "init",
            "--force",
            "--token-stdin",
            "--url",
            "http://127.0.0.1:9",
        ],
    ] {
        let ran = init(&home, full_disk(&home, args));
        assert_eq!(ran.code, 1, "{args:?}: {}", ran.stderr);
        assert!(
            ran.stderr.contains("error: cannot write "),
            "{args:?}: {}",
            ran.stderr
        );
        assert_eq!(std::fs::read_to_string(home.config_file()).unwrap(), before);
        assert_eq!(
            names(&folder),
            [".workers.json.lock", "workers.json"],
            "{args:?}"
        );
    }
}

fn init(home: &Home, command: std::process::Command) -> Ran {
    home.finish(command, TOKEN)
}

/// No file may grow: every write of one fails, as on a full disk.
#[allow(clippy::disallowed_methods)]
fn full_disk(home: &Home, args: &[&str]) -> std::process::Command {
    let program = env!("CARGO_BIN_EXE_orchestrator");
    let mut command = home.foreign("sh");
    command
        .args([
            "-c",
            "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\"",
            program,
        ])
        .args(args);
    command
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

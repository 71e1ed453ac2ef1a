//! The owner's key from the command line.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use crate::home;

#[test]
fn the_key_is_made_once_and_is_private() {
    use std::os::unix::fs::PermissionsExt;

    let home = home();
    home.run(["owner", "jwks"]).exits(6);
    home.run(["owner", "token"]).exits(6);
    let first = home.run(["owner", "init"]).exits(0).stdout;
    assert!(first.contains("OWNER_JWKS=data:"), "{first}");
    assert_eq!(home.run(["owner", "init"]).exits(0).stdout, first);
    let key = std::path::Path::new(home.get("XDG_DATA_HOME"))
        .join("opencode-orchestrator/local/owner.key");
    let mode = std::fs::metadata(key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn the_init_says_that_all_keys_of_a_deployment_are_one_owner() {
    let home = home();
    let said = home.run(["owner", "init"]).exits(0).stderr;
    assert!(said.contains("are one owner"), "{said}");
    assert!(said.contains("identity provider of theirs"), "{said}");
}

#[test]
fn the_public_half_has_no_private_part_and_tokens_are_jwts() {
    let home = home();
    home.run(["owner", "init"]).exits(0);
    let jwks = home.run(["owner", "jwks"]).exits(0).json();
    let key = &jwks["keys"][0];
    assert_eq!(key["kty"], "EC");
    assert!(key.get("d").is_none());
    let token = home.run(["owner", "token", "--ttl", "1m"]).exits(0).stdout;
    assert_eq!(token.trim().split('.').count(), 3);
}

/// The line that says how to use a deployment left out whose key it takes: typed in, it was refused.
#[test]
fn what_a_deployment_with_its_own_folder_says_can_be_typed_in() {
    let home = home();
    let mut deployment = home
        .command(["deployment", "run", "--port", "0", "--data", "d 3"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(deployment.stderr.take().unwrap()).lines();
    let line = said
        .map_while(Result::ok)
        .find(|line| line.contains("use it: "));
    let line = line.expect("it says how it is used");
    let (_, command) = line.split_once("use it: ").unwrap();
    let (command, _) = command.split_once(" …").unwrap();
    let typed = command.replace("orchestrator ", "\"$0\" ") + " session list";
    // from wherever it is
    let mut shell = home.foreign("sh");
    shell
        .args(["-c", &typed, env!("CARGO_BIN_EXE_orchestrator")])
        .current_dir("/");
    let ran = home.finish(shell, "");
    deployment.kill().unwrap();
    deployment.wait().unwrap();
    ran.exits(0);
}

#[test]
fn a_key_that_cannot_be_used_is_said_to_be_just_that() {
    use std::os::unix::fs::PermissionsExt;

    let home = home();
    let key = home.path().join("k.key");
    let named = key.to_str().unwrap();
    let said = |wanted: &[&str], unwanted: &str| {
        let ran = home.run(["owner", "token", "--key", named]).exits(6);
        for part in wanted {
            assert!(ran.stderr.contains(part), "{}", ran.stderr);
        }
        assert!(!ran.stderr.contains(unwanted), "{}", ran.stderr);
    };
    said(&["No such file", "owner init"], "chmod");
    home.run(["owner", "init", "--key", named]).exits(0);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    said(&["mode 644", "chmod 600"], "owner init");
    std::fs::remove_file(&key).unwrap();
    std::fs::create_dir(&key).unwrap();
    said(&["is not a file", "name the right file"], "chmod");
    let nowhere = home.path().join("k.key/no/x.key");
    std::fs::write(home.path().join("k.key/no"), "").unwrap();
    let ran = home
        .run(["owner", "init", "--key", nowhere.to_str().unwrap()])
        .exits(1);
    assert!(
        ran.stderr.contains("Not a directory") || ran.stderr.contains("File exists"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_token_for_nobody_is_not_made() {
    let home = home();
    home.run(["owner", "init"]).exits(0);
    home.run(["owner", "token", "--subject", ""]).exits(2);
}

/// What is piped into the tool that sets a deployment's variables.
#[test]
fn what_a_deployment_has_to_know_is_all_of_stdout() {
    let home = home();
    for args in [
        &["owner", "init"][..],
        &["owner", "rotate"],
        &["owner", "rotate", "--finish"],
    ] {
        let said = home.run(args).exits(0).stdout;
        let names: Vec<_> = said
            .lines()
            .filter_map(|line| line.split_once('=').map(|(name, _)| name))
            .collect();
        assert_eq!(names, ["OWNER_ISSUER", "OWNER_AUDIENCE", "OWNER_JWKS"]);
        assert_eq!(said.lines().count(), 3, "{args:?}: {said}");
    }
}

//! The Goose that tests run: the pinned version from npm, installed once for all tests below cargo's target folder.

use std::path::PathBuf;
use std::process::Command;

use orchestrator::adapters::goose::PINNED_VERSION;

use crate::cache::{INSTALL_LIMIT, made_once};
use crate::command::{find, to_end};

const INSTALL: &str = "Node.js together with npm";

/// Goose's executable. Blocks; panics with what to do when it cannot be installed.
pub fn goose() -> PathBuf {
    let package = "@aaif/goose-binary-linux-x64";
    let made = made_once("goose", PINNED_VERSION, |folder| {
        let path = std::env::var_os("PATH");
        let npm =
            find("npm", path.as_deref(), INSTALL).unwrap_or_else(|problem| panic!("{problem}"));
        let mut npm = Command::new(npm);
        npm.args([
            "install",
            "--prefix",
            ".",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
        ])
        .args(["--loglevel", "error"])
        .arg(format!("{package}@{PINNED_VERSION}"))
        .current_dir(folder);
        let ran = to_end(npm, "", INSTALL_LIMIT);
        assert_eq!(
            ran.code, 0,
            "npm could not install {package} {PINNED_VERSION} (it needs the network once):\n{}{}",
            ran.stdout, ran.stderr
        );
    });
    made.join("node_modules").join(package).join("bin/goose")
}

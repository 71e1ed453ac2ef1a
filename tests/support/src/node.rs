//! The repository's Node part (`package.json`, `convex/`, the clients' scripts) with its packages installed, without a
//! `node_modules` in the working tree: `npm ci` runs once for a lock file, below the target folder, and each user gets
//! a copy of the sources inside that folder, where Node finds the packages by walking up.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::cache::{INSTALL_LIMIT, made_once, root};
use crate::command::{find, to_end};
use crate::home::{Home, Ran};

/// What decides which packages are installed.
const MANIFEST: [&str; 3] = ["package.json", "package-lock.json", ".npmrc"];

/// What the package's scripts and the clients need of the repository.
const SOURCES: [&str; 9] = [
    "package.json",
    "vitest.config.mjs",
    "scripts",
    "convex",
    "backend/functions",
    "tests/clients",
    "tests/conformance",
    "tests/web",
    "web",
];

const VERSION_LIMIT: Duration = Duration::from_mins(1);

/// The longest a script may take on a loaded machine.
const SCRIPT_LIMIT: Duration = Duration::from_mins(5);

/// The least version, as `package.json` says it, too.
const LEAST: (u32, u32) = (20, 19);

const INSTALL: &str = "Node.js 20.19 or later together with npm (https://nodejs.org; Debian: `apt install nodejs npm`)";

/// npm and node, as they are on a PATH.
pub struct Node {
    npm: PathBuf,
    program: PathBuf,
    path: OsString,
}

impl Node {
    /// Looks for both; the error says what to install.
    pub fn on_path(path: Option<&OsStr>) -> Result<Self, String> {
        let npm = find("npm", path, INSTALL)?;
        let program = find("node", path, INSTALL)?;
        let mut asked = Command::new(&program);
        asked.arg("--version");
        let version = to_end(asked, "", VERSION_LIMIT).stdout;
        if !is_new_enough(&version) {
            let (node, version) = (program.display(), version.trim());
            return Err(format!("{node} is version {version}: install {INSTALL}"));
        }
        let path = path.unwrap_or_default().to_owned();
        Ok(Self { npm, program, path })
    }

    /// A copy of the sources with all packages around it; installs them if nobody has yet.
    pub fn package(self) -> Package {
        let root = root();
        let mut hash = Sha256::new();
        for file in MANIFEST {
            hash.update(fs::read(root.join(file)).expect("a manifest"));
            hash.update([0]);
        }
        let name = format!("{:x}", hash.finalize());
        let installed = made_once("npm", &name[..16], |folder| self.install(&root, folder));
        let copy = tempfile::Builder::new()
            .prefix("copy-")
            .tempdir_in(installed)
            .expect("a folder");
        for source in SOURCES {
            copy_tree(&root.join(source), &copy.path().join(source));
        }
        Package { node: self, copy }
    }

    fn install(&self, root: &Path, folder: &Path) {
        for file in MANIFEST {
            fs::copy(root.join(file), folder.join(file)).expect("a copy");
        }
        let mut npm = Command::new(&self.npm);
        // No package of ours needs its install script; all are for development, which NODE_ENV may have switched off.
        npm.args(["ci", "--include=dev", "--ignore-scripts", "--no-audit"])
            .arg("--no-fund")
            .args(["--loglevel", "error"])
            .env("PATH", &self.path)
            .current_dir(folder);
        let ran = to_end(npm, "", INSTALL_LIMIT);
        assert_eq!(
            ran.code, 0,
            "`npm ci` could not install what package-lock.json names (it needs the network once):\n{}{}",
            ran.stdout, ran.stderr
        );
    }
}

/// Sources and packages, as a checkout after `npm ci` has them.
pub struct Package {
    node: Node,
    copy: TempDir,
}

impl Package {
    /// With the npm of this process's PATH. Panics with what to install when there is none.
    pub fn get() -> Self {
        let path = std::env::var_os("PATH");
        Node::on_path(path.as_deref())
            .unwrap_or_else(|problem| panic!("{problem}"))
            .package()
    }

    /// A file of the copy.
    pub fn path(&self, file: &str) -> PathBuf {
        self.copy.path().join(file)
    }

    /// Runs a script of `package.json`.
    pub fn script(&self, name: &str) -> Ran {
        let mut npm = Command::new(&self.node.npm);
        npm.args(["run", "--silent", name])
            .env("PATH", &self.node.path)
            .env("NO_COLOR", "1")
            .env("npm_config_update_notifier", "false")
            .current_dir(self.copy.path());
        to_end(npm, "", SCRIPT_LIMIT)
    }

    /// A program of `tests/clients`, with the environment of `home`.
    pub fn client(&self, home: &Home, script: &str) -> Command {
        self.program(home, &format!("tests/clients/{script}"))
    }

    /// Any program of the copy, by its path, with the environment of `home`.
    pub fn program(&self, home: &Home, script: &str) -> Command {
        let mut command = home.foreign(&self.node.program);
        command.arg(self.path(script));
        command
    }
}

/// `v20.19.0`, as node says it.
fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.trim().trim_start_matches('v').split('.');
    let mut number = || numbers.next()?.parse::<u32>().ok();
    number()
        .zip(number())
        .is_some_and(|version| version >= LEAST)
}

pub(crate) fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().expect("a parent")).expect("a folder");
    if from.is_file() {
        fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        return;
    }
    fs::create_dir_all(to).expect("a folder");
    let entries = fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    for entry in entries {
        let entry = entry.expect("an entry");
        if entry.file_name() != "node_modules" && entry.file_name() != "dist" {
            copy_tree(&entry.path(), &to.join(entry.file_name()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_npm_the_error_says_what_to_install() {
        let empty = tempfile::tempdir().unwrap();
        for path in [None, Some(empty.path().as_os_str())] {
            let problem = Node::on_path(path).err().unwrap();
            assert!(
                problem.contains("`npm` is not on the PATH") && problem.contains("install Node.js"),
                "{problem}"
            );
        }
    }

    #[test]
    fn an_old_node_is_told_from_a_new_one() {
        for (version, fits) in [
            ("v20.19.0\n", true),
            ("v22.0.1", true),
            ("v20.18.3", false),
            ("v18.20.4", false),
            ("", false),
        ] {
            assert_eq!(is_new_enough(version), fits, "{version}");
        }
    }

    #[test]
    fn a_copy_leaves_installed_packages_out() {
        let from = tempfile::tempdir().unwrap();
        fs::create_dir_all(from.path().join("lib/node_modules/left")).unwrap();
        fs::write(from.path().join("lib/a.ts"), "a").unwrap();
        let to = tempfile::tempdir().unwrap();
        copy_tree(from.path(), &to.path().join("copy"));
        assert_eq!(
            fs::read_to_string(to.path().join("copy/lib/a.ts")).unwrap(),
            "a"
        );
        assert!(!to.path().join("copy/lib/node_modules").exists());
    }
}

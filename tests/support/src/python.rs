//! A Python with the official client from PyPI, in a virtual environment below the target folder that is made once
//! for a version of either.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::cache::{INSTALL_LIMIT, made_once, root};
use crate::command::{find, to_end};
use crate::home::Home;

/// The client's version: the one that the documentation names.
const CONVEX: &str = "0.8.1";

const INSTALL: &str =
    "Python 3.9 or later with its `venv` module (Debian: `apt install python3 python3-venv`)";

pub struct Python {
    interpreter: PathBuf,
}

impl Python {
    /// With the `python3` of this process's PATH. Panics with what to install when there is none.
    pub fn get() -> Self {
        let path = std::env::var_os("PATH");
        let python =
            find("python3", path.as_deref(), INSTALL).unwrap_or_else(|problem| panic!("{problem}"));
        let mut asked = Command::new(&python);
        asked.args(["-c", "import platform; print(platform.python_version())"]);
        let version = to_end(asked, "", Duration::from_mins(1)).exits(0).stdout;
        let name = format!("convex-{CONVEX}-python-{}", version.trim());
        let made = made_once("pypi", &name, |folder| {
            let mut venv = Command::new(&python);
            venv.args(["-m", "venv"]).arg(folder);
            let ran = to_end(venv, "", INSTALL_LIMIT);
            assert_eq!(
                ran.code, 0,
                "no virtual environment: install {INSTALL}\n{}{}",
                ran.stdout, ran.stderr
            );
            // By the module: pip's own script would name the folder, which is about to be renamed.
            let mut pip = Command::new(folder.join("bin/python"));
            pip.args(["-m", "pip", "install", "--quiet", "--no-input"])
                .arg("--disable-pip-version-check")
                .arg(format!("convex=={CONVEX}"));
            let ran = to_end(pip, "", INSTALL_LIMIT);
            assert_eq!(
                ran.code, 0,
                "pip could not install convex {CONVEX} (it needs the network once):\n{}{}",
                ran.stdout, ran.stderr
            );
        });
        Self {
            interpreter: made.join("bin/python"),
        }
    }

    /// A program of `tests/clients`, with the environment of `home`.
    pub fn client(&self, home: &Home, script: &str) -> Command {
        let mut command = home.foreign(&self.interpreter);
        // No compiled files beside tracked ones.
        command
            .arg("-B")
            .arg(root().join("tests/clients").join(script));
        command
    }
}

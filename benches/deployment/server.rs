//! The deployment as a process of its own, so that its memory is its own: this very binary, started as
//! `deployment serve FILE`, with the functions of the benches. It ends with its standard input.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use orchestrator_backend::{Deployment, DeploymentConfig, Instance, Site};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;

use crate::common::{self, files};

pub fn functions() -> Vec<(String, String)> {
    let modules = [
        ("schema", include_str!("schema.js")),
        ("rows", include_str!("functions.js")),
    ];
    let owned = modules.map(|(name, source)| (name.to_owned(), source.to_owned()));
    owned.to_vec()
}

/// The process's own main.
pub fn main(file: &str) {
    let config = DeploymentConfig {
        bind: ([127, 0, 0, 1], 0).into(),
        data: file.into(),
        functions: functions(),
        environment: Vec::new(),
        identity: Vec::new(),
        allowed_origins: Vec::new(),
        instance: Instance::default(),
        site: Site::default(),
    };
    common::runtime().block_on(async {
        let deployment = Deployment::start(config).await.expect("it starts");
        println!("{}", deployment.url());
        let mut nothing = Vec::new();
        let _ = tokio::io::stdin().read_to_end(&mut nothing).await;
        deployment.stop().await;
    });
}

pub struct Server {
    child: Child,
    url: String,
    folder: TempDir,
}

impl Server {
    pub fn start() -> Self {
        let folder = files::folder();
        let mut child = Command::new(std::env::current_exe().expect("our path"))
            .arg("serve")
            .arg(file_in(folder.path()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let mut url = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut url).expect("a line");
        Self {
            child,
            url: url.trim().to_owned(),
            folder,
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Bytes of the database and of its write-ahead log.
    pub fn file_sizes(&self) -> (u64, u64) {
        let file = file_in(self.folder.path());
        let size = |path: PathBuf| std::fs::metadata(path).map_or(0, |it| it.len());
        (size(file.clone()), size(file.with_extension("sqlite3-wal")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn file_in(folder: &Path) -> PathBuf {
    folder.join("local.sqlite3")
}

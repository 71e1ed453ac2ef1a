//! `orchestrator deployment run` with the functions of these tests: started, killed and started again, always on the
//! same port and file.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use orchestrator_test_support::{Api, Home};

use crate::ORCHESTRATOR;

/// A start may take this long on a loaded machine.
const START_LIMIT: Duration = Duration::from_mins(1);

pub struct Server {
    pub home: Home,
    port: u16,
    child: Option<Child>,
}

impl Server {
    pub fn start() -> Self {
        let mut home = Home::bare(ORCHESTRATOR);
        let functions = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/durability/functions");
        home.set("ORCHESTRATOR_TEST_FUNCTIONS", functions);
        let mut server = Self {
            home,
            port: 0,
            child: None,
        };
        server.spawn();
        server.port = server.wait_until_it_serves();
        server
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Begins a start and does not wait for it.
    pub fn spawn(&mut self) {
        let command = self.home.command(self.arguments());
        self.spawn_as(command);
    }

    /// The same, with files that cannot grow beyond so many blocks of 512 bytes.
    pub fn spawn_limited(&mut self, blocks: u32) {
        let mut command = self.home.foreign("sh");
        let limited = format!("ulimit -f {blocks}; exec \"$0\" \"$@\"");
        command
            .args(["-c", &limited, ORCHESTRATOR])
            .args(self.arguments());
        self.spawn_as(command);
    }

    fn arguments(&self) -> [String; 4] {
        ["deployment", "run", "--port", &self.port.to_string()].map(str::to_owned)
    }

    fn spawn_as(&mut self, mut command: Command) {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        if std::env::var_os("DURABILITY_VERBOSE").is_none() {
            let mut log = OpenOptions::new();
            let log = log.append(true).create(true).open(self.log_file());
            command.stderr(log.expect("a file"));
        }
        self.child = Some(command.spawn().expect("a process"));
    }

    /// The port it says that it listens on.
    pub fn wait_until_it_serves(&mut self) -> u16 {
        let started = Instant::now();
        let child = self.child.as_mut().expect("it was started");
        let stdout = child.stdout.take().expect("a pipe");
        let mut lines = BufReader::new(stdout).lines();
        let line = lines
            .by_ref()
            .map_while(Result::ok)
            .find(|line| line.contains("http://127.0.0.1:"))
            .unwrap_or_else(|| panic!("the deployment ended: {:?}", child.wait()));
        assert!(started.elapsed() < START_LIMIT, "it took too long");
        let (_, rest) = line.split_once("http://127.0.0.1:").expect("a URL");
        let port = rest.split(|c: char| !c.is_ascii_digit()).next();
        // Whatever else it says must not block it.
        std::thread::spawn(move || lines.for_each(drop));
        port.and_then(|port| port.parse().ok()).expect("a port")
    }

    /// SIGKILL, and gone.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it was started");
        child.kill().expect("a signal");
        child.wait().expect("a status");
    }

    /// What its processes have said on stderr.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).expect("its log")
    }

    fn log_file(&self) -> PathBuf {
        self.home.path().join("server.log")
    }

    pub fn resident_bytes(&self) -> u64 {
        let pid = self.child.as_ref().expect("it was started").id();
        let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).expect("it runs");
        let pages = statm
            .split(' ')
            .nth(1)
            .and_then(|pages| pages.parse::<u64>().ok());
        pages.expect("a number") * 4096
    }

    pub fn file(&self) -> PathBuf {
        let data = PathBuf::from(self.home.get("XDG_DATA_HOME"));
        data.join("opencode-orchestrator/local/local.sqlite3")
    }

    /// Its file, after one more kill: what counts must be there without a goodbye.
    pub fn database(&mut self) -> PathBuf {
        self.kill();
        self.file()
    }

    pub fn api(&self) -> Api {
        let token = self.home.run(["owner", "token"]).exits(0).stdout;
        Api::new(self.url(), token.trim())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

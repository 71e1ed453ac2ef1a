//! Mutations in flight through the official npm client, in a Node process of its own (`tests/clients/npm-load.mjs`).

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use orchestrator_test_support::{Home, Package, until};

use crate::load::{Acknowledged, Kind};

pub struct NpmLoad {
    child: Child,
    stdin: Option<ChildStdin>,
    acknowledged: Arc<AtomicU64>,
    reader: Option<JoinHandle<(Acknowledged, Option<u64>)>>,
    _package: Package,
}

impl NpmLoad {
    pub fn start(home: &Home, url: &str, callers: usize) -> Self {
        let package = Package::get();
        let mut command = package.client(home, "npm-load.mjs");
        command
            .args([url, "npm", &callers.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        // Node reports every reconnect there.
        if std::env::var_os("DURABILITY_VERBOSE").is_none() {
            command.stderr(Stdio::null());
        }
        let mut child = command.spawn().expect("a process");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&acknowledged);
        let reader = std::thread::spawn(move || {
            let (mut all, mut shown) = (Acknowledged::default(), None);
            for line in stdout.lines().map_while(Result::ok) {
                match line.split_once(' ') {
                    Some(("#", counter)) => shown = counter.parse().ok(),
                    Some((kind, key)) => {
                        all.add(Kind::named(kind), key.to_owned());
                        count.fetch_add(1, Ordering::SeqCst);
                    }
                    None => panic!("npm-load.mjs says {line:?}"),
                }
            }
            (all, shown)
        });
        Self {
            child,
            stdin,
            acknowledged,
            reader: Some(reader),
            _package: package,
        }
    }

    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Waits for all answers, and for the subscription to show what they imply.
    pub fn drain(mut self) -> Acknowledged {
        if let Some(mut stdin) = self.stdin.take() {
            stdin.write_all(b"stop\n").expect("it listens");
        }
        let status = until("npm's client has drained", || {
            self.child.try_wait().expect("a status")
        });
        assert!(status.success(), "npm-load.mjs: {status}");
        let reader = self.reader.take().expect("it was not drained yet");
        let (all, shown) = reader.join().expect("its lines");
        assert_eq!(shown, Some(all.count(Kind::Add) as u64));
        all
    }
}

impl Drop for NpmLoad {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

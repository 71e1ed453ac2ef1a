//! What turned out to be broken. Said at once, because the moment in the log is half of the explanation.

use std::sync::Mutex;
use std::time::Instant;

#[derive(Clone, Debug)]
pub struct Wrong {
    /// `lost`, `duplicated`, `orphan`, `leak`, `order`, `chunks`, `text`, `late`, `ended`, `file`, `respawn`.
    pub kind: &'static str,
    pub what: String,
}

pub struct Verdict {
    began: Instant,
    wrongs: Mutex<Vec<Wrong>>,
}

impl Default for Verdict {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            wrongs: Mutex::default(),
        }
    }
}

impl Verdict {
    pub fn wrong(&self, kind: &'static str, what: String) {
        self.note(&format!("BROKEN ({kind}): {what}"));
        self.wrongs.lock().unwrap().push(Wrong { kind, what });
    }

    /// A line of the run's log.
    pub fn note(&self, line: &str) {
        eprintln!("{:9.3}  {line}", self.began.elapsed().as_secs_f64());
    }

    pub fn count(&self, kind: &str) -> usize {
        let wrongs = self.wrongs.lock().unwrap();
        wrongs.iter().filter(|wrong| wrong.kind == kind).count()
    }

    pub fn all(&self) -> Vec<Wrong> {
        self.wrongs.lock().unwrap().clone()
    }
}

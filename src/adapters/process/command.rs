//! A short command run to its end, under the same rules as any child: a warden, an allow-listed environment, a
//! time limit after which nothing of it is left. For `npm install`, version probes and git.

use std::time::Duration;

use super::environment::{self, redacted, redacted_cut};
use super::ward::{SpawnError, Ward, WardSpec};

/// What a command printed (cut at the spec's `capture_bytes`) and how it ended.
#[derive(Clone, Debug, Default)]
pub struct Finished {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// It was ended because its time was over.
    pub timed_out: bool,
    /// What must not be shown of it.
    secrets: Vec<String>,
    /// So many bytes were kept of each stream.
    kept: usize,
}

impl Finished {
    /// One that ended with `code`, for those who have to understand such endings.
    #[cfg(test)]
    pub fn failed(code: i32, stderr: &str) -> Self {
        Self {
            code: Some(code),
            stderr: stderr.as_bytes().to_vec(),
            kept: CAPTURE_BYTES,
            ..Self::default()
        }
    }

    pub fn success(&self) -> bool {
        self.code == Some(0) && !self.timed_out
    }

    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim().to_owned()
    }

    /// The end of what it said, for an error message: without the secrets of its environment.
    pub fn last_words(&self) -> String {
        let bytes = if self.stderr.is_empty() {
            &self.stdout
        } else {
            &self.stderr
        };
        let text = String::from_utf8_lossy(bytes);
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        let last = lines[lines.len().saturating_sub(5)..].join("\n");
        if bytes.len() < self.kept {
            redacted(&last, &self.secrets)
        } else {
            redacted_cut(&last, &self.secrets)
        }
    }
}

/// Between TERM and KILL of one whose time is over.
const TERM_MS: u64 = 500;

/// The default limit of captured output.
pub const CAPTURE_BYTES: usize = 1024 * 1024;

/// Runs a command in a home folder of its own, which goes with it: some programs write into HOME even when they are asked
/// for nothing but their version.
pub async fn run_aside(mut spec: WardSpec, within: Duration) -> Result<Finished, SpawnError> {
    let scratch = tempfile::tempdir()
        .map_err(|error| SpawnError::Failed(format!("cannot make a temporary folder: {error}")))?;
    spec.env.retain(|name, _| !name.starts_with("XDG_"));
    let home = scratch.path().to_string_lossy().into_owned();
    spec.env.insert("HOME".to_owned(), home);
    run(spec, within).await
}

/// Runs a command. Dropping the future ends it.
pub async fn run(mut spec: WardSpec, within: Duration) -> Result<Finished, SpawnError> {
    if spec.capture_bytes == 0 {
        spec.capture_bytes = CAPTURE_BYTES;
    }
    let secrets = environment::secrets(&spec.env);
    let kept = spec.capture_bytes;
    let term_ms = spec.lost_term_ms.max(TERM_MS);
    let ward = Ward::spawn(spec).await?;
    let (record, timed_out) = match tokio::time::timeout(within, ward.exited()).await {
        Ok(record) => (record, false),
        Err(_) => (ward.stop(term_ms).await, true),
    };
    let captured = ward.captured();
    Ok(Finished {
        code: record.code,
        signal: record.signal,
        stdout: captured.stdout,
        stderr: captured.stderr,
        timed_out,
        secrets,
        kept,
    })
}

//! `daemon.json`: what the running supervisor tells other commands (where it listens, which deployment, whose key), and
//! what the last one left as its reason. It holds no secret. Whether a supervisor runs is the lock's to say, not this
//! file's.

use std::path::{Path, PathBuf};

use orchestrator_actors::machine::Desired;
use serde::{Deserialize, Serialize};

use crate::adapters::aside::set_aside;
use crate::config::paths::{PathsError, write_private_unsynced};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonFile {
    pub schema: u32,
    pub pid: u32,
    /// RFC 3339, UTC.
    pub started_at: String,
    pub version: String,
    /// `local`, `workers` or `dev`.
    pub mode: String,
    /// The control socket.
    pub socket: PathBuf,
    /// The deployment that commands talk to when nothing else is said.
    pub url: Option<String>,
    /// That deployment has another port at each start.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub passing: bool,
    /// The owner's key of that deployment, when it is ours.
    pub owner_key: Option<PathBuf>,
    /// Where other devices reach that deployment's page, when it listens for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
    /// The configuration in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<PathBuf>,
    /// What takes a start so long, for people; absent once it is up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starting: Option<String>,
    /// How the supervisor ended; absent while it runs or when it was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exited: Option<Exited>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exited {
    pub at: String,
    /// `stopped`, `forced`, `failed: …`.
    pub reason: String,
    /// The process's exit code.
    pub code: u8,
}

impl DaemonFile {
    pub fn write(&self, path: &Path) -> Result<(), PathsError> {
        let text = serde_json::to_string_pretty(self).unwrap_or_default() + "\n";
        // It tells of a living process, or how the last one ended: after a power loss neither is missed.
        write_private_unsynced(path, text.as_bytes())
    }

    /// Also where something stands that is no file: that is set aside.
    pub fn write_or_make_room(&self, path: &Path) -> Result<(), PathsError> {
        let written = self.write(path);
        if written.is_err() && path.is_dir() && set_aside(path).is_ok() {
            return self.write(path);
        }
        written
    }

    /// The deployment of these workers, when there is just one: of two, nobody knows which one is meant.
    pub fn url_of(desired: &Desired) -> Option<String> {
        let mut urls = desired.workers.iter().map(|worker| &worker.url);
        let first = urls.next()?;
        urls.all(|url| url == first).then(|| first.to_string())
    }

    /// Whether something is there that cannot be read.
    pub fn is_damaged(path: &Path) -> bool {
        path.exists() && Self::read(path).is_none()
    }

    /// `None` when there is none, or none that this version understands.
    pub fn read(path: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(path).ok()?;
        serde_json::from_str(&text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first published form. It is read for ever, and what a later version adds does not stop an older one.
    #[test]
    fn the_file_of_the_first_version_and_of_a_later_one_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("daemon.json");
        let first = r#"{"schema":1,"pid":7,"started_at":"2026-11-20T09:12:00Z","version":"0.1.0","mode":"workers",
            "socket":"/run/x.sock","url":null,"owner_key":null}"#;
        for text in [
            first.to_owned(),
            first.replace("{\"schema\"", "{\"later\":[1],\"schema\""),
        ] {
            std::fs::write(&path, text).unwrap();
            let file = DaemonFile::read(&path).unwrap();
            assert_eq!((file.pid, file.exited), (7, None));
        }
    }

    #[test]
    fn a_directory_in_its_place_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("daemon.json");
        std::fs::create_dir_all(path.join("of somebody")).unwrap();
        let text = r#"{"schema":1,"pid":7,"started_at":"","version":"","mode":"","socket":"s","url":null,"owner_key":null}"#;
        let file: DaemonFile = serde_json::from_str(text).unwrap();
        file.write_or_make_room(&path).unwrap();
        assert_eq!(DaemonFile::read(&path), Some(file));
        assert!(
            folder
                .path()
                .join("daemon.json.damaged-1/of somebody")
                .is_dir()
        );
    }

    #[test]
    fn it_is_read_as_written_and_garbage_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("daemon.json");
        assert_eq!(DaemonFile::read(&path), None);
        let file = DaemonFile {
            schema: 1,
            pid: 7,
            started_at: "2026-11-20T09:12:00Z".to_owned(),
            version: "0.1.0".to_owned(),
            mode: "local".to_owned(),
            socket: PathBuf::from("/run/x.sock"),
            url: Some("http://127.0.0.1:3210".to_owned()),
            owner_key: None,
            page: None,
            config: None,
            starting: None,
            passing: true,
            exited: None,
        };
        file.write(&path).unwrap();
        assert_eq!(DaemonFile::read(&path), Some(file));
        assert!(!DaemonFile::is_damaged(&path));
        std::fs::write(&path, "{").unwrap();
        assert_eq!(DaemonFile::read(&path), None);
        assert!(DaemonFile::is_damaged(&path));
    }
}

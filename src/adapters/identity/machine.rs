//! `machine.json`: this machine's own name for itself. A UUID made once, never a secret; the rest is what
//! people see and what was found installed. Fields that another version wrote are kept. A machine that the chat room's
//! command line has named before (`~/.chatroom/machine.json`) keeps that name: it is adopted once, and left as it is.
//! A damaged file is an error to whoever sits at the terminal; the
//! supervisor sets it aside and stays the machine that it was, as far as anything still says which.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use orchestrator_actors::domain::ids::MachineId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;
use uuid::Uuid;

use super::private_file::{self, Existing};
use crate::adapters::aside::set_aside;
use crate::adapters::tools::Tool;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    pub machine_id: Uuid,
    pub hostname: String,
    pub os: String,
    /// What its owner calls it; the host's name otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What was found at the last thorough look; the next quick one starts from it.
    #[serde(
        default,
        deserialize_with = "tools_or_none",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub available_tools: Vec<Tool>,
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

#[derive(Debug, Error)]
pub enum MachineError {
    #[error("cannot {verb} {}: {source}", path.display())]
    File {
        verb: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "{}:{}:{}: not a machine's identity: {source}; repair it, or let orchestrator run do that: it keeps the file beside the \
         new one and stays the same machine as far as anything says which (without the file it is another machine)",
        path.display(), source.line(), source.column()
    )]
    Malformed {
        path: PathBuf,
        source: serde_json::Error,
    },
}

/// Another version's list, or the chat room's list of plain names, is looked up anew.
fn tools_or_none<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<Tool>, D::Error> {
    let value = Value::deserialize(from)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

/// Where the chat room's command line keeps its machine, below HOME.
pub const CHATROOM_FILE: &str = ".chatroom/machine.json";

impl MachineError {
    fn is_no_text(&self) -> bool {
        matches!(self, Self::File { source, .. } if source.kind() == ErrorKind::InvalidData)
    }
}

impl Machine {
    /// Who a machine without a file would become.
    pub fn unwritten(adopt: Option<&Path>) -> Self {
        adopt
            .and_then(adopted)
            .unwrap_or_else(|| Self::named(Uuid::new_v4()))
    }

    /// The machine of this file; else the one of `adopt`, if that is there and has an id; else a new one. Host name and
    /// system are brought up to date.
    pub fn load_or_create(path: &Path, adopt: Option<&Path>) -> Result<Self, MachineError> {
        let Some(mut machine) = Self::load(path)? else {
            let machine = Self::unwritten(adopt);
            return match machine.write(path, Existing::Keep) {
                // Another process was first: its machine is this one.
                Err(MachineError::File { source, .. })
                    if source.kind() == ErrorKind::AlreadyExists =>
                {
                    Ok(Self::load(path)?.unwrap_or(machine))
                }
                written => written.map(|()| machine),
            };
        };
        let now = (hostname(), std::env::consts::OS.to_owned());
        if now != (machine.hostname.clone(), machine.os.clone()) {
            (machine.hostname, machine.os) = now;
            machine.save(path)?;
        }
        Ok(machine)
    }

    /// A machine of this id that nothing else is known of.
    pub fn named(machine_id: Uuid) -> Self {
        Self {
            machine_id,
            hostname: hostname(),
            os: std::env::consts::OS.to_owned(),
            name: None,
            available_tools: Vec::new(),
            other: Map::new(),
        }
    }

    /// The machine of this file; a damaged one is set aside, and its id taken from what is left of its text, or from
    /// `known`. The second value says what was done, for people.
    pub fn load_or_repair(
        path: &Path,
        adopt: Option<&Path>,
        known: Option<Uuid>,
    ) -> Result<(Self, Option<String>), MachineError> {
        let reason = match Self::load_or_create(path, adopt) {
            Ok(machine) => return Ok((machine, None)),
            Err(error @ MachineError::Malformed { .. }) => error,
            Err(error) if path.is_dir() || error.is_no_text() => error,
            Err(error) => return Err(error),
        };
        let text = std::fs::read(path).unwrap_or_default();
        let id = left_of(&String::from_utf8_lossy(&text)).or(known);
        let machine = Self::named(id.unwrap_or_else(Uuid::new_v4));
        let kept = set_aside(path);
        let place = match &kept {
            Ok(kept) => format!("it is kept in {}", kept.display()),
            Err(error) => format!("it cannot be moved away ({error})"),
        };
        let written = kept.is_ok() && machine.write(path, Existing::Keep).is_ok();
        if id.is_none() && !written {
            // Another machine at each start would be worse than none.
            return Err(reason);
        }
        let who = if id.is_some() {
            "this is still the same machine"
        } else {
            "this is a new machine to its deployments"
        };
        let file = path.display();
        let notice = format!("{file} was damaged: {place}; {who}, named after its host");
        Ok((machine, Some(notice)))
    }

    /// `None` when there is no such file.
    pub fn load(path: &Path) -> Result<Option<Self>, MachineError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(MachineError::File {
                    verb: "read",
                    path: path.to_owned(),
                    source,
                });
            }
        };
        let machine = serde_json::from_str(&text);
        machine.map(Some).map_err(|source| MachineError::Malformed {
            path: path.to_owned(),
            source,
        })
    }

    pub fn save(&self, path: &Path) -> Result<(), MachineError> {
        self.write(path, Existing::Replace)
    }

    fn write(&self, path: &Path, existing: Existing) -> Result<(), MachineError> {
        let failed = |source| MachineError::File {
            verb: "write",
            path: path.to_owned(),
            source,
        };
        let mut text = serde_json::to_string_pretty(self).map_err(|e| failed(e.into()))?;
        text.push('\n');
        private_file::write(path, text.as_bytes(), existing).map_err(failed)
    }

    pub fn id(&self) -> MachineId {
        MachineId::new(self.machine_id.to_string())
    }

    pub fn display_name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.hostname)
    }
}

/// A file that cannot be read is nobody's identity: this machine then gets one of its own.
fn adopted(from: &Path) -> Option<Machine> {
    let value: Value = serde_json::from_str(&std::fs::read_to_string(from).ok()?).ok()?;
    let mut machine = Machine::named(value["machineId"].as_str()?.parse().ok()?);
    machine.other.insert(
        "adoptedFrom".to_owned(),
        Value::from(from.display().to_string()),
    );
    Some(machine)
}

/// The id in a text that is no JSON any more.
fn left_of(text: &str) -> Option<Uuid> {
    let (_, after) = text.split_once("\"machineId\"")?;
    let value = after.split('"').nth(1)?;
    value.parse().ok()
}

fn hostname() -> String {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_string_lossy();
    if name.is_empty() {
        "localhost".to_owned()
    } else {
        name.into_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_machine_stays_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config/machine.json");
        let machine = Machine::load_or_create(&path, None).unwrap();
        assert_eq!(Machine::load_or_create(&path, None).unwrap(), machine);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_changed_is_written_and_the_rest_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("machine.json");
        let id = Uuid::from_u128(5);
        let text = format!(
            r#"{{"machineId":"{id}","hostname":"old","os":"plan9","name":"mine","later":[1]}}"#
        );
        fs::write(&path, text).unwrap();
        let machine = Machine::load_or_create(&path, None).unwrap();
        assert_eq!(machine.machine_id, id);
        assert_ne!(machine.os, "plan9");
        assert_eq!(machine.display_name(), "mine");
        let stored = Machine::load(&path).unwrap().unwrap();
        assert_eq!(stored, machine);
        assert_eq!(stored.other["later"], serde_json::json!([1]));
    }

    #[test]
    fn the_chat_rooms_machine_is_adopted_once_and_its_file_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("machine.json");
        let theirs = folder.path().join("chatroom.json");
        let id = Uuid::from_u128(9);
        let text = format!(
            r#"{{"machineId":"{id}","hostname":"x","os":"y","availableTools":["claude"]}}"#
        );
        fs::write(&theirs, &text).unwrap();
        let machine = Machine::load_or_create(&path, Some(&theirs)).unwrap();
        assert_eq!(machine.machine_id, id);
        assert_ne!(machine.hostname, "x");
        assert_eq!(fs::read_to_string(&theirs).unwrap(), text);
        // From now on our own file is the truth.
        fs::write(
            &theirs,
            text.replace(&id.to_string(), &Uuid::from_u128(1).to_string()),
        )
        .unwrap();
        assert_eq!(
            Machine::load_or_create(&path, Some(&theirs))
                .unwrap()
                .machine_id,
            id
        );
    }

    #[test]
    fn a_chat_room_file_without_an_id_is_not_adopted() {
        let folder = tempfile::tempdir().unwrap();
        let theirs = folder.path().join("chatroom.json");
        for text in ["{", r#"{"machineId":"not an id"}"#, "[]"] {
            fs::write(&theirs, text).unwrap();
            let path = folder.path().join(format!("{}.json", Uuid::new_v4()));
            let machine = Machine::load_or_create(&path, Some(&theirs)).unwrap();
            assert!(!machine.other.contains_key("adoptedFrom"));
        }
    }

    #[test]
    fn a_damaged_file_is_set_aside_and_the_machine_stays_who_it_is() {
        let (id, other) = (Uuid::from_u128(5), Uuid::from_u128(6));
        let torn = format!("{{\n  \"machineId\": \"{id}\",\n  \"host");
        for (text, known, expected) in [
            (torn.as_str(), Some(other), Some(id)),
            ("", Some(other), Some(other)),
            ("\0\0\0", None, None),
            ("{\"machineId\": \"not one\"}", Some(other), Some(other)),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("machine.json");
            fs::write(&path, text).unwrap();
            let (machine, notice) = Machine::load_or_repair(&path, None, known).unwrap();
            if let Some(expected) = expected {
                assert_eq!(machine.machine_id, expected, "{text:?}");
            }
            let notice = notice.unwrap();
            assert!(notice.contains("machine.json.damaged-1"), "{notice}");
            let kept = fs::read_to_string(folder.path().join("machine.json.damaged-1")).unwrap();
            assert_eq!(kept, text);
            // Told once, and the same from now on.
            let again = Machine::load_or_repair(&path, None, None).unwrap();
            assert_eq!(again, (machine, None));
        }
    }

    #[test]
    fn a_directory_in_its_place_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("machine.json");
        fs::create_dir_all(path.join("of somebody")).unwrap();
        let known = Uuid::from_u128(7);
        let (machine, notice) = Machine::load_or_repair(&path, None, Some(known)).unwrap();
        assert_eq!(machine.machine_id, known);
        assert!(
            notice.is_some()
                && folder
                    .path()
                    .join("machine.json.damaged-1/of somebody")
                    .is_dir()
        );
    }

    /// The first published form. It is read for ever.
    #[test]
    fn the_file_of_the_first_version_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("machine.json");
        let first =
            r#"{"machineId":"67e55044-10b1-426f-9247-bb680e5fe0c8","hostname":"h","os":"linux"}"#;
        fs::write(&path, first).unwrap();
        let machine = Machine::load(&path).unwrap().unwrap();
        assert_eq!(
            machine.id().as_str(),
            "67e55044-10b1-426f-9247-bb680e5fe0c8"
        );
    }

    #[test]
    fn a_broken_file_is_named_with_its_place_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("machine.json");
        fs::write(&path, "{\n  \"machineId\": 3\n}").unwrap();
        let error = Machine::load_or_create(&path, None)
            .unwrap_err()
            .to_string();
        assert!(error.contains("machine.json:2:"), "{error}");
        assert!(fs::read_to_string(&path).unwrap().contains('3'));
    }
}

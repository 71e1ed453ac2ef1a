//! Which coding assistants are installed here. Each is found, found but broken (with the reason), or absent; files are
//! looked at, functions and aliases of a shell are not.
//!
//! [`glance`] takes about a millisecond and starts nothing: it is what a start needs. [`inspect`] adds versions, from the
//! npm package around a program where there is one and else by asking the program, and looks into the PATH of a login
//! shell, because services are started with a poor one. What it learned about a file is kept with that file's time and
//! size, so that no program is asked twice.

mod file;
mod known;
mod places;
mod version;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use file::{Candidate, Stamp};
use known::{KNOWN, Known};

use crate::adapters::opencode::install;
use crate::config::paths::Paths;
pub use places::Places;

/// What is known of one assistant. The form in `machine.json` and of `machine tools --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    pub name: String,
    #[serde(flatten)]
    pub state: State,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "state")]
pub enum State {
    Found {
        path: PathBuf,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stamp: Option<Stamp>,
    },
    Broken {
        path: PathBuf,
        reason: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stamp: Option<Stamp>,
    },
    Absent,
}

impl Tool {
    pub fn is_found(&self) -> bool {
        matches!(self.state, State::Found { .. })
    }
}

/// Where to look, and with what to ask.
#[derive(Clone, Debug)]
pub struct Search {
    /// The value of PATH.
    pub path: Option<OsString>,
    pub home: PathBuf,
    /// Programs that the configuration names; they win.
    pub named: BTreeMap<String, PathBuf>,
    /// What we have installed ourselves. It is looked at last.
    pub installed: BTreeMap<String, PathBuf>,
    /// The warden's binary, under which a program is asked.
    pub warden: PathBuf,
}

impl Search {
    /// As this process's environment says, and with the OpenCode that the product has installed.
    pub fn from_environment(paths: &Paths) -> Self {
        let named = [
            ("opencode", crate::config::env::OPENCODE_BIN),
            ("goose", crate::config::env::GOOSE_BIN),
        ];
        Self {
            path: std::env::var_os("PATH"),
            home: paths.home.clone(),
            installed: install::installed(&paths.data)
                .map(|binary| ("opencode".to_owned(), binary))
                .into_iter()
                .collect(),
            named: named
                .into_iter()
                .filter_map(|(tool, variable)| {
                    let path = crate::config::env::get(variable)?;
                    Some((tool.to_owned(), PathBuf::from(path)))
                })
                .collect(),
            warden: crate::adapters::process::own_binary(),
        }
    }
}

/// The state of every known assistant without starting anything. `before` is what an earlier [`inspect`] found.
pub fn glance(search: &Search, before: &[Tool]) -> Vec<Tool> {
    let places = Places::new(search);
    KNOWN
        .iter()
        .map(|known| look(known, search, &places, before))
        .collect()
}

/// The same with versions, and with the PATH of a login shell.
pub async fn inspect(search: &Search, before: &[Tool]) -> Vec<Tool> {
    let places = Places::new(search).with_login_shell(search).await;
    let looked: Vec<Tool> = KNOWN
        .iter()
        .map(|known| look(known, search, &places, before))
        .collect();
    let asked = KNOWN
        .iter()
        .zip(looked)
        .map(|(known, tool)| ask(known, tool, search, &places));
    futures_util::future::join_all(asked).await
}

fn look(known: &Known, search: &Search, places: &Places, before: &[Tool]) -> Tool {
    let mut broken = None;
    let mut state = State::Absent;
    let [named, installed] = [&search.named, &search.installed].map(|of| of.get(known.name));
    for candidate in places.candidates(known, named, installed) {
        match candidate.check(places) {
            Candidate::Nothing => {}
            Candidate::Usable { path, stamp } => {
                state = remembered(known, before, path, stamp);
                break;
            }
            Candidate::Broken {
                path,
                reason,
                stamp,
            } => {
                broken.get_or_insert(State::Broken {
                    path,
                    reason,
                    stamp,
                });
            }
        }
    }
    if state == State::Absent {
        state = broken.unwrap_or(State::Absent);
    }
    Tool {
        name: known.name.to_owned(),
        state,
    }
}

/// What an earlier look learned about the same, unchanged file.
fn remembered(known: &Known, before: &[Tool], path: PathBuf, stamp: Stamp) -> State {
    let same = |was: &PathBuf, at: &Option<Stamp>| *was == path && *at == Some(stamp);
    let known_before = before.iter().find(|tool| {
        tool.name == known.name
            && match &tool.state {
                State::Found { path, stamp, .. } | State::Broken { path, stamp, .. } => {
                    same(path, stamp)
                }
                State::Absent => false,
            }
    });
    match known_before {
        Some(tool) => tool.state.clone(),
        None => State::Found {
            path,
            version: None,
            stamp: Some(stamp),
        },
    }
}

async fn ask(known: &Known, tool: Tool, search: &Search, places: &Places) -> Tool {
    let State::Found {
        path,
        version: None,
        stamp,
    } = tool.state
    else {
        return tool;
    };
    let state = match version::of(known, &path, search, places).await {
        Ok(version) => State::Found {
            path,
            version,
            stamp,
        },
        Err(reason) => State::Broken {
            path,
            reason,
            stamp,
        },
    };
    Tool {
        name: tool.name,
        state,
    }
}

#[cfg(test)]
mod tests;

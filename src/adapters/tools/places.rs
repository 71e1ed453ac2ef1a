//! The folders in which programs are looked for, in order: PATH, the usual folders of installers, and the PATH of a login
//! shell. Empty and relative entries of a PATH are left out: they mean the current directory, which an assistant may write.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Search;
use super::file::Seen;
use super::known::{HOME_FOLDERS, Known, NODE_VERSIONS, Program, SYSTEM_FOLDERS};
use crate::adapters::process::{WardSpec, command, environment};

/// A login shell may read a lot; one that waits for somebody must not keep us.
const SHELL_LIMIT: Duration = Duration::from_secs(5);

/// The shell prints other things, too: the PATH comes after this.
const MARK: &str = "__path__=";

#[derive(Clone, Debug)]
pub struct Places {
    folders: Vec<PathBuf>,
    home: PathBuf,
}

impl Places {
    pub fn new(search: &Search) -> Self {
        let mut places = Self {
            folders: Vec::new(),
            home: search.home.clone(),
        };
        if let Some(path) = &search.path {
            places.add_path(path);
        }
        for folder in HOME_FOLDERS {
            places.add(search.home.join(folder));
        }
        for folder in node_versions(&search.home.join(NODE_VERSIONS)) {
            places.add(folder);
        }
        for folder in SYSTEM_FOLDERS {
            places.add(PathBuf::from(folder));
        }
        places
    }

    /// Asks the user's login shell for its PATH, once. A shell that says nothing in time adds nothing.
    pub async fn with_login_shell(mut self, search: &Search) -> Self {
        let Some(shell) = std::env::var_os("SHELL").map(PathBuf::from) else {
            return self;
        };
        if !shell.is_absolute() || !shell.is_file() {
            return self;
        }
        let mut spec = WardSpec::new(&search.warden, shell, &search.home);
        spec.args = vec![
            "-l".to_owned(),
            "-c".to_owned(),
            format!("printf '%s%s\\n' '{MARK}' \"$PATH\""),
        ];
        spec.env = environment::allowed(environment::ours(), &[]);
        if let Ok(finished) = command::run(spec, SHELL_LIMIT).await
            && let Some(path) = path_in(&finished.stdout_text())
        {
            self.add_path(OsStr::new(path));
        }
        self
    }

    fn add_path(&mut self, path: &OsStr) {
        for folder in std::env::split_paths(path) {
            self.add(folder);
        }
    }

    fn add(&mut self, folder: PathBuf) {
        if folder.is_absolute() && !self.folders.contains(&folder) {
            self.folders.push(folder);
        }
    }

    pub(super) fn candidates(
        &self,
        known: &Known,
        named: Option<&PathBuf>,
        installed: Option<&PathBuf>,
    ) -> Vec<Seen> {
        let itself = |path: &PathBuf| Seen::of(path.clone(), known.programs[0]);
        let mut seen: Vec<Seen> = named.map(itself).into_iter().collect();
        let own = known.folders.iter().map(|folder| self.home.join(folder));
        let folders: Vec<PathBuf> = self.folders.iter().cloned().chain(own).collect();
        for &program in known.programs {
            seen.extend(folders.iter().map(|folder| of(folder, program)));
        }
        seen.extend(installed.map(itself));
        seen
    }

    /// Whether an interpreter of this name can be found by a program in `beside`.
    pub(super) fn has_program(&self, name: &OsStr, beside: &Path) -> bool {
        std::iter::once(beside)
            .chain(self.folders.iter().map(PathBuf::as_path))
            .any(|folder| folder.join(name).is_file())
    }

    /// The PATH for a child: the program's own folder first, because an `env node` script needs the node beside it.
    pub fn path_for(&self, program: &Path) -> OsString {
        let own = program.parent().map(Path::to_owned);
        let folders = own.into_iter().chain(self.folders.iter().cloned());
        std::env::join_paths(folders).unwrap_or_default()
    }

    /// A child's environment: what is allowed, with [`Places::path_for`].
    pub fn environment_for(&self, program: &Path) -> BTreeMap<String, String> {
        let mut env = environment::allowed(environment::ours(), &[]);
        if let Ok(path) = self.path_for(program).into_string() {
            env.insert("PATH".to_owned(), path);
        }
        env
    }
}

fn of(folder: &Path, program: Program) -> Seen {
    Seen::of(folder.join(program.file), program)
}

fn path_in(printed: &str) -> Option<&str> {
    printed
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix(MARK))
}

/// `…/v20.1.0/bin`, the newest version first.
fn node_versions(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut versions: Vec<(Vec<u64>, PathBuf)> = entries
        .flatten()
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let numbers = name
                .trim_start_matches('v')
                .split('.')
                .map(|part| part.parse().unwrap_or(0))
                .collect();
            (numbers, entry.path().join("bin"))
        })
        .collect();
    versions.sort_by(|a, b| b.0.cmp(&a.0));
    versions.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_folders_are_searched_and_each_once() {
        let search = Search {
            path: Some("/a::.:bin:/b:/a".into()),
            home: "/home/me".into(),
            named: BTreeMap::new(),
            installed: BTreeMap::new(),
            warden: "/w".into(),
        };
        let places = Places::new(&search);
        assert_eq!(places.folders[..2], [PathBuf::from("/a"), "/b".into()]);
        assert!(places.folders.iter().all(|folder| folder.is_absolute()));
        let a = places
            .folders
            .iter()
            .filter(|f| f.as_path() == Path::new("/a"));
        assert_eq!(a.count(), 1);
    }

    #[test]
    fn the_newest_node_comes_first() {
        let home = tempfile::tempdir().unwrap();
        for version in ["v9.1.0", "v20.2.0", "v20.10.0"] {
            std::fs::create_dir_all(home.path().join(version).join("bin")).unwrap();
        }
        let found = node_versions(home.path());
        let names: Vec<String> = found
            .iter()
            .map(|path| {
                path.parent()
                    .unwrap()
                    .file_name()
                    .unwrap()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        assert_eq!(names, ["v20.10.0", "v20.2.0", "v9.1.0"]);
    }

    #[test]
    fn a_talkative_shell_is_understood() {
        assert_eq!(path_in("welcome\n__path__=/x:/y\n"), Some("/x:/y"));
        assert_eq!(path_in("welcome"), None);
    }
}

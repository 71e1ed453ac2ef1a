//! Where things lie. The documents name `~/.config/opencode-orchestrator` literally, so the XDG rules hold on every
//! system, macOS included: configuration, state, data and the runtime folder each follow their variable and fall back
//! to the place in HOME. Whoever is started with another HOME is told the folders by variables of our own. Folders and secrets made here are private (0700, 0600).

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::env;

/// The folder of this program inside each XDG base.
const FOLDER: &str = "opencode-orchestrator";

#[derive(Debug, Error)]
pub enum PathsError {
    #[error("the home folder is unknown: set HOME")]
    NoHome,
    #[error("cannot make the folder {path}: {source}")]
    Create { path: PathBuf, source: io::Error },
    #[error("cannot write {path}: {source}")]
    Write { path: PathBuf, source: io::Error },
}

/// All places of one installation. Building it touches nothing on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    pub home: PathBuf,
    pub config: PathBuf,
    pub state: PathBuf,
    pub data: PathBuf,
    /// `$XDG_RUNTIME_DIR`, when there is one.
    pub runtime: Option<PathBuf>,
    /// `workers.json`, wherever it was said to be.
    pub workers_file: PathBuf,
}

impl Paths {
    /// Reads the environment; `config` and `state` are what flags say.
    pub fn from_env(config: Option<&Path>, state: Option<&Path>) -> Result<Self, PathsError> {
        Self::resolve(
            &|name| std::env::var_os(name).map(PathBuf::from),
            config,
            state,
        )
    }

    /// As [`Paths::from_env`], over any environment.
    pub fn resolve(
        variable: &dyn Fn(&str) -> Option<PathBuf>,
        config: Option<&Path>,
        state: Option<&Path>,
    ) -> Result<Self, PathsError> {
        let home = variable("HOME")
            .filter(|home| home.is_absolute())
            .or_else(dirs::home_dir)
            .ok_or(PathsError::NoHome)?;
        // The specification: a relative path in these variables is to be ignored.
        let base = |name: &str, fallback: &str| {
            variable(name)
                .filter(|path| path.is_absolute())
                .unwrap_or_else(|| home.join(fallback))
                .join(FOLDER)
        };
        let own = |name: &str| variable(name).filter(|path| path.is_absolute());
        let config_dir = own(env::CONFIG_DIR).unwrap_or_else(|| base("XDG_CONFIG_HOME", ".config"));
        let state_dir = match state {
            Some(path) => absolute(path),
            None => base("XDG_STATE_HOME", ".local/state"),
        };
        Ok(Self {
            workers_file: config.map_or_else(|| config_dir.join("workers.json"), absolute),
            config: config_dir,
            state: state_dir,
            data: own(env::DATA_DIR).unwrap_or_else(|| base("XDG_DATA_HOME", ".local/share")),
            runtime: variable("XDG_RUNTIME_DIR").filter(|path| path.is_absolute()),
            home,
        })
    }

    pub fn machine_file(&self) -> PathBuf {
        self.config.join("machine.json")
    }

    pub fn logs(&self) -> PathBuf {
        self.state.join("logs")
    }

    pub fn outbox(&self) -> PathBuf {
        self.state.join("outbox")
    }

    pub fn lock_file(&self) -> PathBuf {
        self.state.join("lock")
    }

    pub fn daemon_file(&self) -> PathBuf {
        self.state.join("daemon.json")
    }

    /// The embedded deployment: database, owner's key, tokens.
    pub fn local(&self) -> PathBuf {
        self.data.join("local")
    }

    /// Installed assistants and their stores.
    pub fn agents(&self) -> PathBuf {
        self.data.join("agents")
    }

    /// The owner's key that is used when nothing else is said.
    pub fn owner_key(&self) -> PathBuf {
        self.local().join("owner.key")
    }

    /// A path as people write it: `~` for the home folder.
    pub fn shown(&self, path: &Path) -> String {
        match path.strip_prefix(&self.home) {
            Ok(rest) if rest.as_os_str().is_empty() => "~".to_owned(),
            Ok(rest) => format!("~/{}", rest.display()),
            Err(_) => path.display().to_string(),
        }
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Makes a folder and its parents, readable by its owner alone.
pub fn private_dir(path: &Path) -> Result<(), PathsError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| PathsError::Create {
            path: path.to_owned(),
            source,
        })
}

/// Replaces a file in one step, 0600, so that a reader or a crash never sees half of it.
pub fn write_private(path: &Path, content: &[u8]) -> Result<(), PathsError> {
    replace(path, content, File::sync_all)
}

/// The same without waiting for the disk, for what means nothing any more after a power loss.
pub fn write_private_unsynced(path: &Path, content: &[u8]) -> Result<(), PathsError> {
    replace(path, content, |_| Ok(()))
}

fn replace(
    path: &Path,
    content: &[u8],
    sync: impl FnOnce(&File) -> std::io::Result<()>,
) -> Result<(), PathsError> {
    let failed = |source| PathsError::Write {
        path: path.to_owned(),
        source,
    };
    if let Some(folder) = path.parent() {
        private_dir(folder)?;
    }
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}.new", std::process::id()));
    let draft = PathBuf::from(draft);
    let written = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| {
            file.write_all(content)?;
            sync(&file)
        })
        .and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written.map_err(failed)
}

/// Whether others than the owner can read the file.
pub fn is_exposed(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(pairs: &[(&str, &str)]) -> Paths {
        let find = |name: &str| {
            pairs
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| PathBuf::from(value))
        };
        Paths::resolve(&find, None, None).unwrap()
    }

    #[test]
    fn the_documented_places_hold_without_any_xdg_variable() {
        let paths = resolve(&[("HOME", "/home/me")]);
        assert_eq!(
            paths.workers_file,
            Path::new("/home/me/.config/opencode-orchestrator/workers.json")
        );
        assert_eq!(
            paths.state,
            Path::new("/home/me/.local/state/opencode-orchestrator")
        );
        assert_eq!(
            paths.owner_key(),
            Path::new("/home/me/.local/share/opencode-orchestrator/local/owner.key")
        );
    }

    #[test]
    fn folders_that_are_named_hold_in_another_home() {
        let paths = resolve(&[
            ("HOME", "/demo/home"),
            ("XDG_DATA_HOME", "/demo/home/.local/share"),
            ("ORCHESTRATOR_CONFIG_DIR", "/home/me/.config/x"),
            ("ORCHESTRATOR_DATA_DIR", "/home/me/.local/share/x"),
        ]);
        assert_eq!(
            paths.machine_file(),
            Path::new("/home/me/.config/x/machine.json")
        );
        assert_eq!(paths.local(), Path::new("/home/me/.local/share/x/local"));
    }

    #[test]
    fn absolute_variables_count_and_relative_ones_do_not() {
        let paths = resolve(&[
            ("HOME", "/home/me"),
            ("XDG_CONFIG_HOME", "/etc/xdg"),
            ("XDG_STATE_HOME", "relative"),
        ]);
        assert_eq!(paths.config, Path::new("/etc/xdg/opencode-orchestrator"));
        assert_eq!(
            paths.state,
            Path::new("/home/me/.local/state/opencode-orchestrator")
        );
        assert_eq!(paths.shown(Path::new("/home/me/shop")), "~/shop");
        assert_eq!(paths.shown(Path::new("/srv/shop")), "/srv/shop");
    }

    #[test]
    fn private_files_are_replaced_whole_and_closed_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/secret");
        write_private(&path, b"one").unwrap();
        write_private(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert!(!is_exposed(&path));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}

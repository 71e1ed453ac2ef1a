//! Finding OpenCode: the one that `ORCHESTRATOR_OPENCODE_BIN` names, else a compatible one on the PATH, else the pinned one in our data
//! folder, which npm installs once. What is found is always the executable itself: npm's shim is a script, and a script between
//! the warden and OpenCode would be one process more to lose.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use super::told::Told;
use super::{PINNED_VERSION, is_compatible};
use crate::adapters::process::lease::{Lease, LeaseError, LeaseSpec};
use crate::adapters::process::{SpawnError, WardSpec, command, environment};

/// How long npm may take; the package is 64 MB.
const INSTALL_LIMIT: Duration = Duration::from_mins(10);

const VERSION_LIMIT: Duration = Duration::from_secs(20);

/// Where to look.
#[derive(Clone, Debug)]
pub struct Search {
    /// `ORCHESTRATOR_OPENCODE_BIN`.
    pub named: Option<PathBuf>,
    /// The PATH to search; `None` searches nowhere.
    pub path: Option<std::ffi::OsString>,
    /// The product's data folder; `agents/opencode/` below it holds what is installed.
    pub data: PathBuf,
    /// The warden's binary, for npm and `--version`.
    pub warden: PathBuf,
}

impl Search {
    /// As this process's environment says.
    pub fn from_environment(data: impl Into<PathBuf>) -> Self {
        Self {
            named: std::env::var_os("ORCHESTRATOR_OPENCODE_BIN")
                .filter(|name| !name.is_empty())
                .map(PathBuf::from),
            path: std::env::var_os("PATH"),
            data: data.into(),
            warden: crate::adapters::process::own_binary(),
        }
    }

    fn folder(&self) -> PathBuf {
        folder_below(&self.data)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub binary: PathBuf,
    pub version: String,
}

/// What an installation does, for a progress bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Another process is installing.
    Waiting,
    Installing,
    Installed,
}

#[derive(Debug, Error)]
pub enum InstallError {
    /// Exit code 8: there is no OpenCode and no npm to install it.
    #[error(
        "OpenCode was not found and npm, which would install it, is not on the PATH: install Node.js, or \
         install OpenCode {PINNED_VERSION} yourself and set ORCHESTRATOR_OPENCODE_BIN to it"
    )]
    NpmMissing,
    /// Exit code 8: the named one cannot be used.
    #[error("the OpenCode named by --opencode or ORCHESTRATOR_OPENCODE_BIN is {}, {why}", .path.display())]
    Named { path: PathBuf, why: String },
    /// Exit code 8.
    #[error("npm could not install opencode-ai@{PINNED_VERSION}: {0}")]
    Npm(String),
    #[error("could not {verb} {}: {source}", .path.display())]
    Io {
        verb: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
}

/// Finds a compatible OpenCode without installing anything.
pub async fn find(search: &Search) -> Result<Option<Found>, InstallError> {
    if let Some(named) = &search.named {
        let refuse = |why: String| InstallError::Named {
            path: named.clone(),
            why,
        };
        let binary = resolve(named).ok_or_else(|| refuse(why_unusable(named).to_owned()))?;
        let version = version_of(&binary, search)
            .await
            .ok_or_else(|| refuse("which does not tell its version".to_owned()))?;
        if !is_compatible(&version) {
            return Err(refuse(format!(
                "which is version {version}: 1.18.33 or a later 1.18 is needed"
            )));
        }
        return Ok(Some(Found { binary, version }));
    }
    for folder in search.path.iter().flat_map(std::env::split_paths) {
        if let Some(binary) = resolve(&folder.join("opencode"))
            && let Some(version) = version_of(&binary, search).await
            && is_compatible(&version)
        {
            return Ok(Some(Found { binary, version }));
        }
    }
    Ok(pinned(search))
}

/// The executable of the pinned version, when it was installed below this data folder.
pub fn installed(data: &Path) -> Option<PathBuf> {
    let version = folder_below(data).join(PINNED_VERSION);
    executable_below(&version.join("node_modules"))
}

fn folder_below(data: &Path) -> PathBuf {
    data.join("agents/opencode")
}

fn pinned(search: &Search) -> Option<Found> {
    let binary = installed(&search.data)?;
    Some(Found {
        binary,
        version: PINNED_VERSION.to_owned(),
    })
}

/// Finds a compatible OpenCode, or installs the pinned version with npm. Several processes may do this at once: one installs.
pub async fn find_or_install(
    search: &Search,
    progress: impl Fn(Progress),
) -> Result<Found, InstallError> {
    if let Some(found) = find(search).await? {
        return Ok(found);
    }
    let folder = search.folder();
    let _lock = lock(&folder, &progress).await?;
    // Somebody else may have installed it while we waited.
    if let Some(found) = pinned(search) {
        return Ok(found);
    }
    let npm = search
        .path
        .iter()
        .flat_map(std::env::split_paths)
        .map(|folder| folder.join("npm"))
        .find(|npm| npm.is_file())
        .ok_or(InstallError::NpmMissing)?;
    progress(Progress::Installing);
    let io = |verb: &'static str, path: &Path| {
        let path = path.to_owned();
        move |source| InstallError::Io { verb, path, source }
    };
    let aside = folder.join(".installing");
    let _ = fs::remove_dir_all(&aside);
    fs::create_dir_all(&aside).map_err(io("create", &aside))?;
    run_npm(search, &npm, &aside).await?;
    if executable_below(&aside.join("node_modules")).is_none() {
        return Err(InstallError::Npm(format!(
            "the package holds no executable for this machine (see {})",
            aside.display()
        )));
    }
    let target = folder.join(PINNED_VERSION);
    let _ = fs::remove_dir_all(&target);
    fs::rename(&aside, &target).map_err(io("move the installation to", &target))?;
    progress(Progress::Installed);
    pinned(search).ok_or_else(|| InstallError::Npm("the installed executable is gone".to_owned()))
}

async fn lock(folder: &Path, progress: &impl Fn(Progress)) -> Result<Lease, InstallError> {
    let spec = LeaseSpec {
        session: Some(folder.join("install.lock")),
        directory: None,
    };
    let mut told = false;
    loop {
        match Lease::try_take(&spec) {
            Ok(lease) => return Ok(lease),
            Err(LeaseError::Busy(_)) => {
                if !std::mem::replace(&mut told, true) {
                    progress(Progress::Waiting);
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Err(LeaseError::Io { path, source }) => {
                return Err(InstallError::Io {
                    verb: "lock",
                    path,
                    source,
                });
            }
        }
    }
}

async fn run_npm(search: &Search, npm: &Path, prefix: &Path) -> Result<(), InstallError> {
    let mut spec = WardSpec::new(&search.warden, npm, prefix);
    spec.args = [
        "install",
        "--prefix",
        ".",
        "--no-audit",
        "--no-fund",
        "--loglevel",
        "error",
    ]
    .map(str::to_owned)
    .to_vec();
    spec.args.push(format!("opencode-ai@{PINNED_VERSION}"));
    // npm's own settings (a registry, a proxy, a cache) are the user's.
    let npms = ["npm_config_*", "NPM_CONFIG_*"].map(str::to_owned);
    spec.env = environment::allowed(environment::ours(), &npms);
    if let Some(path) = search.path.as_ref().and_then(|path| path.to_str()) {
        spec.env.insert("PATH".to_owned(), path.to_owned());
    }
    let finished = command::run(spec, INSTALL_LIMIT)
        .await
        .map_err(|error| match error {
            SpawnError::Failed(message) | SpawnError::Shortage(message) => {
                InstallError::Npm(message)
            }
            SpawnError::Busy(held) => InstallError::Npm(format!("somebody else holds {held}")),
        })?;
    if finished.success() {
        Ok(())
    } else if finished.timed_out {
        Err(InstallError::Npm(format!(
            "it took longer than {} s",
            INSTALL_LIMIT.as_secs()
        )))
    } else {
        Err(InstallError::Npm(finished.last_words()))
    }
}

/// The executable behind a path: itself, or what npm's shim would start.
fn resolve(path: &Path) -> Option<PathBuf> {
    let path = path.canonicalize().ok()?;
    if is_executable_image(&path) {
        return Some(path);
    }
    // …/node_modules/opencode-ai/bin/opencode
    path.ancestors()
        .find(|folder| {
            folder
                .file_name()
                .is_some_and(|name| name == "node_modules")
        })
        .and_then(executable_below)
}

fn why_unusable(path: &Path) -> &'static str {
    use std::io::Read;
    let mut magic = [0; 2];
    let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    if read.is_ok() && &magic == b"#!" {
        "which is a script: name the executable itself"
    } else {
        "which is no OpenCode executable"
    }
}

/// OpenCode's executable in a `node_modules`. npm's install script puts the right one into the package itself; where install
/// scripts are off, it is in the package of the platform.
fn executable_below(modules: &Path) -> Option<PathBuf> {
    let package = modules.join("opencode-ai");
    let own = ["bin/opencode.exe", "bin/opencode"].map(|name| package.join(name));
    let platform = platform_packages()
        .into_iter()
        .flat_map(|name| {
            [
                modules.join(&name),
                package.join("node_modules").join(&name),
            ]
        })
        .map(|folder| folder.join("bin/opencode"));
    own.into_iter()
        .chain(platform)
        .find(|path| is_executable_image(path))
}

/// The names of the platform's packages, best first.
fn platform_packages() -> Vec<String> {
    let system = if cfg!(target_os = "macos") {
        "darwin"
    } else {
        "linux"
    };
    let processor = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "x64"
    };
    let libc = if cfg!(target_env = "musl") {
        "-musl"
    } else {
        ""
    };
    let baseline = fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| {
        processor == "x64" && !text.split_whitespace().any(|flag| flag == "avx2")
    });
    let name = format!("opencode-{system}-{processor}");
    let mut names = vec![format!("{name}{libc}"), format!("{name}-baseline{libc}")];
    if baseline {
        // Without AVX2 the ordinary build dies of an illegal instruction.
        names.remove(0);
    }
    names
}

/// ELF or Mach-O, and not the script that npm puts in its place.
fn is_executable_image(path: &Path) -> bool {
    use std::io::Read;
    let mut magic = [0; 4];
    let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    read.is_ok()
        && matches!(
            &magic,
            b"\x7fELF" | b"\xcf\xfa\xed\xfe" | b"\xca\xfe\xba\xbe"
        )
}

/// From the package it lies in, or what it told before; else it is asked.
async fn version_of(binary: &Path, search: &Search) -> Option<String> {
    for folder in binary.ancestors().skip(1).take(3) {
        if let Ok(text) = fs::read_to_string(folder.join("package.json"))
            && let Ok(package) = serde_json::from_str::<serde_json::Value>(&text)
            && package["name"]
                .as_str()
                .is_some_and(|name| name.starts_with("opencode-"))
        {
            return package["version"].as_str().map(str::to_owned);
        }
    }
    let told = Told::below(&search.folder());
    if let Some(version) = told.version(binary) {
        return Some(version);
    }
    let mut spec = WardSpec::new(&search.warden, binary, "/");
    spec.args = vec!["--version".to_owned()];
    spec.env = environment::allowed(environment::ours(), &[]);
    let finished = command::run_aside(spec, VERSION_LIMIT).await.ok()?;
    let text = finished.stdout_text();
    let line = text.lines().last()?.trim().to_owned();
    if !finished.success() || !line.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    told.keep(binary, &line);
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(data: &Path) -> Search {
        Search {
            named: None,
            path: None,
            data: data.to_owned(),
            warden: PathBuf::from("/nowhere"),
        }
    }

    fn put(path: &Path, content: &[u8]) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    #[tokio::test]
    async fn without_npm_the_error_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let error = find_or_install(&search(folder.path()), |_| {})
            .await
            .unwrap_err();
        assert!(matches!(error, InstallError::NpmMissing));
        assert!(error.to_string().contains("ORCHESTRATOR_OPENCODE_BIN"));
    }

    #[tokio::test]
    async fn a_script_that_is_named_is_called_a_script() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("opencode");
        put(&script, b"#!/bin/sh\n");
        let mut search = search(folder.path());
        search.named = Some(script);
        let error = find(&search).await.unwrap_err().to_string();
        assert!(
            error.contains("is a script: name the executable itself"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn npms_shim_is_seen_through_and_an_old_version_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let modules = folder.path().join("lib/node_modules");
        let shim = modules.join("opencode-ai/bin/opencode");
        put(&shim, b"#!/usr/bin/env node\n");
        let platform = modules.join(&platform_packages()[0]);
        put(&platform.join("bin/opencode"), b"\x7fELF and so on");
        let package =
            |version: &str| format!(r#"{{"name": "opencode-linux-x64", "version": "{version}"}}"#);
        let bin = folder.path().join("bin");
        fs::create_dir_all(&bin).unwrap();
        std::os::unix::fs::symlink(&shim, bin.join("opencode")).unwrap();
        let mut search = search(folder.path());
        search.path = Some(bin.clone().into());

        put(&platform.join("package.json"), package("1.17.0").as_bytes());
        assert_eq!(find(&search).await.unwrap(), None);
        search.named = Some(bin.join("opencode"));
        let error = find(&search).await.unwrap_err().to_string();
        assert!(error.contains("1.17.0"), "{error}");

        put(
            &platform.join("package.json"),
            package("1.18.35").as_bytes(),
        );
        let found = find(&search).await.unwrap().unwrap();
        assert_eq!(found.version, "1.18.35");
        assert!(
            found.binary.ends_with("bin/opencode")
                && !found.binary.ends_with("opencode-ai/bin/opencode")
        );
    }
}

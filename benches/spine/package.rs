//! The scripted OpenCode as an installation: a package with this very binary as its executable.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A package that looks like OpenCode's, with this very binary as its executable. Its version is in its `package.json`, so
/// nobody has to ask it.
pub fn opencode_package(folder: &Path) -> PathBuf {
    let package = folder.join("opencode-ai");
    let binary = package.join("bin/opencode");
    std::fs::create_dir_all(package.join("bin")).expect("a folder");
    std::fs::copy(std::env::current_exe().expect("our path"), &binary).expect("a copy");
    std::fs::set_permissions(&binary, PermissionsExt::from_mode(0o755)).expect("a mode");
    let manifest = format!(
        r#"{{"name":"opencode-ai","version":"{}"}}"#,
        orchestrator::adapters::opencode::PINNED_VERSION
    );
    std::fs::write(package.join("package.json"), manifest).expect("a file");
    binary
}

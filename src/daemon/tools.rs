//! Which coding assistants are installed here, by the names that the deployment knows them under. A look into PATH:
//! nothing is started.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Name for the deployment, and the program that stands for it.
const KNOWN: &[(&str, &str)] = &[
    ("opencode", "opencode"),
    ("claude", "claude"),
    ("cursor", "cursor-agent"),
    ("goose", "goose"),
];

/// The tools found in `path` (the value of PATH), in a fixed order.
pub(super) fn detect(path: &std::ffi::OsStr) -> Vec<String> {
    KNOWN
        .iter()
        .filter(|(_, program)| {
            std::env::split_paths(path).any(|folder| is_program(&folder.join(program)))
        })
        .map(|(name, _)| (*name).to_owned())
        .collect()
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path)
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_programs_count() {
        let folder = tempfile::tempdir().unwrap();
        let claude = folder.path().join("claude");
        std::fs::write(&claude, "").unwrap();
        std::fs::write(folder.path().join("opencode"), "").unwrap();
        std::fs::set_permissions(&claude, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(detect(folder.path().as_os_str()), ["claude"]);
    }
}

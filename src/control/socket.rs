//! Where the control socket is: in the user's runtime folder, named after the state folder so that several
//! supervisors of one user do not meet; in the state folder itself when there is no runtime folder or its path is
//! too long for a socket address.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::config::Paths;

/// The shortest of the systems' limits (macOS: 104 bytes with the closing zero).
const MAX_ADDRESS: usize = 103;

#[derive(Debug, Error)]
pub enum SocketError {
    #[error(
        "the path of the control socket is too long ({length} bytes, at most {MAX_ADDRESS}): {path}; \
         set XDG_RUNTIME_DIR or --state-dir to a shorter folder"
    )]
    TooLong { path: PathBuf, length: usize },
}

/// The socket of the supervisor with this state folder.
pub fn socket_path(paths: &Paths) -> Result<PathBuf, SocketError> {
    if let Some(runtime) = &paths.runtime {
        let path = runtime
            .join("opencode-orchestrator")
            .join(format!("{}.sock", short_hash(&paths.state)));
        if fits(&path) {
            return Ok(path);
        }
    }
    let path = paths.state.join("control.sock");
    if fits(&path) {
        return Ok(path);
    }
    Err(SocketError::TooLong {
        length: path.as_os_str().len(),
        path,
    })
}

fn fits(path: &Path) -> bool {
    path.as_os_str().len() <= MAX_ADDRESS
}

/// Of the folder's real path, so that a link to it names the same supervisor.
fn short_hash(folder: &Path) -> String {
    let real = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let digest = Sha256::digest(real.as_os_str().as_encoded_bytes());
    digest[..6].iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(state: &str, runtime: Option<&str>) -> Paths {
        let env = |name: &str| match name {
            "HOME" => Some(PathBuf::from("/home/me")),
            "XDG_RUNTIME_DIR" => runtime.map(PathBuf::from),
            _ => None,
        };
        Paths::resolve(&env, None, Some(Path::new(state))).unwrap()
    }

    #[test]
    fn each_state_folder_has_its_own_socket_in_the_runtime_folder() {
        let one = socket_path(&paths("/state/one", Some("/run/user/7"))).unwrap();
        let two = socket_path(&paths("/state/two", Some("/run/user/7"))).unwrap();
        assert!(one.starts_with("/run/user/7/opencode-orchestrator"));
        assert_ne!(one, two);
    }

    #[test]
    fn a_long_or_missing_runtime_folder_falls_back_to_the_state_folder() {
        let long = format!("/run/{}", "x".repeat(90));
        let expected = Path::new("/state/one/control.sock");
        assert_eq!(
            socket_path(&paths("/state/one", Some(&long))).unwrap(),
            expected
        );
        assert_eq!(socket_path(&paths("/state/one", None)).unwrap(), expected);
        let nowhere = socket_path(&paths(&format!("/{}", "s".repeat(100)), None));
        assert!(matches!(nowhere, Err(SocketError::TooLong { .. })));
    }
}

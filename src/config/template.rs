//! The configuration that a first `run` without one leaves behind, to be filled in.

use std::path::Path;

use super::paths::{PathsError, write_private};

pub const TEXT: &str = include_str!("../../config-templates/workers.jsonc");

/// What stands for a token in it, and serves nothing.
pub(super) const PLACEHOLDER: &str = "machine_<machine_id>:worker_<worker_id>:secret_<secret>";

/// Writes the template where the configuration was looked for. Never replaces anything.
pub fn write(path: &Path) -> Result<(), PathsError> {
    if path.exists() {
        return Ok(());
    }
    write_private(path, TEXT.as_bytes())
}

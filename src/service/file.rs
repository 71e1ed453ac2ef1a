//! The file of a service: whose it is, and replacing or removing it in one step.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::{MARK, ServiceError};
use crate::config::paths::write_private;

/// What lies where the file belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    Absent,
    /// Its text.
    Ours(String),
    Foreign,
}

pub fn standing(path: &Path) -> Result<Standing, ServiceError> {
    // A link that leads nowhere is somebody's, too: `systemctl mask` makes such things.
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Standing::Absent),
        Err(error) => return Err(failed("read", path, error)),
        Ok(meta) if !meta.is_file() => return Ok(Standing::Foreign),
        Ok(_) => {}
    }
    let text = fs::read(path).map_err(|error| failed("read", path, error))?;
    Ok(match String::from_utf8(text) {
        Ok(text) if text.contains(MARK) => Standing::Ours(text),
        _ => Standing::Foreign,
    })
}

/// Replaces what is ours or nobody's. False when it is there already, word for word.
pub fn write(path: &Path, text: &str, force: bool) -> Result<bool, ServiceError> {
    match standing(path)? {
        Standing::Ours(there) if there == text => return Ok(false),
        Standing::Foreign if !force => {
            return Err(ServiceError::NotOurs {
                path: path.to_owned(),
            });
        }
        _ => {}
    }
    write_private(path, text.as_bytes())?;
    Ok(true)
}

/// Removes what is ours.
pub fn remove(path: &Path, force: bool) -> Result<(), ServiceError> {
    match standing(path)? {
        Standing::Absent => return Ok(()),
        Standing::Foreign if !force => {
            return Err(ServiceError::NotOurs {
                path: path.to_owned(),
            });
        }
        _ => {}
    }
    fs::remove_file(path).map_err(|error| failed("remove", path, error))
}

fn failed(verb: &'static str, path: &Path, source: std::io::Error) -> ServiceError {
    ServiceError::File {
        verb,
        path: path.to_owned(),
        source,
    }
}

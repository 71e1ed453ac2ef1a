//! The owner's keys: the one that signs, and while a key is being exchanged the one before it, `owner.key.previous`
//! beside it. A deployment that trusts both takes tokens of either; both are the same owner.
//!
//! Each step leaves a usable key, wherever it is interrupted: the old one gets its second name before the new one takes
//! the first.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::owner_key::{KeyError, OwnerKey};

pub struct OwnerKeys {
    pub current: OwnerKey,
    previous: Option<OwnerKey>,
}

impl OwnerKeys {
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        Self::beside(OwnerKey::load(path)?, path)
    }

    pub fn load_or_create(path: &Path) -> Result<Self, KeyError> {
        Self::beside(OwnerKey::load_or_create(path)?, path)
    }

    fn beside(current: OwnerKey, path: &Path) -> Result<Self, KeyError> {
        let previous = match OwnerKey::load(&previous_path(path)) {
            Err(KeyError::File { source, .. }) if source.kind() == ErrorKind::NotFound => None,
            loaded => Some(loaded?),
        };
        Ok(Self { current, previous })
    }

    /// Begins an exchange: a new key signs from now on, the one before stays trusted.
    pub fn rotate(path: &Path) -> Result<Self, KeyError> {
        OwnerKey::load(path)?;
        let previous = previous_path(path);
        fs::hard_link(path, &previous).map_err(|source| match source.kind() {
            ErrorKind::AlreadyExists => KeyError::UnderWay(previous.clone()),
            _ => KeyError::File {
                verb: "write",
                path: previous.clone(),
                source,
            },
        })?;
        OwnerKey::replace(path)?;
        Self::load(path)
    }

    /// Ends it: the key before is gone.
    pub fn finish(path: &Path) -> Result<Self, KeyError> {
        let previous = previous_path(path);
        let removed = fs::remove_file(&previous).and_then(|()| {
            let folder = path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        });
        removed.map_err(|source| match source.kind() {
            ErrorKind::NotFound => KeyError::NotUnderWay(previous.clone()),
            _ => KeyError::File {
                verb: "remove",
                path: previous.clone(),
                source,
            },
        })?;
        Self::load(path)
    }

    /// The public halves as a JSON Web Key Set.
    pub fn jwks(&self) -> Value {
        let mut keys = vec![self.current.jwk()];
        let other = self.previous.as_ref();
        let other = other.filter(|key| key.kid() != self.current.kid());
        keys.extend(other.map(OwnerKey::jwk));
        json!({ "keys": keys })
    }

    /// [`OwnerKeys::jwks`] as the data URI that `auth.config.ts` takes.
    pub fn jwks_data_uri(&self) -> String {
        let text = STANDARD.encode(self.jwks().to_string());
        format!("data:application/json;base64,{text}")
    }
}

/// Where the key before this one is during an exchange.
pub fn previous_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".previous");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kids(keys: &OwnerKeys) -> Vec<String> {
        let set = keys.jwks();
        let keys = set["keys"].as_array().unwrap().iter();
        keys.map(|key| key["kid"].as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn an_exchange_trusts_both_keys_until_it_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("owner.key");
        assert!(OwnerKeys::rotate(&path).is_err(), "there is nothing yet");
        let before = kids(&OwnerKeys::load_or_create(&path).unwrap());
        let during = kids(&OwnerKeys::rotate(&path).unwrap());
        assert_eq!((during.len(), &during[1]), (2, &before[0]));
        assert!(matches!(
            OwnerKeys::rotate(&path),
            Err(KeyError::UnderWay(_))
        ));
        assert_eq!(kids(&OwnerKeys::load(&path).unwrap()), during);
        let after = kids(&OwnerKeys::finish(&path).unwrap());
        assert_eq!(after, during[..1]);
        assert!(matches!(
            OwnerKeys::finish(&path),
            Err(KeyError::NotUnderWay(_))
        ));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_exchange_that_was_interrupted_has_one_key_and_can_be_finished() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("owner.key");
        let before = kids(&OwnerKeys::load_or_create(&path).unwrap());
        fs::hard_link(&path, previous_path(&path)).unwrap();
        assert_eq!(kids(&OwnerKeys::load(&path).unwrap()), before);
        assert_eq!(kids(&OwnerKeys::finish(&path).unwrap()), before);
        assert_eq!(kids(&OwnerKeys::rotate(&path).unwrap()).len(), 2);
    }
}

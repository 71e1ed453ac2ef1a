//! Who sends: a key of this installation (`push.pem` in its state folder, 0600), and the word that it signs for each push
//! service (RFC 8292). A browser's subscription is bound to the public half, so a lost key voids them all; they are made anew when
//! the page is opened.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;
use thiserror::Error;
use zeroize::Zeroizing;

use super::base64url;
use crate::adapters::aside::set_aside;
use crate::config::paths::{PathsError, write_private};

/// How long a word is good for; a push service takes 24 h at most.
const VALID_SECONDS: u64 = 12 * 3_600;

#[derive(Debug, Error)]
pub enum VapidError {
    #[error("cannot read {path}: {source}")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(transparent)]
    Write(#[from] PathsError),
    #[error("{path} is damaged and cannot be moved away: {source}")]
    Aside {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("no key for push messages could be made")]
    Key,
}

pub struct Vapid {
    pair: EcdsaKeyPair,
    /// Where a push service can complain: `mailto:` or `https:`.
    contact: String,
}

impl Vapid {
    /// The key in `path`, made at first use.
    pub fn open(path: &Path, contact: String) -> Result<Self, VapidError> {
        let kept = match fs::read(path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == ErrorKind::NotFound => return Self::make(path, contact),
            Err(source) => {
                let path = path.to_owned();
                return Err(VapidError::Read { path, source });
            }
        };
        if let Some(pair) = read(&kept) {
            return Ok(Self { pair, contact });
        }
        let aside = set_aside(path).map_err(|source| VapidError::Aside {
            path: path.to_owned(),
            source,
        })?;
        tracing::warn!(
            kept = %aside.display(),
            "the key for push messages was damaged: devices are told again once their page was opened"
        );
        Self::make(path, contact)
    }

    fn make(path: &Path, contact: String) -> Result<Self, VapidError> {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            .map_err(|_| VapidError::Key)?;
        let body = Zeroizing::new(STANDARD.encode(key.as_ref()));
        let lines: Vec<&str> = (0..body.len())
            .step_by(64)
            .map(|at| &body[at..body.len().min(at + 64)])
            .collect();
        let text = Zeroizing::new(format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            lines.join("\n")
        ));
        write_private(path, text.as_bytes())?;
        let pair = read(text.as_bytes()).ok_or(VapidError::Key)?;
        Ok(Self { pair, contact })
    }

    /// As pages take it, in base64url.
    pub fn public_key(&self) -> String {
        base64url(self.pair.public_key().as_ref())
    }

    /// The header `Authorization` for the push service at `origin`; `now` in seconds of the epoch.
    pub fn authorization(&self, origin: &str, now: u64) -> Result<String, VapidError> {
        let claims = json!({ "aud": origin, "exp": now + VALID_SECONDS, "sub": self.contact });
        let signed = format!(
            "{}.{}",
            base64url(br#"{"typ":"JWT","alg":"ES256"}"#),
            base64url(claims.to_string().as_bytes())
        );
        let signature = self
            .pair
            .sign(&SystemRandom::new(), signed.as_bytes())
            .map_err(|_| VapidError::Key)?;
        let signature = base64url(signature.as_ref());
        Ok(format!(
            "vapid t={signed}.{signature}, k={}",
            self.public_key()
        ))
    }
}

fn read(pem: &[u8]) -> Option<EcdsaKeyPair> {
    let key = PrivatePkcs8KeyDer::from_pem_slice(pem).ok()?;
    let key = key.secret_pkcs8_der();
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key, &SystemRandom::new()).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::super::from_base64url;
    use super::*;

    #[test]
    fn the_key_is_private_and_stays_until_it_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("push.pem");
        let open = || Vapid::open(&path, "mailto:a@example.com".to_owned()).unwrap();
        let first = open().public_key();
        assert_eq!(open().public_key(), first);
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        fs::write(&path, "-----BEGIN PRIVATE KEY-----\n").unwrap();
        assert_ne!(open().public_key(), first);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_push_service_can_check_the_word() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("push.pem");
        let vapid = Vapid::open(&path, "mailto:a@example.com".to_owned()).unwrap();
        let word = vapid.authorization("https://push.example", 1_000).unwrap();
        let (token, key) = word
            .strip_prefix("vapid t=")
            .unwrap()
            .split_once(", k=")
            .unwrap();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let key = from_base64url(key).unwrap();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key)
            .verify(signed.as_bytes(), &from_base64url(signature).unwrap())
            .unwrap();
        let claims = from_base64url(signed.split_once('.').unwrap().1).unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(
            claims,
            json!({ "aud": "https://push.example", "exp": 44_200, "sub": "mailto:a@example.com" })
        );
    }
}

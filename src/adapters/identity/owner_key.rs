//! The owner's key: P-256 in a PKCS#8 file, and the short-lived ES256 tokens made from it.
//!
//! The public half ([`OwnerKey::jwk`]) is what the deployment's `customJwt` provider gets. The private half
//! never leaves this process. The format is RFC 7515/7517/7518; the key id is the RFC 7638 thumbprint.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use secrecy::SecretString;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

use super::private_file::{self, Existing};
use crate::adapters::convex::owner::{AuthFailure, OwnerAuth};

/// `iss` of our own tokens, the same everywhere. An owner is issuer and subject, so every key that a deployment is given
/// for this issuer is the same owner: that is how a key is exchanged, and why several people need a provider of theirs.
pub const ISSUER: &str = "https://orchestrator.local";
/// `aud`, the provider's `applicationID`.
pub const AUDIENCE: &str = "orchestrator";
/// `sub` of the owner, whichever of their keys signs.
pub const OWNER_SUBJECT: &str = "owner";
/// How long a token lasts.
pub const TOKEN_TTL: Duration = Duration::from_mins(15);

const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";

#[derive(Debug, Error)]
pub enum KeyError {
    #[error("cannot {verb} the owner's key {}: {source}", path.display())]
    File {
        verb: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} is not a file: the owner's key is one", .0.display())]
    NotAFile(PathBuf),
    #[error("{} is not a P-256 private key in PKCS#8", .0.display())]
    Malformed(PathBuf),
    #[error("others can read the owner's key {} (mode {mode:o}): run `chmod 600` on it", path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error("the key is being exchanged already: {} is the one before it", .0.display())]
    UnderWay(PathBuf),
    #[error("the key is not being exchanged: there is no {}", .0.display())]
    NotUnderWay(PathBuf),
    #[error("the system gave no random numbers")]
    Random,
}

pub struct OwnerKey {
    pair: EcdsaKeyPair,
    kid: String,
    subject: String,
}

impl OwnerKey {
    /// Loads the key, or makes one. Two processes at once end up with the same one.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyError> {
        match Self::load(path) {
            Err(KeyError::File { source, .. }) if source.kind() == ErrorKind::NotFound => {}
            other => return other,
        }
        match Self::write_new(path, Existing::Keep) {
            Err(KeyError::File { source, .. }) if source.kind() == ErrorKind::AlreadyExists => {}
            written => written?,
        }
        Self::load(path)
    }

    /// Puts a new key in the place of the one that is there.
    pub(super) fn replace(path: &Path) -> Result<(), KeyError> {
        Self::write_new(path, Existing::Replace)
    }

    fn write_new(path: &Path, existing: Existing) -> Result<(), KeyError> {
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                .map_err(|_| KeyError::Random)?;
        let pem = Zeroizing::new(to_pem(document.as_ref()));
        private_file::write(path, pem.as_bytes(), existing).map_err(|source| KeyError::File {
            verb: "write",
            path: path.to_owned(),
            source,
        })
    }

    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let failed = |source| KeyError::File {
            verb: "read",
            path: path.to_owned(),
            source,
        };
        if !std::fs::metadata(path).map_err(failed)?.is_file() {
            return Err(KeyError::NotAFile(path.to_owned()));
        }
        if let Some(mode) = private_file::exposed_mode(path).map_err(failed)? {
            let path = path.to_owned();
            return Err(KeyError::Exposed { path, mode });
        }
        let bytes = Zeroizing::new(std::fs::read(path).map_err(failed)?);
        let malformed = || KeyError::Malformed(path.to_owned());
        let der = from_pem(&bytes).ok_or_else(malformed)?;
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, &random)
            .map_err(|_| malformed())?;
        let kid = thumbprint(&pair);
        Ok(Self {
            pair,
            kid,
            subject: OWNER_SUBJECT.to_owned(),
        })
    }

    /// Signs as another subject from now on.
    #[must_use]
    pub fn with_subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = subject.into();
        self
    }

    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// A token for `subject` that lasts `ttl` from now.
    pub fn jwt(&self, subject: &str, ttl: Duration) -> Result<SecretString, KeyError> {
        self.sign(subject, ttl, None)
    }

    /// The owner's token of one device: it is worth something only while the deployment knows the device.
    pub fn device_jwt(&self, device: &str, ttl: Duration) -> Result<SecretString, KeyError> {
        self.sign(OWNER_SUBJECT, ttl, Some(device))
    }

    fn sign(
        &self,
        subject: &str,
        ttl: Duration,
        device: Option<&str>,
    ) -> Result<SecretString, KeyError> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |now| now.as_secs());
        let header = json!({"alg": "ES256", "typ": "JWT", "kid": self.kid});
        let mut claims = json!({
            "iss": ISSUER,
            "sub": subject,
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + ttl.as_secs(),
        });
        if let Some(device) = device {
            claims["device"] = device.into();
        }
        let signed = format!("{}.{}", base64url(&header), base64url(&claims));
        let signature = self
            .pair
            .sign(&SystemRandom::new(), signed.as_bytes())
            .map_err(|_| KeyError::Random)?;
        let signature = URL_SAFE_NO_PAD.encode(signature);
        Ok(SecretString::from(format!("{signed}.{signature}")))
    }

    /// The public half as a JSON Web Key.
    pub fn jwk(&self) -> Value {
        let (x, y) = coordinates(&self.pair);
        json!({
            "kty": "EC",
            "crv": "P-256",
            "x": x,
            "y": y,
            "use": "sig",
            "alg": "ES256",
            "kid": self.kid,
        })
    }

    /// The public half as a JSON Web Key Set of its own.
    pub fn jwks(&self) -> Value {
        json!({"keys": [self.jwk()]})
    }
}

impl OwnerAuth for OwnerKey {
    fn jwt(&self) -> Result<SecretString, AuthFailure> {
        let token = self.jwt(&self.subject, TOKEN_TTL);
        token.map_err(|error| AuthFailure(error.to_string()))
    }
}

impl fmt::Debug for OwnerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnerKey")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

/// The uncompressed point is 0x04, 32 bytes of x, 32 bytes of y.
fn coordinates(pair: &EcdsaKeyPair) -> (String, String) {
    let point = pair.public_key().as_ref();
    let (x, y) = point
        .get(1..)
        .unwrap_or_default()
        .split_at_checked(32)
        .unwrap_or_default();
    (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y))
}

fn thumbprint(pair: &EcdsaKeyPair) -> String {
    let (x, y) = coordinates(pair);
    // Members in this order and without spaces: RFC 7638, section 3.2.
    let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    URL_SAFE_NO_PAD.encode(Sha256::digest(canonical))
}

fn base64url(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

fn to_pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = format!("{PEM_BEGIN}\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str(PEM_END);
    pem.push('\n');
    pem
}

fn from_pem(bytes: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (_, text) = text.split_once(PEM_BEGIN)?;
    let (text, _) = text.split_once(PEM_END)?;
    let text: Zeroizing<String> = Zeroizing::new(text.split_whitespace().collect());
    STANDARD.decode(text.as_bytes()).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
    use secrecy::ExposeSecret;

    use super::*;

    fn verify(token: &SecretString, jwks: &Value) -> Result<Value, jsonwebtoken::errors::Error> {
        let key = &jwks["keys"][0];
        let text = |name: &str| key[name].as_str().unwrap().to_owned();
        let key = DecodingKey::from_ec_components(&text("x"), &text("y"))?;
        let mut rules = Validation::new(Algorithm::ES256);
        rules.set_audience(&[AUDIENCE]);
        rules.set_issuer(&[ISSUER]);
        decode::<Value>(token.expose_secret(), &key, &rules).map(|data| data.claims)
    }

    #[test]
    fn a_token_is_verified_with_the_public_half() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("local/owner.pem");
        let key = OwnerKey::load_or_create(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let token = key.jwt("owner", TOKEN_TTL).unwrap();
        let claims = verify(&token, &key.jwks()).unwrap();
        assert_eq!(claims["sub"], "owner");
        let lasts = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
        assert_eq!(lasts, 15 * 60);
        let header = jsonwebtoken::decode_header(token.expose_secret()).unwrap();
        assert_eq!(header.kid.as_deref(), Some(key.kid()));

        let again = OwnerKey::load_or_create(&path).unwrap();
        assert_eq!(again.jwks(), key.jwks());
        let other = OwnerKey::load_or_create(&folder.path().join("other.pem")).unwrap();
        assert!(verify(&token, &other.jwks()).is_err());
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            2,
            "a temporary was left"
        );
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("owner.pem");
        OwnerKey::load_or_create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = OwnerKey::load_or_create(&path).unwrap_err();
        assert!(error.to_string().contains("mode 644"), "{error}");
    }

    #[test]
    fn what_is_no_key_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("owner.pem");
        private_file::write(&path, b"precious", Existing::Keep).unwrap();
        let error = OwnerKey::load_or_create(&path).unwrap_err();
        assert!(matches!(error, KeyError::Malformed(_)), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }
}

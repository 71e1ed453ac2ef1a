//! A pairing code and what is sealed under it. The code leaves this process in one link; the deployment gets its hash, and
//! the device's token in a form that only the code opens (the other half is `convex/lib/pairing.ts`).

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::{SecureRandom, SystemRandom};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::owner_key::KeyError;

const DEVICE_BYTES: usize = 6;
const SECRET_BYTES: usize = 18;

/// A device that does not exist yet, and the code that brings it in.
pub struct PairingCode {
    /// An id that nobody has guessed or taken; no secret.
    pub device: String,
    /// `<device>.<secret>`.
    pub code: SecretString,
}

impl PairingCode {
    pub fn new() -> Result<Self, KeyError> {
        // In hex, because people type it after a command.
        let device = hex(&random(DEVICE_BYTES)?);
        let secret = URL_SAFE_NO_PAD.encode(random(SECRET_BYTES)?);
        let code = SecretString::from(format!("{device}.{secret}"));
        Ok(Self { device, code })
    }

    /// What the deployment knows it by: SHA-256 in hex.
    pub fn hash(&self) -> String {
        hex(&Sha256::digest(self.code.expose_secret()))
    }

    /// The token under the code, in base64: its bytes XORed with SHA-256 blocks over a counter and the code. A code is
    /// used for one token only, so no two texts ever share the stream.
    pub fn seal(&self, token: &SecretString) -> String {
        let mut bytes = token.expose_secret().as_bytes().to_vec();
        for (block, chunk) in bytes.chunks_mut(32).enumerate() {
            let stream = Sha256::digest(format!(
                "pairing seal {block} {}",
                self.code.expose_secret()
            ));
            for (byte, mask) in chunk.iter_mut().zip(stream) {
                *byte ^= mask;
            }
        }
        STANDARD.encode(bytes)
    }
}

fn random(bytes: usize) -> Result<Vec<u8>, KeyError> {
    let mut buffer = vec![0; bytes];
    let filled = SystemRandom::new().fill(&mut buffer);
    filled.map_err(|_| KeyError::Random)?;
    Ok(buffer)
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_never_the_same_and_its_hash_shows_nothing_of_it() {
        let (one, other) = (PairingCode::new().unwrap(), PairingCode::new().unwrap());
        assert_ne!(one.code.expose_secret(), other.code.expose_secret());
        assert_ne!(one.hash(), other.hash());
        assert_eq!(one.hash().len(), 64);
        assert!(one.device.chars().all(|c| c.is_ascii_hexdigit()));
        let secret = one.code.expose_secret().split_once('.').unwrap().1;
        assert!(secret.len() >= 22 && !one.hash().contains(secret));
    }

    #[test]
    fn a_sealed_token_does_not_show_and_differs_from_code_to_code() {
        let token = SecretString::from("x".repeat(100));
        let (one, other) = (PairingCode::new().unwrap(), PairingCode::new().unwrap());
        assert_ne!(one.seal(&token), other.seal(&token));
        let sealed = STANDARD.decode(one.seal(&token)).unwrap();
        assert_eq!(sealed.len(), 100);
        assert_ne!(
            sealed[..32],
            sealed[32..64],
            "every block has a mask of its own"
        );
    }
}

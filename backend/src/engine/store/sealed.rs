//! What makes a session record useless to anybody but the client that it is for: results may hold secrets (a worker's new
//! token), and a database is copied, backed up and sent around.
//!
//! A client's session id is random and is not stored. From it and the request's number come, by HKDF-SHA256, the name
//! that the record is found by and the key (AES-256-GCM) that its result is sealed with.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::engine::api::SessionRequest;

const SALT: &[u8] = b"orchestrator session record 1";
pub(super) const NAME_BYTES: usize = 16;

/// The name and the key of one record.
pub(super) struct Seal {
    pub(super) name: [u8; NAME_BYTES],
    key: LessSafeKey,
}

/// The record is not what was sealed, or there is no randomness.
#[derive(Debug, thiserror::Error)]
#[error("a session record cannot be {0}")]
pub(super) struct Broken(&'static str);

struct Name;

impl KeyType for Name {
    fn len(&self) -> usize {
        NAME_BYTES
    }
}

impl Seal {
    pub(super) fn of(request: &SessionRequest) -> Result<Self, Broken> {
        let broken = |_| Broken("named");
        let secret = Salt::new(HKDF_SHA256, SALT).extract(request.session_id.as_bytes());
        let number = request.request_id.to_be_bytes();
        let mut name = [0; NAME_BYTES];
        secret
            .expand(&[b"name", &number], Name)
            .and_then(|okm| okm.fill(&mut name))
            .map_err(broken)?;
        let info: [&[u8]; 2] = [b"key", &number];
        let key = secret.expand(&info, &AES_256_GCM).map_err(broken)?;
        let key = LessSafeKey::new(UnboundKey::from(key));
        Ok(Self { name, key })
    }

    /// The nonce, and behind it the sealed text, bound to the timestamp.
    pub(super) fn seal(&self, ts: u64, text: &str) -> Result<Vec<u8>, Broken> {
        let broken = |_| Broken("sealed");
        let mut sealed = vec![0; NONCE_LEN];
        // random, not counted: a commit that failed may have left bytes under this key behind
        SystemRandom::new().fill(&mut sealed).map_err(broken)?;
        let nonce = Nonce::try_assume_unique_for_key(&sealed).map_err(broken)?;
        let mut bytes = text.as_bytes().to_vec();
        let bound = Aad::from(ts.to_be_bytes());
        self.key
            .seal_in_place_append_tag(nonce, bound, &mut bytes)
            .map_err(broken)?;
        sealed.append(&mut bytes);
        Ok(sealed)
    }

    pub(super) fn open(&self, ts: u64, mut sealed: Vec<u8>) -> Result<String, Broken> {
        let broken = Broken("opened: the database is damaged");
        let Some((nonce, bytes)) = sealed.split_at_mut_checked(NONCE_LEN) else {
            return Err(broken);
        };
        let bound = Aad::from(ts.to_be_bytes());
        let opened = Nonce::try_assume_unique_for_key(nonce)
            .and_then(|nonce| self.key.open_in_place(nonce, bound, bytes));
        match opened.map(|text| String::from_utf8(text.to_vec())) {
            Ok(Ok(text)) => Ok(text),
            _ => Err(broken),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(session: &str, request: u32) -> Seal {
        let request = SessionRequest {
            session_id: session.into(),
            request_id: request,
        };
        Seal::of(&request).unwrap()
    }

    #[test]
    fn only_the_same_request_of_the_same_session_opens_what_it_sealed() {
        let sealed = seal("s", 7).seal(5, "secret").unwrap();
        assert_eq!(seal("s", 7).open(5, sealed.clone()).unwrap(), "secret");
        for (session, request, ts) in [("s", 8, 5), ("t", 7, 5), ("s", 7, 6)] {
            assert!(seal(session, request).open(ts, sealed.clone()).is_err());
            if ts == 5 {
                assert_ne!(seal(session, request).name, seal("s", 7).name);
            }
        }
        assert_ne!(seal("s", 7).seal(5, "secret").unwrap(), sealed);
        assert!(seal("s", 7).open(5, Vec::new()).is_err());
    }
}

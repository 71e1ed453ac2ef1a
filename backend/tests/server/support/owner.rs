//! A key pair and the tokens made from it.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use orchestrator_backend::AuthProvider;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::json;

pub const ISSUER: &str = "https://orchestrator.local";

pub struct Owner {
    pkcs8: Vec<u8>,
    pub provider: AuthProvider,
}

impl Owner {
    pub fn new() -> Self {
        let random = ring::rand::SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
        let point = pair.public_key().as_ref();
        let jwks = json!({"keys": [{
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "k1",
            "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..]),
        }]});
        Self {
            pkcs8: pkcs8.as_ref().to_vec(),
            provider: AuthProvider {
                issuer: ISSUER.to_owned(),
                audience: "orchestrator".to_owned(),
                jwks,
            },
        }
    }

    /// A token that expires in so many seconds (the server grants 60 more).
    pub fn token(&self, subject: &str, seconds: i64) -> String {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let header = Header {
            kid: Some("k1".to_owned()),
            ..Header::new(Algorithm::ES256)
        };
        let claims = json!({
            "iss": ISSUER, "sub": subject, "aud": "orchestrator", "iat": now,
            "exp": now.cast_signed() + seconds,
        });
        encode(&header, &claims, &EncodingKey::from_ec_der(&self.pkcs8)).unwrap()
    }
}

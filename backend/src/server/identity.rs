//! Who calls: verifies JWTs against the configured providers and turns their claims into an [`Identity`].
//!
//! ES256 only. The algorithm comes from the configuration, never from the token: a header that says anything else
//! (`none`, HS*, RS*) is refused before a key is looked at. Issuer, audience, expiry (60 s leeway) and the key's id must
//! all fit. Tokens never reach a log or an error text.

use std::collections::HashMap;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::clock::now_ms;
use crate::engine::Identity;

/// Clocks of two machines may differ this much.
const LEEWAY_SECONDS: u64 = 60;
/// No sane token is longer; parsing stays cheap.
const LONGEST_TOKEN: usize = 16 << 10;

/// An issuer whose tokens are accepted: what `auth.config.ts` calls a `customJwt` provider with `ES256`.
#[derive(Clone, Debug)]
pub struct AuthProvider {
    pub issuer: String,
    /// The `aud` a token must carry (`applicationID`).
    pub audience: String,
    /// A JSON Web Key Set: `{"keys": [{"kty": "EC", "crv": "P-256", "kid": …, "x": …, "y": …}]}`.
    pub jwks: Value,
}

/// A provider that could never accept a token.
#[derive(Debug, Error)]
pub enum ProviderError {
    #[error("the provider `{issuer}` has no usable key set: {reason}")]
    KeySet { issuer: String, reason: String },
    #[error("the provider `{issuer}` has a key without `kid`")]
    NoKeyId { issuer: String },
    #[error(
        "the key `{kid}` of the provider `{issuer}` is not an ES256 key (kty EC, crv P-256): {reason}"
    )]
    NotEs256 {
        issuer: String,
        kid: String,
        reason: String,
    },
}

/// Why a token was refused. Says nothing of what is in it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(super) enum AuthError {
    #[error("the token is not a JWT")]
    Malformed,
    #[error("the token is signed with {0}, only ES256 is accepted")]
    Algorithm(String),
    #[error("the token's header demands what is not understood here (`crit`)")]
    Critical,
    #[error("the token names no key (`kid`)")]
    NoKeyId,
    #[error("no auth provider of this deployment has the token's key")]
    UnknownKey,
    #[error("the token's signature is wrong")]
    Signature,
    #[error("the token has expired: get a new one")]
    Expired,
    #[error("the token is not valid yet: check this machine's clock")]
    NotYet,
    #[error("the token was issued by somebody else (`iss`)")]
    Issuer,
    #[error("the token was issued for somebody else (`aud`)")]
    Audience,
    #[error(
        "the token lacks a claim or has an empty one or one of the wrong type (iss, sub, aud, exp)"
    )]
    Claims,
    #[error("admin keys are not supported by the embedded deployment")]
    AdminKey,
    #[error("the Authorization header is not `Bearer <jwt>`")]
    Header,
}

/// A caller and until when we believe it.
#[derive(Clone, Debug)]
pub(super) struct Verified {
    pub(super) identity: Identity,
    /// Seconds since the epoch, leeway included.
    ends_at: u64,
}

impl Verified {
    pub(super) fn has_ended(&self) -> bool {
        now_seconds() > self.ends_at
    }
}

struct Provider {
    validation: Validation,
    keys: HashMap<String, DecodingKey>,
}

/// The configured providers, keys parsed.
pub(super) struct Verifier {
    providers: Vec<Provider>,
}

impl Verifier {
    pub(super) fn new(providers: &[AuthProvider]) -> Result<Self, ProviderError> {
        let providers = providers
            .iter()
            .map(Provider::new)
            .collect::<Result<_, _>>()?;
        Ok(Self { providers })
    }

    pub(super) fn verify(&self, token: &str) -> Result<Verified, AuthError> {
        if token.len() > LONGEST_TOKEN {
            return Err(AuthError::Malformed);
        }
        check_header(token)?;
        let header = decode_header(token).map_err(|_| AuthError::Malformed)?;
        let kid = header.kid.ok_or(AuthError::NoKeyId)?;
        let mut refusal = AuthError::UnknownKey;
        for provider in &self.providers {
            let Some(key) = provider.keys.get(&kid) else {
                continue;
            };
            match decode::<Map<String, Value>>(token, key, &provider.validation) {
                Ok(data) => return verified(data.claims),
                Err(error) => refusal = AuthError::from(error),
            }
        }
        Err(refusal)
    }

    /// The caller of an HTTP request. No header is nobody, a bad one is an error.
    pub(super) fn verify_header(
        &self,
        header: Option<&str>,
    ) -> Result<Option<Verified>, AuthError> {
        let Some(header) = header else {
            return Ok(None);
        };
        match header.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                self.verify(token.trim()).map(Some)
            }
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("convex") => Err(AuthError::AdminKey),
            _ => Err(AuthError::Header),
        }
    }
}

impl Provider {
    fn new(config: &AuthProvider) -> Result<Self, ProviderError> {
        let issuer = || config.issuer.clone();
        let set: JwkSet =
            serde_json::from_value(config.jwks.clone()).map_err(|error| ProviderError::KeySet {
                issuer: issuer(),
                reason: error.to_string(),
            })?;
        let mut keys = HashMap::new();
        for jwk in &set.keys {
            let kid = jwk
                .common
                .key_id
                .clone()
                .ok_or_else(|| ProviderError::NoKeyId { issuer: issuer() })?;
            let refused = |reason: String| ProviderError::NotEs256 {
                issuer: issuer(),
                kid: kid.clone(),
                reason,
            };
            match &jwk.algorithm {
                AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {}
                _ => return Err(refused("another kind of key".to_owned())),
            }
            if let Some(algorithm) = jwk.common.key_algorithm
                && algorithm != jsonwebtoken::jwk::KeyAlgorithm::ES256
            {
                return Err(refused(format!("its `alg` is {algorithm}")));
            }
            let key = DecodingKey::from_jwk(jwk).map_err(|error| refused(error.to_string()))?;
            keys.insert(kid, key);
        }
        if keys.is_empty() {
            return Err(ProviderError::KeySet {
                issuer: issuer(),
                reason: "it is empty".to_owned(),
            });
        }
        let mut validation = Validation::new(Algorithm::ES256);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        validation.set_issuer(&[&config.issuer]);
        validation.set_audience(&[&config.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        Ok(Self { validation, keys })
    }
}

/// Looked at before anything of the token is believed, and without the library's own idea of which algorithms exist.
fn check_header(token: &str) -> Result<(), AuthError> {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    let header = token.split('.').next().unwrap_or_default();
    let header = URL_SAFE_NO_PAD
        .decode(header)
        .map_err(|_| AuthError::Malformed)?;
    let header: Map<String, Value> =
        serde_json::from_slice(&header).map_err(|_| AuthError::Malformed)?;
    // RFC 7515, 4.1.11: who does not understand an extension that is marked so must refuse the token
    if header.contains_key("crit") {
        return Err(AuthError::Critical);
    }
    match header.get("alg").and_then(Value::as_str) {
        Some("ES256") => Ok(()),
        Some(other) => Err(AuthError::Algorithm(other.chars().take(16).collect())),
        None => Err(AuthError::Malformed),
    }
}

fn verified(claims: Map<String, Value>) -> Result<Verified, AuthError> {
    let text = |name: &str| {
        claims
            .get(name)
            .and_then(Value::as_str)
            .ok_or(AuthError::Claims)
    };
    let (issuer, subject) = (text("iss")?.to_owned(), text("sub")?.to_owned());
    // Everybody without a name would be the same somebody.
    if subject.is_empty() {
        return Err(AuthError::Claims);
    }
    let expires = claims
        .get("exp")
        .and_then(Value::as_f64)
        .ok_or(AuthError::Claims)?;
    let mut identity = Map::new();
    for (name, value) in claims {
        if let Some(name) = attribute(&name) {
            identity.insert(name.to_owned(), value);
        }
    }
    // last, so that no claim of the same name stands in their place
    identity.insert(
        "tokenIdentifier".to_owned(),
        format!("{issuer}|{subject}").into(),
    );
    identity.insert("issuer".to_owned(), issuer.into());
    identity.insert("subject".to_owned(), subject.into());
    Ok(Verified {
        identity: Identity(identity),
        ends_at: (expires as u64).saturating_add(LEEWAY_SECONDS),
    })
}

/// The name a claim has in `UserIdentity`; claims of one's own keep theirs, the protocol's are left out.
fn attribute(claim: &str) -> Option<&str> {
    Some(match claim {
        "iss" | "sub" | "aud" | "exp" | "iat" | "nbf" | "jti" => return None,
        "given_name" => "givenName",
        "family_name" => "familyName",
        "preferred_username" => "preferredUsername",
        "profile" => "profileUrl",
        "picture" => "pictureUrl",
        "website" => "websiteUrl",
        "email_verified" => "emailVerified",
        "birthdate" => "birthday",
        "zoneinfo" => "timezone",
        "locale" => "language",
        "phone_number" => "phoneNumber",
        "phone_number_verified" => "phoneNumberVerified",
        "updated_at" => "updatedAt",
        other => other,
    })
}

impl From<jsonwebtoken::errors::Error> for AuthError {
    fn from(error: jsonwebtoken::errors::Error) -> Self {
        use jsonwebtoken::errors::ErrorKind;
        match error.kind() {
            ErrorKind::InvalidSignature | ErrorKind::Crypto(_) => AuthError::Signature,
            ErrorKind::ExpiredSignature => AuthError::Expired,
            ErrorKind::ImmatureSignature => AuthError::NotYet,
            ErrorKind::InvalidIssuer => AuthError::Issuer,
            ErrorKind::InvalidAudience => AuthError::Audience,
            ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidSubject => AuthError::Claims,
            _ => AuthError::Malformed,
        }
    }
}

fn now_seconds() -> u64 {
    now_ms() / 1000
}

#[cfg(test)]
mod tests;

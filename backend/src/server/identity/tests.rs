//! Tokens that must pass and, mostly, tokens that must not.

use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header, encode};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::json;

struct Owner {
    pkcs8: Vec<u8>,
    jwk: Value,
}

fn owner(kid: &str) -> Owner {
    let random = ring::rand::SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
    let point = pair.public_key().as_ref();
    let jwk = json!({
        "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": kid,
        "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..]),
    });
    Owner {
        pkcs8: pkcs8.as_ref().to_vec(),
        jwk,
    }
}

impl Owner {
    fn provider(&self) -> AuthProvider {
        AuthProvider {
            issuer: "https://issuer".into(),
            audience: "orchestrator".into(),
            jwks: json!({"keys": [self.jwk]}),
        }
    }

    fn token(&self, kid: Option<&str>, claims: &Value) -> String {
        let header = Header {
            kid: kid.map(str::to_owned),
            ..Header::new(Algorithm::ES256)
        };
        encode(&header, claims, &EncodingKey::from_ec_der(&self.pkcs8)).unwrap()
    }
}

fn claims(change: Value) -> Value {
    let mut claims = json!({
        "iss": "https://issuer", "sub": "owner", "aud": "orchestrator", "exp": now_seconds() + 900,
    });
    for (name, value) in change.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

#[test]
fn a_good_token_becomes_an_identity() {
    let owner = owner("k1");
    let verifier = Verifier::new(&[owner.provider()]).unwrap();
    let claims = claims(json!({
        "email_verified": true, "team": "blue", "tokenIdentifier": "forged", "aud": ["x", "orchestrator"],
    }));
    let caller = verifier.verify(&owner.token(Some("k1"), &claims)).unwrap();
    let expected = json!({
        "tokenIdentifier": "https://issuer|owner", "issuer": "https://issuer", "subject": "owner",
        "emailVerified": true, "team": "blue",
    });
    assert_eq!(Value::Object(caller.identity.0.clone()), expected);
    assert!(!caller.has_ended());
}

#[test]
fn every_claim_that_does_not_fit_is_refused_by_name() {
    let owner = owner("k1");
    let verifier = Verifier::new(&[owner.provider()]).unwrap();
    for (change, refusal) in [
        (json!({"iss": "https://other"}), AuthError::Issuer),
        (json!({"aud": "other"}), AuthError::Audience),
        (json!({"exp": now_seconds() - 90}), AuthError::Expired),
        (json!({"nbf": now_seconds() + 90}), AuthError::NotYet),
        (json!({"exp": null}), AuthError::Claims),
        (json!({"sub": null}), AuthError::Claims),
        (json!({"sub": ""}), AuthError::Claims),
        (json!({"aud": null}), AuthError::Claims),
        (json!({"iss": null}), AuthError::Claims),
    ] {
        let token = owner.token(Some("k1"), &claims(change.clone()));
        assert_eq!(verifier.verify(&token).unwrap_err(), refusal, "{change}");
    }
    let late = owner.token(Some("k1"), &claims(json!({"exp": now_seconds() - 30})));
    assert!(verifier.verify(&late).is_ok(), "within the leeway");
}

#[test]
fn keys_that_do_not_fit_are_refused() {
    let (known, stranger) = (owner("k1"), owner("k1"));
    let verifier = Verifier::new(&[known.provider()]).unwrap();
    let claims = claims(json!({}));
    let refused = |token: String| verifier.verify(&token).unwrap_err();
    assert_eq!(
        refused(stranger.token(Some("k1"), &claims)),
        AuthError::Signature
    );
    assert_eq!(
        refused(known.token(Some("k2"), &claims)),
        AuthError::UnknownKey
    );
    assert_eq!(refused(known.token(None, &claims)), AuthError::NoKeyId);
    let token = known.token(Some("k1"), &claims);
    let (signed, _) = token.rsplit_once('.').unwrap();
    assert_eq!(refused(format!("{signed}.")), AuthError::Signature);
}

#[test]
fn a_key_is_rotated_with_or_without_a_time_for_both() {
    let (old, new) = (owner("old"), owner("new"));
    let tokens = [
        old.token(Some("old"), &claims(json!({}))),
        new.token(Some("new"), &claims(json!({}))),
    ];
    let verdicts = |keys: &[&Owner]| {
        let keys: Vec<&Value> = keys.iter().map(|owner| &owner.jwk).collect();
        let provider = AuthProvider {
            jwks: json!({ "keys": keys }),
            ..old.provider()
        };
        let verifier = Verifier::new(&[provider]).unwrap();
        tokens
            .each_ref()
            .map(|token| verifier.verify(token).map(|caller| caller.identity).err())
    };
    let unknown = Some(AuthError::UnknownKey);
    assert_eq!(verdicts(&[&old]), [None, unknown.clone()]);
    assert_eq!(verdicts(&[&old, &new]), [None, None]);
    assert_eq!(verdicts(&[&new]), [unknown, None]);
    // A new key that took over the old one's name.
    let renamed = owner("old");
    assert_eq!(
        verdicts(&[&renamed, &new]),
        [Some(AuthError::Signature), None]
    );
}

#[test]
fn other_algorithms_are_refused_before_a_key_is_looked_at() {
    let owner = owner("k1");
    let verifier = Verifier::new(&[owner.provider()]).unwrap();
    let body = URL_SAFE_NO_PAD.encode(claims(json!({})).to_string());
    for algorithm in ["none", "None", "HS256", "RS256", "ES384", "EdDSA"] {
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": algorithm, "kid": "k1"}).to_string());
        let refusal = verifier
            .verify(&format!("{header}.{body}.AAAA"))
            .unwrap_err();
        assert_eq!(refusal, AuthError::Algorithm(algorithm.to_owned()));
    }
    // the public key used as an HMAC secret
    let header = Header {
        kid: Some("k1".into()),
        ..Header::new(Algorithm::HS256)
    };
    let secret = EncodingKey::from_secret(owner.jwk["x"].as_str().unwrap().as_bytes());
    let forged = encode(&header, &claims(json!({})), &secret).unwrap();
    assert_eq!(
        verifier.verify(&forged).unwrap_err(),
        AuthError::Algorithm("HS256".into())
    );
    for garbage in ["", "a.b.c", "....", "e30.e30.e30"] {
        assert_eq!(verifier.verify(garbage).unwrap_err(), AuthError::Malformed);
    }
}

#[test]
fn the_header_is_a_bearer_token_or_an_error() {
    let owner = owner("k1");
    let verifier = Verifier::new(&[owner.provider()]).unwrap();
    let token = owner.token(Some("k1"), &claims(json!({})));
    assert!(verifier.verify_header(None).unwrap().is_none());
    assert!(
        verifier
            .verify_header(Some(&format!("bearer {token}")))
            .unwrap()
            .is_some()
    );
    assert_eq!(
        verifier.verify_header(Some("Convex key")).unwrap_err(),
        AuthError::AdminKey
    );
    assert_eq!(
        verifier.verify_header(Some(&token)).unwrap_err(),
        AuthError::Header
    );
}

#[test]
fn a_provider_without_an_es256_key_is_a_configuration_error() {
    let good = owner("k1");
    let mut wrong = good.provider();
    for jwks in [
        json!({"keys": []}),
        json!({}),
        json!({"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "a"}]}),
        json!({"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "a"}]}),
    ] {
        wrong.jwks = jwks;
        assert!(
            Verifier::new(std::slice::from_ref(&wrong)).is_err(),
            "{}",
            wrong.jwks
        );
    }
    let mut nameless = good.jwk.clone();
    nameless.as_object_mut().unwrap().remove("kid");
    wrong.jwks = json!({"keys": [nameless]});
    assert!(matches!(
        Verifier::new(&[wrong]),
        Err(ProviderError::NoKeyId { .. })
    ));
}

#[test]
fn a_header_that_demands_an_extension_is_refused() {
    let owner = owner("k1");
    let verifier = Verifier::new(&[owner.provider()]).unwrap();
    let token = owner.token(Some("k1"), &claims(json!({})));
    let (_, rest) = token.split_once('.').unwrap();
    let header = json!({ "alg": "ES256", "kid": "k1", "crit": ["b64"], "b64": false });
    let token = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()));
    assert_eq!(verifier.verify(&token).unwrap_err(), AuthError::Critical);
}

//! One message for one browser, as RFC 8291 encrypts it: a key pair for this message alone, agreed with the browser's, mixed with
//! its secret, and one record of `aes128gcm` (RFC 8188). Who carries it learns its length.

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::error::Unspecified;
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use ring::rand::{SecureRandom, SystemRandom};

/// A record's size, as its header says it. Push services take no more than this for the whole.
const RECORD: u32 = 4_096;
/// What a message may have: header, padding and tag must fit beside it.
pub const MOST_BYTES: usize = 3_000;

const SALT: usize = 16;
const POINT: usize = 65;
const TAG: usize = 16;

/// What a browser gave for messages to it.
pub struct Keys {
    /// Its public key, an uncompressed point.
    pub public: [u8; POINT],
    pub auth: [u8; 16],
}

/// Fails when the key is no point of the curve, or for want of room or of randomness.
pub fn encrypt(keys: &Keys, text: &[u8]) -> Result<Vec<u8>, Unspecified> {
    if text.len() > MOST_BYTES {
        return Err(Unspecified);
    }
    let random = SystemRandom::new();
    let mut salt = [0; SALT];
    random.fill(&mut salt)?;
    let ours = EphemeralPrivateKey::generate(&ECDH_P256, &random)?;
    let public = ours.compute_public_key()?;
    let theirs = UnparsedPublicKey::new(&ECDH_P256, keys.public);
    agree_ephemeral(ours, &theirs, |secret| {
        seal(secret, keys, public.as_ref(), salt, text)
    })?
}

fn seal(
    secret: &[u8],
    keys: &Keys,
    public: &[u8],
    salt: [u8; SALT],
    text: &[u8],
) -> Result<Vec<u8>, Unspecified> {
    let (key, nonce) = derive(secret, keys, public, salt)?;
    let mut record = Vec::with_capacity(text.len() + 1 + TAG);
    record.extend_from_slice(text);
    // The end of the last record; no padding.
    record.push(2);
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key)?);
    let nonce = Nonce::assume_unique_for_key(nonce);
    key.seal_in_place_append_tag(nonce, Aad::empty(), &mut record)?;
    let length = u8::try_from(public.len()).map_err(|_| Unspecified)?;
    let header = [&salt[..], &RECORD.to_be_bytes(), &[length], public].concat();
    Ok([header, record].concat())
}

/// The record's key and nonce.
fn derive(
    secret: &[u8],
    keys: &Keys,
    public: &[u8],
    salt: [u8; SALT],
) -> Result<([u8; 16], [u8; 12]), Unspecified> {
    let prk = Salt::new(HKDF_SHA256, &keys.auth).extract(secret);
    let input: [u8; 32] = expand(&prk, &[b"WebPush: info\0", &keys.public, public])?;
    let prk = Salt::new(HKDF_SHA256, &salt).extract(&input);
    Ok((
        expand(&prk, &[b"Content-Encoding: aes128gcm\0"])?,
        expand(&prk, &[b"Content-Encoding: nonce\0"])?,
    ))
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn expand<const N: usize>(prk: &Prk, info: &[&[u8]]) -> Result<[u8; N], Unspecified> {
    let mut out = [0; N];
    prk.expand(info, Length(N))?.fill(&mut out)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::super::{base64url, from_base64url};
    use super::*;

    fn bytes<const N: usize>(text: &str) -> [u8; N] {
        from_base64url(text).unwrap().try_into().unwrap()
    }

    /// Its point, and the private half in ring's hands.
    fn browser() -> (EphemeralPrivateKey, Keys) {
        let private = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new()).unwrap();
        let public = private.compute_public_key().unwrap();
        let keys = Keys {
            public: public.as_ref().try_into().unwrap(),
            auth: [7; 16],
        };
        (private, keys)
    }

    /// RFC 8291, appendix A. The agreement itself is ring's, which takes no private key that it has not made: its result is the
    /// appendix's, too.
    #[test]
    fn the_example_of_the_standard_comes_out_to_the_byte() {
        let keys = Keys {
            public: bytes(
                "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
            ),
            auth: bytes("BTBZMqHH6r4Tts7J_aSIgg"),
        };
        let public: [u8; POINT] = bytes(
            "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8",
        );
        let secret: [u8; 32] = bytes("kyrL1jIIOHEzg3sM2ZWRHDRB62YACZhhSlknJ672kSs");
        let salt = bytes("DGv6ra1nlYgDCS1FRnbzlw");
        let text = b"When I grow up, I want to be a watermelon";
        assert_eq!(
            base64url(&seal(&secret, &keys, &public, salt, text).unwrap()),
            "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8w\
             EqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
        );
    }

    #[test]
    fn the_browser_reads_what_was_written_for_it_and_no_two_are_alike() {
        let (private, keys) = browser();
        let sent = encrypt(&keys, b"hello").unwrap();
        assert_ne!(sent, encrypt(&keys, b"hello").unwrap());
        let (header, record) = sent.split_at(SALT + 4 + 1 + POINT);
        let salt: [u8; SALT] = header[..SALT].try_into().unwrap();
        let ours = &header[SALT + 5..];
        let theirs = UnparsedPublicKey::new(&ECDH_P256, ours);
        let (key, nonce) =
            agree_ephemeral(private, &theirs, |secret| derive(secret, &keys, ours, salt))
                .unwrap()
                .unwrap();
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).unwrap());
        let mut record = record.to_vec();
        let text = key
            .open_in_place(
                Nonce::assume_unique_for_key(nonce),
                Aad::empty(),
                &mut record,
            )
            .unwrap();
        assert_eq!(text, b"hello\x02");
    }

    #[test]
    fn no_point_of_the_curve_and_too_long_a_text_are_refused() {
        let (_, mut keys) = browser();
        assert!(encrypt(&keys, &[0; MOST_BYTES]).unwrap().len() <= RECORD as usize);
        assert!(encrypt(&keys, &[0; MOST_BYTES + 1]).is_err());
        keys.public[40] ^= 1;
        assert!(encrypt(&keys, b"x").is_err());
    }
}

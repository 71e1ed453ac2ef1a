//! Host operations without state: digests, random bytes, base64, UTF-8. Bytes come as strings of characters below
//! 256 (`bytes.js` says why) and go back as buffers.

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::{alphabet, engine::DecodePaddingMode};
use ring::digest;
use ring::rand::{SecureRandom as _, SystemRandom};
use rquickjs::{ArrayBuffer, Ctx, Exception, Function, Object, Result};

/// Padding may be there or not, as browsers take it.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub fn add<'js>(ctx: &Ctx<'js>, host: &Object<'js>) -> Result<()> {
    host.set("digest", Function::new(ctx.clone(), digest_of)?)?;
    host.set("randomBytes", Function::new(ctx.clone(), random_bytes)?)?;
    host.set(
        "randomUuid",
        Function::new(ctx.clone(), || uuid::Uuid::new_v4().to_string())?,
    )?;
    host.set(
        "base64Encode",
        Function::new(ctx.clone(), |data: String| STANDARD.encode(bytes(&data)))?,
    )?;
    host.set("base64Decode", Function::new(ctx.clone(), base64_decode)?)?;
    host.set("utf8Encode", Function::new(ctx.clone(), utf8_encode)?)?;
    host.set("utf8Decode", Function::new(ctx.clone(), utf8_decode)?)
}

fn bytes(latin: &str) -> Vec<u8> {
    latin
        .chars()
        .map(|character| u32::from(character) as u8)
        .collect()
}

fn digest_of(ctx: Ctx<'_>, algorithm: String, data: String) -> Result<ArrayBuffer<'_>> {
    let algorithm = match algorithm.to_ascii_uppercase().as_str() {
        "SHA-1" => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        "SHA-256" => &digest::SHA256,
        "SHA-384" => &digest::SHA384,
        "SHA-512" => &digest::SHA512,
        other => {
            return Err(Exception::throw_message(
                &ctx,
                &format!("digest algorithm `{other}` is not supported"),
            ));
        }
    };
    ArrayBuffer::new(
        ctx,
        digest::digest(algorithm, &bytes(&data)).as_ref().to_vec(),
    )
}

fn random_bytes(ctx: Ctx<'_>, count: usize) -> Result<ArrayBuffer<'_>> {
    let mut random = vec![0; count];
    SystemRandom::new()
        .fill(&mut random)
        .map_err(|_| Exception::throw_message(&ctx, "the system gives no random numbers"))?;
    ArrayBuffer::new(ctx, random)
}

fn base64_decode(ctx: Ctx<'_>, text: String) -> Result<ArrayBuffer<'_>> {
    match LENIENT.decode(text) {
        Ok(decoded) => ArrayBuffer::new(ctx, decoded),
        Err(error) => Err(Exception::throw_message(
            &ctx,
            &format!("this is not base64: {error}"),
        )),
    }
}

fn utf8_encode(ctx: Ctx<'_>, text: String) -> Result<ArrayBuffer<'_>> {
    ArrayBuffer::new(ctx, text.into_bytes())
}

fn utf8_decode(ctx: Ctx<'_>, data: String, fatal: bool) -> Result<String> {
    match String::from_utf8(bytes(&data)) {
        Ok(text) => Ok(text),
        Err(_) if fatal => Err(Exception::throw_type(&ctx, "the data is not valid UTF-8")),
        Err(error) => Ok(String::from_utf8_lossy(error.as_bytes()).into_owned()),
    }
}

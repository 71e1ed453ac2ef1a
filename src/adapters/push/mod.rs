//! Web Push: tells a paired device whose page is closed, over the push service of its browser. The supervisor sends, because the
//! deployment has no network. `message` makes what only that browser can read (RFC 8291), `vapid` says who sends (RFC 8292),
//! `endpoint` judges where to, `send` delivers (RFC 8030), again where the service asks for it.
//!
//! The cryptography is put together over `ring`, which is here for TLS: the crates for it bring OpenSSL or a second set of
//! primitives, for what is two key derivations, one record and one signature. It is held against the RFC's example.

mod endpoint;
mod message;
mod send;
mod vapid;

pub use send::{Delivery, Pusher, Subscription};
pub use vapid::{Vapid, VapidError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn from_base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

//! Who we are: the owner (a person, by a key or a given token), this machine, this install and this boot.

mod install;
mod machine;
mod owner_key;
mod owner_keys;
mod pairing;
mod private_file;
mod static_token;

pub use install::{boot_id, install_id};
pub use machine::{CHATROOM_FILE, Machine, MachineError};
pub use owner_key::{AUDIENCE, ISSUER, KeyError, OWNER_SUBJECT, OwnerKey, TOKEN_TTL};
pub use owner_keys::{OwnerKeys, previous_path};
pub use pairing::PairingCode;
pub use static_token::{OWNER_TOKEN_VARIABLE, StaticToken};

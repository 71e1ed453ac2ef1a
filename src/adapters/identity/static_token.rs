//! An owner's token that somebody else made: a login of another OIDC provider, or a script's.

use secrecy::SecretString;

use crate::adapters::convex::owner::{AuthFailure, OwnerAuth};

/// The environment variable that carries it.
pub const OWNER_TOKEN_VARIABLE: &str = "ORCHESTRATOR_OWNER_TOKEN";

/// The same token on every socket; when it expires the deployment says so.
#[derive(Clone, Debug)]
pub struct StaticToken(SecretString);

impl StaticToken {
    /// `None` when the text is empty.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(SecretString::from(text.to_owned())))
    }

    pub fn from_environment() -> Option<Self> {
        Self::new(&std::env::var(OWNER_TOKEN_VARIABLE).ok()?)
    }
}

impl OwnerAuth for StaticToken {
    fn jwt(&self) -> Result<SecretString, AuthFailure> {
        Ok(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_not_in_its_debug_text() {
        let token = StaticToken::new(" secret-text\n").unwrap();
        assert!(!format!("{token:?}").contains("secret-text"));
        assert!(StaticToken::new("  ").is_none());
    }
}

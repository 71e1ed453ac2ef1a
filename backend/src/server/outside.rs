//! The second port, for a phone or another machine: only where somebody asked for it, over TLS, or in clear where somebody said
//! that, too. What serves behind it is the same; who may ask is `origin`'s matter, as on loopback.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use tokio_rustls::TlsAcceptor;

/// What [`Deployment::listen`](super::Deployment::listen) takes.
#[derive(Clone, Debug)]
pub struct Outside {
    /// Port 0 is a random one.
    pub bind: SocketAddr,
    /// Without it everything travels in clear, tokens too.
    pub tls: Option<Tls>,
    /// Names that it is reached under, as origins: `https://laptop.lan:3211`.
    pub allowed_origins: Vec<String>,
}

impl Outside {
    pub(super) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

/// A certificate with its key.
#[derive(Clone, Debug)]
pub struct Tls(Arc<ServerConfig>);

#[derive(Debug, Error)]
pub enum TlsError {
    #[error("the certificate is not in PEM: {0}")]
    Certificate(String),
    #[error("the certificate's file has none in it")]
    Empty,
    #[error("the private key is not in PEM (PKCS#8, PKCS#1 or SEC1)")]
    Key,
    #[error("certificate and key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

impl Tls {
    /// `chain`: the certificate first, then its issuers.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let certificates = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| TlsError::Certificate(error.to_string()))?;
        if certificates.is_empty() {
            return Err(TlsError::Empty);
        }
        // The parser's error could quote what it has read.
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::Key)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(certificates, key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Arc::new(config)))
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_or_no_key_is_said_without_what_is_in_it() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        assert!(Tls::from_pem(chain.as_bytes(), key.as_bytes()).is_ok());
        let empty = Tls::from_pem(b"", key.as_bytes());
        assert!(matches!(empty, Err(TlsError::Empty)));
        let swapped = Tls::from_pem(chain.as_bytes(), b"secret words").unwrap_err();
        assert!(!swapped.to_string().contains("secret"), "{swapped}");
        let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let foreign = other.signing_key.serialize_pem();
        let mixed = Tls::from_pem(chain.as_bytes(), foreign.as_bytes());
        assert!(matches!(mixed, Err(TlsError::Unusable(_))));
    }
}

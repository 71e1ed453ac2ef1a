//! The flags of whoever serves the embedded deployment to other devices. Plain HTTP beyond this machine has to be said twice.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use crate::daemon::Listen;

/// Beside the deployment's own port, which stays on 127.0.0.1.
const DEFAULT_PORT: u16 = 3211;

#[derive(Debug, Args)]
pub struct ListenArgs {
    /// Serve other devices, too, on this address (and port) of the machine: 192.168.1.20, 0.0.0.0:8443 [default port: 3211]
    #[arg(long, value_name = "ADDR", value_parser = listen_address)]
    listen: Option<SocketAddr>,

    /// The certificate for --listen in PEM, with its issuers
    #[arg(long, value_name = "PATH", requires = "listen", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// Its private key in PEM
    #[arg(long, value_name = "PATH", requires = "listen", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Let --listen serve without TLS; tokens then travel in clear
    #[arg(long, requires = "listen", conflicts_with = "tls_cert")]
    allow_insecure_listen: bool,
}

impl ListenArgs {
    pub fn is_asked_for(&self) -> bool {
        self.listen.is_some()
    }

    pub fn resolve(self) -> Result<Option<Listen>, Failure> {
        let Some(bind) = self.listen else {
            return Ok(None);
        };
        let tls = self.tls_cert.zip(self.tls_key);
        if tls.is_none() && !bind.ip().is_loopback() && !self.allow_insecure_listen {
            return Err(Failure::usage(format!(
                "on {} everything would travel in clear, tokens too",
                bind.ip()
            ))
            .hint(
                "give it a certificate: --tls-cert PATH --tls-key PATH; or leave --listen out and use a tunnel; \
                 in a network that you trust with your tokens: --allow-insecure-listen",
            ));
        }
        Ok(Some(Listen { bind, tls }))
    }
}

fn listen_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>()
        .map(|address| SocketAddr::new(address, DEFAULT_PORT))
        .map_err(|_| {
            "it must be an address of this machine, such as 192.168.1.20 or 0.0.0.0:8443".to_owned()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(listen: &str, insecure: bool) -> ListenArgs {
        ListenArgs {
            listen: Some(listen_address(listen).unwrap()),
            tls_cert: None,
            tls_key: None,
            allow_insecure_listen: insecure,
        }
    }

    #[test]
    fn clear_text_beyond_this_machine_is_refused_until_it_is_said() {
        assert!(given("0.0.0.0", false).resolve().is_err());
        assert!(given("192.168.1.20:80", false).resolve().is_err());
        assert!(given("[fd00::1]", false).resolve().is_err());
        assert!(given("127.0.0.1:0", false).resolve().is_ok());
        assert!(given("192.168.1.20", true).resolve().is_ok());
        let mut encrypted = given("0.0.0.0:8443", false);
        encrypted.tls_cert = Some("/c".into());
        encrypted.tls_key = Some("/k".into());
        let listen = encrypted.resolve().unwrap().unwrap();
        assert!(listen.tls.is_some() && listen.bind.port() == 8443);
    }

    #[test]
    fn an_address_may_leave_its_port_out_and_a_name_is_none() {
        assert_eq!(listen_address("10.0.0.2").unwrap().port(), DEFAULT_PORT);
        assert_eq!(listen_address("[::]").unwrap().port(), DEFAULT_PORT);
        assert_eq!(listen_address("[::1]:7").unwrap().port(), 7);
        for text in ["laptop.lan", "", "10.0.0.2:x"] {
            assert!(listen_address(text).is_err(), "{text}");
        }
    }
}

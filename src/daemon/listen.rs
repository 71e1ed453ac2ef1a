//! Being reached from other devices: only where that was asked for, over TLS or where somebody has said that clear text will
//! do. What is served there and who may ask for it is the same as on loopback.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

use orchestrator_backend::{Outside, Tls};
use url::Url;

use super::error::RunError;

/// A port for other devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    pub bind: SocketAddr,
    /// Files in PEM: the certificate with its issuers, and its key.
    pub tls: Option<(PathBuf, PathBuf)>,
}

impl Listen {
    pub(super) fn outside(&self, origins: &[String]) -> Result<Outside, RunError> {
        let tls = match &self.tls {
            None => None,
            Some((certificate, key)) => {
                let tls = Tls::from_pem(&read(certificate)?, &read(key)?).map_err(|error| {
                    RunError::Setup(format!(
                        "cannot use the certificate {} with the key {}: {error}",
                        certificate.display(),
                        key.display()
                    ))
                })?;
                Some(tls)
            }
        };
        Ok(Outside {
            bind: self.bind,
            tls,
            allowed_origins: origins.to_vec(),
        })
    }

    /// Where a phone finds it: a name that was allowed for this port, because certificates are for names; else the address.
    pub(super) fn page(&self, bound: SocketAddr, origins: &[String]) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let named = origins.iter().find(|origin| {
            Url::parse(origin).is_ok_and(|url| {
                url.scheme() == scheme && url.port_or_known_default() == Some(bound.port())
            })
        });
        if let Some(origin) = named {
            return origin.trim_end_matches('/').to_owned();
        }
        let address = match bound.ip() {
            ip if ip.is_unspecified() => outward().unwrap_or(ip),
            ip => ip,
        };
        format!("{scheme}://{}", SocketAddr::new(address, bound.port()))
    }
}

/// Said on every start.
pub fn warning(page: &str) -> String {
    let clear = if page.starts_with("http:") {
        " Nothing is encrypted on the way: whoever is on the way reads everything, tokens too."
    } else {
        ""
    };
    format!(
        "other devices can reach this deployment, at {page}. Who has no owner's token or pairing code is refused; give it to networks that you trust.{clear}"
    )
}

/// The address that this machine has towards others. Nothing is sent: a datagram socket that is connected has only chosen
/// its way. The other end is of a range for documentation.
fn outward() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified()).then_some(address)
}

fn read(path: &Path) -> Result<Vec<u8>, RunError> {
    std::fs::read(path)
        .map_err(|error| RunError::Setup(format!("cannot read {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(bind: &str, tls: bool) -> Listen {
        Listen {
            bind: bind.parse().unwrap(),
            tls: tls.then(|| (PathBuf::from("/c"), PathBuf::from("/k"))),
        }
    }

    #[test]
    fn a_phone_is_told_the_name_of_the_port_or_else_its_address() {
        let origins = [
            "https://chat.example".to_owned(),
            "https://laptop.lan:3211/".to_owned(),
        ];
        let bound = "10.0.0.2:3211".parse().unwrap();
        let tls = listen("10.0.0.2:3211", true);
        assert_eq!(tls.page(bound, &origins), "https://laptop.lan:3211");
        assert_eq!(tls.page(bound, &[]), "https://10.0.0.2:3211");
        let clear = listen("10.0.0.2:3211", false);
        assert_eq!(clear.page(bound, &origins), "http://10.0.0.2:3211");
    }

    #[test]
    fn clear_text_is_warned_of_as_such() {
        assert!(warning("http://10.0.0.2:3211").contains("Nothing is encrypted"));
        assert!(!warning("https://10.0.0.2:3211").contains("Nothing is encrypted"));
    }
}

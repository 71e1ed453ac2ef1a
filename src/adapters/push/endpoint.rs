//! Where a message may go. A subscription comes from a page, and nobody may make the supervisor talk to its own network by one:
//! `https` to a name on its usual port, and only to addresses of the public internet, whatever the name resolves to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use thiserror::Error;
use url::{Host, Url};

const MOST_CHARS: usize = 2_048;

/// Names that no push service has.
const PRIVATE_NAMES: [&str; 7] = [
    "localhost",
    "local",
    "internal",
    "lan",
    "home",
    "intranet",
    "arpa",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the subscription's endpoint is not https:// to a public name")]
pub struct NotPublic;

pub fn checked(text: &str) -> Result<Url, NotPublic> {
    if text.len() > MOST_CHARS {
        return Err(NotPublic);
    }
    let url = Url::parse(text).map_err(|_| NotPublic)?;
    let Some(Host::Domain(name)) = url.host() else {
        return Err(NotPublic);
    };
    let name = name.trim_end_matches('.');
    let Some((_, last)) = name.rsplit_once('.') else {
        return Err(NotPublic);
    };
    let is_plain = url.scheme() == "https"
        && url.port().is_none()
        && url.username().is_empty()
        && url.password().is_none()
        && url.fragment().is_none();
    if is_plain && !PRIVATE_NAMES.contains(&last) {
        Ok(url)
    } else {
        Err(NotPublic)
    }
}

/// Resolves names to public addresses only, at the moment of the connection.
#[derive(Debug)]
pub struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|found| is_public(found.ip())).collect();
            if public.is_empty() {
                return Err(NotPublic.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = a == 0
        || a >= 224
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b));
    !(is_special
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_documentation())
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    // Only what is given out to networks (2000::/3), and of it neither examples nor tunnels that name an IPv4 address.
    let [a, b, ..] = address.segments();
    (0x2000..0x4000).contains(&a) && a != 0x2002 && !(a == 0x2001 && (b == 0x0db8 || b < 0x0200))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_service_is_a_public_name_over_https() {
        for text in [
            "https://fcm.googleapis.com/fcm/send/abc:def",
            "https://updates.push.services.mozilla.com/wpush/v2/gAAA",
            "https://web.push.apple.com/QGu?x=y",
            "https://a.notify.windows.com:443/w/?token=b",
        ] {
            assert!(checked(text).is_ok(), "{text}");
        }
        let long = format!("https://push.example/{}", "a".repeat(MOST_CHARS));
        for text in [
            "http://push.example/a",
            "https://localhost/a",
            "https://a.localhost/a",
            "https://printer.local./a",
            "https://intranet/a",
            "https://127.0.0.1/a",
            "https://2130706433/a",
            "https://0x7f.1/a",
            "https://[::1]/a",
            "https://8.8.8.8/a",
            "https://push.example:8443/a",
            "https://me:secret@push.example/a",
            "https://push.example/a#b",
            "file:///etc/passwd",
            &long,
            "",
        ] {
            assert_eq!(checked(text), Err(NotPublic), "{text}");
        }
    }

    #[test]
    fn what_a_name_resolves_to_is_of_the_public_internet() {
        let is_public = |text: &str| is_public(text.parse().unwrap());
        for text in ["8.8.8.8", "100.128.0.1", "2a00:1450:4001::5", "2620:1ec::1"] {
            assert!(is_public(text), "{text}");
        }
        for text in [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.3.4",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "ff02::1",
        ] {
            assert!(!is_public(text), "{text}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_to_this_machine_is_not_connected_to() {
        let found = PublicOnly.resolve("localhost".parse().unwrap()).await;
        assert!(found.is_err());
    }
}

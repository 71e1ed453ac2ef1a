//! Who may talk to us from a browser. A page elsewhere must not drive a deployment on its visitor's machine, neither by
//! a socket, nor by a request, nor by a name that it lets point to 127.0.0.1 (DNS rebinding).
//!
//! A request without `Origin` does not come from a page and passes. `Host` must be a loopback name, our own address or
//! the host of an allowed origin. Only origins that may talk to us get CORS headers. The port for other devices has a policy
//! of its own, without the loopback names: there they would be somebody else's.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, HOST, HeaderValue, ORIGIN, VARY,
};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use thiserror::Error;
use tracing::warn;
use url::{Host, Url};

use super::http::Refusal;

#[derive(Debug, Error)]
#[error("`{0}` is not an origin: write it like `https://chat.example` or `http://localhost:5173`")]
pub struct OriginError(pub String);

/// The origins and hosts that are let through.
#[derive(Debug)]
pub(super) struct OriginPolicy {
    origins: HashSet<String>,
    hosts: HashSet<String>,
    /// Of a port on every address of the machine: any address will do as `Host`, because rebinding needs a name, and an
    /// origin is ours when it is this scheme and that very host.
    any_address: Option<&'static str>,
    advice: &'static str,
}

impl OriginPolicy {
    pub(super) fn new(address: SocketAddr, allowed: &[String]) -> Result<Self, OriginError> {
        let port = address.port();
        // What we do not listen on is another program's, whatever its port: a page of `[::1]` is not ours on 127.0.0.1.
        let origins: HashSet<String> = HashSet::from([
            format!("http://localhost:{port}"),
            format!("http://{address}"),
        ]);
        let mut hosts: HashSet<String> = ["127.0.0.1", "localhost", "[::1]"]
            .map(str::to_owned)
            .into();
        hosts.insert(match address {
            SocketAddr::V4(address) => address.ip().to_string(),
            SocketAddr::V6(address) => format!("[{}]", address.ip()),
        });
        let mut policy = Self {
            origins,
            hosts,
            any_address: None,
            advice: "this deployment does not answer under that host name: use http://127.0.0.1 or http://localhost",
        };
        policy.allow(allowed)?;
        Ok(policy)
    }

    /// For the port that other devices reach, at `scheme`.
    pub(super) fn outside(
        address: SocketAddr,
        scheme: &'static str,
        allowed: &[String],
    ) -> Result<Self, OriginError> {
        let mut policy = Self {
            origins: HashSet::new(),
            hosts: HashSet::new(),
            any_address: address.ip().is_unspecified().then_some(scheme),
            advice: "this deployment does not answer under that host name: start it with --allow-origin and the name",
        };
        if policy.any_address.is_none() {
            policy.allow(&[format!("{scheme}://{address}")])?;
        }
        policy.allow(allowed)?;
        Ok(policy)
    }

    fn allow(&mut self, allowed: &[String]) -> Result<(), OriginError> {
        for text in allowed {
            let url = origin(text)?;
            self.origins.insert(url.origin().ascii_serialization());
            self.hosts.extend(url.host().as_ref().map(host_text));
        }
        Ok(())
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        if !host.is_some_and(|host| self.knows_host(host)) {
            return Err(Refusal::forbidden("BadHost", self.advice));
        }
        match headers.get(ORIGIN) {
            Some(origin) if !self.knows_origin(origin) && !self.is_same(origin, host) => {
                Err(Refusal::forbidden(
                    "BadOrigin",
                    "this page's origin may not talk to this deployment: start the deployment with --allow-origin and the origin",
                ))
            }
            _ => Ok(()),
        }
    }

    fn knows_origin(&self, origin: &HeaderValue) -> bool {
        origin
            .to_str()
            .is_ok_and(|origin| self.origins.contains(&origin.to_ascii_lowercase()))
    }

    /// The page that was got from the very address that is asked.
    fn is_same(&self, origin: &HeaderValue, host: Option<&str>) -> bool {
        let (Some(scheme), Some(host)) = (self.any_address, host) else {
            return false;
        };
        let ours = Url::parse(&format!("{scheme}://{host}"));
        is_address(host)
            && ours.is_ok_and(|ours| {
                origin.as_bytes() == ours.origin().ascii_serialization().as_bytes()
            })
    }

    fn knows_host(&self, host: &str) -> bool {
        // any port: a tunnel may have put another one in front, and the name is what rebinding needs
        !host.contains('@')
            && host
                .parse::<Authority>()
                .is_ok_and(|authority| self.hosts.contains(&authority.host().to_ascii_lowercase()))
            || self.any_address.is_some() && is_address(host)
    }
}

/// `10.0.0.2`, `10.0.0.2:3211`, `[fe80::1]:3211`.
fn is_address(host: &str) -> bool {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    host.parse::<SocketAddr>().is_ok()
        || host.parse::<std::net::Ipv4Addr>().is_ok()
        || bare.is_some_and(|bare| {
            bare.parse::<IpAddr>()
                .is_ok_and(|address| address.is_ipv6())
        })
}

/// The URL of one origin, as [`super::DeploymentConfig::allowed_origins`] takes it.
pub fn check_origin(text: &str) -> Result<(), OriginError> {
    origin(text).map(drop)
}

fn origin(text: &str) -> Result<Url, OriginError> {
    let refused = || OriginError(text.to_owned());
    let url = Url::parse(text).map_err(|_| refused())?;
    let bare = url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    let host = url.host().filter(|_| bare && url.origin().is_tuple());
    // No page has an origin with a star in it: whoever writes one means many, and would get none.
    let is_one = host.is_some_and(|host| !host.to_string().contains('*'));
    if is_one { Ok(url) } else { Err(refused()) }
}

fn host_text(host: &Host<&str>) -> String {
    host.to_string().to_ascii_lowercase()
}

/// The middleware in front of everything.
pub(super) async fn guard(
    State(policy): State<std::sync::Arc<OriginPolicy>>,
    request: Request,
    next: Next,
) -> Response {
    if let Err(refusal) = policy.check(request.headers()) {
        warn!(
            path = request.uri().path(),
            code = refusal.code(),
            "request refused"
        );
        return refusal.into_response();
    }
    let origin = request.headers().get(ORIGIN).cloned();
    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("GET, POST, OPTIONS"),
        );
        headers.insert(
            ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("authorization, content-type, convex-client"),
        );
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        // a page on a public site that may talk to us still has to be told that it may reach a private address
        headers.insert(
            HeaderName::from_static("access-control-allow-private-network"),
            HeaderValue::from_static("true"),
        );
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(host: &str, origin: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        headers
    }

    fn policy(allowed: &[&str]) -> OriginPolicy {
        let allowed: Vec<String> = allowed.iter().map(|text| (*text).to_owned()).collect();
        OriginPolicy::new("127.0.0.1:3210".parse().unwrap(), &allowed).unwrap()
    }

    #[test]
    fn our_own_pages_programs_and_allowed_pages_pass() {
        let policy = policy(&["https://Chat.example/", "http://localhost:5173"]);
        for (host, origin) in [
            ("127.0.0.1:3210", None),
            ("localhost:3210", Some("http://localhost:3210")),
            ("127.0.0.1:3210", Some("http://127.0.0.1:3210")),
            ("LOCALHOST:9999", None),
            ("[::1]:3210", None),
            ("127.0.0.1:3210", Some("https://chat.example")),
            ("chat.example", Some("https://chat.example")),
            ("127.0.0.1:3210", Some("http://localhost:5173")),
        ] {
            assert!(
                policy.check(&headers(host, origin)).is_ok(),
                "{host} {origin:?}"
            );
        }
    }

    #[test]
    fn foreign_pages_and_rebound_names_are_refused() {
        let policy = policy(&["https://chat.example"]);
        for (host, origin) in [
            ("127.0.0.1:3210", Some("http://evil.example")),
            ("127.0.0.1:3210", Some("null")),
            ("127.0.0.1:3210", Some("http://127.0.0.1:8080")),
            ("127.0.0.1:3210", Some("http://[::1]:3210")),
            ("127.0.0.1:3210", Some("http://chat.example")),
            ("127.0.0.1:3210", Some("https://chat.example.evil")),
            ("evil.example:3210", None),
            ("evil.example:3210", Some("http://evil.example:3210")),
            ("127.0.0.1@evil.example", None),
            ("localhost.evil.example", None),
            ("127.0.0.1:3210/..", None),
            ("", None),
        ] {
            assert!(
                policy.check(&headers(host, origin)).is_err(),
                "{host} {origin:?}"
            );
        }
        assert!(policy.check(&HeaderMap::new()).is_err());
    }

    #[test]
    fn other_devices_reach_it_by_its_address_or_a_name_that_is_allowed() {
        let named = ["https://laptop.lan:3211".to_owned()];
        let one = OriginPolicy::outside("10.0.0.2:3211".parse().unwrap(), "https", &named).unwrap();
        let every =
            OriginPolicy::outside("0.0.0.0:3211".parse().unwrap(), "https", &named).unwrap();
        for policy in [&one, &every] {
            for (host, origin) in [
                ("10.0.0.2:3211", None),
                ("10.0.0.2:3211", Some("https://10.0.0.2:3211")),
                ("laptop.lan:3211", Some("https://laptop.lan:3211")),
            ] {
                assert!(
                    policy.check(&headers(host, origin)).is_ok(),
                    "{host} {origin:?}"
                );
            }
            for (host, origin) in [
                ("10.0.0.2:3211", Some("http://10.0.0.2:3211")),
                ("10.0.0.2:3211", Some("https://10.0.0.2:8080")),
                ("10.0.0.2:3211", Some("https://evil.example:3211")),
                ("evil.example:3211", Some("https://evil.example:3211")),
                ("evil.example:3211", None),
                ("localhost:3211", None),
                ("10.0.0.2@evil.example", None),
                ("", None),
            ] {
                assert!(
                    policy.check(&headers(host, origin)).is_err(),
                    "{host} {origin:?}"
                );
            }
        }
        let other = headers("10.0.0.9:3211", Some("https://10.0.0.2:3211"));
        assert!(one.check(&other).is_err() && every.check(&other).is_err());
        assert!(one.check(&headers("10.0.0.9:3211", None)).is_err());
        let v6 = headers("[fd00::1]:3211", Some("https://[fd00::1]:3211"));
        assert!(every.check(&v6).is_ok());
    }

    #[test]
    fn what_is_not_an_origin_is_refused_at_the_start() {
        for text in [
            "chat.example",
            "https://chat.example/path",
            "*",
            "https://*.example",
            "https://*",
            "https://chat.example/#x",
            "file:///x",
            "",
        ] {
            let allowed = [text.to_owned()];
            assert!(
                OriginPolicy::new("127.0.0.1:1".parse().unwrap(), &allowed).is_err(),
                "{text}"
            );
        }
    }
}

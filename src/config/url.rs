//! Which addresses a deployment may have: HTTPS, because tokens travel on it; plain HTTP for this machine's own
//! loopback, and elsewhere only when the user insists (`--allow-insecure-url`).

use orchestrator_actors::domain::ids::DeploymentUrl;
use url::{Host, Url};

/// What is said of any other address.
pub const NEEDS_HTTPS: &str = "Convex URL must use HTTPS";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UrlRule {
    /// Take `http://` for hosts other than loopback, too.
    pub allow_insecure: bool,
}

/// The deployment that `text` names, without a trailing slash; or what is wrong with it.
pub fn deployment_url(text: &str, rule: UrlRule) -> Result<DeploymentUrl, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("Convex URL is required".to_owned());
    }
    let url = Url::parse(text).map_err(|error| {
        format!("Convex URL cannot be read: {error} (sample: https://your-deployment.convex.cloud)")
    })?;
    match url.scheme() {
        "https" => {}
        "http" if rule.allow_insecure || is_loopback(&url) => {}
        _ => return Err(NEEDS_HTTPS.to_owned()),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("Convex URL must not hold a user or a password".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("Convex URL must not have a query or a fragment".to_owned());
    }
    Ok(DeploymentUrl::new(url.as_str().trim_end_matches('/')))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strict(text: &str) -> Result<String, String> {
        deployment_url(text, UrlRule::default()).map(|url| url.to_string())
    }

    #[test]
    fn https_and_loopback_are_taken() {
        assert_eq!(
            strict("https://happy-otter-123.convex.cloud/"),
            Ok("https://happy-otter-123.convex.cloud".to_owned())
        );
        for text in [
            "http://127.0.0.1:3210",
            "http://localhost:1",
            "http://[::1]:9",
        ] {
            assert_eq!(strict(text), Ok(text.to_owned()));
        }
    }

    #[test]
    fn plain_http_needs_the_users_word() {
        let text = "http://192.168.1.5:3210";
        assert_eq!(strict(text), Err("Convex URL must use HTTPS".to_owned()));
        assert!(
            deployment_url(
                text,
                UrlRule {
                    allow_insecure: true
                }
            )
            .is_ok()
        );
        assert!(strict("ftp://x").is_err());
        assert!(strict("http://127.0.0.1.example.com").is_err());
    }

    #[test]
    fn credentials_and_queries_are_refused() {
        assert!(strict("https://me:pw@x.convex.cloud").is_err());
        assert!(strict("https://x.convex.cloud?a=1").is_err());
        assert!(strict("").is_err());
        assert!(strict("not a url").is_err());
    }
}

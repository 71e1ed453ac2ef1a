//! From a deployment's URL to its sync endpoint. Convex replaces the path: a prefix would be lost in every
//! official client, so it is in ours.

use url::{Host, Url};

/// Where the sync protocol of `deployment` is spoken.
pub fn sync_endpoint(deployment: &str) -> Result<Url, String> {
    let mut url =
        Url::parse(deployment).map_err(|e| format!("`{deployment}` is not a URL: {e}"))?;
    let scheme = match url.scheme() {
        "http" | "ws" => "ws",
        "https" | "wss" => "wss",
        other => {
            return Err(format!(
                "`{deployment}`: a deployment is reached by http or https, not {other}"
            ));
        }
    };
    if url.host().is_none() || url.set_scheme(scheme).is_err() {
        return Err(format!("`{deployment}` names no host"));
    }
    url.set_path("/api/sync");
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

/// Whether the deployment is on this machine: calls to it cost nothing.
pub fn is_local(endpoint: &Url) -> bool {
    match endpoint.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_replaced_and_the_scheme_follows() {
        for (deployment, endpoint) in [
            ("http://127.0.0.1:3210", "ws://127.0.0.1:3210/api/sync"),
            (
                "https://a.convex.cloud/x?y#z",
                "wss://a.convex.cloud/api/sync",
            ),
            ("wss://a.example", "wss://a.example/api/sync"),
            ("ws://[::1]:1/", "ws://[::1]:1/api/sync"),
        ] {
            assert_eq!(sync_endpoint(deployment).unwrap().as_str(), endpoint);
        }
    }

    #[test]
    fn what_is_no_deployment_says_so() {
        for text in ["", "happy-otter", "ftp://a.example", "data:x"] {
            assert!(sync_endpoint(text).is_err(), "{text}");
        }
    }

    #[test]
    fn local_is_loopback() {
        for (text, local) in [
            ("http://127.0.0.1:1", true),
            ("http://[::1]:1", true),
            ("http://localhost:1", true),
            ("https://a.convex.cloud", false),
        ] {
            assert_eq!(is_local(&sync_endpoint(text).unwrap()), local, "{text}");
        }
    }
}

//! The page: static files beside the API, given as bytes at the start. `/` is `index.html`, whatever else is named exactly
//! is served, and nothing is read from the disk while it serves. Who may ask is `origin`'s matter, as for everything.
//!
//! Every answer carries the headers that keep a page from doing what it was not built to do: scripts and styles of this
//! origin only, none inline, connections to this deployment only, no frames, and markup made from text only by the one
//! sanitizer that the policy names.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderName, Method};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::app::App;
use super::http;

/// `'self'` covers this deployment's socket, too. `dompurify` is the policy of the page's sanitizer,
/// `sw` names the one script that may become a service worker.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types dompurify sw";

const INDEX: &str = "index.html";

/// Vite puts a hash of the content into the names in here, so they never change.
const HASHED: &str = "assets/";

/// What a deployment without a page says at its address.
const NO_PAGE: &str = "This Convex deployment is running. The page is not part of this build: run `just web` \
    (or `npm install && npm run web`) in the sources and build again, or name a folder with it in ORCHESTRATOR_PAGE.\n";

/// The page's files by their path without the first slash. Empty: there is no page.
#[derive(Clone, Debug, Default)]
pub struct Site(Arc<BTreeMap<String, Bytes>>);

impl Site {
    pub fn new(files: impl IntoIterator<Item = (String, Bytes)>) -> Self {
        Self(Arc::new(files.into_iter().collect()))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn response(&self, path: &str) -> Option<Response> {
        let content = self.0.get(path)?.clone();
        let caching = if path.starts_with(HASHED) {
            "public, max-age=31536000, immutable"
        } else {
            "no-cache"
        };
        let mut response = Body::from(content).into_response();
        let headers = response.headers_mut();
        for (name, value) in [
            (CONTENT_TYPE, media_type(path)),
            (CACHE_CONTROL, caching),
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
            (X_FRAME_OPTIONS, "DENY"),
            (
                HeaderName::from_static("cross-origin-opener-policy"),
                "same-origin",
            ),
            (
                HeaderName::from_static("cross-origin-resource-policy"),
                "same-origin",
            ),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        Some(response)
    }
}

/// By the extension; what we do not know is given as bytes, which no browser runs.
fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("webmanifest") => "application/manifest+json",
        _ => "application/octet-stream",
    }
}

pub(super) async fn index(State(app): State<Arc<App>>) -> Response {
    let page = app.site.response(INDEX);
    page.unwrap_or_else(|| NO_PAGE.into_response())
}

/// What no other route has taken.
pub(super) async fn file(State(app): State<Arc<App>>, request: Request) -> Response {
    let path = request.uri().path().trim_start_matches('/');
    match *request.method() {
        Method::GET | Method::HEAD => app.site.response(path),
        _ => None,
    }
    .unwrap_or_else(|| http::not_found().into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> Site {
        let file = |name: &str| (name.to_owned(), Bytes::from_static(b"x"));
        Site::new([file("index.html"), file("assets/a-1f.js"), file("odd.exe")])
    }

    #[test]
    fn every_file_comes_with_the_policy_and_its_type() {
        for (path, kind, caching) in [
            ("index.html", "text/html; charset=utf-8", "no-cache"),
            (
                "assets/a-1f.js",
                "text/javascript; charset=utf-8",
                "public, max-age=31536000, immutable",
            ),
            ("odd.exe", "application/octet-stream", "no-cache"),
        ] {
            let response = site().response(path).unwrap();
            let header = |name: HeaderName| response.headers()[name].to_str().unwrap().to_owned();
            assert_eq!(header(CONTENT_TYPE), kind);
            assert_eq!(header(CACHE_CONTROL), caching);
            assert_eq!(header(X_CONTENT_TYPE_OPTIONS), "nosniff");
            assert_eq!(header(REFERRER_POLICY), "no-referrer");
            let policy = header(CONTENT_SECURITY_POLICY);
            assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"));
        }
    }

    #[test]
    fn only_what_is_named_exactly_is_served() {
        for path in [
            "",
            "assets/",
            "../Cargo.toml",
            "assets/../index.html",
            "INDEX.HTML",
        ] {
            assert!(site().response(path).is_none(), "{path}");
        }
    }
}

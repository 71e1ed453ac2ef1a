//! Pages elsewhere and rebound names are kept out of the socket and the HTTP API alike.

use serde_json::json;
use tokio_tungstenite::tungstenite::Error;

use crate::support::{Client, World, deployment};

#[tokio::test]
async fn sockets_are_for_programs_our_own_pages_and_allowed_pages() {
    let deployment = deployment(&World::default(), |config| {
        config.allowed_origins = vec!["https://chat.example".to_owned()];
    })
    .await;
    let port = deployment.address().port();
    let own = format!("http://localhost:{port}");
    for origin in [own.as_str(), "https://chat.example"] {
        let client = Client::try_open(&deployment.url(), &[("origin", origin)]).await;
        assert!(client.is_ok(), "{origin}");
    }
    let rebound = format!("evil.example:{port}");
    for headers in [
        [("origin", "https://evil.example")],
        [("origin", "null")],
        [("host", rebound.as_str())],
    ] {
        match Client::try_open(&deployment.url(), &headers).await {
            Err(Error::Http(response)) => assert_eq!(response.status(), 403),
            other => panic!("{headers:?}: {:?}", other.err()),
        }
    }
    deployment.stop().await;
}

#[tokio::test]
async fn only_origins_that_may_talk_to_us_get_cors_headers() {
    let deployment = deployment(&World::default(), |config| {
        config.allowed_origins = vec!["https://chat.example".to_owned()];
    })
    .await;
    let http = reqwest::Client::new();
    let query = format!("{}/api/query", deployment.url());
    let preflight = |origin: &'static str| {
        http.request(reqwest::Method::OPTIONS, &query)
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .send()
    };
    let allowed = preflight("https://chat.example").await.unwrap();
    assert_eq!(allowed.status(), 204);
    assert_eq!(
        allowed.headers()["access-control-allow-origin"],
        "https://chat.example"
    );
    assert!(
        allowed.headers()["access-control-allow-headers"]
            .to_str()
            .unwrap()
            .contains("authorization")
    );
    let refused = preflight("https://evil.example").await.unwrap();
    assert_eq!(refused.status(), 403);
    assert!(
        !refused
            .headers()
            .contains_key("access-control-allow-origin")
    );
    let call = json!({"path": "rows:add", "args": {"key": "n"}});
    let refused = http
        .post(format!("{}/api/mutation", deployment.url()))
        .header("origin", "https://evil.example")
        .header("content-type", "text/plain")
        .body(call.to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), 403);
    let plain = http
        .post(&query)
        .json(&json!({"path": "rows:get", "args": {"key": "n"}}))
        .send()
        .await
        .unwrap();
    assert!(!plain.headers().contains_key("access-control-allow-origin"));
    assert_eq!(
        plain.json::<serde_json::Value>().await.unwrap()["value"],
        json!(null)
    );
    deployment.stop().await;
}

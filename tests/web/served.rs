//! How the page is served: under a strict policy, to its own origin only, and not at all from a folder that is none.

use reqwest::{Client, Response, StatusCode};

use super::{ORCHESTRATOR, Theatre};
use orchestrator_test_support::Home;

async fn get(client: &Client, url: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = client.get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_comes_under_a_strict_policy_and_to_its_own_origin_only() {
    let theatre = Theatre::new();
    let supervisor = theatre.stage.run();
    let api = theatre.stage.api(&supervisor);
    let client = Client::new();
    let page = get(&client, api.url(), &[]).await;
    let policy = header(&page, "content-security-policy").to_owned();
    for rule in [
        "default-src 'none'",
        "script-src 'self'",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "form-action 'none'",
    ] {
        assert!(policy.contains(rule), "{policy}");
    }
    assert!(
        !policy.contains("unsafe") && !policy.contains('*'),
        "{policy}"
    );
    assert_eq!(header(&page, "x-content-type-options"), "nosniff");
    assert_eq!(header(&page, "referrer-policy"), "no-referrer");
    assert_eq!(header(&page, "cache-control"), "no-cache");
    assert_eq!(header(&page, "content-type"), "text/html; charset=utf-8");
    let html = page.text().await.unwrap();
    // for a server that sends none
    assert!(
        html.contains("<meta http-equiv=\"Content-Security-Policy\""),
        "{html}"
    );
    assert!(
        !html.contains("<script>") && !html.contains("style="),
        "{html}"
    );

    let (_, rest) = html.split_once("src=\"./assets/").expect("a script");
    let (name, _) = rest.split_once('"').expect("its name");
    let script = get(&client, &format!("{}/assets/{name}", api.url()), &[]).await;
    assert_eq!(
        header(&script, "content-type"),
        "text/javascript; charset=utf-8"
    );
    assert!(header(&script, "cache-control").contains("immutable"));

    for path in ["/nothing.js", "/assets/", "/../Cargo.toml", "/index.htm"] {
        let answer = get(&client, &format!("{}{path}", api.url()), &[]).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
    }
    for foreign in [("Origin", "https://evil.example"), ("Host", "evil.example")] {
        let answer = get(&client, api.url(), &[foreign]).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{foreign:?}");
    }
    assert!(supervisor.terminate().success());
}

#[test]
fn a_folder_that_is_no_page_is_refused_at_the_start() {
    let mut home = Home::new(ORCHESTRATOR);
    let empty = home.dir("empty");
    home.set("ORCHESTRATOR_PAGE", empty.display().to_string());
    let ran = home.run(["deployment", "run", "--port", "0"]).exits(1);
    assert!(ran.stderr.contains("ORCHESTRATOR_PAGE"), "{}", ran.stderr);
    assert!(ran.stderr.contains("no index.html"), "{}", ran.stderr);
}

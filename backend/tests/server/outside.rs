//! The port for other devices: TLS from the first byte, the same checks, places of its own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use orchestrator_backend::server::{Outside, StartError, Tls};

use crate::support::{World, deployment};

struct Made {
    tls: Tls,
    root: reqwest::Certificate,
}

fn certificate() -> Made {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let chain = made.cert.pem();
    let key = made.signing_key.serialize_pem();
    Made {
        tls: Tls::from_pem(chain.as_bytes(), key.as_bytes()).unwrap(),
        root: reqwest::Certificate::from_pem(chain.as_bytes()).unwrap(),
    }
}

fn outside(tls: Option<Tls>) -> Outside {
    Outside {
        bind: SocketAddr::from(([127, 0, 0, 1], 0)),
        tls,
        allowed_origins: vec!["https://laptop.lan".to_owned()],
    }
}

#[tokio::test]
async fn other_devices_are_served_over_tls_under_the_same_checks() {
    let world = World::default();
    let mut deployment = deployment(&world, |_| {}).await;
    let made = certificate();
    let address = deployment.listen(outside(Some(made.tls))).await.unwrap();
    let client = reqwest::Client::builder()
        .add_root_certificate(made.root)
        .build()
        .unwrap();
    let url = format!("https://{address}/version");
    let get = |headers: &'static [(&'static str, &'static str)]| {
        let mut request = client.get(&url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        async move { request.send().await.unwrap().status().as_u16() }
    };
    assert_eq!(get(&[]).await, 200);
    assert_eq!(
        get(&[("Host", "laptop.lan"), ("Origin", "https://laptop.lan")]).await,
        200
    );
    assert_eq!(get(&[("Host", "evil.example")]).await, 403);
    assert_eq!(get(&[("Origin", "https://evil.example")]).await, 403);
    assert_eq!(
        get(&[("Host", "localhost")]).await,
        403,
        "a loopback name is somebody else's"
    );
    let loopback = format!("{}/version", deployment.url());
    assert_eq!(reqwest::get(loopback).await.unwrap().status(), 200);
    deployment.stop().await;
    assert!(client.get(&url).send().await.is_err());
}

#[tokio::test]
async fn who_does_not_speak_tls_gets_nothing_and_does_not_stay() {
    let world = World::default();
    let mut deployment = deployment(&world, |config| {
        config.tuning.header_timeout = Duration::from_millis(200);
    })
    .await;
    let made = certificate();
    let address = deployment.listen(outside(Some(made.tls))).await.unwrap();
    let answers = tokio::task::spawn_blocking(move || {
        let ask = |text: &[u8]| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream
                .set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            stream.write_all(text).unwrap();
            let mut answer = Vec::new();
            // a reset is an end, too; only waiting for ever is none
            match stream.read_to_end(&mut answer) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("it stays"),
                _ => String::from_utf8_lossy(&answer).into_owned(),
            }
        };
        [
            ask(b"GET /version HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"),
            ask(b""),
        ]
    });
    for answer in answers.await.unwrap() {
        assert!(!answer.contains("HTTP/1.1"), "{answer}");
    }
    deployment.stop().await;
}

#[tokio::test]
async fn a_port_for_others_that_cannot_be_had_is_said() {
    let world = World::default();
    let mut deployment = deployment(&world, |_| {}).await;
    let taken = Outside {
        bind: deployment.address(),
        ..outside(None)
    };
    let error = deployment.listen(taken).await.unwrap_err();
    assert!(matches!(error, StartError::AddressInUse { .. }), "{error}");
    let clear = deployment.listen(outside(None)).await.unwrap();
    let status = reqwest::get(format!("http://{clear}/version"))
        .await
        .unwrap();
    assert_eq!(status.status(), 200);
    deployment.stop().await;
}

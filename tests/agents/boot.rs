//! Starts that fail: each has one clear error of the right kind, in time, and leaves nothing.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use orchestrator_actors::ports::agent::{AgentError, Agents};
use serde_json::json;

use crate::harness::{World, eventually};

/// A program in the place of OpenCode.
async fn world_with_program(script: &str) -> World {
    let script = script.to_owned();
    World::with(move |config| {
        let path = config.data_dir.parent().unwrap().join("fake-opencode");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        config.binary = path;
        config.deadlines.listening = Duration::from_secs(1);
        config.deadlines.ready = Duration::from_secs(2);
    })
    .await
}

async fn error_of(world: &World) -> AgentError {
    world
        .try_open("s1")
        .await
        .err()
        .expect("it cannot be opened")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_configuration_is_told_as_such() {
    let world = World::with(|config| {
        config.hermetic.as_mut().unwrap().overrides = json!({"provider": "not an object"});
    })
    .await;
    let error = error_of(&world).await;
    assert!(
        matches!(&error, AgentError::Misconfigured(text) if text.contains("configuration is broken")),
        "{error:?}"
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_never_listens_or_ends_at_once_or_says_garbage_is_a_failed_boot() {
    for (program, expected) in [
        ("echo starting; sleep 600", "did not say in time"),
        ("echo 'cannot open database' >&2; exit 3", "exit code 3"),
        (
            "echo 'opencode server listening on somewhere'; sleep 600",
            "not where",
        ),
    ] {
        let world = world_with_program(program).await;
        let error = error_of(&world).await;
        assert!(
            matches!(&error, AgentError::Boot(text) if text.contains(expected)),
            "{program}: {error:?}"
        );
        if program.contains("database") {
            assert!(error.to_string().contains("cannot open database"));
        }
        world.end().await;
    }
}

/// A server that answers everything with one body.
async fn server(status: &'static str, body: &'static str) -> u16 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn something_else_on_the_port_and_an_old_version_are_told_apart() {
    let listen = |port: u16| {
        format!("echo 'opencode server listening on http://127.0.0.1:{port}'; sleep 600")
    };
    let port = server("200 OK", "<html>hello</html>").await;
    let world = world_with_program(&listen(port)).await;
    let error = error_of(&world).await;
    assert!(
        matches!(&error, AgentError::Boot(text) if text.contains("not OpenCode's")),
        "{error:?}"
    );
    world.end().await;

    let port = server("200 OK", r#"{"healthy":true,"version":"1.17.3"}"#).await;
    let world = world_with_program(&listen(port)).await;
    let error = error_of(&world).await;
    assert!(
        matches!(&error, AgentError::Missing(text) if text.contains("1.17.3") && text.contains("npm install")),
        "{error:?}"
    );
    assert!(!error.is_transient());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_program_and_a_missing_directory_say_what_to_do() {
    let world = World::with(|config| config.binary = PathBuf::from("/no/such/opencode")).await;
    let error = error_of(&world).await;
    assert!(
        matches!(&error, AgentError::Missing(text) if text.contains("ORCHESTRATOR_OPENCODE_BIN")),
        "{error:?}"
    );
    let mut spec = world.spec("s1");
    spec.directory =
        orchestrator_actors::domain::ids::WorkerDir::canonical("/no/such/directory".into());
    // It waits for it, and says so: what is queued is not the cause and is not failed for it.
    let waiting = spec.waiting.clone();
    let open = world.agents.open(spec);
    let says = eventually("it says so", || {
        let what = waiting.get().unwrap_or_default();
        what.contains("/no/such/directory does not exist: make it again")
    });
    tokio::select! {
        opened = open => panic!("{:?}", opened.err()),
        _ = says => {}
    }
    world.end().await;
}

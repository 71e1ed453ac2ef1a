//! Clients of the control socket that misbehave: they leave in the middle, or do not read what they asked for.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use orchestrator_test_support::{Stage, eventually};

use crate::ORCHESTRATOR;

fn connect(stage: &Stage) -> UnixStream {
    let text = std::fs::read_to_string(stage.home.state().join("daemon.json")).unwrap();
    let file: serde_json::Value = serde_json::from_str(&text).unwrap();
    UnixStream::connect(file["socket"].as_str().unwrap()).unwrap()
}

const PS: &[u8] = b"{\"v\":1,\"verb\":\"ps\"}\n";

#[test]
fn a_control_socket_that_was_removed_is_made_again() {
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = stage.run();
    let text = std::fs::read_to_string(stage.home.state().join("daemon.json")).unwrap();
    let file: serde_json::Value = serde_json::from_str(&text).unwrap();
    let folder = std::path::Path::new(file["socket"].as_str().unwrap())
        .parent()
        .unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    stage.home.run(["ps"]).exits(1);
    eventually("it is found again", || stage.home.run(["ps"]).code == 0);
    assert!(supervisor.terminate().success());
}

#[test]
fn clients_that_leave_in_mid_ps_or_never_read_disturb_nobody() {
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = stage.run();
    let mut asked = connect(&stage);
    asked.write_all(PS).unwrap();
    let mut answer = [0; 16];
    asked.read_exact(&mut answer).unwrap();
    assert!(answer.starts_with(b"{"), "not what `ps` answers");
    drop(asked);
    // Half a question, a question whose answer nobody waits for, and one that is asked again and again and never read.
    for _ in 0..50 {
        connect(&stage).write_all(&PS[..10]).unwrap();
        connect(&stage).write_all(PS).unwrap();
    }
    let mut deaf: Vec<UnixStream> = (0..4).map(|_| connect(&stage)).collect();
    for socket in &mut deaf {
        socket
            .set_write_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        // Until its buffers are full; what does not go any more is the point.
        for _ in 0..20_000 {
            if socket.write_all(PS).is_err() {
                break;
            }
        }
    }
    let begun = Instant::now();
    stage.home.run(["ps", "--json"]).exits(0);
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    let sent = stage.home.run(["send", "are you there", "--wait"]).exits(0);
    assert!(sent.stdout.contains("are you there"), "{}", sent.stdout);
    drop(deaf);
    assert!(supervisor.terminate().success());
}

#[test]
fn a_damaged_daemon_json_of_a_running_supervisor_is_not_taken_for_none() {
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = stage.run();
    std::fs::write(stage.home.state().join("daemon.json"), "{garbage").unwrap();
    let ran = stage.home.run(["send", "hello", "--wait"]).exits(0);
    assert!(!ran.stdout.is_empty());
    assert!(supervisor.terminate().success());
}

//! Images and files that go along with a message: from the command line through the deployment to the model, by the real
//! OpenCode.

use std::fs;

use orchestrator_test_support::{Stage, eventually, script};
use serde_json::json;

use crate::ORCHESTRATOR;

/// A PNG of one pixel, and so many bytes after its end.
fn png(more: usize) -> Vec<u8> {
    const PIXEL: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\0\0\0\rIDATx\x9cc\xf8\xcf\xc0P\x0f\0\x04\x85\x01\x80\x84\xa9\x8c!\0\0\0\0IEND\xaeB`\x82";
    let mut bytes = PIXEL.to_vec();
    bytes.extend((0..more).map(|at| (at * 31 % 251) as u8));
    bytes
}

#[test]
fn the_model_sees_what_goes_along_and_the_conversation_goes_on() {
    let stage = Stage::new(ORCHESTRATOR);
    let _supervisor = stage.run();
    let home = &stage.home;
    let folder = home.dir("elsewhere");
    fs::create_dir_all(&folder).unwrap();
    let path = |name: &str, content: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    // Of more than one piece.
    let image = png(800_000);
    let shot = path("shot.png", &image);
    let notes = path("notes.md", "the port is 4711 – ändert sich".as_bytes());

    let args = [
        "send",
        "what is this?",
        "--file",
        &shot,
        "--file",
        &notes,
        "--wait",
        "--json",
    ];
    let ran = home.run(args).exits(0).json();
    let said = ran["text"].as_str().unwrap();
    let seen = format!("With it came image/png of {} bytes.", image.len());
    assert!(said.contains(&seen), "{said}");
    assert!(said.contains("what is this?"), "{said}");
    assert!(said.contains("notes.md"), "{said}");
    let session = ran["session"].as_str().unwrap();
    let shown = home.run(["session", "show", session]).exits(0);
    assert!(
        shown.stdout.contains("[file: shot.png, "),
        "{}",
        shown.stdout
    );
    assert!(
        shown.stdout.contains("[file: notes.md, "),
        "{}",
        shown.stdout
    );

    // The next message has none, and the largest one that may go along arrives whole.
    let again = home
        .run(["send", "and now?", "--to", session, "--wait"])
        .exits(0);
    assert!(!again.stdout.contains("With it came"), "{}", again.stdout);
    let large = png(9_999_000);
    let large_path = path("large.png", &large);
    let args = [
        "send",
        "and this?",
        "--to",
        session,
        "--file",
        &large_path,
        "--wait",
    ];
    let ran = home.run(args).exits(0);
    let seen = format!("With it came image/png of {} bytes.", large.len());
    assert!(ran.stdout.contains(&seen), "{}", ran.stdout);
}

#[test]
fn a_pdf_is_handed_over_as_one() {
    let stage = Stage::new(ORCHESTRATOR);
    let _supervisor = stage.run();
    let home = &stage.home;
    let path = home.dir("shop").join("paper.pdf");
    fs::write(&path, b"%PDF-1.4\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF\n").unwrap();
    let path = path.display().to_string();
    let ran = home
        .run(["send", "read it", "--file", &path, "--wait"])
        .exits(0);
    assert!(ran.stdout.contains("application/pdf of "), "{}", ran.stdout);
}

#[test]
fn what_cannot_go_along_is_exit_2_and_nothing_is_sent() {
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = stage.run();
    let home = &stage.home;
    let huge = home.dir("shop").join("huge.png");
    fs::File::create(&huge)
        .unwrap()
        .set_len(50_000_000)
        .unwrap();
    let huge = huge.display().to_string();
    let ran = home.run(["send", "look", "--file", &huge]).exits(2);
    assert!(
        ran.stderr.contains("too large to go along"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("hint:"), "{}", ran.stderr);
    home.run(["send", "look", "--file", "/no/such.png"])
        .exits(2);
    let api = stage.api(&supervisor);
    assert_eq!(api.query("sessions:list", &json!({})), json!([]));
}

/// A prompt that has begun is not given again, whatever goes along with it.
#[test]
fn a_supervisor_that_is_killed_gives_a_prompt_with_a_file_once() {
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = stage.run();
    let home = &stage.home;
    let path = home.dir("shop").join("shot.png");
    fs::write(&path, png(500_000)).unwrap();
    let path = path.display().to_string();
    let steps = json!([[{"text": "once"}, {"stream": {"n": 4000, "rate": 20}}]]);
    let ran = home
        .run(["send", &script(&steps), "--file", &path, "--json"])
        .exits(0)
        .json();
    let session = ran["session"].as_str().unwrap();
    let turn = ran["turn"].as_str().unwrap();
    let api = stage.api(&supervisor);
    eventually("the answer has begun", || !api.streamed(turn).is_empty());
    assert_eq!(stage.starts("once"), 1);
    supervisor.kill();
    let supervisor = stage.run();
    let api = stage.api(&supervisor);
    let closed = api.closed(session, turn);
    assert_eq!(closed["state"], "interrupted", "{closed}");
    assert_eq!(stage.starts("once"), 1);
}

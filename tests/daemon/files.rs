//! Images and files that go along with a message: from the command line through the deployment to the model, by the real
//! OpenCode.

use std::fs;

use orchestrator_test_support::{Stage, eventually, script};
use serde_json::json;

use crate::ORCHESTRATOR;
use crate::terminal::Terminal;

/// A PNG of noise, which no compression makes smaller: about three bytes a pixel.
fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8; 4], content: &[u8]| {
        bytes.extend((content.len() as u32).to_be_bytes());
        let told = [kind, content].concat();
        bytes.extend(&told);
        bytes.extend(crc32(&told).to_be_bytes());
    };
    let size = [width.to_be_bytes(), height.to_be_bytes()].concat();
    chunk(b"IHDR", &[&size[..], &[8, 2, 0, 0, 0]].concat());
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let mut rows = Vec::new();
    for _ in 0..height {
        rows.push(0);
        rows.extend((0..width * 3).map(|_| noise()));
    }
    // Stored blocks of at most 64 KiB: zlib without compression.
    let mut stream = vec![0x78, 1];
    let mut blocks = rows.chunks(65_535).peekable();
    while let Some(block) = blocks.next() {
        stream.push(u8::from(blocks.peek().is_none()));
        let length = block.len() as u16;
        stream.extend(length.to_le_bytes());
        stream.extend((!length).to_le_bytes());
        stream.extend(block);
    }
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in &rows {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    stream.extend((b << 16 | a).to_be_bytes());
    chunk(b"IDAT", &stream);
    chunk(b"IEND", &[]);
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 {
                crc >> 1 ^ 0xedb8_8320
            } else {
                crc >> 1
            }
        })
    })
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
    let image = png(600, 450);
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
    assert_eq!(stage.starts("the port is 4711 – ändert sich"), 1);
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

    // The next message has none, and the largest one that may go along arrives, too.
    let again = home
        .run(["send", "and now?", "--to", session, "--wait"])
        .exits(0);
    assert!(!again.stdout.contains("With it came"), "{}", again.stdout);
    let large = png(1_800, 1_840);
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
    // OpenCode makes so large a picture smaller by itself.
    assert!(ran.stdout.contains("With it came image/"), "{}", ran.stdout);
    assert!(large.len() > 9_900_000);
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
    fs::write(&path, png(450, 400)).unwrap();
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

#[test]
fn a_file_is_named_in_a_chat_and_goes_along_once() {
    let stage = Stage::new(ORCHESTRATOR);
    let _supervisor = stage.run();
    let home = &stage.home;
    let path = home.dir("shop").join("a shot.png");
    fs::write(&path, png(40, 30)).unwrap();
    let mut terminal = Terminal::open(home.command(["chat"]));
    terminal.shows("you> ");
    terminal.types("/file /no/such.png");
    terminal.shows("there is no file /no/such.png");
    terminal.types(&format!("/file '{}'", path.display()));
    terminal.shows("1 file goes along with the next message");
    terminal.types("look at this");
    terminal.shows("With it came image/png of");
    terminal.shows("you> ");
    terminal.types("and now");
    let answer = terminal.shows("one earlier message");
    assert!(!answer.contains("With it came"), "{answer}");
    terminal.control('d');
    terminal.ends_with(0);
}

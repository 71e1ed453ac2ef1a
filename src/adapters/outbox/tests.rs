//! What a crash, a full disk or a stray editor can do to the file.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use orchestrator_actors::domain::item::{Item, ItemKind};
use orchestrator_actors::domain::turn::Ending;
use tempfile::TempDir;

use super::*;

fn record(worker: &str, turn: &str, content: &str) -> FinishRecord {
    FinishRecord {
        worker: WorkerId::new(worker),
        turn: TurnId::new(turn),
        ending: Ending::complete(None),
        items: vec![Item {
            index: 3,
            timestamp: 1.5,
            part_id: "p".to_owned(),
            kind: ItemKind::Text,
            content: content.to_owned(),
        }],
    }
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.ndjson");
    (folder, path)
}

fn turns(outbox: &FileOutbox, worker: &str) -> Vec<String> {
    let records = outbox.pending(&WorkerId::new(worker));
    records.iter().map(|r| r.turn.to_string()).collect()
}

#[tokio::test]
async fn records_outlive_the_process_and_acknowledged_ones_do_not() {
    let (_folder, path) = folder();
    let outbox = FileOutbox::open(&path).unwrap();
    for (worker, turn) in [("a", "1"), ("b", "2"), ("a", "3")] {
        outbox.put(record(worker, turn, "ä\n\"x\"")).await.unwrap();
    }
    outbox.put(record("a", "1", "again")).await.unwrap();
    outbox.acknowledge(TurnId::new("2")).await.unwrap();
    outbox.acknowledge(TurnId::new("unknown")).await.unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(outbox);
    let outbox = FileOutbox::open(&path).unwrap();
    assert_eq!(turns(&outbox, "a"), ["1", "3"]);
    assert_eq!(turns(&outbox, "b"), [""; 0]);
    assert_eq!(outbox.depth(), 2);
    assert_eq!(outbox.damage(), None);
    let kept = outbox.pending(&WorkerId::new("a"));
    // The later end of a turn stands, in the place of the first one.
    assert_eq!(kept[0], record("a", "1", "again"));
}

#[tokio::test]
async fn a_torn_tail_and_garbage_are_kept_aside_and_told_once() {
    let (_folder, path) = folder();
    let outbox = FileOutbox::open(&path).unwrap();
    for turn in ["1", "2", "3"] {
        outbox.put(record("a", turn, "x")).await.unwrap();
    }
    drop(outbox);
    let text = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    let changed = lines[1].replace("\"content\":\"x\"", "\"content\":\"y\"");
    assert_ne!(changed, lines[1]);
    lines[1] = &changed;
    lines.insert(0, "not ours");
    let torn = &lines[3][..lines[3].len() - 4];
    fs::write(&path, format!("{}\n{torn}", lines[..3].join("\n"))).unwrap();

    let outbox = FileOutbox::open(&path).unwrap();
    assert_eq!(turns(&outbox, "a"), ["1"]);
    let damage = outbox.damage().unwrap().clone();
    assert_eq!((damage.lines, damage.first_line), (3, 1));
    let aside = fs::read_to_string(damage.kept_in.unwrap()).unwrap();
    assert_eq!(aside.lines().count(), 3);
    outbox.put(record("a", "4", "x")).await.unwrap();
    drop(outbox);
    let outbox = FileOutbox::open(&path).unwrap();
    assert_eq!(outbox.damage(), None, "told twice");
    assert_eq!(turns(&outbox, "a"), ["1", "4"]);
}

#[tokio::test]
async fn the_file_shrinks_again() {
    let (_folder, path) = folder();
    let outbox = FileOutbox::open(&path).unwrap();
    outbox.put(record("a", "stays", "x")).await.unwrap();
    let big = "x".repeat(30_000);
    for n in 0..20 {
        let turn = format!("turn{n}");
        outbox.put(record("a", &turn, &big)).await.unwrap();
        outbox.acknowledge(TurnId::new(turn)).await.unwrap();
    }
    assert!(fs::metadata(&path).unwrap().len() < 150_000);
    outbox.put(record("a", "after", "x")).await.unwrap();
    drop(outbox);
    let outbox = FileOutbox::open(&path).unwrap();
    assert_eq!(turns(&outbox, "a"), ["stays", "after"]);
}

#[tokio::test]
async fn a_full_outbox_says_so_and_goes_on_when_there_is_room() {
    let (_folder, path) = folder();
    let outbox = FileOutbox::open_bounded(&path, 2_000).unwrap();
    let big = "x".repeat(1_200);
    outbox.put(record("a", "1", &big)).await.unwrap();
    let error = outbox.put(record("a", "2", &big)).await.unwrap_err();
    assert!(error.to_string().contains("is full"), "{error}");
    outbox.acknowledge(TurnId::new("1")).await.unwrap();
    outbox.put(record("a", "2", &big)).await.unwrap();
    assert_eq!(turns(&outbox, "a"), ["2"]);
}

#[test]
fn a_folder_that_is_missing_is_named() {
    let (folder, _) = folder();
    let path = folder.path().join("missing/outbox.ndjson");
    let error = FileOutbox::open(&path).err().unwrap();
    assert!(
        error.to_string().contains("missing/outbox.ndjson"),
        "{error}"
    );
}

/// Three finishes, the second one acknowledged, the third one with text that is longer than ASCII; and where each line ends.
fn a_file_of_ours(path: &Path) -> (Vec<u8>, Vec<usize>) {
    let (mut file, _) = OutboxFile::open(path, MAX_PENDING_BYTES).unwrap();
    let mut ends = Vec::new();
    for (turn, content) in [("1", "x"), ("2", "x"), ("3", "ä€𝄞 \"quoted\"\n")] {
        file.put(&record("a", turn, content)).unwrap();
        ends.push(fs::metadata(path).unwrap().len() as usize);
        if turn == "2" {
            file.acknowledge(&TurnId::new("2")).unwrap();
            ends.push(fs::metadata(path).unwrap().len() as usize);
        }
    }
    (fs::read(path).unwrap(), ends)
}

#[test]
fn a_kill_at_any_byte_of_an_append_costs_that_append_only() {
    let (_folder, path) = folder();
    let (bytes, ends) = a_file_of_ours(&path);
    for cut in 0..=bytes.len() {
        fs::write(&path, &bytes[..cut]).unwrap();
        let _ = fs::remove_file(path.with_extension("damaged"));
        let (mut file, damage) = OutboxFile::open(&path, MAX_PENDING_BYTES).unwrap();
        let expected: &[&str] = match ends.iter().filter(|end| **end <= cut).count() {
            0 => &[],
            1 | 3 => &["1"],
            2 => &["1", "2"],
            _ => &["1", "3"],
        };
        let found = file.records(&WorkerId::new("a"));
        let found: Vec<&str> = found.iter().map(|record| record.turn.as_str()).collect();
        assert_eq!(found, expected, "cut at {cut}");
        let is_torn = cut != 0 && !ends.contains(&cut);
        assert_eq!(damage.is_some(), is_torn, "cut at {cut}");
        // The torn tail is told and kept once, and what comes next is whole.
        file.put(&record("a", "next", "x")).unwrap();
        drop(file);
        let (file, damage) = OutboxFile::open(&path, MAX_PENDING_BYTES).unwrap();
        assert_eq!(damage, None, "cut at {cut}: told twice");
        assert_eq!(file.depth(), expected.len() + 1, "cut at {cut}");
    }
}

#[test]
fn a_kill_at_any_byte_of_a_rewrite_leaves_the_old_file_or_the_new_one() {
    let (_folder, path) = folder();
    let (bytes, _) = a_file_of_ours(&path);
    for cut in 0..=bytes.len() {
        // Until the rename the new file is beside the old one, as far as it was written.
        fs::write(&path, &bytes).unwrap();
        fs::write(path.with_extension("new"), &bytes[..cut]).unwrap();
        let (file, damage) = OutboxFile::open(&path, MAX_PENDING_BYTES).unwrap();
        assert_eq!((file.depth(), damage), (2, None), "cut at {cut}");
        drop(file);
        // And it is in nobody's way.
        let (mut file, _) = OutboxFile::open(&path, MAX_PENDING_BYTES).unwrap();
        file.acknowledge(&TurnId::new("1")).unwrap();
        file.put(&record("a", "big", &"x".repeat(60_000))).unwrap();
        file.put(&record("a", "bigger", &"x".repeat(60_000)))
            .unwrap();
        file.acknowledge(&TurnId::new("big")).unwrap();
        file.acknowledge(&TurnId::new("bigger")).unwrap();
        let (file, damage) = OutboxFile::open(&path, MAX_PENDING_BYTES).unwrap();
        assert_eq!((file.depth(), damage), (1, None), "cut at {cut}");
    }
}

#[test]
fn one_changed_bit_anywhere_costs_at_most_its_own_line() {
    let (_folder, path) = folder();
    let (bytes, ends) = a_file_of_ours(&path);
    for at in (0..bytes.len()).step_by(3) {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        fs::write(&path, &changed).unwrap();
        let _ = fs::remove_file(path.with_extension("damaged"));
        let (file, damage) = OutboxFile::open(&path, MAX_PENDING_BYTES).unwrap();
        assert!(damage.is_some(), "at {at}");
        // A line feed that is gone takes the next line along.
        let line_feed = ends.contains(&(at + 1));
        let least = usize::from(!line_feed);
        assert!(file.depth() >= least, "at {at}");
    }
}

/// The first published form. It is read for ever.
const FIRST_VERSION: &str = include_str!("fixtures/outbox-0.1.ndjson");

#[test]
fn the_outbox_of_the_first_version_is_read_and_what_a_later_one_adds_is_no_damage() {
    let (_folder, path) = folder();
    let later = line::enclosed(
        r#"{"put":{"worker":"w","turn":"turn_3","ending":{"outcome":"complete","later":1},"items":[],"later":[2]}}"#,
    );
    fs::write(&path, format!("{FIRST_VERSION}{later}")).unwrap();
    let (file, damage) = OutboxFile::open(&path, MAX_PENDING_BYTES).unwrap();
    assert_eq!(damage, None);
    let records = file.records(&WorkerId::new("w"));
    let turns: Vec<&str> = records.iter().map(|record| record.turn.as_str()).collect();
    assert_eq!(turns, ["turn_2", "turn_3"]);
    assert_eq!(records[0].items[0].content, "half an answer");
    assert_eq!(records[0].ending.error.as_ref().unwrap().code, "begun");
}

#[test]
fn a_record_of_a_kind_that_only_a_later_version_knows_is_kept_for_it() {
    let (_folder, path) = folder();
    let later = line::enclosed(r#"{"postpone":"turn_9"}"#);
    fs::write(&path, &later).unwrap();
    let (_, damage) = OutboxFile::open(&path, MAX_PENDING_BYTES).unwrap();
    let kept = damage.unwrap().kept_in.unwrap();
    assert_eq!(fs::read_to_string(kept).unwrap(), later);
}

/// Puts something where the outbox should be.
type Put = fn(&Path);

#[tokio::test]
async fn what_is_no_file_in_its_place_is_set_aside_and_the_outbox_works() {
    let put_there: [(&str, Put); 3] = [
        ("not a file", |path| {
            fs::create_dir_all(path.join("of somebody")).unwrap();
        }),
        ("not a file", |path| {
            // Reading a pipe would wait for ever.
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0)
                .unwrap();
        }),
        ("a link to nowhere", |path| {
            std::os::unix::fs::symlink("/nowhere/at all", path).unwrap();
        }),
    ];
    for (reason, put) in put_there {
        let (_folder, path) = folder();
        put(&path);
        let outbox = FileOutbox::open(&path).unwrap();
        let damage = outbox.damage().unwrap();
        assert_eq!(damage.trouble.as_deref(), Some(reason));
        let kept = damage.kept_in.clone().unwrap();
        assert!(fs::symlink_metadata(kept).is_ok());
        outbox.put(record("a", "1", "x")).await.unwrap();
        drop(outbox);
        let outbox = FileOutbox::open(&path).unwrap();
        assert_eq!((outbox.depth(), outbox.damage()), (1, None));
    }
}

#[test]
fn garbage_beyond_what_is_kept_of_it_is_kept_whole() {
    let (_folder, path) = folder();
    let garbage = vec![b'x'; 9 * 1024 * 1024];
    fs::write(&path, &garbage).unwrap();
    let (mut file, damage) = OutboxFile::open(&path, MAX_PENDING_BYTES).unwrap();
    let kept = damage.unwrap().kept_in.unwrap();
    assert_eq!(fs::metadata(kept).unwrap().len(), garbage.len() as u64);
    file.put(&record("a", "1", "x")).unwrap();
    assert!(fs::metadata(&path).unwrap().len() < 1_000);
    // Longer than any outbox of ours: not even read.
    fs::write(&path, &garbage).unwrap();
    let (file, damage) = OutboxFile::open(&path, 1_000).unwrap();
    let damage = damage.unwrap();
    assert_eq!((file.depth(), damage.lines), (0, 0));
    assert!(damage.to_string().contains("bytes long"), "{damage}");
}

const FULL_DISK: &str = "TEST_OUTBOX_ON_A_FULL_DISK";

/// The limit on a file's size is the process's, so the test is a process of its own.
#[test]
#[allow(
    clippy::disallowed_methods,
    reason = "the test starts itself under a limit"
)]
fn a_full_disk_leaves_the_outbox_in_memory_until_there_is_room() {
    if let Some(path) = std::env::var_os(FULL_DISK) {
        return on_a_full_disk(Path::new(&path));
    }
    let (_folder, path) = folder();
    let name =
        "adapters::outbox::tests::a_full_disk_leaves_the_outbox_in_memory_until_there_is_room";
    // A file that grows beyond the limit would end the process otherwise.
    let limited = format!("trap '' XFSZ; ulimit -S -f 4; exec \"$0\" --exact {name}");
    let ran = std::process::Command::new("sh")
        .args(["-c", &limited])
        .arg(std::env::current_exe().unwrap())
        .env(FULL_DISK, &path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
    // The kill that followed lost nothing of what was written in the end.
    let (file, damage) = OutboxFile::open(&path, MAX_PENDING_BYTES).unwrap();
    assert_eq!(damage, None);
    let found = file.records(&WorkerId::new("a"));
    let found: Vec<&str> = found.iter().map(|record| record.turn.as_str()).collect();
    assert_eq!(found, ["fits", "later", "last"]);
}

/// Under 4 blocks of a file; how long a block is differs between shells.
fn on_a_full_disk(path: &Path) {
    let (mut file, _) = OutboxFile::open(path, MAX_PENDING_BYTES).unwrap();
    file.put(&record("a", "fits", "x")).unwrap();
    let error = file
        .put(&record("a", "large", &"x".repeat(10_000)))
        .unwrap_err();
    assert!(error.to_string().contains("large"), "{error}");
    assert!(file.put(&record("a", "later", "x")).is_err());
    assert_eq!(file.depth(), 3, "what is not on disk is still sent");
    let kept = file.records(&WorkerId::new("a"));
    assert_eq!(kept[1].items[0].content.len(), 10_000);
    // What is on disk is whole; nothing was written behind half a line.
    let (again, damage) = OutboxFile::open(path, MAX_PENDING_BYTES).unwrap();
    assert_eq!((again.depth(), damage), (1, None));
    // The deployment takes the large one, and that makes room.
    file.acknowledge(&TurnId::new("large")).unwrap();
    file.put(&record("a", "last", "x")).unwrap();
    assert_eq!(file.depth(), 3);
}

#[tokio::test]
async fn records_of_a_worker_that_is_not_configured_any_more_hold_up_nobody_and_come_back_with_it()
{
    let (_folder, path) = folder();
    let outbox = FileOutbox::open_bounded(&path, 1_000).unwrap();
    for (worker, turn) in [("gone", "1"), ("gone", "2"), ("here", "3")] {
        outbox.put(record(worker, turn, "x")).await.unwrap();
    }
    let served = |workers: &[&str]| workers.iter().copied().map(WorkerId::new).collect();
    assert_eq!(outbox.serve(served(&["here"])), (1, 2));
    assert_eq!(outbox.depth(), 1);
    outbox.acknowledge(TurnId::new("3")).await.unwrap();
    assert_eq!(outbox.depth(), 0);
    assert_eq!(outbox.serve(served(&["here", "gone"])), (0, 0));
    assert_eq!(outbox.depth(), 2);
    assert_eq!(turns(&outbox, "gone"), ["1", "2"]);

    // Full: what nobody delivers gives way, also in the file.
    outbox.serve(served(&["here"]));
    outbox
        .put(record("here", "4", &"x".repeat(600)))
        .await
        .unwrap();
    assert_eq!(turns(&outbox, "here"), ["4"]);
    drop(outbox);
    let outbox = FileOutbox::open_bounded(&path, 1_000).unwrap();
    assert!(turns(&outbox, "gone").len() < 2);
    assert_eq!(turns(&outbox, "here"), ["4"]);
}

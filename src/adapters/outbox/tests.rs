//! What a crash, a full disk or a stray editor can do to the file.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use orchestrator_actors::domain::item::{Item, ItemKind};
use orchestrator_actors::domain::turn::Ending;
use proptest::prelude::*;
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
    assert_eq!(kept[0], record("a", "1", "ä\n\"x\""));
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_is_cut_off_the_records_before_it_are_there(
        count in 1..6usize,
        cut in any::<prop::sample::Index>(),
    ) {
        let (_folder, path) = folder();
        let (mut file, _) = OutboxFile::open(&path, MAX_PENDING_BYTES).unwrap();
        let mut ends = Vec::new();
        for n in 0..count {
            file.put(&record("a", &n.to_string(), "content")).unwrap();
            ends.push(fs::metadata(&path).unwrap().len() as usize);
        }
        drop(file);
        let bytes = fs::read(&path).unwrap();
        let cut = cut.index(bytes.len() + 1);
        fs::write(&path, &bytes[..cut]).unwrap();
        let (file, _) = OutboxFile::open(&path, MAX_PENDING_BYTES).unwrap();
        prop_assert_eq!(file.depth(), ends.iter().filter(|end| **end <= cut).count());
    }
}

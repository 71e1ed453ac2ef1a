//! A deployment of ten lines on the other side, and whatever can happen between the two.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::domain::item::{ItemKind, MAX_ITEM_BYTES};
use crate::domain::token::WorkerToken;

fn right(epoch: u64) -> Right {
    let token = WorkerToken::parse("machine_m:worker_w:secret_s").unwrap();
    Right {
        token: Arc::new(token),
        epoch,
    }
}

fn turn(n: usize) -> TurnId {
    TurnId::new(format!("turn_{n}"))
}

fn draft(part: usize, kind: ItemKind, content: &str) -> Draft {
    Draft {
        part_id: format!("part{part}"),
        kind,
        content: content.to_owned(),
    }
}

fn text(content: &str) -> Draft {
    draft(0, ItemKind::Text, content)
}

/// What `chunks:append` does, without its storage.
#[derive(Default)]
struct Deployment {
    stored: BTreeMap<TurnId, Vec<Item>>,
    calls: usize,
}

impl Deployment {
    fn append(&mut self, batches: &[Batch]) -> Vec<AppendResult> {
        self.calls += 1;
        batches.iter().map(|batch| self.take(batch)).collect()
    }

    fn take(&mut self, batch: &Batch) -> AppendResult {
        let rows = self.stored.entry(batch.turn.clone()).or_default();
        let mut status = AppendStatus::Ok;
        for item in &batch.items {
            match item.index.cmp(&(rows.len() as u64)) {
                Ordering::Less => {
                    let known = &rows[item.index as usize];
                    assert_eq!(known, item, "a stored item changed");
                }
                Ordering::Equal => rows.push(item.clone()),
                Ordering::Greater => {
                    status = AppendStatus::Invalid;
                    break;
                }
            }
        }
        AppendResult {
            turn: batch.turn.clone(),
            status,
            next_index: rows.len() as u64,
            message: None,
        }
    }

    fn has_bad(batches: &[Batch]) -> bool {
        let mut items = batches.iter().flat_map(|batch| &batch.items);
        items.any(|item| item.content.contains('☠'))
    }
}

/// Neighbours of one part as one piece, the way a reader sees them.
fn folded(
    items: impl Iterator<Item = (String, ItemKind, String)>,
) -> Vec<(String, ItemKind, String)> {
    let mut out: Vec<(String, ItemKind, String)> = Vec::new();
    for (part, kind, content) in items {
        match out.last_mut() {
            Some(last)
                if last.0 == part
                    && last.1 == kind
                    && matches!(kind, ItemKind::Text | ItemKind::Reasoning) =>
            {
                last.2.push_str(&content);
            }
            _ => out.push((part, kind, content)),
        }
    }
    out
}

fn of_items(items: &[Item]) -> Vec<(String, ItemKind, String)> {
    folded(
        items
            .iter()
            .map(|i| (i.part_id.clone(), i.kind, i.content.clone())),
    )
}

fn of_drafts(drafts: &[Draft]) -> Vec<(String, ItemKind, String)> {
    let said = drafts
        .iter()
        .filter(|d| !(d.content.is_empty() && d.kind != ItemKind::Reset));
    folded(said.map(|d| (d.part_id.clone(), d.kind, d.content.clone())))
}

#[derive(Clone, Debug)]
enum Step {
    Push(usize, Vec<Draft>),
    /// A batch leaves and is answered.
    Round,
    /// A batch leaves; it is committed, but the call counts as failed.
    LostAnswer,
    /// A batch leaves and nothing of it is committed.
    Failed,
    /// A batch leaves, something is pushed behind it, then it is answered in any order of results.
    Slow(usize, Vec<Draft>),
    /// The session's actor came back with what the deployment told it.
    Reopen(usize),
}

fn any_draft() -> impl Strategy<Value = Draft> {
    let kind = prop_oneof![
        4 => Just(ItemKind::Text),
        2 => Just(ItemKind::Reasoning),
        1 => Just(ItemKind::Reset),
    ];
    (0..2usize, kind, "[a-zäö€ ]{0,12}").prop_map(|(part, kind, content)| {
        let content = if kind == ItemKind::Reset {
            String::new()
        } else {
            content
        };
        draft(part, kind, &content)
    })
}

fn any_step() -> impl Strategy<Value = Step> {
    let drafts = || prop::collection::vec(any_draft(), 1..6);
    prop_oneof![
        4 => (0..3usize, drafts()).prop_map(|(n, d)| Step::Push(n, d)),
        3 => Just(Step::Round),
        1 => Just(Step::LostAnswer),
        1 => Just(Step::Failed),
        2 => (0..3usize, drafts()).prop_map(|(n, d)| Step::Slow(n, d)),
        1 => (0..3usize).prop_map(Step::Reopen),
    ]
}

proptest! {
    #[test]
    fn every_turn_arrives_exactly_once_in_order_and_without_gaps(
        steps in prop::collection::vec(any_step(), 1..60),
        batch in 100..2_000usize,
    ) {
        let mut book = StreamBook::new(Limits { batch, ..Limits::default() });
        let mut there = Deployment::default();
        let mut said: BTreeMap<TurnId, Vec<Draft>> = BTreeMap::new();
        for n in 0..3 {
            book.open(turn(n), right(1), 0);
        }
        // A single item that fails three times in a row gives up its turn, rightly: not what is looked at here.
        let mut failures = 0;
        for step in steps {
            match step {
                Step::Push(n, drafts) => {
                    said.entry(turn(n)).or_default().extend(drafts.clone());
                    book.push(&turn(n), drafts, 7).unwrap();
                }
                Step::Round => {
                    if let Some(batches) = book.next_batch() {
                        let mut results = there.append(&batches);
                        results.reverse();
                        prop_assert!(book.acknowledge(&results).is_empty());
                        // An empty call says nothing of an item.
                        failures = if batches.is_empty() { failures } else { 0 };
                    }
                }
                Step::LostAnswer | Step::Failed if failures == 2 => {}
                Step::LostAnswer => {
                    if let Some(batches) = book.next_batch() {
                        there.append(&batches);
                        prop_assert_eq!(book.call_failed("lost", false), None);
                        failures += 1;
                    }
                }
                Step::Failed => {
                    if book.next_batch().is_some() {
                        prop_assert_eq!(book.call_failed("not today", false), None);
                        failures += 1;
                    }
                }
                Step::Slow(n, drafts) => {
                    let batches = book.next_batch();
                    prop_assert!(batches.is_none() || book.next_batch().is_none());
                    said.entry(turn(n)).or_default().extend(drafts.clone());
                    book.push(&turn(n), drafts, 8).unwrap();
                    if let Some(batches) = batches {
                        let results = there.append(&batches);
                        prop_assert!(book.acknowledge(&results).is_empty());
                        failures = if batches.is_empty() { failures } else { 0 };
                    }
                }
                Step::Reopen(n) => {
                    let next = there.stored.get(&turn(n)).map_or(0, Vec::len) as u64;
                    book.open(turn(n), right(2), next);
                }
            }
        }
        for n in 0..3 {
            finish(&mut book, &mut there, &turn(n));
            let stored = there.stored.get(&turn(n)).cloned().unwrap_or_default();
            for (at, item) in stored.iter().enumerate() {
                prop_assert_eq!(item.index, at as u64);
            }
            let drafts = said.remove(&turn(n)).unwrap_or_default();
            prop_assert_eq!(of_items(&stored), of_drafts(&drafts));
        }
        prop_assert_eq!(book.weight(), 0);
    }

    #[test]
    fn a_bad_item_costs_its_own_turn_only(
        sizes in prop::collection::vec(1..12usize, 2..6),
        bad_turn in any::<prop::sample::Index>(),
        bad_item in any::<prop::sample::Index>(),
    ) {
        let mut book = StreamBook::default();
        let mut there = Deployment::default();
        let bad_turn = bad_turn.index(sizes.len());
        let bad_item = bad_item.index(sizes[bad_turn]);
        for (n, size) in sizes.iter().enumerate() {
            book.open(turn(n), right(1), 0);
            for at in 0..*size {
                let content = if (n, at) == (bad_turn, bad_item) { "☠" } else { "fine" };
                book.push(&turn(n), vec![draft(at, ItemKind::Text, content)], 1).unwrap();
            }
        }
        let mut refused = Vec::new();
        let mut rounds = 0;
        while let Some(batches) = book.next_batch() {
            rounds += 1;
            prop_assert!(rounds < 200, "no progress");
            if Deployment::has_bad(&batches) {
                refused.extend(book.call_failed("too bad", true));
            } else {
                let results = there.append(&batches);
                prop_assert!(book.acknowledge(&results).is_empty());
            }
        }
        prop_assert_eq!(refused.len(), 1);
        prop_assert_eq!(&refused[0].0, &turn(bad_turn));
        for (n, size) in sizes.iter().enumerate() {
            let stored = there.stored.get(&turn(n)).map_or(0, Vec::len);
            prop_assert_eq!(stored, if n == bad_turn { bad_item } else { *size });
        }
        prop_assert!(matches!(
            book.push(&turn(bad_turn), vec![text("more")], 1),
            Err(PushError::Refused(_))
        ));
    }
}

/// What the link does at a turn's end: append until the rest fits, then one last call.
fn finish(book: &mut StreamBook, there: &mut Deployment, turn: &TurnId) {
    book.seal(turn, right(3));
    for _ in 0..500 {
        match book.rest(turn) {
            Rest::Appending => {
                let batches = book.next_batch().expect("nothing to append");
                let results = there.append(&batches);
                book.acknowledge(&results);
            }
            Rest::Last {
                right: by,
                items,
                lost,
            } => {
                assert_eq!((by.clone(), lost), (right(3), None));
                let batch = Batch {
                    turn: turn.clone(),
                    right: by,
                    items,
                };
                assert_eq!(there.take(&batch).status, AppendStatus::Ok);
                book.close(turn);
                return;
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("the rest never fits");
}

fn open_with(book: &mut StreamBook, n: usize, content: &str) {
    book.open(turn(n), right(1), 0);
    book.push(&turn(n), vec![text(content)], 1).unwrap();
}

#[test]
fn batches_take_turns() {
    let big = "x".repeat(MAX_ITEM_BYTES * 6);
    let mut book = StreamBook::default();
    let mut there = Deployment::default();
    for n in 0..3 {
        open_with(&mut book, n, &big);
    }
    while let Some(batches) = book.next_batch() {
        let bytes: usize = batches.iter().flat_map(|b| &b.items).map(weight).sum();
        assert!(bytes <= 256 * 1024);
        let results = there.append(&batches);
        book.acknowledge(&results);
        let lengths: Vec<usize> = there.stored.values().map(Vec::len).collect();
        let (least, most) = (lengths.iter().min().unwrap(), lengths.iter().max().unwrap());
        assert!(most - least <= 2, "unfair: {lengths:?}");
    }
    assert!(there.stored.values().all(|rows| rows.len() == 6));
}

#[test]
fn a_full_stream_goes_on_and_says_in_its_place_what_is_missing() {
    let mut book = StreamBook::new(Limits {
        stream: 1_000,
        total: 1_500,
        ..Limits::default()
    });
    let mut there = Deployment::default();
    open_with(&mut book, 0, &"x".repeat(1_000));
    book.push(&turn(0), vec![text("lost"), text("lost, too")], 1)
        .unwrap();
    book.open(turn(1), right(1), 0);
    book.push(&turn(1), vec![text(&"y".repeat(500))], 1)
        .unwrap();
    book.push(&turn(1), vec![text("beyond the bound of all turns")], 1)
        .unwrap();
    for _ in 0..2 {
        let batches = book.next_batch().unwrap();
        let results = there.append(&batches);
        book.acknowledge(&results);
        book.push(&turn(0), vec![text("more")], 1).unwrap();
    }
    finish(&mut book, &mut there, &turn(0));
    finish(&mut book, &mut there, &turn(1));
    let said = |n: usize| -> String {
        let items = there.stored[&turn(n)].iter();
        items.map(|item| item.content.as_str()).collect()
    };
    assert!(said(0).starts_with("xxx") && said(0).ends_with("moremore"));
    assert!(said(0).contains("[13 bytes of this answer are missing here"));
    assert!(said(1).ends_with("for too long]\n"), "{}", said(1));
    assert!(said(1).contains("[29 bytes"), "{}", said(1));
}

#[test]
fn a_reset_is_taken_by_a_full_stream_too() {
    let mut book = StreamBook::new(Limits {
        stream: 100,
        ..Limits::default()
    });
    let mut there = Deployment::default();
    open_with(&mut book, 0, &"x".repeat(100));
    let retried = vec![draft(0, ItemKind::Reset, ""), text("no room for this")];
    book.push(&turn(0), retried, 1).unwrap();
    finish(&mut book, &mut there, &turn(0));
    let stored = &there.stored[&turn(0)];
    assert!(stored.iter().any(|item| item.kind == ItemKind::Reset));
    let last = &stored.last().unwrap().content;
    assert!(
        last.contains("[16 bytes of this answer are missing here"),
        "{last}"
    );
}

#[test]
fn a_full_stream_that_is_refused_ends_without_what_is_gone() {
    let mut book = StreamBook::new(Limits {
        stream: 100,
        ..Limits::default()
    });
    open_with(&mut book, 0, &"x".repeat(100));
    book.push(&turn(0), vec![text("lost")], 1).unwrap();
    book.next_batch().unwrap();
    let refused = book.call_failed("that item is wrong", true).unwrap();
    assert_eq!(refused.0, turn(0));
    assert!(book.seal(&turn(0), right(1)).is_empty());
    book.unfinished(&turn(0), true);
    match book.rest(&turn(0)) {
        Rest::Last { items, lost, .. } => assert!(items.is_empty() && lost.is_some()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_answer_that_is_recovered_whole_is_taken_whole() {
    let mut book = StreamBook::default();
    let mut there = Deployment::default();
    book.open(turn(0), right(1), 0);
    let parts = (0..200).map(|n| draft(n, ItemKind::Text, &"x".repeat(MAX_ITEM_BYTES)));
    book.push(&turn(0), parts.collect(), 1).unwrap();
    finish(&mut book, &mut there, &turn(0));
    let stored = there.stored[&turn(0)].iter();
    assert_eq!(
        stored.map(|item| item.content.len()).sum::<usize>(),
        200 * MAX_ITEM_BYTES
    );
}

#[test]
fn a_deployment_that_is_ill_as_a_whole_blames_no_item() {
    let mut book = StreamBook::default();
    open_with(&mut book, 0, "hello");
    for _ in 0..100 {
        assert!(book.next_batch().is_some());
        assert_eq!(book.call_failed("the disk is full", false), None);
    }
    // It works again: the empty call says so, and then the item goes.
    assert_eq!(book.next_batch().map(|batches| batches.len()), Some(0));
    assert!(book.acknowledge(&[]).is_empty());
    assert_eq!(book.next_batch().unwrap()[0].items[0].content, "hello");
}

#[test]
fn an_item_that_fails_while_all_else_works_is_given_up() {
    let mut book = StreamBook::default();
    open_with(&mut book, 0, "poison");
    let mut refused = None;
    for _ in 0..SINGLE_ITEM_TRIES {
        assert_eq!(book.next_batch().unwrap().len(), 1);
        refused = book.call_failed("Server Error", false);
        if refused.is_none() {
            assert_eq!(book.next_batch().unwrap(), Vec::new());
            book.acknowledge(&[]);
        }
    }
    assert_eq!(refused.map(|(turn, _)| turn), Some(turn(0)));
}

#[test]
fn a_displaced_stream_keeps_its_items_for_the_next_epoch() {
    let mut book = StreamBook::default();
    open_with(&mut book, 0, "hello");
    book.next_batch().unwrap();
    let displaced = AppendResult {
        turn: turn(0),
        status: AppendStatus::Displaced,
        next_index: 0,
        message: None,
    };
    assert_eq!(book.acknowledge(&[displaced]).len(), 1);
    assert!(book.next_batch().is_none());
    assert_eq!(book.seal(&turn(0), right(1)).len(), 1);
    assert!(matches!(book.rest(&turn(0)), Rest::Refused(r) if r.code == "displaced"));
    book.restore(turn(0), right(2), Vec::new());
    assert!(matches!(book.rest(&turn(0)), Rest::Last { items, .. } if items.len() == 1));
}

#[test]
fn what_was_in_flight_when_the_right_was_renewed_is_sent_again_under_the_new_one() {
    let mut book = StreamBook::default();
    open_with(&mut book, 0, "hello");
    book.next_batch().unwrap();
    book.renew(right(2));
    let displaced = AppendResult {
        turn: turn(0),
        status: AppendStatus::Displaced,
        next_index: 0,
        message: None,
    };
    assert_eq!(book.acknowledge(&[displaced]), []);
    let again = book.next_batch().unwrap();
    assert_eq!(again[0].right, right(2));
    assert_eq!(again[0].items.len(), 1);
}

#[test]
fn somebody_who_has_not_heard_of_a_new_right_yet_writes_under_it_all_the_same() {
    let mut book = StreamBook::default();
    book.renew(right(2));
    open_with(&mut book, 0, "hello");
    assert_eq!(book.right(&turn(0)), Some(&right(2)));
    book.seal(&turn(0), right(1));
    book.adopt(&turn(0), right(1));
    assert!(matches!(book.rest(&turn(0)), Rest::Last { right: now, .. } if now == right(2)));
}

#[test]
fn a_gap_is_resent_from_where_the_deployment_is() {
    let mut book = StreamBook::default();
    book.open(turn(0), right(1), 0);
    for part in 0..4 {
        book.push(&turn(0), vec![draft(part, ItemKind::Text, "x")], 1)
            .unwrap();
    }
    book.next_batch().unwrap();
    let gap = AppendResult {
        turn: turn(0),
        status: AppendStatus::Invalid,
        next_index: 2,
        message: None,
    };
    assert!(book.acknowledge(&[gap]).is_empty());
    let again = book.next_batch().unwrap();
    assert_eq!(again[0].items[0].index, 2);
}

#[test]
fn an_item_that_is_answered_invalid_is_found_and_what_is_before_it_stays() {
    let mut book = StreamBook::default();
    let mut there = Deployment::default();
    for n in 0..2 {
        book.open(turn(n), right(1), 0);
        for at in 0..9 {
            let content = if (n, at) == (1, 6) { "☠" } else { "fine" };
            book.push(&turn(n), vec![draft(at, ItemKind::Text, content)], 1)
                .unwrap();
        }
    }
    let mut refused = Vec::new();
    for _ in 0..50 {
        let Some(batches) = book.next_batch() else {
            break;
        };
        let answer = |batch: &Batch| {
            if !Deployment::has_bad(std::slice::from_ref(batch)) {
                return there.take(batch);
            }
            AppendResult {
                turn: batch.turn.clone(),
                status: AppendStatus::Invalid,
                next_index: batch.items[0].index,
                message: Some("a bad part".to_owned()),
            }
        };
        let results: Vec<AppendResult> = batches.iter().map(answer).collect();
        refused.extend(book.acknowledge(&results));
    }
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].0, turn(1));
    assert_eq!(refused[0].1.message, "a bad part");
    assert_eq!(there.stored[&turn(0)].len(), 9);
    assert_eq!(there.stored[&turn(1)].len(), 6);
}

#[test]
fn a_finish_that_fails_with_items_appends_them_first() {
    let mut book = StreamBook::default();
    open_with(&mut book, 0, "fine");
    book.push(&turn(0), vec![draft(1, ItemKind::Text, "☠")], 1)
        .unwrap();
    assert_eq!(book.seal(&turn(0), right(1)).len(), 2);
    assert!(matches!(book.rest(&turn(0)), Rest::Last { items, .. } if items.len() == 2));
    assert!(book.next_batch().is_none(), "they are with the finish");
    book.unfinished(&turn(0), true);
    assert_eq!(book.rest(&turn(0)), Rest::Appending);
    let mut there = Deployment::default();
    while let Some(batches) = book.next_batch() {
        if Deployment::has_bad(&batches) {
            book.call_failed("no", true);
        } else {
            let results = there.append(&batches);
            book.acknowledge(&results);
        }
    }
    let Rest::Last { items, lost, .. } = book.rest(&turn(0)) else {
        panic!("it can be finished");
    };
    assert!(items.is_empty());
    assert_eq!(lost.map(|refusal| refusal.message).as_deref(), Some("no"));
    assert_eq!(there.stored[&turn(0)].len(), 1);
}

#[test]
fn an_unknown_or_ended_turn_takes_nothing() {
    let mut book = StreamBook::default();
    assert_eq!(
        book.push(&turn(0), vec![text("x")], 1),
        Err(PushError::Unknown)
    );
    open_with(&mut book, 0, "x");
    book.seal(&turn(0), right(1));
    assert_eq!(
        book.push(&turn(0), vec![text("x")], 1),
        Err(PushError::Unknown)
    );
    assert_eq!(book.rest(&turn(9)), Rest::Gone);
}

fn small_book() -> StreamBook {
    StreamBook::new(Limits {
        stream: 4_000,
        total: 8_000,
        ..Limits::default()
    })
}

fn rounds(book: &mut StreamBook, there: &mut Deployment) {
    while let Some(batches) = book.next_batch() {
        let results = there.append(&batches);
        book.acknowledge(&results);
    }
}

#[test]
fn a_recovered_answer_that_meets_a_full_link_waits_for_room_and_leaves_the_rest_to_what_streams() {
    let mut book = small_book();
    let mut there = Deployment::default();
    open_with(&mut book, 0, &"x".repeat(3_000));
    let parts: Vec<Draft> = (0..40)
        .map(|n| draft(n, ItemKind::Text, &"y".repeat(500)))
        .collect();
    let mut waiting = VecDeque::from(parts.clone());
    book.open(turn(1), right(1), 0);
    let mut waits = 0;
    while book.recover(&turn(1), &mut waiting, 1) == Ok(Taken::InPart) {
        waits += 1;
        assert!(book.weight() < 4_000, "{}", book.weight());
        let live = book.push(&turn(0), vec![text("live")], 1);
        assert_eq!(live, Ok(Taken::Whole));
        rounds(&mut book, &mut there);
    }
    assert!(waits > 5, "{waits}");
    finish(&mut book, &mut there, &turn(1));
    assert_eq!(of_items(&there.stored[&turn(1)]), of_drafts(&parts));
}

#[test]
fn a_note_of_what_is_missing_is_void_when_the_whole_answer_comes_after_all() {
    let mut book = small_book();
    let mut there = Deployment::default();
    open_with(&mut book, 0, &"x".repeat(4_000));
    let missed = book.push(&turn(0), vec![text("lost")], 1);
    assert_eq!(missed, Ok(Taken::InPart));
    rounds(&mut book, &mut there);
    book.push(&turn(0), vec![text("later")], 1).unwrap();
    rounds(&mut book, &mut there);
    let stored = &there.stored[&turn(0)];
    let note = stored
        .iter()
        .find(|item| item.part_id.starts_with("missing-"));
    let note = note.unwrap().part_id.clone();
    let mut whole = VecDeque::from([draft(0, ItemKind::Reset, ""), text("all of it")]);
    assert_eq!(book.recover(&turn(0), &mut whole, 1), Ok(Taken::Whole));
    finish(&mut book, &mut there, &turn(0));
    let stored = &there.stored[&turn(0)];
    let voided = stored
        .iter()
        .any(|item| item.part_id == note && item.kind == ItemKind::Reset);
    assert!(voided, "{stored:?}");
    assert_eq!(stored.last().unwrap().content, "all of it");
}

#[test]
fn the_final_state_of_a_tool_is_taken_by_a_full_stream_without_its_bulk_and_within_a_bound() {
    let tool = |part: usize, status: &str| {
        let state = crate::domain::item::ToolState {
            tool: "bash".into(),
            status: status.into(),
            output: Some("o".repeat(5_000)),
            ..Default::default()
        };
        draft(
            part,
            ItemKind::Tool,
            &serde_json::to_string(&state).unwrap(),
        )
    };
    let mut book = StreamBook::new(Limits {
        stream: 16_000,
        ..Limits::default()
    });
    let mut there = Deployment::default();
    open_with(&mut book, 0, "before");
    book.push(&turn(0), vec![tool(1, "running")], 1).unwrap();
    // It has left, and cannot change any more.
    let batches = book.next_batch().unwrap();
    book.push(&turn(0), vec![text(&"x".repeat(11_500))], 1)
        .unwrap();
    // One that another state follows is nobody's loss.
    let running = book.push(&turn(0), vec![tool(1, "running")], 1);
    assert_eq!(running, Ok(Taken::Whole));
    let cut = book.push(&turn(0), vec![tool(1, "completed")], 1);
    assert_eq!(cut, Ok(Taken::InPart));
    for part in 2..100 {
        book.push(&turn(0), vec![tool(part, "completed")], 1)
            .unwrap();
    }
    assert!(
        book.weight() < 16_000 + 6_000 + 16_000 / 8 + 1_000,
        "{}",
        book.weight()
    );
    let results = there.append(&batches);
    book.acknowledge(&results);
    finish(&mut book, &mut there, &turn(0));
    let stored = &there.stored[&turn(0)];
    let last = stored.iter().rfind(|item| item.part_id == "part1").unwrap();
    assert!(last.content.contains("completed"), "{}", last.content);
}

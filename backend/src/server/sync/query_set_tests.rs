//! The rules of the versions, without a socket.

use super::*;
use convex_sync_types::types::SerializedArgs;
use serde_json::json;

const LIMIT: usize = 1 << 20;

fn add(id: u32) -> QuerySetModification {
    QuerySetModification::Add(Query {
        query_id: QueryId::new(id),
        udf_path: "m:f".parse().unwrap(),
        args: SerializedArgs::from_args(vec![json!({"id": id})]).unwrap(),
        journal: None,
        component_path: None,
    })
}

fn remove(id: u32) -> QuerySetModification {
    QuerySetModification::Remove {
        query_id: QueryId::new(id),
    }
}

fn outcome(value: Value) -> QueryOutcome {
    QueryOutcome {
        result: Ok(value),
        internal: false,
        reads: crate::engine::ReadSet::default(),
        log_lines: Vec::new(),
    }
}

fn run(queries: &mut QuerySet, ts: u64, value: &Value) -> Option<usize> {
    let plan = queries.begin()?;
    let outcomes = plan
        .runs
        .iter()
        .map(|(id, _, _)| (*id, outcome(value.clone())))
        .collect();
    let changes = queries.complete(plan, ts, outcomes, LIMIT)?;
    Some(changes.into_messages(None, LIMIT).len())
}

#[test]
fn versions_must_fit_and_ids_must_be_used_once() {
    let mut queries = QuerySet::new(2);
    queries.modify(0, 1, vec![add(0)]).unwrap();
    for (base, new, modifications) in [
        (0, 1, vec![]),
        (1, 1, vec![]),
        (1, 2, vec![add(0)]),
        (1, 2, vec![remove(7)]),
    ] {
        assert!(queries.modify(base, new, modifications).is_err());
    }
    assert_eq!(
        queries.modify(1, 2, vec![add(1), add(2)]),
        Err(ProtocolError::TooManyQueries(2))
    );
    assert!(queries.check_identity_base(1).is_err());
    queries.check_identity_base(0).unwrap();
    queries.identity_changed();
    queries.check_identity_base(1).unwrap();
}

#[test]
fn an_empty_modification_and_a_mutation_are_owed_a_transition() {
    let mut queries = QuerySet::new(10);
    assert!(queries.begin().is_none());
    queries.modify(0, 1, vec![]).unwrap();
    assert_eq!(run(&mut queries, 5, &Value::Null), Some(1));
    assert!(queries.begin().is_none());
    queries.owe_transition();
    assert_eq!(run(&mut queries, 6, &Value::Null), Some(1));
}

#[test]
fn an_unchanged_result_is_not_sent_and_alone_sends_nothing() {
    let mut queries = QuerySet::new(10);
    queries.modify(0, 1, vec![add(0)]).unwrap();
    assert!(run(&mut queries, 5, &json!(1)).is_some());
    queries.mark_stale(QueryId::new(0));
    assert!(run(&mut queries, 6, &json!(1)).is_none());
    queries.mark_stale(QueryId::new(0));
    assert!(run(&mut queries, 7, &json!(2)).is_some());
    assert_eq!(u64::from(queries.sent.ts), 7);
}

#[test]
fn what_becomes_stale_during_a_run_is_run_again() {
    let mut queries = QuerySet::new(10);
    queries.modify(0, 1, vec![add(0)]).unwrap();
    let plan = queries.begin().unwrap();
    queries.mark_stale(QueryId::new(0));
    queries.modify(1, 2, vec![remove(0)]).unwrap();
    let changes = queries
        .complete(plan, 5, vec![(QueryId::new(0), outcome(json!(1)))], LIMIT)
        .unwrap();
    assert!(!changes.is_empty());
    assert_eq!(
        queries.sent.query_set, 1,
        "the removal is the next transition's"
    );
    let plan = queries.begin().unwrap();
    assert_eq!(plan.removed, vec![QueryId::new(0)]);
    assert!(plan.runs.is_empty() && plan.needs_engine());
}

#[test]
fn a_result_beyond_the_limit_is_an_error_in_its_place() {
    let mut queries = QuerySet::new(10);
    queries.modify(0, 1, vec![add(0)]).unwrap();
    let plan = queries.begin().unwrap();
    let large = vec![(QueryId::new(0), outcome(json!("x".repeat(100))))];
    let changes = queries.complete(plan, 5, large, 50).unwrap();
    let message = messages::encode(changes.into_messages(None, LIMIT).remove(0));
    assert!(
        message.contains("QueryFailed") && message.contains("too large"),
        "{message}"
    );
}

#[test]
fn the_version_waits_for_the_last_part_and_takes_the_first_ones_time() {
    let mut queries = QuerySet::new(10);
    queries.modify(0, 1, vec![add(0), add(1)]).unwrap();
    let mut plan = queries.begin().unwrap();
    let of = |id| vec![(QueryId::new(id), outcome(json!(id)))];
    let part = queries.part(&mut plan, 5, of(0), LIMIT).unwrap();
    assert_eq!(part.into_messages(None, LIMIT).len(), 1);
    assert_eq!(queries.sent, StateVersion::initial());
    // Another commit came between; what it touched is the next transition's.
    queries.mark_stale(QueryId::new(0));
    queries.complete(plan, 9, of(1), LIMIT).unwrap();
    assert_eq!((queries.sent.query_set, u64::from(queries.sent.ts)), (1, 5));
    assert_eq!(run(&mut queries, 9, &json!(2)), Some(1));
    assert_eq!(u64::from(queries.sent.ts), 9);
}

#[test]
fn time_never_goes_backwards() {
    let mut queries = QuerySet::new(10);
    queries.owe_transition();
    run(&mut queries, 9, &Value::Null);
    queries.owe_transition();
    run(&mut queries, 3, &Value::Null);
    assert_eq!(u64::from(queries.sent.ts), 9);
}

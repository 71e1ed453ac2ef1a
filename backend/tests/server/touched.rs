//! What a commit costs those who watch: a query runs again only if the commit touched what it has read, and is sent
//! again only if its result changed.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Client, real};

const ROWS: u32 = 1000;
const WINDOW: u32 = 32;
const UNTOUCHED: u32 = 1000;
const COMMITS: u32 = 200;

/// The one mutation's answer and the transition that follows.
async fn put(client: &mut Client, request: u32, group: &str, seq: u32, text: &str) {
    let row = json!({ "group": group, "seq": seq, "text": text });
    client.mutate(request, "rows:put", row).await;
    assert_eq!(client.response(request).await["success"], true);
    client.transition().await;
}

fn changed(transition: &Value) -> Vec<u64> {
    let modifications = transition["modifications"].as_array().unwrap();
    let ids = modifications
        .iter()
        .map(|it| it["queryId"].as_u64().unwrap());
    ids.collect()
}

#[tokio::test]
async fn of_a_thousand_rows_only_the_query_that_changed_is_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let (deployment, queries) = real(folder.path()).await;
    let mut writer = Client::connect(&deployment.url()).await;
    let fill = json!({ "group": "a", "count": ROWS });
    writer.mutate(0, "rows:fill", fill).await;
    assert_eq!(writer.response(0).await["success"], true);
    writer.transition().await;

    // All rows in windows, as readers of streams hold them; all rows in one; and their numbers without their texts.
    let mut reader = Client::connect(&deployment.url()).await;
    let windows = ROWS.div_ceil(WINDOW);
    let (whole, numbers) = (windows, windows + 1);
    let add = |id: u32, path: &str, from: u32, to: u32| json!({"type": "Add", "queryId": id, "udfPath": path, "args": [{ "group": "a", "from": from, "to": to }]});
    let mut all: Vec<_> = (0..windows)
        .map(|id| add(id, "rows:page", id * WINDOW, (id + 1) * WINDOW))
        .collect();
    all.push(add(whole, "rows:page", 0, ROWS));
    all.push(add(numbers, "rows:sequence", 0, ROWS));
    reader.modify(json!(all)).await;
    assert_eq!(changed(&reader.transition().await).len(), all.len());

    let before = queries.ran();
    put(&mut writer, 1, "a", 500, "new").await;
    let transition = reader.transition().await;
    let mut sent = changed(&transition);
    sent.sort_unstable();
    let touched = u64::from(500 / WINDOW);
    assert_eq!(sent, [touched, u64::from(whole)]);
    // The numbers were looked at, and found to be the same.
    assert_eq!(queries.ran() - before, 3);
    for modification in transition["modifications"].as_array().unwrap() {
        let from = if modification["queryId"] == touched {
            500 / WINDOW * WINDOW
        } else {
            0
        };
        assert_eq!(modification["value"][500 - from as usize], "new");
    }

    // Past the end of all of them, and in another group: nobody is asked, nobody is told.
    let before = queries.ran();
    put(&mut writer, 2, "a", windows * WINDOW, "beyond").await;
    put(&mut writer, 3, "b", 0, "elsewhere").await;
    assert_eq!(queries.ran(), before);
    reader.modify(json!([])).await;
    assert_eq!(changed(&reader.transition().await), [0; 0]);
    deployment.stop().await;
}

#[tokio::test]
async fn a_thousand_subscriptions_that_a_commit_does_not_touch_cost_it_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (deployment, queries) = real(folder.path()).await;
    let mut writer = Client::connect(&deployment.url()).await;
    let mut request = 0;
    let mut commits = Vec::new();
    let mut reader = Client::connect(&deployment.url()).await;
    for watched in [0, UNTOUCHED] {
        let add: Vec<_> = (0..watched)
            .map(|id| json!({"type": "Add", "queryId": id, "udfPath": "rows:page", "args": [{ "group": "watched", "from": id, "to": id + 1 }]}))
            .collect();
        reader.modify(json!(add)).await;
        assert_eq!(changed(&reader.transition().await).len(), watched as usize);
        let ran = queries.ran();
        let began = Instant::now();
        for _ in 0..COMMITS {
            put(&mut writer, request, "written", request, "x").await;
            request += 1;
        }
        commits.push(began.elapsed() / COMMITS);
        assert_eq!(queries.ran(), ran, "queries were run again");
    }
    // Figures for people: a loaded machine proves nothing by its clock, the count above does.
    let ratio = commits[1].as_secs_f64() / commits[0].max(Duration::from_nanos(1)).as_secs_f64();
    eprintln!(
        "commit {commits:?} with 0 and {UNTOUCHED} untouched subscriptions: ratio {ratio:.2}"
    );
    // One that is touched runs, and it alone.
    let ran = queries.ran();
    put(&mut writer, request, "watched", 7, "seen").await;
    assert_eq!(changed(&reader.transition().await), [7]);
    assert_eq!(queries.ran() - ran, 1);
    deployment.stop().await;
}

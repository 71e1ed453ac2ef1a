//! How soon everything is as it should be after a minute without the deployment: the first word that reached it, and the end of
//! a turn that was answered meanwhile, as a subscribed client sees it. Ten workers, each with a network of its own.

use std::sync::Arc;
use std::time::Duration;

use orchestrator_actors::domain::turn::Ending;
use serde_json::json;
use tokio::sync::Barrier;

use crate::common::stamps::now_ns;
use crate::common::table::{TIMES, Table, Times};
use crate::far::{Far, text};
use crate::{Samples, common, reader};

const OUTAGE: Duration = Duration::from_mins(1);
const WORKERS: usize = 10;

pub fn table(_: Samples) {
    let runtime = common::runtime();
    let (mut synced, mut closed, mut stock) = (Times::new(), Times::new(), Times::new());
    runtime.block_on(async {
        let far = Arc::new(Far::start().await);
        let back = Arc::new(Barrier::new(2 * WORKERS));
        let mut ours = tokio::task::JoinSet::new();
        let mut theirs = tokio::task::JoinSet::new();
        for n in 0..WORKERS {
            ours.spawn(link(Arc::clone(&far), n, Arc::clone(&back)));
            theirs.spawn(stock_client(Arc::clone(&far), Arc::clone(&back)));
        }
        while let Some(times) = ours.join_next().await {
            let times = times.expect("a worker");
            synced.add_ns(times.0);
            closed.add_ns(times.1);
        }
        while let Some(time) = theirs.join_next().await {
            stock.add_ns(time.expect("a client"));
        }
    });
    let mut table = Table::new("A deployment is back after 60 s, until", &TIMES);
    table.row("a mutation that waited is answered", synced.cells());
    table.row(
        "a client sees the turn closed that ended meanwhile",
        closed.cells(),
    );
    table.row(
        "yardstick: Convex's own Rust client, a mutation that waited is answered",
        stock.cells(),
    );
    table.print();
}

async fn link(far: Arc<Far>, n: usize, back: Arc<Barrier>) -> (u64, u64) {
    let near = far.worker(&format!("w{n}")).await;
    let turn = far.turn(&near, &format!("t{n}")).await;
    near.link.push(&turn, text("before ")).expect("a stream");
    assert!(near.link.flush(10_000).await, "it is there");
    near.network.refuse();
    near.link.push(&turn, text("meanwhile")).expect("a stream");
    let mut beat = json!({ "epoch": near.credential().epoch });
    beat["token"] = json!(near.credential().token.expose());
    let waited = tokio::spawn(near.link.mutate("presence:beat", beat));
    let finish = tokio::spawn(near.link.finish(
        turn.clone(),
        near.credential(),
        Ending::complete(None),
    ));
    tokio::time::sleep(OUTAGE).await;
    back.wait().await;
    near.network.accept_again();
    let begun = now_ns();
    waited.await.expect("a task").expect("an answer");
    let synced = now_ns() - begun;
    let mut said = String::new();
    reader::follow(&far.owner, turn.as_str(), |content| said += content).await;
    let closed = now_ns() - begun;
    assert_eq!(said, "before meanwhile");
    finish.await.expect("a task").expect("an end");
    (synced, closed)
}

/// The same with the stock client: what waits is a mutation that is refused, which is an answer, too.
async fn stock_client(far: Arc<Far>, back: Arc<Barrier>) -> u64 {
    let network = orchestrator_test_support::Proxy::to(far.deployment.address());
    let mut client = convex::ConvexClient::new(&network.url())
        .await
        .expect("a client");
    let ask = |mut client: convex::ConvexClient| async move {
        let args = [
            ("token".to_owned(), convex::Value::from("none")),
            ("epoch".to_owned(), convex::Value::from(1.0)),
        ];
        client
            .mutation("presence:beat", args.into_iter().collect())
            .await
    };
    let _ = ask(client.clone()).await;
    let _watching = client
        .subscribe("work:inbox", std::collections::BTreeMap::new())
        .await;
    network.refuse();
    // Asked a moment before the end: what it is asked while it knows that it is offline may fail at once.
    tokio::time::sleep(OUTAGE).await;
    back.wait().await;
    network.accept_again();
    let begun = now_ns();
    while ask(client.clone()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    now_ns() - begun
}

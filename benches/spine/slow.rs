//! Streaming to a deployment that takes 30 ms for each mutation, with appends as close as they may be: what a delta takes to a
//! subscribed client, and how soon that client sees the turn closed after the last one.

use std::sync::Arc;
use std::time::Duration;

use orchestrator_actors::domain::turn::Ending;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::common::stamps::{now_ns, stamped, stamps_in};
use crate::common::table::{TIMES, Table, Times};
use crate::far::{Far, Near, text};
use crate::{Samples, common, reader};

const MUTATION: Duration = Duration::from_millis(30);
/// Between the deltas of a session.
const PACE: Duration = Duration::from_millis(10);
/// In one turn.
const DELTAS: u64 = 50;

pub fn table(samples: Samples) {
    let runtime = common::runtime();
    let turns = (samples.paced / DELTAS).max(2);
    let mut table = Table::new("Streaming, each mutation takes 30 ms", &TIMES);
    runtime.block_on(async {
        let far = Arc::new(Far::start().await);
        let near = Arc::new(far.worker("w").await);
        near.network.delay(MUTATION);
        let (delta, end) = sessions(&far, &near, "one", 1, turns).await;
        table.row(
            "one session: a delta, at a subscribed client",
            delta.cells(),
        );
        table.row(
            "one session: its last delta, until the client sees the turn closed",
            end.cells(),
        );
        let (delta, end) = sessions(&far, &near, "ten", 10, turns.div_ceil(4)).await;
        table.row(
            "ten sessions: a delta, at a subscribed client",
            delta.cells(),
        );
        table.row(
            "ten sessions: the last delta, until the turn is seen closed",
            end.cells(),
        );
        table.row(
            "yardstick: an echo over the same network, one at a time",
            echo(samples.paced / 10).await.cells(),
        );
    });
    table.print();
}

/// So many sessions at once, each with so many turns one after the other.
async fn sessions(
    far: &Arc<Far>,
    near: &Arc<Near>,
    name: &str,
    count: usize,
    turns: u64,
) -> (Times, Times) {
    let mut running = tokio::task::JoinSet::new();
    for session in 0..count {
        let (far, near) = (Arc::clone(far), Arc::clone(near));
        let name = format!("{name}-{session}");
        running.spawn(async move {
            let mut seen = Vec::new();
            for n in 0..turns {
                seen.push(turn(&far, &near, &format!("{name}-{n}")).await);
            }
            seen
        });
    }
    let (mut deltas, mut ends) = (Times::new(), Times::new());
    while let Some(seen) = running.join_next().await {
        for (times, end) in seen.expect("a session") {
            for time in times {
                deltas.add_ns(time);
            }
            ends.add_ns(end);
        }
    }
    (deltas, ends)
}

/// What each delta took, and the end.
async fn turn(far: &Far, near: &Near, id: &str) -> (Vec<u64>, u64) {
    let turn = far.turn(near, id).await;
    let saying = async {
        for _ in 0..DELTAS {
            tokio::time::sleep(PACE).await;
            near.link.push(&turn, text(&stamped())).expect("room");
        }
        let last = now_ns();
        let finish = near
            .link
            .finish(turn.clone(), near.credential(), Ending::complete(None));
        finish.await.expect("an end");
        last
    };
    let mut times = Vec::new();
    let listening = async {
        reader::follow(&far.owner, turn.as_str(), |content| {
            let now = now_ns();
            times.extend(stamps_in(content).map(|stamp| now - stamp));
        })
        .await;
        now_ns()
    };
    let (last, closed) = tokio::join!(saying, listening);
    assert_eq!(times.len() as u64, DELTAS, "deltas were lost");
    (times, closed - last)
}

/// 200 bytes there and back through the same kind of network.
async fn echo(samples: u64) -> Times {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let network = orchestrator_test_support::Proxy::to(listener.local_addr().expect("an address"));
    network.delay(MUTATION);
    let echo = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.expect("a socket");
        socket.set_nodelay(true).expect("a socket");
        let mut bytes = [0; 200];
        while socket.read_exact(&mut bytes).await.is_ok() {
            socket.write_all(&bytes).await.expect("an echo");
        }
    });
    let address = network.url().trim_start_matches("http://").to_owned();
    let mut socket = TcpStream::connect(address).await.expect("a socket");
    socket.set_nodelay(true).expect("a socket");
    let mut times = Times::new();
    let mut bytes = [7; 200];
    for _ in 0..samples {
        let begun = now_ns();
        socket.write_all(&bytes).await.expect("a send");
        socket.read_exact(&mut bytes).await.expect("an echo");
        times.add_ns(now_ns() - begun);
    }
    echo.abort();
    times
}

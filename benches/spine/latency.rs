//! How long a delta is on its way, at the pace of a model that talks: written by the scripted OpenCode to its event
//! stream → at the link → committed (append acknowledged) → at a subscribed client.

use crate::common::stamps::{now_ns, stamps_in};
use crate::common::table::{TIMES, Table, Times};
use crate::common::{self, files, yardstick};
use crate::rig::Rig;
use crate::{Samples, reader};

const RATE: u32 = 100;

pub fn table(samples: Samples) {
    let runtime = common::runtime();
    let echo = runtime.block_on(yardstick::websocket_echo(samples.paced, RATE));
    let folder = files::folder();
    let (commits, _) =
        yardstick::sqlite_commits(folder.path(), yardstick::WEIGHT, samples.paced, RATE);
    let mut read = Times::new();
    let rig = runtime.block_on(async {
        let rig = Rig::with_opencode().await;
        rig.probe.note();
        let prompt = format!("deltas={} rate={RATE}", samples.paced);
        let turn = rig.send("latency", &prompt).await;
        reader::follow(&rig.owner, &turn, |content| {
            let now = now_ns();
            stamps_in(content).for_each(|stamp| read.add_ns(now - stamp));
        })
        .await;
        rig
    });
    let mut table = Table::new(
        "Latency of a delta, 100 a second: from the SSE event to",
        &TIMES,
    );
    rig.probe.seen(|seen| {
        table.row("the link (adapter, session actor)", seen.pushed.cells());
        table.row(
            "its row committed (append acknowledged)",
            seen.committed.cells(),
        );
    });
    table.row("a subscribed client (chunks:page)", read.cells());
    table.row("yardstick: echo over a loopback WebSocket", echo.cells());
    table.row(
        "yardstick: bare SQLite insert, synchronous=FULL",
        commits.cells(),
    );
    table.print();
    runtime.block_on(rig.stop());
}

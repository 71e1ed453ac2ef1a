//! Many turns at once over a deployment that keeps dropping the socket, and a bridge that keeps dying.

use orchestrator_actors::domain::ids::TurnId;
use orchestrator_actors::domain::turn::Ending;
use orchestrator_actors::ports::link::{Finished, Link};
use proptest::prelude::*;
use tokio::runtime::Builder;

use super::link::{Rig, credential, text};
use super::server::{Fault, Server};
use super::within;

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_turn_arrives_exactly_once(
        every in 2..6u64,
        fault in prop_oneof![
            Just(Fault::BeforeRun),
            Just(Fault::AfterCommit),
            Just(Fault::BeforeTransition),
        ],
        redrive_every in 5..40usize,
        turns in 1..5usize,
    ) {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = Server::with_faults(move |nth| (nth % every == 0).then_some(fault)).await;
            let mut rig = Rig::new(&server);
            let ids: Vec<TurnId> = (0..turns).map(|n| TurnId::new(format!("t{n}"))).collect();
            for id in &ids {
                rig.link.open_stream(id.clone(), credential(1), 0);
            }
            let pieces = 60;
            for n in 0..pieces {
                for id in &ids {
                    rig.link.push(id, text(&format!("{id}:{n} "))).unwrap();
                }
                if n % redrive_every == redrive_every - 1 {
                    rig.drive_again();
                }
                tokio::task::yield_now().await;
                if n % 3 == 0 {
                    rig.link.flush(5).await;
                }
            }
            for id in &ids {
                let finish = rig.link.finish(id.clone(), credential(1), Ending::complete(None));
                assert_eq!(within("a finish", finish).await, Ok(Finished::Closed));
                let whole: Vec<String> = (0..pieces).map(|n| format!("{id}:{n} ")).collect();
                let world = server.world();
                let stored = &world.turns[id.as_str()];
                assert_eq!(stored.text(), whole.concat());
                assert_eq!(stored.finishes, 1);
            }
        });
    }
}

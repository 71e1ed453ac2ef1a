//! The sync protocol under messages that no client of ours would send: whatever comes, the server does not panic, and it
//! answers every message that it takes or closes with a reason.
//!
//! `spoken` makes the messages, `wire` carries them in memory, `world` is an engine of one map. Cases beyond the
//! default: `PROPTEST_CASES=1000000 PROPTEST_RNG_SEED=1 cargo test -p orchestrator-backend --release fuzz`. What ever
//! failed is in `proptest-regressions/` and tried first; `corpus/wire.txt` is tried line by line.

mod spoken;
pub(super) mod wire;
mod world;

use std::sync::Arc;

use proptest::prelude::*;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use self::spoken::{Script, script};
use self::wire::{Heard, converse};
use crate::server::app::{App, Instance};
use crate::server::engine_thread::Supervisor;
use crate::server::identity::Verifier;
use crate::server::tuning::Tuning;

/// A server without a port.
struct Rig {
    runtime: Runtime,
    app: Arc<App>,
    _supervisor: Supervisor,
    stop: CancellationToken,
}

impl Rig {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let stop = CancellationToken::new();
        let supervisor = runtime
            .block_on(Supervisor::start(world::factory(), stop.clone()))
            .unwrap();
        let tuning = Tuning {
            queued_mutations: 4,
            queries: 4,
            resume_grace: std::time::Duration::ZERO,
            ..Tuning::default()
        };
        let app = App::new(
            supervisor.handle().clone(),
            Verifier::new(&[]).unwrap(),
            Instance::default(),
            crate::server::Site::default(),
            tuning,
            CancellationToken::new(),
        );
        Self {
            runtime,
            app: Arc::new(app),
            _supervisor: supervisor,
            stop,
        }
    }

    /// Says all of it and hears the server out; `Err` is what the server did wrong.
    fn play(&self, script: &Script) -> Result<Heard, String> {
        let heard = self
            .runtime
            .block_on(converse(&self.app, &script.messages))?;
        if self.app.engine.restarts() > 0 {
            return Err("the engine's thread panicked".to_owned());
        }
        heard.check(script).map(|()| heard)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[test]
fn fuzz_wire_every_message_is_answered_or_the_socket_closed() {
    let rig = Rig::start();
    proptest!(|(script in script())| {
        if let Err(wrong) = rig.play(&script) {
            prop_assert!(false, "{wrong}");
        }
    });
}

#[test]
fn the_corpus_is_answered_or_closed() {
    let rig = Rig::start();
    let corpus = include_str!("../../../../tests/corpus/wire.txt");
    let mut closed = 0;
    for line in corpus.lines().filter(|line| !line.starts_with('#')) {
        let script = Script::after_connect(line);
        match rig.play(&script) {
            Ok(heard) => closed += usize::from(heard.close.is_some()),
            Err(wrong) => panic!("{line}: {wrong}"),
        }
    }
    // What is right is answered, what is wrong closes: both are in there.
    assert!(
        closed >= 20 && closed < corpus.lines().count() - 5,
        "{closed}"
    );
}

//! The socket is cut after a commit and before its answer, and between an answer and the transition that shows it.

use std::time::Instant;

use orchestrator_test_support::eventually;

use crate::account;
use crate::chance::{seeded, setting};
use crate::cutter::Cutter;
use crate::load::{Kind, Load};
use crate::server::Server;

const CUTS: u64 = 30;

#[test]
fn what_was_committed_survives_every_cut_exactly_once() {
    let (seed, chance) = seeded();
    let cuts = setting("DURABILITY_CUTS", CUTS);
    let began = Instant::now();
    let server = Server::start();
    let cutter = Cutter::to(server.port(), chance);
    let load = Load::start(&server.home, &cutter.url());
    eventually("there were enough cuts of both kinds", || {
        let done = cutter.cuts();
        done.before_answer + done.before_transition >= cuts
            && done.before_answer.min(done.before_transition) >= cuts / 4
    });
    let done = cutter.cuts();
    cutter.rest();
    let told = load.drain();
    eprintln!(
        "seed {seed}: {} cuts before an answer, {} between an answer and its transition in {:.1?}; acknowledged {} \
         idempotent, {} not, {} scheduling",
        done.before_answer,
        done.before_transition,
        began.elapsed(),
        told.count(Kind::Put),
        told.count(Kind::Add),
        told.count(Kind::Schedule),
    );
    account::settle(server, &told, 2);
}

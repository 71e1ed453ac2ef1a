//! One npm client with thousands of mutations in flight, more than twice what the deployment queues for a socket: it is
//! held back, not closed. (Closed, it would connect again and send everything again, for ever.) And what large calls
//! leave behind.

use std::time::Instant;

use orchestrator_test_support::eventually;
use serde_json::json;

use crate::account;
use crate::load::Kind;
use crate::npm_load::NpmLoad;
use crate::server::Server;

const CALLERS: usize = 2500;
/// What they may cost the deployment.
const MOST_MEMORY: u64 = 48 << 20;

#[test]
fn thousands_of_mutations_outstanding_on_one_socket_get_through_exactly_once() {
    let began = Instant::now();
    let mut server = Server::start();
    let idle = server.resident_bytes();
    let load = NpmLoad::start(&server.home, &server.url(), CALLERS);
    let callers = CALLERS as u64;
    eventually("as many answers as callers", || {
        load.acknowledged() >= callers
    });
    // Everything that has no answer yet is sent again, at once.
    server.kill();
    server.spawn();
    server.wait_until_it_serves();
    let before = load.acknowledged();
    eventually("as many once more, after a kill", || {
        load.acknowledged() >= before + callers
    });
    let flooded = server.resident_bytes();
    let told = load.drain();
    eprintln!(
        "{CALLERS} callers of one npm client, {} mutations acknowledged, one kill, {:.1?}; the deployment's \
         memory: {} MiB before, {} MiB under the flood",
        told.count(Kind::Put) * 2 + told.count(Kind::Add) + told.count(Kind::Schedule),
        began.elapsed(),
        idle >> 20,
        flooded >> 20,
    );
    assert!(flooded < idle + MOST_MEMORY, "{idle}, then {flooded}");
    account::settle(server, &told, 1);
}

/// A few large frames left it five times as large as it was, for good.
#[test]
fn the_memory_of_large_calls_is_given_back() {
    const MORE: u64 = 24 << 20;
    let server = Server::start();
    let api = server.api();
    api.mutation("ledger:put", &json!({ "key": "first" }));
    let before = server.resident_bytes();
    let large = json!({ "key": "x".repeat(15 << 20) });
    for _ in 0..6 {
        assert!(api.call("mutation", "ledger:put", &large).is_err());
        api.query("ledger:count", &json!({ "name": "n" }));
    }
    let after = server.resident_bytes();
    eprintln!(
        "{} MiB before six calls of 15 MiB, {} MiB after",
        before >> 20,
        after >> 20
    );
    assert!(after < before + MORE, "{before}, then {after}");
}

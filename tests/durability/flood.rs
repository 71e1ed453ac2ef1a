//! One npm client with thousands of mutations in flight, more than twice what the deployment queues for a socket: it is held
//! back, not closed. (Closed, it would connect again and send everything again, for ever.)

use std::time::Instant;

use orchestrator_test_support::eventually;

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

//! The process is killed with -9 at random moments, also while it starts, and started again on the same port and file.

use std::time::{Duration, Instant};

use orchestrator_test_support::until;
use rand::Rng as _;

use crate::account;
use crate::chance::{seeded, setting};
use crate::load::{Kind, Load};
use crate::server::Server;

const KILLS: u32 = 20;

#[test]
fn what_was_acknowledged_survives_every_kill_exactly_once() {
    let (seed, mut chance) = seeded();
    let kills = setting("DURABILITY_KILLS", KILLS);
    let began = Instant::now();
    let mut server = Server::start();
    let load = Load::start(&server.home, &server.url());
    let (mut starting, mut npm_back) = (0, 0);
    for kill in 0..kills {
        let before = load.acknowledged();
        let pause = match chance.random_range(0..8) {
            // In the middle of its start, once there is anything to start from.
            0 if kill > 0 => {
                starting += 1;
                chance.random_range(0..60_000)
            }
            drawn => {
                if kill > 0 {
                    server.wait_until_it_serves();
                }
                // The npm client takes a second or two to come back: not every round waits for it.
                let wait_for_npm = drawn < 3 || kill == 0;
                npm_back += u32::from(wait_for_npm);
                until("the clients resume", || {
                    let now = load.acknowledged();
                    let resumed = now.0 > before.0 && (!wait_for_npm || now.1 > before.1);
                    resumed.then_some(())
                });
                chance.random_range(0..150_000)
            }
        };
        // The random moment: there is no condition to wait for.
        std::thread::sleep(Duration::from_micros(pause));
        server.kill();
        server.spawn();
    }
    server.wait_until_it_serves();
    let told = load.drain();
    let took = began.elapsed();
    eprintln!(
        "seed {seed}: {kills} kills ({starting} while it started, {npm_back} after npm's client was back) in {took:.1?}; \
         acknowledged {} idempotent, {} not, {} scheduling",
        told.count(Kind::Put),
        told.count(Kind::Add),
        told.count(Kind::Schedule),
    );
    account::settle(server, &told, 2);
}

//! The conformance suite: the same scenarios, as data, through every client there is, against the embedded deployment,
//! and through convex-test as the oracle. What one client sees and another does not is a defect of the deployment
//! (or of a client; then the scenario says so). See README.md beside this file.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test that cannot go on says so by panicking, and a table of results is what it is for"
)]

mod deployment;
mod drivers;
mod expectation;
mod lint;
mod remote;
mod report;
mod scenario;

use drivers::Driver;
use report::Report;
use scenario::Scenario;

/// The binary under test.
const ORCHESTRATOR: &str = env!("CARGO_BIN_EXE_orchestrator");

/// All clients at once, each with a deployment of its own: what they saw must be what the scenarios say, and the texts
/// of failures must be the same for all that talk to the embedded deployment.
#[test]
fn every_client_sees_the_same() {
    let scenarios: Vec<Scenario> = ["product", "api"]
        .into_iter()
        .flat_map(scenario::load)
        .filter(Scenario::is_wanted)
        .collect();
    let runs = std::thread::scope(|scope| {
        let running: Vec<_> = Driver::all()
            .into_iter()
            .filter(|driver| driver.is_wanted())
            .map(|driver| {
                let scenarios = &scenarios;
                (driver, scope.spawn(move || drivers::run(driver, scenarios)))
            })
            .collect();
        running
            .into_iter()
            .map(|(driver, thread)| (driver, thread.join().expect("a driver that does not panic")))
            .collect()
    });
    let report = Report::new(&scenarios, runs);
    eprintln!("{}", report.summary());
    assert!(report.is_clean(), "{report}");
}

//! The clients that the scenarios are driven through. Each takes the steps and says what it saw; nobody here knows what
//! a step should give.

mod http;
mod official;
mod own;
mod process;
mod steps;

use std::collections::BTreeMap;

use crate::deployment::Served;
use crate::expectation::Outcome;
use crate::scenario::Scenario;

/// Outcomes by scenario and number of the step.
pub type Outcomes = BTreeMap<(String, usize), Outcome>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Driver {
    /// npm's `ConvexClient`.
    Npm,
    /// npm's `ConvexHttpClient`.
    NpmHttp,
    /// `convex` of PyPI.
    Pypi,
    /// The `ConvexHttpClient` in it.
    PypiHttp,
    /// The official Rust `ConvexClient`.
    Rust,
    /// `OwnerClient` and the connection below it.
    Own,
    /// The HTTP API by hand: the only one that sees the log.
    Http,
    /// The oracle: the functions in memory, under Node, without our engine.
    ConvexTest,
}

impl Driver {
    pub fn all() -> [Self; 8] {
        [
            Self::Npm,
            Self::NpmHttp,
            Self::Pypi,
            Self::PypiHttp,
            Self::Rust,
            Self::Own,
            Self::Http,
            Self::ConvexTest,
        ]
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Npm => "npm",
            Self::NpmHttp => "npm-http",
            Self::Pypi => "pypi",
            Self::PypiHttp => "pypi-http",
            Self::Rust => "rust",
            Self::Own => "own",
            Self::Http => "http",
            Self::ConvexTest => "convex-test",
        }
    }

    /// Whether it talks to a deployment at all.
    pub fn is_remote(self) -> bool {
        self != Self::ConvexTest
    }

    /// `ORCHESTRATOR_CONFORMANCE_DRIVERS` names those to run, with commas between them.
    pub fn is_wanted(self) -> bool {
        std::env::var("ORCHESTRATOR_CONFORMANCE_DRIVERS").map_or(true, |names| {
            names.split(',').any(|name| name == self.name())
        })
    }

    /// Panics unless a driver has this name.
    pub fn must_exist(name: &str) {
        let known = Self::all().into_iter().any(|driver| driver.name() == name);
        assert!(known, "there is no driver {name}");
    }
}

/// Where a run's clients go: their deployment, or anybody's.
pub struct Target {
    pub url: String,
    /// JWTs by the name of the identity; `nobody` has none.
    pub tokens: BTreeMap<String, String>,
}

/// Runs all scenarios that the driver does not skip, against a deployment of its own.
pub fn run(driver: Driver, scenarios: &[Scenario]) -> Outcomes {
    let wanted: Vec<_> = scenarios
        .iter()
        .filter(|scenario| scenario.reason_to_skip(driver).is_none())
        .cloned()
        .collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let served = runtime.block_on(Served::start());
    let target = Target {
        url: served.url.clone(),
        tokens: served.tokens.clone(),
    };
    let outcomes = run_against(&runtime, driver, &wanted, &target);
    runtime.block_on(served.stop());
    outcomes
}

/// The same against any deployment.
pub fn run_against(
    runtime: &tokio::runtime::Runtime,
    driver: Driver,
    scenarios: &[Scenario],
    target: &Target,
) -> Outcomes {
    match driver {
        Driver::Npm => process::node("npm-socket.mjs", scenarios, target),
        Driver::NpmHttp => process::node("npm-http.mjs", scenarios, target),
        Driver::ConvexTest => process::node("convex-test.mjs", scenarios, target),
        Driver::Pypi => process::python("pypi.py", scenarios, target),
        Driver::PypiHttp => process::python("pypi_http.py", scenarios, target),
        Driver::Rust => runtime.block_on(steps::run(&official::Official(target), scenarios)),
        Driver::Own => runtime.block_on(steps::run(&own::Own(target), scenarios)),
        Driver::Http => runtime.block_on(steps::run(&http::Http(target), scenarios)),
    }
}

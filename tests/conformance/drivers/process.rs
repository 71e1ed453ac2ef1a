//! Clients of other languages: a process per driver, which reads the scenarios from its stdin and prints outcomes as
//! lines of JSON.

use std::process::Command;

use orchestrator::adapters::identity::ISSUER;
use orchestrator_test_support::{Home, Package, Python};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Outcomes, Target};
use crate::deployment::{IDENTITIES, modules};
use crate::expectation::Outcome;
use crate::scenario::Scenario;

/// A process has a limited time: so many scenarios go into one.
const AT_ONCE: usize = 40;

#[derive(Deserialize)]
struct Line {
    scenario: String,
    step: usize,
    #[serde(flatten)]
    outcome: Outcome,
}

pub fn node(program: &str, scenarios: &[Scenario], target: &Target) -> Outcomes {
    let package = Package::get();
    let folder = package.path("modules");
    for (name, source) in modules() {
        let file = folder.join(format!("{name}.js"));
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        std::fs::write(file, source).expect("a module");
    }
    let home = Home::bare(crate::ORCHESTRATOR);
    let client = || package.client(&home, &format!("../conformance/drivers/{program}"));
    all(
        &home,
        client,
        scenarios,
        &json!({ "modules": folder }),
        target,
    )
}

pub fn python(program: &str, scenarios: &[Scenario], target: &Target) -> Outcomes {
    let python = Python::get();
    let home = Home::bare(crate::ORCHESTRATOR);
    let client = || python.client(&home, &format!("../conformance/drivers/{program}"));
    all(&home, client, scenarios, &json!({}), target)
}

fn all(
    home: &Home,
    client: impl Fn() -> Command,
    scenarios: &[Scenario],
    more: &Value,
    target: &Target,
) -> Outcomes {
    let subjects: serde_json::Map<_, _> = IDENTITIES
        .into_iter()
        .map(|(name, subject)| (name.to_owned(), json!(subject)))
        .collect();
    let mut outcomes = Outcomes::new();
    let mut rest = scenarios;
    while !rest.is_empty() {
        let some = &rest[..rest.len().min(AT_ONCE)];
        let input = json!({
            "url": target.url, "tokens": target.tokens, "issuer": ISSUER, "subjects": subjects,
            "modules": more["modules"], "scenarios": some,
        });
        let ran = home.finish(client(), &input.to_string());
        let mut last = String::new();
        // Clients print there, too: lines of the log.
        for text in ran
            .stdout
            .lines()
            .filter(|line| line.starts_with("{\"scenario\""))
        {
            let Ok(line) = serde_json::from_str::<Line>(text) else {
                eprintln!("a driver printed what is no outcome: {text:.300}");
                continue;
            };
            last.clone_from(&line.scenario);
            outcomes.insert((line.scenario, line.step), line.outcome);
        }
        let mut done = some.len();
        if ran.code != 0 {
            // It hung or crashed in the middle of one, which the report then shows. The others have their turn.
            let reached = some.iter().position(|scenario| scenario.name == last);
            let whole =
                |at: usize| outcomes.contains_key(&(last.clone(), some[at].steps.len() - 1));
            done = reached.map_or(1, |at| if whole(at) { at + 2 } else { at + 1 });
            eprintln!(
                "a driver ended with {} after `{last}`:\n{}",
                ran.code, ran.stderr
            );
        }
        rest = &rest[done.min(rest.len())..];
    }
    outcomes
}

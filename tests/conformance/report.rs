//! What came of a run: who saw what at which step, as a table of scenarios and drivers and a list of the differences.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::json;

use crate::drivers::{Driver, Outcomes};
use crate::expectation::{Saved, Seen, check, meaningful, without_quotes};
use crate::scenario::Scenario;

/// How a driver did with a scenario.
enum Cell {
    Fine,
    Skipped,
    /// The first step that went wrong.
    Wrong(usize),
}

pub struct Report {
    drivers: Vec<Driver>,
    rows: Vec<(String, Vec<Cell>)>,
    differences: Vec<String>,
    steps: BTreeMap<Driver, (usize, usize)>,
}

impl Report {
    pub fn new(scenarios: &[Scenario], runs: Vec<(Driver, Outcomes)>) -> Self {
        let mut report = Self {
            drivers: runs.iter().map(|(driver, _)| *driver).collect(),
            rows: Vec::new(),
            differences: Vec::new(),
            steps: BTreeMap::new(),
        };
        for scenario in scenarios {
            let cells = runs
                .iter()
                .map(|(driver, outcomes)| report.judge(scenario, *driver, outcomes))
                .collect();
            report.rows.push((scenario.name.clone(), cells));
            report.compare_texts(scenario, &runs);
        }
        report
    }

    fn judge(&mut self, scenario: &Scenario, driver: Driver, outcomes: &Outcomes) -> Cell {
        if scenario.reason_to_skip(driver).is_some() {
            return Cell::Skipped;
        }
        let counted = self.steps.entry(driver).or_default();
        counted.0 += 1;
        counted.1 += scenario.steps.len();
        let mut saved = Saved::from([("run".to_owned(), json!(scenario.run))]);
        for (number, step) in scenario.steps.iter().enumerate() {
            let verdict = match outcomes.get(&(scenario.name.clone(), number)) {
                Some(outcome) => check(step, driver, outcome, &mut saved),
                None => Err("the driver did not get there".to_owned()),
            };
            if let Err(difference) = verdict {
                let mut shown = step.to_string();
                shown.truncate(shown.floor_char_boundary(300));
                self.differences.push(format!(
                    "{} · step {number} · {}\n      {shown}\n      {difference}",
                    scenario.name,
                    driver.name()
                ));
                return Cell::Wrong(number);
            }
        }
        Cell::Fine
    }

    /// Whoever talks to the embedded deployment gets the same text of a failure.
    fn compare_texts(&mut self, scenario: &Scenario, runs: &[(Driver, Outcomes)]) {
        for number in 0..scenario.steps.len() {
            let mut texts: BTreeMap<String, Vec<&str>> = BTreeMap::new();
            for (driver, outcomes) in runs
                .iter()
                .filter(|(driver, _)| *driver != Driver::ConvexTest)
            {
                let excepted = scenario.steps[number]["except"]
                    .get(driver.name())
                    .is_some();
                let outcome = outcomes.get(&(scenario.name.clone(), number));
                if let (false, Some(Seen::Failed(text))) =
                    (excepted, outcome.map(|outcome| &outcome.result))
                {
                    // A refusal that our own client does not know has no counterpart.
                    if scenario.steps[number].get("fails").is_some() {
                        texts
                            .entry(without_ids(&meaningful(text)))
                            .or_default()
                            .push(driver.name());
                    }
                }
            }
            join_own(&mut texts);
            if texts.len() > 1 {
                self.differences.push(format!(
                    "{} · step {number} · the clients read different texts: {texts:#?}",
                    scenario.name
                ));
            }
        }
    }

    pub fn is_clean(&self) -> bool {
        self.differences.is_empty()
    }

    /// Scenarios and steps per driver.
    pub fn summary(&self) -> String {
        let counts = self.drivers.iter().map(|driver| {
            let (scenarios, steps) = self.steps.get(driver).copied().unwrap_or_default();
            format!("{}: {scenarios} scenarios, {steps} steps", driver.name())
        });
        counts.collect::<Vec<_>>().join(" · ")
    }
}

/// Documents' ids and times are new in every run.
fn without_ids(text: &str) -> String {
    let is_time = |word: &str| word.len() == 13 && word.chars().all(|c| c.is_ascii_digit());
    let is_id = |word: &str| {
        word.len() >= 31
            && word
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    };
    let mut plain = String::new();
    for word in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let bare = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        match bare {
            _ if is_id(bare) => plain.push_str(&word.replace(bare, "ID")),
            _ if is_time(bare) => plain.push_str(&word.replace(bare, "TIME")),
            // What comes after the point of a time.
            _ if plain.ends_with("TIME.") => plain.push_str(&word[bare.len()..]),
            _ => plain.push_str(word),
        }
    }
    plain
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wide = self
            .rows
            .iter()
            .map(|(name, _)| name.chars().count())
            .max()
            .unwrap_or_default();
        writeln!(out, "\n{} differences", self.differences.len())?;
        write!(out, "{:wide$}", "")?;
        for driver in &self.drivers {
            write!(out, " {:>11}", driver.name())?;
        }
        writeln!(out)?;
        for (name, cells) in &self.rows {
            write!(out, "{name:wide$}")?;
            for cell in cells {
                let text = match cell {
                    Cell::Fine => "ok".to_owned(),
                    Cell::Skipped => "-".to_owned(),
                    Cell::Wrong(step) => format!("STEP {step}"),
                };
                write!(out, " {text:>11}")?;
            }
            writeln!(out)?;
        }
        for difference in &self.differences {
            writeln!(out, "\n  {difference}")?;
        }
        Ok(())
    }
}

/// Our own client reads the others' text without what it quotes.
fn join_own(texts: &mut BTreeMap<String, Vec<&str>>) {
    let own = Driver::Own.name();
    let Some(text) = texts
        .iter()
        .find(|(_, drivers)| drivers == &&vec![own])
        .map(|(text, _)| text.clone())
    else {
        return;
    };
    if let Some((_, drivers)) = texts
        .iter_mut()
        .find(|(other, _)| **other != text && without_quotes(other) == text)
    {
        drivers.push(own);
        texts.remove(&text);
    }
}

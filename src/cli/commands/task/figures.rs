//! What the supervisor tells of a task's last attempt: milliseconds of its steps, and what the assistant took. Written by
//! another version perhaps, so whatever is missing is left out.

use serde_json::Value;

use super::row::spell;
use crate::ui::format::count;

const STEPS: &[(&str, &str)] = &[
    ("waitMs", "wait"),
    ("checkMs", "check"),
    ("branchMs", "branch"),
    ("runMs", "assistant"),
    ("commitMs", "commit"),
    ("pushMs", "push"),
    ("cleanUpMs", "clean up"),
];

#[derive(Clone, Debug, Default)]
pub struct Figures(Value);

impl Figures {
    pub fn read(report: Option<&str>) -> Self {
        Self(
            report
                .and_then(|text| serde_json::from_str(text).ok())
                .unwrap_or_default(),
        )
    }

    pub fn json(&self) -> &Value {
        &self.0
    }

    /// `check 12 ms, branch 30 ms, assistant 1m40s`; steps that took no time are left out.
    pub fn steps(&self) -> Option<String> {
        let steps: Vec<String> = STEPS
            .iter()
            .filter_map(|(field, name)| {
                let ms = self.0[field].as_f64().filter(|ms| *ms > 0.0)?;
                Some(format!("{name} {}", spell(ms as u64)))
            })
            .collect();
        (!steps.is_empty()).then(|| steps.join(", "))
    }

    fn of_run(&self, field: &str) -> f64 {
        self.0["run"][field].as_f64().unwrap_or(0.0)
    }

    /// Input and output, of all attempts' last.
    pub fn tokens(&self) -> Option<(f64, f64)> {
        let tokens = (self.of_run("inputTokens"), self.of_run("outputTokens"));
        (tokens.0 + tokens.1 > 0.0).then_some(tokens)
    }

    /// `12 turns, 4.1k tokens in, 810 out`.
    pub fn run(&self) -> Option<String> {
        let mut said = Vec::new();
        let turns = self.of_run("turns");
        if turns > 0.0 {
            said.push(crate::ui::format::plural(turns as usize, "turn"));
        }
        if let Some((input, output)) = self.tokens() {
            said.push(format!("{} tokens in, {} out", count(input), count(output)));
        }
        let tries = self.of_run("tries");
        if tries > 1.0 {
            said.push(format!("started {tries} times"));
        }
        (!said.is_empty()).then(|| said.join(", "))
    }

    /// Why its last attempt did not begin or does not count.
    pub fn why_returned(&self) -> Option<&str> {
        let returned = self.0["outcome"] == "returned";
        self.0["why"]
            .as_str()
            .filter(|why| returned && !why.is_empty())
    }

    /// The end of what the assistant said.
    pub fn summary(&self) -> Option<&str> {
        self.0["run"]["summary"]
            .as_str()
            .filter(|text| !text.trim().is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_as_far_as_they_are_there() {
        let figures = Figures::read(Some(
            r#"{"checkMs":12,"branchMs":0,"runMs":102000,"new":1,"run":{"turns":3,"inputTokens":4100,"outputTokens":810,"tries":2,"summary":"ok"}}"#,
        ));
        assert_eq!(
            figures.steps().as_deref(),
            Some("check 12 ms, assistant 1m42s")
        );
        assert_eq!(
            figures.run().as_deref(),
            Some("3 turns, 4.1k tokens in, 810 out, started 2 times")
        );
        assert_eq!(figures.summary(), Some("ok"));
        for text in [None, Some(""), Some("{\"cut"), Some("[]")] {
            let none = Figures::read(text);
            assert!(none.steps().is_none() && none.run().is_none() && none.summary().is_none());
        }
    }
}

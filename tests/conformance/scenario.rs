//! Scenarios are data: files of JSON with comments below `scenarios/`. Here they are read, and what is shorthand in
//! them is written out, so that the drivers get plain JSON in Convex's encoding. README.md describes the format.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::drivers::Driver;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    pub name: String,
    /// A prefix for ids, so that no two scenarios meet: `${run}` in the steps.
    #[serde(default)]
    pub run: String,
    /// Drivers that cannot or need not run it, with the reason.
    #[serde(default)]
    pub skip: BTreeMap<String, String>,
    /// The name of the steps in `preludes.jsonc` that it begins with.
    #[serde(default, skip_serializing)]
    after: Option<String>,
    pub steps: Vec<Value>,
}

#[derive(Deserialize)]
struct File {
    scenarios: Vec<Scenario>,
}

/// What a step may say.
const STEP: [&str; 13] = [
    "query",
    "mutation",
    "subscribe",
    "changed",
    "args",
    "as",
    "id",
    "save",
    "gives",
    "refused",
    "fails",
    "logs",
    "except",
];

/// All scenarios of a folder, in the order of their names.
pub fn load(folder: &str) -> Vec<Scenario> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/scenarios");
    let preludes: BTreeMap<String, Vec<Value>> = read(&root.join("preludes.jsonc"));
    let mut files: Vec<_> = std::fs::read_dir(root.join(folder))
        .expect("the scenarios")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    let mut scenarios = Vec::new();
    for path in files {
        let stem = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let file: File = read(&path);
        for (number, mut scenario) in file.scenarios.into_iter().enumerate() {
            scenario.run = format!("{stem}{number}");
            scenario.name = format!("{folder}/{stem}: {}", scenario.name);
            scenario
                .skip
                .keys()
                .for_each(|name| Driver::must_exist(name));
            let before = scenario
                .after
                .as_ref()
                .map_or_else(Vec::new, |name| preludes[name].clone());
            scenario.steps = before
                .iter()
                .chain(&scenario.steps)
                .flat_map(|step| written_out(step, &scenario.name))
                .collect();
            scenarios.push(scenario);
        }
    }
    scenarios
}

fn read<T: DeserializeOwned>(path: &Path) -> T {
    let text = std::fs::read_to_string(path).expect("a file of scenarios");
    let read =
        jsonc_parser::parse_to_serde_value::<T>(&text, &jsonc_parser::ParseOptions::default());
    read.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

impl Scenario {
    /// `ORCHESTRATOR_CONFORMANCE_ONLY` names a part of those to run.
    pub fn is_wanted(&self) -> bool {
        std::env::var("ORCHESTRATOR_CONFORMANCE_ONLY")
            .map_or(true, |part| self.name.contains(&part))
    }

    /// Whether a step is taken as this identity.
    pub fn names(&self, identity: &str) -> bool {
        self.steps.iter().any(|step| step["as"] == identity)
    }

    /// The same under ids of its own, so that it can be run beside others.
    pub fn renamed(mut self, prefix: &str) -> Self {
        self.run = format!("{prefix}{}", self.run);
        self
    }

    /// Why a driver does not run it.
    pub fn reason_to_skip(&self, driver: Driver) -> Option<&str> {
        if let Some(reason) = self.skip.get(driver.name()) {
            return Some(reason);
        }
        let encoded =
            driver == Driver::Own && self.steps.iter().any(|step| has_encoding(&step["args"]));
        encoded.then_some("our client sends plain JSON only")
    }
}

/// A step, or as many as its `$each` says: `${n}` is the number of each.
fn written_out(step: &Value, scenario: &str) -> Vec<Value> {
    let Value::Object(mut step) = expand(step) else {
        panic!("{scenario}: a step is an object");
    };
    let each = step.remove("$each");
    for name in step.keys() {
        assert!(
            STEP.contains(&name.as_str()),
            "{scenario}: a step cannot say `{name}`"
        );
    }
    step.entry("as").or_insert_with(|| "owner".into());
    if let Some(Value::Object(except)) = step.get("except") {
        except.keys().for_each(|name| Driver::must_exist(name));
    }
    let step = Value::Object(step);
    match each.and_then(|each| each.as_u64()) {
        None => vec![step],
        Some(times) => (0..times).map(|number| numbered(&step, number)).collect(),
    }
}

fn numbered(value: &Value, number: u64) -> Value {
    match value {
        Value::String(text) if text == "${n:number}" => number.into(),
        Value::String(text) => text.replace("${n}", &number.to_string()).into(),
        Value::Array(items) => items.iter().map(|item| numbered(item, number)).collect(),
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(name, field)| (name.clone(), numbered(field, number)));
            Value::Object(fields.collect())
        }
        other => other.clone(),
    }
}

/// Replaces the words that scenarios use for what is long, or has no JSON.
fn expand(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(expand).collect(),
        Value::Object(fields) => shorthand(fields).unwrap_or_else(|| {
            let fields = fields
                .iter()
                .map(|(name, field)| (name.clone(), expand(field)));
            Value::Object(fields.collect())
        }),
        other => other.clone(),
    }
}

fn shorthand(fields: &Map<String, Value>) -> Option<Value> {
    if fields.len() != 1 {
        return None;
    }
    let (name, value) = fields.iter().next()?;
    let times = || value["times"].as_u64().expect("a number of times") as usize;
    Some(match name.as_str() {
        "$num" => {
            let number: f64 = value.as_str()?.parse().expect("a number");
            json!({ "$float": base64(&number.to_le_bytes()) })
        }
        "$int" => {
            let number: i64 = value.as_str()?.parse().expect("an integer");
            json!({ "$integer": base64(&number.to_le_bytes()) })
        }
        "$text" => Value::String(value["of"].as_str()?.repeat(times())),
        "$list" => Value::Array(vec![expand(&value["of"]); times()]),
        _ => return None,
    })
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn has_encoding(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_encoding),
        Value::Object(fields) => fields
            .iter()
            .any(|(name, field)| name.starts_with('$') || has_encoding(field)),
        _ => false,
    }
}

//! What a message to a worker can name besides its text: the models and the agents that OpenCode lists while it loads. Kept a
//! worker, as the assistant that loaded last has said it; whoever follows hears of a change and of nothing else.

use std::collections::BTreeMap;

use orchestrator_actors::domain::ids::WorkerId;
use orchestrator_actors::domain::plain_sight::breaks_a_line;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::models::{Model, Providers};

/// The deployment's bounds. OpenCode with many providers lists more models than anybody looks through.
const MOST_MODELS: usize = 500;
const MOST_AGENTS: usize = 50;
const MODEL_CHARS: usize = 300;
const AGENT_CHARS: usize = 200;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Choices {
    pub models: Vec<Model>,
    pub agents: Vec<Agent>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Agent {
    pub name: String,
}

/// An agent as `/agent` lists it.
#[derive(Debug, Deserialize)]
pub struct ListedAgent {
    name: String,
    #[serde(default)]
    mode: String,
    #[serde(default)]
    hidden: bool,
}

impl Choices {
    /// A sub-agent is for other agents to call, a hidden one for OpenCode itself.
    pub fn of(providers: Providers, agents: Vec<ListedAgent>) -> Self {
        let mut models = providers.models();
        models.retain(|model| {
            is_line(&model.id, MODEL_CHARS)
                && (model.name.is_empty() || is_line(&model.name, MODEL_CHARS))
        });
        // Of too many those that their providers recommend stay.
        models.sort_by_key(|model| !model.default);
        models.truncate(MOST_MODELS);
        models.sort_by(|a, b| a.id.cmp(&b.id));
        let mut agents: Vec<Agent> = agents
            .into_iter()
            .filter(|agent| agent.mode != "subagent" && !agent.hidden)
            .filter(|agent| is_line(&agent.name, AGENT_CHARS))
            .map(|agent| Agent { name: agent.name })
            .collect();
        agents.truncate(MOST_AGENTS);
        Self { models, agents }
    }
}

/// As the deployment takes names; one odd name does not cost all others.
fn is_line(text: &str, most: usize) -> bool {
    !text.is_empty() && text.encode_utf16().count() <= most && !text.contains(breaks_a_line)
}

/// Of every worker whose assistant has loaded since the start.
pub type Learned = watch::Receiver<BTreeMap<WorkerId, Choices>>;

#[derive(Debug)]
pub(super) struct Learning(watch::Sender<BTreeMap<WorkerId, Choices>>);

impl Default for Learning {
    fn default() -> Self {
        Self(watch::channel(BTreeMap::new()).0)
    }
}

impl Learning {
    pub fn learn(&self, worker: WorkerId, choices: Choices) {
        self.0.send_if_modified(|known| {
            let is_new = known.get(&worker) != Some(&choices);
            if is_new {
                known.insert(worker, choices);
            }
            is_new
        });
    }

    pub fn follow(&self) -> Learned {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices(models: &[&str]) -> Choices {
        let models: serde_json::Map<_, _> = models
            .iter()
            .map(|id| ((*id).to_owned(), serde_json::json!({ "name": "N" })))
            .collect();
        let providers = serde_json::json!({
            "providers": [{ "id": "p", "options": { "apiKey": "secret" }, "models": models }],
            "default": { "p": "z" },
        });
        let agents = serde_json::json!([
            { "name": "build", "mode": "primary" },
            { "name": "mine", "mode": "all" },
            { "name": "explore", "mode": "subagent" },
            { "name": "title", "mode": "primary", "hidden": true },
            { "name": "od\nd", "mode": "primary" },
        ]);
        Choices::of(
            serde_json::from_value(providers).unwrap(),
            serde_json::from_value(agents).unwrap(),
        )
    }

    #[test]
    fn people_choose_from_what_is_for_people_and_keys_are_not_among_it() {
        let choices = choices(&["a/b", "od\u{202e}d"]);
        let text = serde_json::to_string(&choices).unwrap();
        assert_eq!(
            text,
            r#"{"models":[{"id":"p/a/b","name":"N","default":false}],"agents":[{"name":"build"},{"name":"mine"}]}"#
        );
    }

    #[test]
    fn of_too_many_models_the_recommended_one_stays() {
        let many: Vec<String> = (0..600).map(|at| format!("m{at}")).collect();
        let mut many: Vec<&str> = many.iter().map(String::as_str).collect();
        many.push("z");
        let models = choices(&many).models;
        assert_eq!(models.len(), MOST_MODELS);
        assert!(models.iter().any(|model| model.id == "p/z"));
    }

    #[test]
    fn the_same_again_is_no_news() {
        let learning = Learning::default();
        let mut learned = learning.follow();
        let worker = WorkerId::from("w");
        learning.learn(worker.clone(), choices(&["a"]));
        assert!(learned.has_changed().unwrap());
        learned.borrow_and_update();
        learning.learn(worker.clone(), choices(&["a"]));
        assert!(!learned.has_changed().unwrap());
        learning.learn(worker, choices(&["b"]));
        assert!(learned.has_changed().unwrap());
    }
}

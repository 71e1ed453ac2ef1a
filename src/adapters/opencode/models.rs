//! What models a worker can name. OpenCode tells it per directory (a project's configuration counts), so an OpenCode of that
//! worker is asked: one that lives, else one that is started in the worker's directory for this question and stopped again.
//! Of the answer only names are read: beside them it holds the providers' keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use orchestrator_actors::domain::ids::{SessionId, WorkerDir, WorkerId};
use orchestrator_actors::ports::agent::{AgentError, OpenSpec, Opened, Waiting};
use serde::{Deserialize, Serialize};

use super::api::Api;
use super::{Shared, boot};

/// A model as `--model` takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// `provider/model`; the model's part may contain slashes.
    pub id: String,
    pub name: String,
    /// What its provider recommends.
    pub default: bool,
}

/// The answer of `/config/providers`, without everything that is secret in it.
#[derive(Debug, Deserialize)]
pub struct Providers {
    providers: Vec<Provider>,
    /// By provider.
    #[serde(default)]
    default: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct Provider {
    id: String,
    #[serde(default)]
    models: BTreeMap<String, Named>,
}

#[derive(Debug, Deserialize)]
struct Named {
    #[serde(default)]
    name: String,
}

impl Providers {
    /// Provider by provider, each one's models by their names.
    pub fn models(self) -> Vec<Model> {
        let defaults = self.default;
        let of_provider = |provider: Provider| {
            let default = defaults.get(&provider.id).cloned();
            provider.models.into_iter().map(move |(id, model)| Model {
                default: default.as_ref() == Some(&id),
                id: format!("{}/{id}", provider.id),
                name: model.name,
            })
        };
        let mut models: Vec<Model> = self.providers.into_iter().flat_map(of_provider).collect();
        models.sort_by(|a, b| a.id.cmp(&b.id));
        models
    }
}

pub(super) async fn of_worker(
    shared: &Arc<Shared>,
    worker: &WorkerId,
    directory: &WorkerDir,
) -> Result<Vec<Model>, AgentError> {
    if let Some(api) = shared.reached.of_worker(worker)
        && let Ok(models) = ask(&api).await
    {
        return Ok(models);
    }
    // One at a time: they would take each other's lease.
    let _listing = shared.listing.lock().await;
    let spec = OpenSpec {
        worker: worker.clone(),
        session: SessionId::from(format!("models-{worker}").as_str()),
        directory: directory.clone(),
        incarnation: 0,
        waiting: Waiting::default(),
    };
    let session = spec.session.clone();
    let Opened { agent, mut events } = boot::open(shared.clone(), spec).await?;
    // Nobody is to wait until somebody has read them.
    let drained = tokio::spawn(async move { while events.recv().await.is_some() {} });
    let models = match shared.reached.api_of(&session) {
        Some(api) => ask(&api).await,
        None => Err(AgentError::Failed("the assistant is gone".to_owned())),
    };
    agent.stop().await;
    drained.abort();
    models
}

async fn ask(api: &Api) -> Result<Vec<Model>, AgentError> {
    let providers = api.providers().await;
    let providers = providers.map_err(|error| AgentError::Failed(error.to_string()))?;
    Ok(providers.models())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_named_with_their_provider_and_keys_are_not_kept() {
        let answer = r#"{
            "providers": [
                {"id": "openrouter", "key": "sk-secret", "options": {"apiKey": "sk-secret"},
                 "models": {"anthropic/x": {"id": "anthropic/x", "name": "X", "cost": {}}, "b": {"id": "b"}}},
                {"id": "fake", "models": {"scripted": {"name": "Scripted"}}}
            ],
            "default": {"openrouter": "anthropic/x"}
        }"#;
        let providers: Providers = serde_json::from_str(answer).unwrap();
        assert!(!format!("{providers:?}").contains("secret"));
        let models = providers.models();
        let ids: Vec<&str> = models.iter().map(|model| model.id.as_str()).collect();
        assert_eq!(
            ids,
            ["fake/scripted", "openrouter/anthropic/x", "openrouter/b"]
        );
        let defaults: Vec<bool> = models.iter().map(|model| model.default).collect();
        assert_eq!(defaults, [false, true, false]);
    }
}

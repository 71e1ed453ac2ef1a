//! `orchestrator models`: what `--model` can name. Asking takes an assistant, so the supervisor keeps what it was told once; that is
//! shown with its age, also when nobody runs. `--refresh`, and a worker that was never asked about, go to the supervisor.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::resolve::unknown;
use crate::cli::rows::read;
use crate::cli::supervisor::{SHORT, Supervisor};
use crate::control::Verb;
use crate::control::report::Report;
use crate::daemon::KnownModels;
use crate::ui::format::age;

/// It may have to start an assistant, behind others that start.
const PATIENCE: Duration = Duration::from_secs(150);

/// List the models that a worker can name
#[derive(Debug, Args)]
pub struct Models {
    /// Worker (name or id) [default: the worker of this directory, or the only one]
    #[arg(long, value_name = "WORKER")]
    worker: Option<String>,

    /// Ask again instead of showing what was told before
    #[arg(long)]
    refresh: bool,

    /// As one JSON object
    #[arg(long)]
    pub json: bool,
}

/// A worker that can be asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Choice {
    id: String,
    name: String,
    directory: PathBuf,
}

impl Models {
    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        let supervisor = Supervisor::find(app);
        let choices = match &supervisor {
            Ok(supervisor) => served(supervisor).await?,
            Err(_) => remembered(app),
        };
        let supervisor = match supervisor {
            // Nobody can be asked, and nobody ever was.
            Err(failure) if choices.is_empty() => return Err(failure),
            other => other,
        };
        let chosen = choose(&choices, self.worker.as_deref())?;
        let known = KnownModels::read(&app.paths, &chosen.id).filter(|_| !self.refresh);
        let known = if let Some(known) = known {
            app.ui.say(format!(
                "as of {} ago; orchestrator models --refresh asks again",
                age(ms_since(&known.asked_at))
            ));
            known
        } else {
            let verb = Verb::Models {
                worker: chosen.id.clone(),
            };
            read("models", supervisor?.ask(verb, PATIENCE).await?)?
        };
        self.show(app, &known);
        Ok(Exit::Ok)
    }

    fn show(&self, app: &App, known: &KnownModels) {
        if self.json {
            app.ui.json(&json!({
                "schema": 1,
                "worker": known.worker,
                "name": known.name,
                "asked_at": known.asked_at,
                "models": known.models,
            }));
            return;
        }
        if known.models.is_empty() {
            app.ui.say(format!(
                "worker {} can name no model: has a provider been set up? (opencode auth login)",
                known.name
            ));
        }
        let width = known.models.iter().map(|model| model.id.len()).max();
        for model in &known.models {
            let note = if model.default { "  (default)" } else { "" };
            let width = width.unwrap_or_default();
            app.ui
                .line(format!("{:width$}  {}{note}", model.id, model.name).trim_end());
        }
    }
}

fn ms_since(time: &str) -> u64 {
    let then = time.parse().unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let ms = jiff::Timestamp::now().as_millisecond() - then.as_millisecond();
    ms.max(0) as u64
}

async fn served(supervisor: &Supervisor) -> Result<Vec<Choice>, Failure> {
    let report: Report = read("ps", supervisor.ask(Verb::Ps, SHORT).await?)?;
    let workers = report.workers.into_iter();
    Ok(workers
        .map(|worker| Choice {
            id: worker.id,
            name: worker.name,
            directory: worker.directory.into(),
        })
        .collect())
}

fn remembered(app: &App) -> Vec<Choice> {
    let known = KnownModels::all(&app.paths).into_iter();
    known
        .map(|known| Choice {
            id: known.worker,
            name: known.name,
            directory: known.directory,
        })
        .collect()
}

fn choose<'c>(choices: &'c [Choice], name: Option<&str>) -> Result<&'c Choice, Failure> {
    let here = std::env::current_dir().unwrap_or_default();
    match name {
        Some(name) => named(choices, name),
        None => default(choices, &here),
    }
}

fn named<'c>(choices: &'c [Choice], name: &str) -> Result<&'c Choice, Failure> {
    let exact = choices
        .iter()
        .find(|choice| choice.id == name || choice.name == name);
    let start = name.trim_end_matches('…');
    let mut begun = choices
        .iter()
        .filter(|choice| start.len() >= 4 && choice.id.starts_with(start));
    if let Some(found) = exact.or_else(|| begun.next().filter(|_| begun.next().is_none())) {
        return Ok(found);
    }
    let known = choices
        .iter()
        .flat_map(|choice| [choice.id.clone(), choice.name.clone()]);
    Err(unknown("worker", name, known.collect()))
}

/// The deepest directory that holds this one, else the only worker.
fn default<'c>(choices: &'c [Choice], here: &Path) -> Result<&'c Choice, Failure> {
    let here = std::fs::canonicalize(here).unwrap_or_else(|_| here.to_owned());
    let nearest = choices
        .iter()
        .filter(|choice| here.starts_with(&choice.directory))
        .max_by_key(|choice| choice.directory.as_os_str().len());
    match (nearest, choices) {
        (Some(choice), _) | (None, [choice]) => Ok(choice),
        (None, []) => {
            Err(Failure::usage("no worker is served here")
                .hint("add one: orchestrator worker add DIR"))
        }
        (None, many) => {
            let names: Vec<String> = many.iter().map(|choice| choice.name.clone()).collect();
            Err(Failure::usage(format!(
                "there are {} workers, and none of them works in this directory",
                many.len()
            ))
            .hint(format!("name one with --worker: {}", names.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worker_is_the_one_that_is_named_or_works_here() {
        let choice = |id: &str, name: &str, directory: &str| Choice {
            id: id.to_owned(),
            name: name.to_owned(),
            directory: directory.into(),
        };
        let two = [
            choice("xyz789", "shop", "/nowhere/shop"),
            choice("abc123", "blog", "/nowhere/shop/blog"),
        ];
        assert_eq!(named(&two, "shop").unwrap().id, "xyz789");
        assert_eq!(named(&two, "abc1").unwrap().id, "abc123");
        let failure = named(&two, "shp").unwrap_err();
        assert_eq!(
            (failure.exit, failure.hint.as_deref()),
            (Exit::Usage, Some("did you mean `shop`?"))
        );
        let here = |here: &str| default(&two, Path::new(here)).map(|choice| choice.id.clone());
        assert_eq!(here("/nowhere/shop/blog/x").unwrap(), "abc123");
        assert_eq!(here("/elsewhere").unwrap_err().exit, Exit::Usage);
        assert_eq!(
            default(&two[..1], Path::new("/elsewhere")).unwrap().id,
            "xyz789"
        );
    }
}

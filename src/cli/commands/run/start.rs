//! What `run` needs before it starts: the configuration, or on a terminal the answers that make one; without a terminal
//! a template, the documents' words, and the end.

use std::path::PathBuf;

use crate::cli::commands::init::first_run;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::{prompt, resolve};
use crate::config::dev::{CONVEX_URL, Dev, WORKER_TOKEN};
use crate::config::{
    ConfigError, Loaded, Source, SourceKind, deployment_url, dotenv, env, template,
};

/// The configuration, and the way to read it again.
pub(super) async fn configuration(
    app: &App,
    dev: bool,
    only: Vec<String>,
) -> Result<(Loaded, Source), Failure> {
    let kind = if dev {
        SourceKind::Dev(dev_file(app)?)
    } else {
        SourceKind::Workers(app.paths.workers_file.clone())
    };
    let source = Source {
        kind,
        base: app.base(),
        rule: app.url_rule(),
        only,
        url: app.globals.url.clone(),
    };
    if !dev && !source.file().exists() {
        missing(app).await?;
    }
    let every = Source {
        only: Vec::new(),
        ..source.clone()
    };
    let mut loaded = every.load().map_err(|error| explained(error, dev))?;
    check_names(&loaded, &source.only)?;
    loaded.config.keep_if_named(&source.only);
    Ok((loaded, source))
}

/// The way on for whoever has no terminal and no `.env` yet.
fn explained(error: ConfigError, dev: bool) -> Failure {
    let lacks = match &error {
        ConfigError::Invalid { problems, .. } => problems.iter().any(|problem| problem.line == 0),
        _ => false,
    };
    let failure = Failure::from(error);
    match (dev, lacks) {
        (true, true) => failure.hint(
            "put WORKER_TOKEN and CONVEX_URL into .env here, or run it on a terminal: it asks for them",
        ),
        (true, false) => failure.hint("correct it and run again"),
        (false, _) => failure,
    }
}

fn check_names(loaded: &Loaded, only: &[String]) -> Result<(), Failure> {
    let workers = &loaded.config.workers;
    for name in only {
        let known = |id: &str| {
            workers
                .iter()
                .any(|w| w.name == id || w.token.worker().as_str() == id)
        };
        if !known(name) {
            let names = workers.iter().map(|worker| worker.name.clone()).collect();
            return Err(resolve::unknown("worker", name, names));
        }
    }
    Ok(())
}

/// No configuration: questions, or a template.
async fn missing(app: &App) -> Result<(), Failure> {
    let path = &app.paths.workers_file;
    // A path that was named is a path that was meant: nothing is made there.
    if app.globals.config.is_some() {
        return Err(ConfigError::Missing { path: path.clone() }.into());
    }
    if prompt::can_ask(app) {
        return first_run(app).await;
    }
    template::write(path).map_err(|error| {
        Failure::new(
            Exit::Config,
            format!("no workers configuration, and no template can be left: {error}"),
        )
        .hint("make the folder writable, or name another file with --config")
    })?;
    let message = format!(
        "No workers configuration found. A template has been created at:\n{}",
        path.display()
    );
    Err(Failure::new(Exit::Config, message).bare().hint(
        "fill it in and run again; or answer three questions: orchestrator init; or try it without an account: \
         orchestrator run --local",
    ))
}

/// Development mode's file, asked for what it lacks.
fn dev_file(app: &App) -> Result<PathBuf, Failure> {
    let path = app.base().current.join(dotenv::FILE);
    let lacking = Dev::read(&path, env::get)?
        .with_url(app.globals.url.clone())
        .lacking();
    if (!lacking.token && !lacking.url) || !prompt::can_ask(app) {
        return Ok(path);
    }
    let mut answers = Vec::new();
    if lacking.token {
        answers.push((WORKER_TOKEN, prompt::token(app)?.expose()));
    }
    if lacking.url {
        let accept = |text: &str| deployment_url(text, app.url_rule());
        let url = prompt::line(app, "Convex URL", None, accept)?;
        answers.push((CONVEX_URL, url.to_string()));
    }
    let changes: Vec<(&str, &str)> = answers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    dotenv::save(&path, &changes)
        .map_err(|error| Failure::failed(error).hint("nothing was changed"))?;
    app.ui.say(format!(
        "wrote {} (0600): never commit it",
        app.paths.shown(&path)
    ));
    Ok(path)
}

//! Where the running configuration is read from, and how it is read again: start, `reload`, SIGHUP and `--watch` all
//! come here, so they cannot mean different things.

use std::path::PathBuf;

use super::dev::Dev;
use super::env;
use super::load::{Loaded, load};
use super::place::Base;
use super::problem::ConfigError;
use super::url::UrlRule;

#[derive(Clone, Debug)]
pub struct Source {
    pub kind: SourceKind,
    pub base: Base,
    pub rule: UrlRule,
    /// `--worker`: names or ids; empty for all of them.
    pub only: Vec<String>,
    /// `--url`, for development mode's worker.
    pub url: Option<String>,
}

#[derive(Clone, Debug)]
pub enum SourceKind {
    /// `workers.json`.
    Workers(PathBuf),
    /// Development mode: `.env` and the environment, one worker.
    Dev(PathBuf),
}

impl Source {
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        let mut loaded = match &self.kind {
            SourceKind::Workers(path) => load(path, &self.base, self.rule)?,
            SourceKind::Dev(path) => Dev::read(path, env::get)?
                .with_url(self.url.clone())
                .loaded(&self.base, self.rule)?,
        };
        loaded.config.keep_if_named(&self.only);
        Ok(loaded)
    }

    /// The file to watch and to speak of.
    pub fn file(&self) -> &PathBuf {
        let (SourceKind::Workers(path) | SourceKind::Dev(path)) = &self.kind;
        path
    }

    pub fn is_dev(&self) -> bool {
        matches!(self.kind, SourceKind::Dev(_))
    }
}

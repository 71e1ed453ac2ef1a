//! The embedded deployment inside a supervisor (`run --local`), or alone (`deployment run`). Its folder holds the
//! database, the owner's key and the tokens, all private; a lock keeps a second process from opening it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use orchestrator_actors::domain::ids::DeploymentUrl;
use orchestrator_backend::{
    AuthProvider, Deployment, DeploymentConfig, Instance as Named, StartError,
};

use super::database_file::make_private;
use super::error::RunError;
use super::functions::{deployed, settings};
use super::instance::{Instance, LockError};
use super::listen::Listen;
use super::page::page;
use super::signals::Signals;
use crate::adapters::clock::wall_ms;
use crate::adapters::embedded::EmbeddedPort;
use crate::adapters::identity::{AUDIENCE, ISSUER, OwnerKey, OwnerKeys};
use crate::config::paths::private_dir;

/// Sockets say goodbye, the engine finishes and checkpoints; then the process ends anyway.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// A running embedded deployment.
pub(super) struct Embedded {
    deployment: Deployment,
    pub url: DeploymentUrl,
    pub owner: Arc<OwnerKey>,
    pub key_path: PathBuf,
    pub database: PathBuf,
    /// Where other devices reach the page.
    pub page: Option<String>,
    _lock: Instance,
}

impl Embedded {
    /// `origins`: the web pages that may talk to it, besides its own.
    pub async fn start(
        folder: &Path,
        port: u16,
        origins: Vec<String>,
        listen: Option<&Listen>,
    ) -> Result<Self, RunError> {
        // A certificate that cannot be used is said before anything is up.
        let outside = listen.map(|listen| listen.outside(&origins)).transpose()?;
        private_dir(folder).map_err(|error| RunError::Setup(error.to_string()))?;
        let lock = lock(folder).await?;
        let key_path = folder.join("owner.key");
        let owner = OwnerKeys::load_or_create(&key_path)
            .map_err(|error| RunError::Setup(error.to_string()))?;
        let database = folder.join("local.sqlite3");
        make_private(&database)?;
        let config = DeploymentConfig {
            bind: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            data: database.clone(),
            functions: deployed()?,
            environment: settings()?,
            identity: vec![AuthProvider {
                issuer: ISSUER.to_owned(),
                audience: AUDIENCE.to_owned(),
                jwks: owner.jwks(),
            }],
            allowed_origins: origins.clone(),
            instance: Named::default(),
            site: page()?,
        };
        let mut deployment = Deployment::start(config)
            .await
            .map_err(|error| match error {
                StartError::AddressInUse { .. } => RunError::PortInUse { port },
                other => RunError::Setup(other.to_string()),
            })?;
        let page = match listen.zip(outside) {
            Some((listen, outside)) => {
                let bound = deployment
                    .listen(outside)
                    .await
                    .map_err(|error| RunError::Setup(error.to_string()))?;
                Some(listen.page(bound, &origins))
            }
            None => None,
        };
        Ok(Self {
            page,
            url: DeploymentUrl::new(deployment.url()),
            deployment,
            owner: Arc::new(owner.current),
            key_path,
            database,
            _lock: lock,
        })
    }

    /// As the tree sees it.
    pub fn port(&self, detail: String) -> Arc<EmbeddedPort> {
        Arc::new(EmbeddedPort::new(&self.deployment, detail))
    }

    #[cfg(debug_assertions)]
    pub fn inject_panic(&self) {
        self.deployment.inject_engine_panic();
    }

    /// Checkpoints and closes the file.
    pub async fn stop(self) {
        if tokio::time::timeout(STOP_LIMIT, self.deployment.stop())
            .await
            .is_err()
        {
            tracing::warn!("the embedded deployment did not stop in time");
        }
    }
}

/// Serves a deployment alone until a signal; `up` is told its URL, the owner's key, and where other devices reach its page.
pub async fn serve_deployment(
    folder: &Path,
    port: u16,
    origins: Vec<String>,
    listen: Option<&Listen>,
    up: impl FnOnce(&str, &Path, Option<&str>),
) -> Result<(), RunError> {
    let mut signals = Signals::register().map_err(|error| RunError::Setup(error.to_string()))?;
    let embedded = Embedded::start(folder, port, origins, listen).await?;
    up(
        embedded.url.as_str(),
        &embedded.key_path,
        embedded.page.as_deref(),
    );
    let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Ready]);
    signals.stop().await;
    let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Stopping]);
    tokio::select! {
        () = embedded.stop() => {}
        () = signals.stop() => {}
    }
    Ok(())
}

async fn lock(folder: &Path) -> Result<Instance, RunError> {
    Instance::acquire(&folder.join("lock"), wall_ms())
        .await
        .map_err(|error| match error {
            LockError::Held { holder, .. } => RunError::LocalInUse {
                folder: folder.to_owned(),
                holder,
            },
            other @ LockError::Unusable { .. } => RunError::Setup(other.to_string()),
        })
}

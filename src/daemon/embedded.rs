//! The embedded deployment inside a supervisor (`run --local`), or alone (`deployment run`). Its folder holds the
//! database, the owner's key and the tokens, all private; a lock keeps a second process from opening it.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use orchestrator_actors::domain::ids::DeploymentUrl;
use orchestrator_backend::{
    AuthProvider, Deployment, DeploymentConfig, Instance as Named, Phase, StartError, check_origin,
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
use crate::adapters::identity::{AUDIENCE, ISSUER, KeyError, OwnerKey, OwnerKeys};
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
        // In what is said of its files, whatever folder the reader stands in.
        let folder = &std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        private_dir(folder).map_err(|error| RunError::Setup(error.to_string()))?;
        not_everybodys(folder)?;
        let lock = lock(folder).await?;
        let key_path = folder.join("owner.key");
        let owner = OwnerKeys::load_or_create(&key_path).map_err(|error| unusable(&error))?;
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

    /// What is wrong with the database, when something was found.
    pub fn damage(&self) -> Option<String> {
        troubled(&self.deployment.phase())
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

fn troubled(phase: &Phase) -> Option<String> {
    match phase {
        Phase::Troubled { reason } => Some(reason.clone()),
        _ => None,
    }
}

/// Tells of every trouble once, and again when it has changed; never ends.
async fn tell_of_trouble(deployment: &Deployment, told: impl Fn(&str)) {
    let mut phases = deployment.watch_phase();
    let mut before = None;
    loop {
        let now = troubled(&phases.borrow_and_update());
        if let Some(reason) = now.as_ref().filter(|_| now != before) {
            told(reason);
        }
        before = now;
        if phases.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Whoever can write in the folder can put another database and another key there.
fn not_everybodys(folder: &Path) -> Result<(), RunError> {
    let shown = folder.display();
    let mode = std::fs::metadata(folder)
        .map_err(|error| RunError::Setup(format!("cannot look at {shown}: {error}")))?
        .permissions()
        .mode()
        & 0o777;
    if mode & 0o002 == 0 {
        return Ok(());
    }
    Err(RunError::Setup(format!(
        "everybody can write in the data folder {shown} (mode {mode:o}), and so exchange the database and the owner's key: \
         run chmod 700 on it"
    )))
}

fn unusable(error: &KeyError) -> RunError {
    let advice = match error {
        KeyError::Malformed(_) | KeyError::NotAFile(_) => {
            "; put a copy of the key in its place, or move it away: the next start makes a new one"
        }
        KeyError::File { verb: "read", .. } => "; it must be a file that you can read (chmod 600)",
        _ => "",
    };
    RunError::Setup(format!("{error}{advice}"))
}

/// Whether a page can have this origin, for `--allow-origin`.
pub fn page_origin(text: &str) -> Result<String, String> {
    check_origin(text)
        .map(|()| text.to_owned())
        .map_err(|error| error.to_string())
}

/// Serves a deployment alone until a signal; `up` is told its URL, the owner's key, and where other devices reach its page,
/// `trouble` why it cannot do its work.
pub async fn serve_deployment(
    folder: &Path,
    port: u16,
    origins: Vec<String>,
    listen: Option<&Listen>,
    up: impl FnOnce(&str, &Path, Option<&str>),
    trouble: impl Fn(&str),
) -> Result<(), RunError> {
    let mut signals = Signals::register().map_err(|error| RunError::Setup(error.to_string()))?;
    let embedded = Embedded::start(folder, port, origins, listen).await?;
    up(
        embedded.url.as_str(),
        &embedded.key_path,
        embedded.page.as_deref(),
    );
    let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Ready]);
    tokio::select! {
        () = signals.stop() => {}
        () = tell_of_trouble(&embedded.deployment, trouble) => {}
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_folder_in_which_everybody_can_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mode = |mode| {
            std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            not_everybodys(folder.path())
        };
        assert!(mode(0o755).is_ok());
        let error = mode(0o777).unwrap_err().to_string();
        for part in ["everybody can write", "(mode 777)", "chmod 700"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_no_key_is_said_with_what_to_do() {
        let error = unusable(&KeyError::Malformed("/x/owner.key".into())).to_string();
        assert!(error.contains("/x/owner.key"), "{error}");
        assert!(error.contains("move it away"), "{error}");
    }
}

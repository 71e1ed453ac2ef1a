//! A running deployment: starts the parts in order, stops them in the reverse one.
//!
//! Started: identity providers checked → port bound → engine opened → listening. Stopped: sockets closed with a reason →
//! HTTP calls finished → engine checkpointed and its file closed. Dropping it without [`Deployment::stop`] does the same
//! in the background, without waiting.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::info;

use super::app::{App, Instance};
use super::engine_thread::{EngineHandle, ExecutorFactory, Phase, Supervisor, open_engine};
use super::identity::{AuthProvider, ProviderError, Verifier};
use super::listener::{self, BoundedListener};
use super::origin::{OriginError, OriginPolicy};
use super::outside::Outside;
use super::site::Site;
use super::tuning::Tuning;
use crate::engine::{EngineConfig, Functions, Limits, OpenError, Store};

/// Everything [`Deployment::start`] needs.
#[derive(Clone, Debug)]
pub struct DeploymentConfig {
    /// A loopback address; port 0 is a random one.
    pub bind: SocketAddr,
    /// The SQLite file; made if it is missing, its folder is not.
    pub data: PathBuf,
    /// The deployed modules: name inside `convex/` without `.js`, and source.
    pub functions: Vec<(String, String)>,
    /// What the functions see as `process.env`.
    pub environment: Vec<(String, String)>,
    pub identity: Vec<AuthProvider>,
    /// Web pages that may talk to this deployment, besides its own: `https://chat.example`.
    pub allowed_origins: Vec<String>,
    pub instance: Instance,
    /// The page at the deployment's address.
    pub site: Site,
}

/// The part of the configuration that is not the engine's: what listens, and who may come.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    pub bind: SocketAddr,
    pub identity: Vec<AuthProvider>,
    pub allowed_origins: Vec<String>,
    pub instance: Instance,
    pub site: Site,
    pub tuning: Tuning,
}

impl ServerConfig {
    pub fn new(bind: SocketAddr) -> Self {
        Self {
            bind,
            identity: Vec::new(),
            allowed_origins: Vec::new(),
            instance: Instance::default(),
            site: Site::default(),
            tuning: Tuning::default(),
        }
    }
}

#[derive(Debug, Error)]
pub enum StartError {
    #[error("{address} is in use by another process: stop it, or choose another port")]
    AddressInUse { address: SocketAddr },
    #[error("cannot listen on {address}: {source}")]
    Bind {
        address: SocketAddr,
        source: io::Error,
    },
    #[error(
        "{address} is not a loopback address: the first port of a deployment is on 127.0.0.1 only"
    )]
    NotLoopback { address: SocketAddr },
    #[error(transparent)]
    Provider(#[from] ProviderError),
    #[error(transparent)]
    Origin(#[from] OriginError),
    #[error("cannot start the deployment's engine: {0}")]
    Engine(#[source] OpenError),
}

/// A deployment that serves.
pub struct Deployment {
    address: SocketAddr,
    app: Arc<App>,
    supervisor: Supervisor,
    listeners: Vec<JoinHandle<()>>,
    stop_serving: DropGuard,
    /// What the guard above cancels.
    serving: CancellationToken,
    stop_engine: DropGuard,
}

impl Deployment {
    /// Returns when it serves.
    pub async fn start(config: DeploymentConfig) -> Result<Self, StartError> {
        let engine = EngineConfig {
            store: Store::File(config.data),
            functions: Functions::new(config.functions).with_environment(config.environment),
            limits: Limits::default(),
        };
        let server = ServerConfig {
            bind: config.bind,
            identity: config.identity,
            allowed_origins: config.allowed_origins,
            instance: config.instance,
            site: config.site,
            tuning: Tuning::default(),
        };
        Self::start_with(server, open_engine(engine)).await
    }

    /// The same over any executor.
    pub async fn start_with(
        config: ServerConfig,
        factory: ExecutorFactory,
    ) -> Result<Self, StartError> {
        let address = config.bind;
        if !address.ip().is_loopback() {
            return Err(StartError::NotLoopback { address });
        }
        let verifier = Verifier::new(&config.identity)?;
        let (address, listener) = bind(address, &config.tuning).await?;
        let policy = Arc::new(OriginPolicy::new(address, &config.allowed_origins)?);
        let stop_engine = CancellationToken::new();
        let supervisor = Supervisor::start(factory, stop_engine.clone())
            .await
            .map_err(StartError::Engine)?;
        let stop_serving = CancellationToken::new();
        let app = Arc::new(App::new(
            supervisor.handle().clone(),
            verifier,
            config.instance,
            config.site,
            config.tuning,
            stop_serving.clone(),
        ));
        let router = listener::router(Arc::clone(&app), policy);
        let listener = tokio::spawn(listener::serve(listener, router, stop_serving.clone()));
        info!(%address, "deployment is serving");
        Ok(Self {
            address,
            app,
            supervisor,
            listeners: vec![listener],
            serving: stop_serving.clone(),
            stop_serving: stop_serving.drop_guard(),
            stop_engine: stop_engine.drop_guard(),
        })
    }

    /// A further port, which other devices can reach, until the deployment stops. The places for connections are its own:
    /// strangers cannot take those of loopback. Gives the address that was bound.
    pub async fn listen(&mut self, outside: Outside) -> Result<SocketAddr, StartError> {
        let (address, listener) = bind(outside.bind, &self.app.tuning).await?;
        let scheme = outside.scheme();
        let policy = OriginPolicy::outside(address, scheme, &outside.allowed_origins)?;
        let listener = listener.with_tls(outside.tls.as_ref().map(super::outside::Tls::acceptor));
        let router = listener::router(Arc::clone(&self.app), Arc::new(policy));
        let serving = listener::serve(listener, router, self.serving.clone());
        self.listeners.push(tokio::spawn(serving));
        info!(%address, scheme, "deployment is serving other devices");
        Ok(address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How often the engine's thread was started again.
    pub fn engine_restarts(&self) -> u64 {
        self.engine().restarts()
    }

    pub fn phase(&self) -> Phase {
        self.engine().phase().borrow().clone()
    }

    /// Follows the phase; the sender lives as long as the engine is supervised.
    pub fn watch_phase(&self) -> watch::Receiver<Phase> {
        self.engine().phase()
    }

    /// Follows the latest scheduled function that has failed since the start, and how.
    pub fn watch_failed_job(&self) -> watch::Receiver<Option<String>> {
        self.engine().failed_job()
    }

    /// Open client sockets.
    pub fn sockets(&self) -> usize {
        self.app.sockets.len()
    }

    /// Makes the engine's thread panic, as a test of what then happens.
    #[cfg(debug_assertions)]
    pub fn inject_engine_panic(&self) {
        // no engine: it is down already
        let _ = self.engine().send(super::engine_thread::Command::Panic);
    }

    /// Closes the sockets, finishes what is running, checkpoints and closes the file. Bounded in time.
    pub async fn stop(self) {
        let Self {
            app,
            supervisor,
            listeners,
            stop_serving,
            stop_engine,
            ..
        } = self;
        let limit = app.tuning.goodbye * 2;
        drop(stop_serving);
        app.sockets.close();
        if tokio::time::timeout(limit, app.sockets.wait())
            .await
            .is_err()
        {
            info!(open = app.sockets.len(), "sockets do not say goodbye");
        }
        for mut listener in listeners {
            if tokio::time::timeout(limit, &mut listener).await.is_err() {
                listener.abort();
            }
        }
        drop(stop_engine);
        supervisor.stopped(app.tuning.engine_stop).await;
        info!(address = %self.address, "deployment stopped");
    }

    fn engine(&self) -> &EngineHandle {
        self.supervisor.handle()
    }
}

async fn bind(
    address: SocketAddr,
    tuning: &Tuning,
) -> Result<(SocketAddr, BoundedListener), StartError> {
    let bound = BoundedListener::bind(address, tuning)
        .await
        .and_then(|listener| Ok((listener.local_addr()?, listener)));
    bound.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => StartError::AddressInUse { address },
        _ => StartError::Bind { address, source },
    })
}

//! With which of the assistant's stores each worker is connected. Told by the bridges' attachments, asked by sessions before
//! a claim: a store that was lost while the supervisor runs is another one from the next start of an assistant on, and
//! what is claimed then must not be recorded under the lost one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::info;

use super::{StartIdentity, Stores};
use crate::calls;
use crate::domain::call::CallError;
use crate::domain::ids::WorkerId;
use crate::ports::link::{Credential, Link};

/// Owned by the machine. Cheap to clone.
#[derive(Clone)]
pub struct Connections {
    identity: Arc<StartIdentity>,
    stores: Arc<dyn Stores>,
    known: Arc<Mutex<BTreeMap<WorkerId, String>>>,
}

impl Connections {
    pub fn new(identity: &StartIdentity, stores: Arc<dyn Stores>) -> Self {
        let identity = StartIdentity {
            take_over: false,
            ..identity.clone()
        };
        Self {
            identity: Arc::new(identity),
            stores,
            known: Arc::default(),
        }
    }

    /// The store that the worker's assistants use now.
    pub async fn store_id(&self, worker: &WorkerId) -> Result<String, String> {
        self.stores.store_id(worker).await
    }

    /// The deployment knows of this store.
    pub fn connected_with(&self, worker: &WorkerId, store: String) {
        self.lock().insert(worker.clone(), store);
    }

    /// Tells the deployment of a store that is another than the one connected with. The same start keeps its epoch.
    pub async fn follow_store(
        &self,
        link: &Arc<dyn Link>,
        credential: &Credential,
    ) -> Result<(), CallError> {
        let worker = credential.worker();
        // Passing, as a failed call is: it is asked again.
        let store = self.store_id(worker).await.map_err(CallError::Server)?;
        if self.lock().get(worker) == Some(&store) {
            return Ok(());
        }
        info!(%worker, "the assistant's store is another one");
        calls::connect(link, &credential.token, &self.identity, store.clone()).await?;
        self.connected_with(worker, store);
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<WorkerId, String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

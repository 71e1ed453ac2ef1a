//! Where the OpenCodes that live can be reached: address and password of each, under its session. For a person who wants to
//! look into a session from a terminal, and for questions that any OpenCode of a worker can answer. An entry is there exactly
//! as long as its child; the password leaves only through [`Reach`], which whoever asks for it has to expose.

use std::sync::{Arc, Mutex, PoisonError};

use orchestrator_actors::domain::ids::{SessionId, WorkerId};
use secrecy::SecretString;

use super::api::Api;

/// One OpenCode, as a person's client needs to know it.
pub struct Reach {
    pub pid: u32,
    pub url: String,
    pub directory: String,
    pub password: SecretString,
}

/// All that live. Cheap to clone.
#[derive(Clone, Default)]
pub struct Reached(Arc<Mutex<Entries>>);

#[derive(Default)]
struct Entries {
    next: u64,
    all: Vec<Entry>,
}

struct Entry {
    key: u64,
    worker: WorkerId,
    session: SessionId,
    pid: u32,
    api: Api,
}

/// Dropped with its child.
pub struct Listed {
    reached: Reached,
    key: u64,
}

impl Reached {
    pub fn list(&self, worker: WorkerId, session: SessionId, pid: u32, api: Api) -> Listed {
        let mut entries = self.lock();
        let key = entries.next;
        entries.next += 1;
        entries.all.push(Entry {
            key,
            worker,
            session,
            pid,
            api,
        });
        Listed {
            reached: self.clone(),
            key,
        }
    }

    /// The newest, should an older one still be on its way out.
    pub fn of_session(&self, session: &SessionId) -> Option<Reach> {
        let entries = self.lock();
        let mut newest_first = entries.all.iter().rev();
        let entry = newest_first.find(|entry| entry.session == *session)?;
        Some(Reach {
            pid: entry.pid,
            url: entry.api.address().to_owned(),
            directory: entry.api.directory().to_owned(),
            password: entry.api.password().clone(),
        })
    }

    pub fn of_worker(&self, worker: &WorkerId) -> Option<Api> {
        let entries = self.lock();
        let mut newest_first = entries.all.iter().rev();
        newest_first
            .find(|entry| entry.worker == *worker)
            .map(|entry| entry.api.clone())
    }

    pub fn api_of(&self, session: &SessionId) -> Option<Api> {
        let entries = self.lock();
        let mut newest_first = entries.all.iter().rev();
        newest_first
            .find(|entry| entry.session == *session)
            .map(|entry| entry.api.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.reached
            .lock()
            .all
            .retain(|entry| entry.key != self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(port: u16) -> Api {
        let password = SecretString::from(format!("p{port}"));
        Api::new(&format!("http://127.0.0.1:{port}"), "/w", password).unwrap()
    }

    #[test]
    fn an_entry_lives_as_long_as_its_child_and_the_newest_counts() {
        let (worker, session) = (WorkerId::from("w"), SessionId::from("s"));
        let reached = Reached::default();
        let old = reached.list(worker.clone(), session.clone(), 1, api(1));
        let new = reached.list(worker.clone(), session.clone(), 2, api(2));
        drop(old);
        let found = reached.of_session(&session).unwrap();
        assert_eq!((found.pid, found.url.as_str()), (2, "http://127.0.0.1:2"));
        assert!(reached.of_worker(&worker).is_some());
        drop(new);
        assert!(reached.of_session(&session).is_none());
        assert!(reached.of_worker(&worker).is_none());
    }
}

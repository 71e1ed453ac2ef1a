//! How many OpenCodes may live at once on this machine: each takes half a gigabyte, whoever it works for. A session that finds
//! no place waits in a queue, and meanwhile the child that has been idle the longest, of any worker, is asked to go; its
//! session stops it as it does after its idle time. A place is free again when the child is really gone. Assistants of
//! roles take the same places ([`Room`]), but never the last one: they are not idle before they end, and nobody asks them to go.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orchestrator_actors::ports::agent::Waiting;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tracing::info;

use super::pump::Command;

/// How often a waiting session looks for a child that could go.
const LOOK: Duration = Duration::from_millis(500);

/// A child that was asked to go counts as going for so long.
const GOING: Duration = Duration::from_secs(2);

/// Whether a child works, and since when; kept by its pump.
#[derive(Debug)]
pub struct InUse {
    busy: AtomicBool,
    since: Mutex<Instant>,
}

impl InUse {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            busy: AtomicBool::new(false),
            since: Mutex::new(Instant::now()),
        })
    }

    pub fn set(&self, busy: bool) {
        if self.busy.swap(busy, Ordering::Relaxed) != busy {
            *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
    }

    fn idle_since(&self) -> Option<Instant> {
        let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
        (!self.busy.load(Ordering::Relaxed)).then_some(since)
    }
}

#[derive(Debug)]
pub struct Places {
    permits: Arc<Semaphore>,
    /// What roles may have of them.
    roles: Arc<Semaphore>,
    most: usize,
    living: Mutex<Vec<Living>>,
    waiting: AtomicUsize,
    next_key: AtomicU64,
}

/// A child that has started and can be asked to go.
#[derive(Debug)]
struct Living {
    key: u64,
    in_use: Arc<InUse>,
    commands: mpsc::Sender<Command>,
    asked: Option<Instant>,
}

/// The machine's room for assistants, for those that are no chat's.
#[derive(Clone, Debug)]
pub struct Room {
    pub(super) places: Arc<Places>,
    pub(super) slots: Arc<Semaphore>,
}

/// A role's right to one living child. Dropped when it is gone.
#[derive(Debug)]
pub struct RolePlace {
    _place: Place,
    _of_roles: OwnedSemaphorePermit,
}

impl Room {
    /// A place, if one gets free in time; what stands in the way otherwise.
    pub async fn take(&self, limit: Duration) -> Result<RolePlace, String> {
        let places = &self.places;
        let full = || {
            format!(
                "{} assistants live on this machine already, and no place got free",
                places.most
            )
        };
        let of_roles = places.roles.clone().try_acquire_owned().map_err(|_| {
            let most = (places.most - 1).max(1);
            format!("{most} assistants play roles on this machine already: stop one first")
        })?;
        let taken = tokio::time::timeout(limit, places.take(&Waiting::default())).await;
        Ok(RolePlace {
            _place: taken.ok().flatten().ok_or_else(full)?,
            _of_roles: of_roles,
        })
    }

    /// The same for one who waits as long as it takes: a task.
    pub async fn wait(&self) -> Option<RolePlace> {
        let of_roles = self.places.roles.clone().acquire_owned().await.ok()?;
        let place = self.places.take(&Waiting::default()).await?;
        Some(RolePlace {
            _place: place,
            _of_roles: of_roles,
        })
    }

    /// One of the starts that may go on at once.
    pub async fn start(&self) -> Option<OwnedSemaphorePermit> {
        self.slots.clone().acquire_owned().await.ok()
    }
}

/// The right to one living child. Dropped when it is gone.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    key: u64,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    pub fn new(most: usize) -> Arc<Self> {
        let most = most.clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Self {
            permits: Arc::new(Semaphore::new(most)),
            roles: Arc::new(Semaphore::new((most - 1).max(1))),
            most,
            living: Mutex::default(),
            waiting: AtomicUsize::new(0),
            next_key: AtomicU64::new(0),
        })
    }

    /// In the order of asking. `None` only when the places are closed, which nobody does.
    pub async fn take(self: &Arc<Self>, waiting: &Waiting) -> Option<Place> {
        let permit = if let Ok(permit) = self.permits.clone().try_acquire_owned() {
            permit
        } else {
            waiting.set(Some(format!(
                "waits for a place: {} assistants may live at once on this machine",
                self.most
            )));
            let permit = self.wait().await?;
            waiting.set(None);
            permit
        };
        Some(Place {
            places: self.clone(),
            key: self.next_key.fetch_add(1, Ordering::Relaxed),
            _permit: permit,
        })
    }

    async fn wait(&self) -> Option<OwnedSemaphorePermit> {
        let _one_more = OneMore::of(&self.waiting);
        info!(
            most = self.most,
            "every place for an assistant is taken; a session waits"
        );
        let mut free = Box::pin(self.permits.clone().acquire_owned());
        loop {
            self.ask_one_to_go(&format!(
                "another session waits for its place, and {} assistants may live at once",
                self.most
            ));
            if let Ok(permit) = tokio::time::timeout(LOOK, &mut free).await {
                return permit.ok();
            }
        }
    }

    /// Asks the one that has been idle the longest, unless enough are going already. One that was asked and stayed (its
    /// session has a turn that it has not heard of yet) is asked last.
    pub fn ask_one_to_go(&self, reason: &str) {
        let mut living = self.living();
        let now = Instant::now();
        let idle = |child: &Living| child.in_use.idle_since();
        let going = living
            .iter()
            .filter(|child| child.asked.is_some_and(|asked| now - asked < GOING))
            .filter(|child| idle(child).is_some())
            .count();
        if going >= self.waiting.load(Ordering::Relaxed).max(1) {
            return;
        }
        let quietest = living
            .iter_mut()
            .filter(|child| idle(child).is_some())
            .filter(|child| child.asked.is_none_or(|asked| now - asked >= GOING))
            .min_by_key(|child| (child.asked, idle(child)));
        if let Some(child) = quietest {
            child.asked = Some(now);
            let _ = child.commands.try_send(Command::AskToGo(reason.to_owned()));
        }
    }

    fn living(&self) -> std::sync::MutexGuard<'_, Vec<Living>> {
        self.living.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The child has started.
    pub fn lived_in(&self, in_use: Arc<InUse>, commands: mpsc::Sender<Command>) {
        self.places.living().push(Living {
            key: self.key,
            in_use,
            commands,
            asked: None,
        });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.living().retain(|child| child.key != self.key);
    }
}

struct OneMore<'a>(&'a AtomicUsize);

impl<'a> OneMore<'a> {
    fn of(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for OneMore<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(place: &Place) -> (Arc<InUse>, mpsc::Receiver<Command>) {
        let in_use = InUse::new();
        let (to, commands) = mpsc::channel(4);
        place.lived_in(in_use.clone(), to);
        (in_use, commands)
    }

    #[tokio::test]
    async fn who_waits_gets_the_place_of_the_child_that_was_idle_the_longest() {
        let places = Places::new(3);
        let mut taken = Vec::new();
        for _ in 0..3 {
            let place = places.take(&Waiting::default()).await.unwrap();
            let (in_use, commands) = live(&place);
            taken.push((place, in_use, commands));
        }
        // The first works, so the second is the quietest.
        taken[0].1.set(true);
        let said = Waiting::default();
        let mut waiting = Box::pin(places.take(&said));
        let none = tokio::time::timeout(Duration::from_millis(10), &mut waiting);
        assert!(none.await.is_err());
        assert!(
            said.get()
                .unwrap()
                .contains("3 assistants may live at once")
        );
        assert!(matches!(taken[1].2.try_recv(), Ok(Command::AskToGo(_))));
        // It stays, because its session has a turn: after a while the third is asked.
        let none = tokio::time::timeout(Duration::from_secs(3), &mut waiting);
        assert!(none.await.is_err());
        assert!(matches!(taken[2].2.try_recv(), Ok(Command::AskToGo(_))));
        assert!(taken[0].2.try_recv().is_err());
        drop(taken.pop());
        waiting.await.unwrap();
        assert_eq!(said.get(), None);
    }

    #[tokio::test]
    async fn roles_count_among_the_machines_assistants_and_leave_a_place_for_chats() {
        let room = Room {
            places: Places::new(3),
            slots: Arc::new(Semaphore::new(1)),
        };
        let soon = Duration::from_millis(10);
        let first = room.take(soon).await.unwrap();
        let _second = room.take(soon).await.unwrap();
        let refused = room.take(soon).await.unwrap_err();
        assert!(refused.contains("2 assistants play roles"), "{refused}");
        let chat = room.places.take(&Waiting::default()).await.unwrap();
        let said = Waiting::default();
        let another = room.places.take(&said);
        assert!(tokio::time::timeout(soon, another).await.is_err());
        // With the first role's child its place is free, for a chat or a role.
        drop(first);
        let _chat = room.places.take(&said).await.unwrap();
        let refused = room.take(soon).await.unwrap_err();
        assert!(refused.contains("3 assistants live"), "{refused}");
        drop(chat);
        room.take(soon).await.unwrap();
    }

    #[tokio::test]
    async fn one_that_waits_makes_one_go() {
        let places = Places::new(4);
        let mut taken = Vec::new();
        for _ in 0..4 {
            let place = places.take(&Waiting::default()).await.unwrap();
            let (in_use, commands) = live(&place);
            taken.push((place, in_use, commands));
        }
        let said = Waiting::default();
        let mut waiting = Box::pin(places.take(&said));
        let none = tokio::time::timeout(Duration::from_millis(1900), &mut waiting);
        assert!(none.await.is_err());
        let asked = taken
            .iter_mut()
            .filter_map(|(.., commands)| commands.try_recv().ok());
        assert_eq!(asked.count(), 1);
    }
}

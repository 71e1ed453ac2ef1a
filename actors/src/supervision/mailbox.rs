//! How actors are written to: an [`Address`] counts what waits in the mailbox behind it. Ractor's mailboxes are
//! unbounded and cannot be measured, so every message travels in an [`Envelope`] that counts for as long as it exists.

use ractor::{ActorCell, ActorId, ActorRef};

use super::gauge::{Gauge, Handling, Ticket};

/// Says what a message is, for `ps` and the log.
pub trait Named {
    fn name(&self) -> &'static str;
}

/// A message on its way.
#[derive(Debug)]
pub struct Envelope<M> {
    message: M,
    ticket: Ticket,
}

impl<M: Named> Envelope<M> {
    /// Taken out by the handler, which is at work on it until the guard is dropped.
    pub fn open(self) -> (M, Handling) {
        let Self { message, ticket } = self;
        let handling = ticket.gauge().begin(message.name());
        (message, handling)
    }
}

impl Ticket {
    fn gauge(&self) -> Gauge {
        self.0.clone()
    }
}

/// The actor is gone; its parent knows, and whoever replaces it asks for everything afresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the actor is gone")]
pub struct Gone;

/// One incarnation of an actor.
pub struct Address<M: Send + 'static> {
    actor: ActorRef<Envelope<M>>,
    gauge: Gauge,
}

impl<M: Send + 'static> Clone for Address<M> {
    fn clone(&self) -> Self {
        Self {
            actor: self.actor.clone(),
            gauge: self.gauge.clone(),
        }
    }
}

impl<M: Send + 'static> Address<M> {
    pub fn new(actor: ActorRef<Envelope<M>>, gauge: Gauge) -> Self {
        Self { actor, gauge }
    }

    pub fn cast(&self, message: M) -> Result<(), Gone> {
        let envelope = Envelope {
            message,
            ticket: self.gauge.enter(),
        };
        self.actor.cast(envelope).map_err(|_| Gone)
    }

    pub fn id(&self) -> ActorId {
        self.actor.get_id()
    }

    pub fn cell(&self) -> ActorCell {
        self.actor.get_cell()
    }

    pub fn gauge(&self) -> &Gauge {
        &self.gauge
    }

    /// After the handler that runs now; what waits is lost.
    pub fn stop(&self) {
        self.actor.stop(None);
    }

    /// At the next await of the handler that runs now. Its parent hears of a crash.
    pub fn kill(&self) {
        self.actor.kill();
    }

    pub async fn ended(&self) {
        let _ = self.actor.wait(None).await;
    }
}

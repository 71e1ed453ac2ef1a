//! Tells a worker's notices by what may take its time (the desktop, a program), one after the other and beside the loop that hears
//! of them: a program that hangs delays its own worker's notices and nobody else's. It holds few; what finds no place stays where
//! it is, and is looked at again. What it has taken it tells, also when its worker's configuration changes meanwhile.

use tokio::sync::mpsc;

use crate::adapters::notify::Notice;

/// Notices that wait for those before them; each takes 20 s at most.
const QUEUE: usize = 8;

pub(super) struct Teller {
    queue: mpsc::Sender<Notice>,
}

impl Teller {
    /// Ends with the last notice after this was dropped.
    pub fn start<F>(say: impl Fn(Notice) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send,
    {
        let (queue, mut waiting) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            while let Some(notice) = waiting.recv().await {
                say(notice).await;
            }
        });
        Self { queue }
    }

    /// For one notice, at once or not at all.
    pub fn place(&self) -> Option<mpsc::Permit<'_, Notice>> {
        self.queue.try_reserve().ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;
    use crate::adapters::notify::Event;

    fn notice() -> Notice {
        Notice {
            schema: 1,
            event: Event::Failed,
            worker: "shop".to_owned(),
            worker_id: "w1".to_owned(),
            session: "s1".to_owned(),
            title: String::new(),
            kind: None,
            state: None,
            took_ms: None,
        }
    }

    #[tokio::test]
    async fn a_program_that_hangs_holds_up_its_own_worker_only_and_what_it_was_given_is_told_after_all()
     {
        let (told, mut hear) = mpsc::unbounded_channel();
        let may_end = Arc::new(Semaphore::new(0));
        let slow = Teller::start({
            let (told, may_end) = (told.clone(), Arc::clone(&may_end));
            move |_| {
                let (told, may_end) = (told.clone(), Arc::clone(&may_end));
                async move {
                    told.send("slow begins").unwrap();
                    may_end.acquire().await.unwrap().forget();
                    told.send("slow ends").unwrap();
                }
            }
        });
        let quick = Teller::start(move |_| {
            let told = told.clone();
            async move { told.send("quick").unwrap() }
        });
        slow.place().unwrap().send(notice());
        assert_eq!(hear.recv().await, Some("slow begins"));
        for _ in 0..QUEUE {
            slow.place().unwrap().send(notice());
        }
        assert!(slow.place().is_none(), "it takes more than it holds");
        quick.place().unwrap().send(notice());
        assert_eq!(hear.recv().await, Some("quick"));

        drop((slow, quick));
        may_end.add_permits(QUEUE + 1);
        let mut ends = 0;
        while let Some(word) = hear.recv().await {
            ends += usize::from(word == "slow ends");
        }
        assert_eq!(ends, QUEUE + 1);
    }
}

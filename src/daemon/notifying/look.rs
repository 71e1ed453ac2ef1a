//! What is news of a worker, by what the deployment names (`notices:list`). What had ended when it was first looked is none, and
//! neither is what another installation has served: with the worker's first answer after that it begins anew. What has waited
//! for a while is told whoever looks. Tells nobody itself, and is told the time.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::Told;
use crate::adapters::notify::{Event, Notice};

/// What has waited this long is told also to whoever looks at it: they do not answer. As long as one look counts.
const OVERDUE: Duration = Duration::from_mins(2);

/// What was seen of a worker.
#[derive(Default)]
pub(super) struct Look {
    /// The first one was taken: what had ended before is no news.
    began: bool,
    /// What has ended and was told, or is not worth it.
    seen: HashSet<String>,
    /// Since when we know of what waits, by our own clock.
    asked: HashMap<String, Instant>,
    last: Notices,
}

/// What may be told now.
#[derive(Debug)]
pub(super) struct News {
    pub id: String,
    pub notice: Notice,
    /// It is told whoever looks.
    pub is_overdue: bool,
}

impl Look {
    pub fn hear(&mut self, heard: Notices, now: Instant) {
        if !heard.served {
            // Somebody else tells; the empty lists say nothing about what has ended.
            *self = Self::default();
            return;
        }
        let ended = || heard.ended.iter().map(|turn| &turn.turn_id);
        if std::mem::replace(&mut self.began, true) {
            let known: HashSet<_> = ended().collect();
            self.seen.retain(|id| known.contains(id));
        } else {
            self.seen = ended().cloned().collect();
        }
        let asked = heard.waiting.iter().map(|row| {
            let since = self.asked.get(&row.request_id).copied();
            (row.request_id.clone(), since.unwrap_or(now))
        });
        self.asked = asked.collect();
        self.last = heard;
    }

    /// What ended first comes first, and then what waits. What has ended in quiet hours is never told.
    pub fn news(
        &mut self,
        worker: &Told,
        is_quiet: bool,
        now: Instant,
        knows: impl Fn(&str) -> bool,
    ) -> Vec<News> {
        let mut news = Vec::new();
        for (id, notice) in self.last.ended(worker) {
            if self.seen.contains(&id) {
                continue;
            }
            match notice {
                Some(notice) if !is_quiet && !knows(&id) => news.push(News {
                    id,
                    notice,
                    is_overdue: false,
                }),
                _ => drop(self.seen.insert(id)),
            }
        }
        for (id, notice) in self.last.waiting(worker) {
            if is_quiet || knows(&id) {
                continue;
            }
            let since = self.asked.get(&id).copied().unwrap_or(now);
            news.push(News {
                id,
                notice,
                is_overdue: now.saturating_duration_since(since) >= OVERDUE,
            });
        }
        news
    }

    /// Told, or in front of somebody: it has ended once. What waits is looked at again.
    pub fn settle(&mut self, id: String, notice: &Notice) {
        if notice.event != Event::Waiting {
            self.seen.insert(id);
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Notices {
    /// By us: otherwise the lists are empty. Deployments with earlier functions do not say so.
    #[serde(default = "by_us")]
    served: bool,
    waiting: Vec<Waiting>,
    ended: Vec<Ended>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Waiting {
    session_id: String,
    title: String,
    request_id: String,
    kind: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ended {
    session_id: String,
    title: String,
    turn_id: String,
    state: String,
    created_at: f64,
    finished_at: f64,
}

fn by_us() -> bool {
    true
}

impl Notices {
    fn waiting(&self, worker: &Told) -> Vec<(String, Notice)> {
        let rows = self.waiting.iter();
        rows.map(|row| {
            let notice = Notice {
                kind: Some(row.kind.clone()),
                ..blank(Event::Waiting, worker, &row.session_id, &row.title)
            };
            (row.request_id.clone(), notice)
        })
        .collect()
    }

    /// Oldest first, each with what is worth telling of it.
    fn ended(&self, worker: &Told) -> Vec<(String, Option<Notice>)> {
        let rows = self.ended.iter().rev();
        rows.map(|row| {
            let took_ms = (row.finished_at - row.created_at).max(0.0) as u64;
            let event = match row.state.as_str() {
                "failed" | "interrupted" => Some(Event::Failed),
                "complete" if took_ms >= worker.notify.after_ms => Some(Event::Ended),
                // An aborted one was ended by its owner, who knows.
                _ => None,
            };
            let notice = event.map(|event| Notice {
                state: Some(row.state.clone()),
                took_ms: Some(took_ms),
                ..blank(event, worker, &row.session_id, &row.title)
            });
            (row.turn_id.clone(), notice)
        })
        .collect()
    }
}

fn blank(event: Event, worker: &Told, session: &str, title: &str) -> Notice {
    Notice {
        schema: 1,
        event,
        worker: worker.name.clone(),
        worker_id: worker.id.clone(),
        session: session.to_owned(),
        title: title.to_owned(),
        kind: None,
        state: None,
        took_ms: None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use orchestrator_actors::domain::ids::DeploymentUrl;
    use orchestrator_actors::domain::token::WorkerToken;
    use serde_json::json;

    use super::*;
    use crate::config::Notify;

    fn worker() -> Told {
        Told {
            id: "w1".to_owned(),
            name: "shop".to_owned(),
            url: DeploymentUrl::new("http://127.0.0.1:1"),
            token: Arc::new(WorkerToken::parse("machine_m1:worker_w1:secret_s").unwrap()),
            notify: Notify {
                after_ms: 1_000,
                ..Notify::default()
            },
        }
    }

    #[test]
    fn only_what_failed_or_took_long_is_worth_a_word() {
        let notices: Notices = serde_json::from_value(json!({
            "served": true,
            "waiting": [{"sessionId": "s", "title": "t", "requestId": "r", "kind": "question", "askedAt": 1.0}],
            "ended": [
                {"sessionId": "s", "title": "t", "turnId": "d", "state": "aborted", "createdAt": 0.0, "finishedAt": 9_000.0},
                {"sessionId": "s", "title": "t", "turnId": "c", "state": "failed", "code": "x", "createdAt": 0.0, "finishedAt": 1.0},
                {"sessionId": "s", "title": "t", "turnId": "b", "state": "complete", "createdAt": 0.0, "finishedAt": 1_000.0},
                {"sessionId": "s", "title": "t", "turnId": "a", "state": "complete", "createdAt": 0.0, "finishedAt": 999.0},
            ],
        }))
        .unwrap();
        let events: Vec<_> = notices
            .ended(&worker())
            .into_iter()
            .map(|(id, notice)| (id, notice.map(|notice| notice.event)))
            .collect();
        let expected = [
            ("a", None),
            ("b", Some(Event::Ended)),
            ("c", Some(Event::Failed)),
            ("d", None),
        ];
        assert_eq!(events, expected.map(|(id, event)| (id.to_owned(), event)));
        assert_eq!(
            notices.waiting(&worker())[0].1.kind.as_deref(),
            Some("question")
        );
    }

    /// What the deployment names while we serve: turns that have failed, newest first.
    fn failed(turns: &[&str]) -> Notices {
        let ended: Vec<_> = turns
            .iter()
            .map(|id| json!({"sessionId": "s", "title": "t", "turnId": id, "state": "failed", "createdAt": 0.0, "finishedAt": 1.0}))
            .collect();
        serde_json::from_value(json!({"served": true, "waiting": [], "ended": ended})).unwrap()
    }

    fn not_served() -> Notices {
        serde_json::from_value(json!({"served": false, "waiting": [], "ended": []})).unwrap()
    }

    /// Heard, and told.
    fn told(look: &mut Look, heard: Notices) -> Vec<String> {
        look.hear(heard, Instant::now());
        let news = look.news(&worker(), false, Instant::now(), |_| false);
        let mut ids = Vec::new();
        for News { id, notice, .. } in news {
            look.settle(id.clone(), &notice);
            ids.push(id);
        }
        ids
    }

    #[test]
    fn what_ended_before_another_installation_went_is_no_news_to_its_successor() {
        let mut look = Look::default();
        assert!(told(&mut look, not_served()).is_empty());
        assert!(told(&mut look, failed(&["b", "a"])).is_empty());
        assert_eq!(told(&mut look, failed(&["c", "b", "a"])), ["c"]);
        assert!(told(&mut look, failed(&["c", "b", "a"])).is_empty());
    }

    #[test]
    fn who_was_displaced_and_is_back_tells_nothing_again() {
        let mut look = Look::default();
        told(&mut look, failed(&["a"]));
        assert_eq!(told(&mut look, failed(&["b", "a"])), ["b"]);
        assert!(told(&mut look, not_served()).is_empty());
        assert!(told(&mut look, failed(&["c", "b", "a"])).is_empty());
        assert_eq!(told(&mut look, failed(&["d", "c", "b", "a"])), ["d"]);
    }

    /// One turn that has failed, and a request.
    fn waits(request: &str) -> Notices {
        let row = json!({"sessionId": "s", "title": "t", "requestId": request, "kind": "question", "askedAt": 1.0});
        Notices {
            waiting: serde_json::from_value(json!([row])).unwrap(),
            ..failed(&["a"])
        }
    }

    #[test]
    fn what_ended_in_quiet_hours_is_not_told_after_them_and_what_waits_is() {
        let now = Instant::now();
        let mut look = Look::default();
        look.hear(failed(&[]), now);
        look.hear(waits("r"), now);
        assert!(look.news(&worker(), true, now, |_| false).is_empty());
        let after = look.news(&worker(), false, now, |_| false);
        assert_eq!(after.iter().map(|news| &news.id).collect::<Vec<_>>(), ["r"]);
        assert!(look.news(&worker(), false, now, |id| id == "r").is_empty());
    }

    #[test]
    fn what_nobody_answers_for_two_minutes_is_told_whoever_looks() {
        let begins = Instant::now();
        let after = |seconds| begins + Duration::from_secs(seconds);
        let mut look = Look::default();
        look.hear(failed(&[]), begins);
        look.hear(waits("r"), begins);
        let mut overdue = |heard: Option<Notices>, now| -> Vec<(String, bool)> {
            if let Some(heard) = heard {
                look.hear(heard, now);
            }
            let news = look.news(&worker(), false, now, |_| false);
            news.into_iter()
                .map(|news| (news.id, news.is_overdue))
                .collect()
        };
        let told = |rows: &[(&str, bool)]| -> Vec<(String, bool)> {
            rows.iter().map(|&(id, is)| (id.to_owned(), is)).collect()
        };
        assert_eq!(
            overdue(None, after(119)),
            told(&[("a", false), ("r", false)])
        );
        // That something else has happened begins nothing anew; what has ended is told or not, and never late.
        assert_eq!(
            overdue(Some(waits("r")), after(120)),
            told(&[("a", false), ("r", true)])
        );
        assert_eq!(
            overdue(Some(waits("next")), after(120)),
            told(&[("a", false), ("next", false)])
        );
    }
}

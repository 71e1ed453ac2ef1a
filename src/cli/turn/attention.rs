//! Calling a person's attention in their terminal: its bell and its title, both only where a person looks. And the other way
//! round: that somebody looks at a session here, so that no other device tells them what they see. Who has typed nothing for two
//! minutes may have gone: an open terminal alone looks at nothing.

use std::sync::OnceLock;
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Closed;
use crate::adapters::convex::OwnerClient;
use crate::ui::Ui;

/// An answer that took this long is worth a bell.
const LONG: Duration = Duration::from_secs(20);
/// How often it is said again that somebody looks; the deployment believes it for 45 s.
const LOOK_AGAIN: Duration = Duration::from_secs(20);
/// How long a look is believed after the last line, or the command itself.
const LOOKS_FOR: Duration = Duration::from_mins(2);
const FAREWELL: Duration = Duration::from_secs(1);

/// Says by bell and title how a turn has ended, when that is worth it.
pub fn call_for(ui: Ui, worker: &str, closed: &Closed) {
    let took = Duration::from_millis(closed.took_ms.unwrap_or(0.0) as u64);
    if let Some(what) = worth_a_word(&closed.state, took) {
        ui.attention(&format!("{worker}: {what}"));
    }
}

fn worth_a_word(state: &str, took: Duration) -> Option<&'static str> {
    match state {
        "failed" | "interrupted" => Some("failed"),
        "complete" if took >= LONG => Some("answered"),
        // Who aborted it knows.
        _ => None,
    }
}

/// When somebody last did something in this terminal: that is how it is known that they are there.
#[derive(Clone, Debug)]
pub struct Touched(watch::Sender<Instant>);

impl Touched {
    /// Whoever gave the command is there.
    pub fn now() -> Self {
        Self(watch::Sender::new(Instant::now()))
    }

    pub fn again(&self) {
        self.0.send_replace(Instant::now());
    }
}

/// Waits for `what`, and says for as long as somebody is there that they look at the session. A terminal looks; what goes into a
/// file is seen by nobody.
pub async fn looking_at<T>(
    ui: Ui,
    client: &OwnerClient,
    session: &str,
    touched: &Touched,
    what: impl Future<Output = T>,
) -> T {
    if !ui.stdout_is_tty() {
        return what.await;
    }
    let looks = while_touched(touched, async |looks: bool| {
        let mut args = json!({"viewerId": viewer()});
        if looks {
            args["sessionId"] = session.into();
        }
        // One that is not heard costs a notice too many.
        let _ = client.mutation("viewers:look", args).await;
    });
    tokio::select! {
        done = what => done,
        () = looks => unreachable!("it looks for ever"),
    }
}

/// Says again and again that somebody looks, and once that nobody does any more; for ever.
async fn while_touched(touched: &Touched, mut say: impl AsyncFnMut(bool)) {
    let mut heard = touched.0.subscribe();
    let mut is_said = false;
    loop {
        let until = *heard.borrow_and_update() + LOOKS_FOR;
        let left = until.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            say(true).await;
            is_said = true;
            // A line that is typed meanwhile is read at the next turn: it is soon enough.
            tokio::time::sleep(LOOK_AGAIN.min(left)).await;
            continue;
        }
        if std::mem::take(&mut is_said) {
            say(false).await;
        }
        if heard.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Nobody looks here any more.
pub async fn look_away(ui: Ui, client: &OwnerClient) {
    if ui.stdout_is_tty() {
        let gone = client.mutation("viewers:look", json!({"viewerId": viewer()}));
        let _ = tokio::time::timeout(FAREWELL, gone).await;
    }
}

/// This process, as a viewer.
fn viewer() -> &'static str {
    static VIEWER: OnceLock<String> = OnceLock::new();
    VIEWER.get_or_init(|| uuid::Uuid::now_v7().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often in these seconds somebody was said to look, and how often to have gone.
    async fn said(touched: &Touched, seconds: u64) -> (usize, usize) {
        let (mut looks, mut gone) = (0, 0);
        let saying = while_touched(touched, async |is| {
            *(if is { &mut looks } else { &mut gone }) += 1;
        });
        let _ = tokio::time::timeout(Duration::from_secs(seconds), saying).await;
        (looks, gone)
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_terminal_that_nobody_types_in_looks_at_nothing() {
        let touched = Touched::now();
        assert_eq!(said(&touched, 3_600).await, (6, 1));
        // What is waited for next, with nobody typing, is no look either.
        assert_eq!(said(&touched, 3_600).await, (0, 0));
        touched.again();
        assert_eq!(said(&touched, 3_600).await, (6, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_comes_back_and_types_looks_again_at_once() {
        let touched = Touched::now();
        let types = async {
            tokio::time::sleep(Duration::from_mins(10)).await;
            touched.again();
            std::future::pending::<()>().await;
        };
        let (said, _) = tokio::join!(
            said(&touched, 601),
            tokio::time::timeout(Duration::from_secs(601), types)
        );
        assert_eq!(said, (7, 1));
    }

    #[test]
    fn a_short_answer_and_what_was_aborted_ring_no_bell() {
        let word = |state, seconds| worth_a_word(state, Duration::from_secs(seconds));
        assert_eq!(word("complete", 19), None);
        assert_eq!(word("complete", 20), Some("answered"));
        assert_eq!(word("failed", 0), Some("failed"));
        assert_eq!(word("interrupted", 0), Some("failed"));
        assert_eq!(word("aborted", 60), None);
    }
}

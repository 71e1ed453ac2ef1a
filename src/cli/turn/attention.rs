//! Calling a person's attention in their terminal: its bell and its title, both only where a person looks. And the other way
//! round: that somebody looks at a session here, so that no other device tells them what they see.

use std::sync::OnceLock;
use std::time::Duration;

use serde_json::json;

use super::Closed;
use crate::adapters::convex::OwnerClient;
use crate::ui::Ui;

/// An answer that took this long is worth a bell.
const LONG: Duration = Duration::from_secs(20);
/// How often it is said again that somebody looks; the deployment believes it for 45 s.
const LOOK_AGAIN: Duration = Duration::from_secs(20);
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

/// Waits for `what` while somebody looks at the session. A terminal looks; what goes into a file is seen by nobody.
pub async fn looking_at<T>(
    ui: Ui,
    client: &OwnerClient,
    session: &str,
    what: impl Future<Output = T>,
) -> T {
    if !ui.stdout_is_tty() {
        return what.await;
    }
    let looks = async {
        let args = json!({"viewerId": viewer(), "sessionId": session});
        let mut again = tokio::time::interval(LOOK_AGAIN);
        loop {
            again.tick().await;
            // One that is not heard costs a notice too many.
            let _ = client.mutation("viewers:look", args.clone()).await;
        }
    };
    tokio::select! {
        done = what => done,
        () = looks => unreachable!("it looks for ever"),
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

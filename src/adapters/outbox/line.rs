//! One line of the outbox: `{"sum":"<16 hex digits>","entry":<JSON>}`, the sum being the first 8 bytes of the
//! SHA-256 of the entry's text as it stands there. It finds torn and overwritten lines, not forgers.

use orchestrator_actors::domain::ids::TurnId;
use orchestrator_actors::ports::outbox::FinishRecord;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const BEFORE_SUM: &str = "{\"sum\":\"";
const BEFORE_ENTRY: &str = "\",\"entry\":";
const SUM_LEN: usize = 16;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Entry {
    Put(FinishRecord),
    /// The record of this turn is done.
    Done(TurnId),
}

/// With its line feed.
pub fn encode(entry: &Entry) -> Result<String, serde_json::Error> {
    Ok(enclosed(&serde_json::to_string(entry)?))
}

/// The line of [`Entry::Put`], without a copy of the record.
pub fn encode_put(record: &FinishRecord) -> Result<String, serde_json::Error> {
    let record = serde_json::to_string(record)?;
    Ok(enclosed(&format!("{{\"put\":{record}}}")))
}

/// The line around an entry's text.
pub(super) fn enclosed(text: &str) -> String {
    format!("{BEFORE_SUM}{}{BEFORE_ENTRY}{text}}}\n", sum(text))
}

/// `line` without its line feed. `None` when it is not what was written.
pub fn decode(line: &[u8]) -> Option<Entry> {
    let line = std::str::from_utf8(line).ok()?;
    let rest = line.strip_prefix(BEFORE_SUM)?;
    let (claimed, rest) = rest.split_at_checked(SUM_LEN)?;
    let text = rest.strip_prefix(BEFORE_ENTRY)?.strip_suffix('}')?;
    if sum(text) != claimed {
        return None;
    }
    serde_json::from_str(text).ok()
}

fn sum(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let first = digest.first_chunk::<8>().copied().unwrap_or_default();
    format!("{:016x}", u64::from_be_bytes(first))
}

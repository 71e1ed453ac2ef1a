//! What is stored of a turn, whole: parts when it is folded, its chunks until then. Lists leave out what is long; this does
//! not.

use serde_json::json;

use super::fold::{Fold, WINDOW};
use crate::cli::connection::Connection;
use crate::cli::failure::Failure;
use crate::cli::rows::{MessageRow, Messages, Page, PartRow, Parts, read};

/// Folding can happen in between: then the row is read again.
pub async fn stored_parts(
    connection: &Connection,
    session: &str,
    mut row: MessageRow,
) -> Result<Vec<PartRow>, Failure> {
    loop {
        if row.folded {
            return match (row.parts, row.parts_omitted) {
                (Some(parts), false) => Ok(parts),
                _ => all_parts(connection, &row.id).await,
            };
        }
        if let Some(parts) = all_chunks(connection, &row.id).await? {
            return Ok(parts);
        }
        let args = json!({"sessionId": session, "limit": 1, "beforeSeq": row.seq + 1.0});
        let value = connection.client.query("messages:list", args).await?;
        let messages: Messages = read("messages:list", value)?;
        let again = messages.messages.into_iter().find(|next| next.id == row.id);
        row = again.ok_or_else(|| Failure::failed("the turn is gone"))?;
    }
}

async fn all_parts(connection: &Connection, turn: &str) -> Result<Vec<PartRow>, Failure> {
    let mut parts = Vec::new();
    let mut from = 0.0;
    loop {
        let args = json!({"turnId": turn, "from": from});
        let value = connection.client.query("messages:parts", args).await?;
        let page: Parts = read("messages:parts", value)?;
        parts.extend(page.parts);
        match page.next {
            Some(next) => from = next,
            None => return Ok(parts),
        }
    }
}

/// `None` when the turn was folded meanwhile.
async fn all_chunks(connection: &Connection, turn: &str) -> Result<Option<Vec<PartRow>>, Failure> {
    let mut fold = Fold::default();
    loop {
        let from = fold.next();
        let args = json!({"turnId": turn, "from": from});
        let value = connection.client.query("chunks:page", args).await?;
        let page: Page = read("chunks:page", value)?;
        if page.folded {
            return Ok(None);
        }
        fold.apply(&page.items);
        if fold.next() < from + WINDOW {
            return Ok(Some(fold.into_parts()));
        }
    }
}
